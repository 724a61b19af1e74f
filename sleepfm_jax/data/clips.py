"""A recording cut into clips.

`clips` turns a `Recording` (native rates, physical units) into `Record`s (one rate, standardised,
cut and quantised). It imports neither jax nor TFDS, so that any process of any cluster can run it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np

from sleepfm_jax import signals
from sleepfm_jax.data.record import Record
from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.read import Recording
from sleepfm_jax.recordings.recording import Channel, Window
from sleepfm_jax.signals import dsp

LABEL_KINDS = ("none", "staging", "classification", "multilabel")

MIN_CLIP_SECONDS = 1.0
"""A remainder shorter than this is no clip: it does not hold one patch of any configuration."""

_RESAMPLING = {
    "polyphase": "polyphase resampling from the native rate to sfreq",
    "reference": (
        "where the native rate is above sfreq a 4th-order Butterworth low-pass at sfreq / 2, "
        "forwards and backwards, then linear interpolation to sfreq (the published resampling)"
    ),
}


def preprocessing(resampling: str) -> str:
    """What is done to the samples, in words; stored with every dataset."""
    return (
        f"per channel: {_RESAMPLING[resampling]}, z-score over the whole "
        "recording (mean and sd kept, gaps left out), int16 per clip and channel; "
        "physical = (signals * scale) * sd + mean, in units"
    )


PREPROCESSING = preprocessing("polyphase")
"""What is done to the samples unless something else is asked for."""


@dataclasses.dataclass(frozen=True)
class ClipSpec:
    """What a dataset's clips look like.

    Attributes:
        sfreq: Hz, of every channel of every clip.
        clip_seconds: length of a clip.
        label_kind: what the labels are for, one of `LABEL_KINDS`.
        classes: class names in label order (K of them); () when there are no labels.
        resampling: how channels come to sfreq, one of `dsp.METHODS`.
    """

    sfreq: float = 128.0
    clip_seconds: float = 300.0
    label_kind: str = "none"
    classes: tuple[str, ...] = ()
    resampling: str = "polyphase"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sfreq) and self.sfreq > 0):
            raise ValueError(f"sfreq must be a positive number of Hz, not {self.sfreq}")
        if not (math.isfinite(self.clip_seconds) and self.clip_seconds >= MIN_CLIP_SECONDS):
            raise ValueError(
                f"clip_seconds must be at least {MIN_CLIP_SECONDS:g}, not {self.clip_seconds}"
            )
        samples = self.clip_seconds * self.sfreq
        if abs(samples - round(samples)) > 1e-6:
            raise ValueError(
                f"clip_seconds={self.clip_seconds:g} at sfreq={self.sfreq:g} Hz is {samples:g} "
                "samples: choose them so that a clip is a whole number of samples"
            )
        if self.label_kind not in LABEL_KINDS:
            raise ValueError(
                f"label_kind must be one of {', '.join(LABEL_KINDS)}, not {self.label_kind!r}"
            )
        if self.resampling not in dsp.METHODS:
            raise ValueError(
                f"resampling must be one of {', '.join(dsp.METHODS)}, not {self.resampling!r}"
            )

    @property
    def clip_samples(self) -> int:
        """T, samples of a clip."""
        return round(self.clip_seconds * self.sfreq)

    @property
    def clip_epochs(self) -> int:
        """E, sleep_epochs of a clip: clip_seconds / 30, rounded up."""
        return math.ceil(self.clip_seconds / signals.SLEEP_EPOCH_SECONDS - 1e-9)


def stages_of_clip(stages: np.ndarray | None, start: float, spec: ClipSpec) -> np.ndarray:
    """Stages of one clip, int32 [E], one for each 30 s from the clip's start.

    An entry is the stage of the sleep_epoch that its window (cut at the clip's end) lies in, and
    UNSCORED when the window straddles two, as it may when clip_seconds is neither a multiple nor a
    divisor of 30, or lies outside what was scored. So a 10-s clip has one entry, its sleep_epoch's.

    Args:
        stages: int8 [number of sleep_epochs], from the recording's start; None when nothing was
            scored.
        start: of the clip, s from the recording's start.
    """
    out = np.full(spec.clip_epochs, signals.UNSCORED, np.int32)
    if stages is None:
        return out
    epoch = signals.SLEEP_EPOCH_SECONDS
    for entry in range(spec.clip_epochs):
        first = start + entry * epoch
        last = min(first + epoch, start + spec.clip_seconds)
        index = math.floor(first / epoch + 1e-9)
        if index < len(stages) and last <= (index + 1) * epoch + 1e-6:
            out[entry] = stages[index]
    return out


def usable_channels(recording: Recording) -> list:
    """The recording's channels, or an error when a model could use none of them.

    Raises:
        RecordingError: there is no channel, or none of a modality that models read.
    """
    if not recording.channels:
        raise RecordingError(recording.path, "no usable channel: the file holds no signal")
    if not any(c.modality in signals.MODALITIES for c in recording.channels):
        labels = ", ".join(repr(c.label) for c in recording.channels[:8])
        raise RecordingError(
            recording.path,
            f"no usable channel: none of {labels} was recognised as "
            f"{', '.join(signals.MODALITIES)}; rename the channels, or add their names to "
            "sleepfm_jax/signals/aliases.py",
        )
    return recording.channels


def clips(recording: Recording, spec: ClipSpec, labels: Sequence[float] = ()) -> Iterator[Record]:
    """Cuts a recording into records.

    Every channel is brought to one rate and z-scored over the recording. One that is flat or empty
    is kept with sd 0 and marked as one gap, so that models leave it out; a note says so.

    Clips follow one another from start to end, or are those of `recording.windows` where it has
    any and the label_kind is classification or multilabel. A partial clip (the last, or a recording
    shorter than a clip) is kept: padded with zeros, the padding a gap of every channel and
    `num_samples` its real length. A clip in which no channel of a known modality has a valid sample
    (a long pause in an EDF+D file) is left out. All of this is written in `recording.notes` and the
    channels' notes, which are complete when the iterator is.

    Args:
        labels: float [K], the recording's labels, given to each of its clips whose window has none
            of its own; NaN where unknown. May be () where all windows have their own.

    Raises:
        RecordingError: no usable channel, less than MIN_CLIP_SECONDS of recording, or a window
            without as much.
    """
    labelled = spec.label_kind in ("classification", "multilabel")
    windows = recording.windows if labelled else None
    _check_labels(labels, spec, may_be_empty=windows is not None)
    channels, total = usable_channels(recording), round(recording.duration * spec.sfreq)
    chosen = (
        _back_to_back(recording, spec, total) if windows is None else windows(spec.clip_seconds)
    )
    spans = [_span(recording, window, spec, total) for window in chosen]
    cut, mean, sd = _cut(recording, channels, spec, spans, total)
    names = [c.name for c in channels]
    positions = signals.electrode_positions(names)  # [C, 3]
    native_sfreq = np.array([c.sfreq for c in channels], np.float32)
    empty = 0
    for clip, (window, (lo, hi)) in enumerate(zip(chosen, spans)):
        piece, cut[clip] = cut[clip], None  # its memory is the caller's now
        own = labels if window.labels is None else window.labels
        _check_labels(own, spec)
        if not piece.usable:
            empty += 1
            continue
        yield Record(
            signals=piece.signals,
            scale=piece.scale,
            mean=mean,
            sd=sd,
            channel_labels=[c.label for c in channels],
            channel_names=names,
            units=[c.unit for c in channels],
            modalities=[c.modality for c in channels],
            native_sfreq=native_sfreq,
            positions=positions,
            gaps=np.concatenate([np.zeros((0, 3), np.int32), *piece.gaps]),
            num_samples=hi - lo,
            stages=stages_of_clip(recording.stages, window.start, spec),
            labels=np.asarray(own, np.float32),
            subject=recording.subject,
            recording=recording.recording,
            clip=clip,
            start=window.start,
        )
    if empty:
        add_note(
            recording.notes, f"{empty} of {len(chosen)} clips hold no valid sample and are left out"
        )


@dataclasses.dataclass
class _Cut:
    """The signals of one clip, filled channel by channel."""

    signals: np.ndarray  # int16 [C, T]
    scale: np.ndarray  # float32 [C]
    gaps: list[np.ndarray]  # int32 [G, 3], one a channel that has any
    usable: bool = False  # has a channel of a known modality a valid sample?


def _cut(
    recording: Recording,
    channels: Sequence[Channel],
    spec: ClipSpec,
    spans: Sequence[tuple[int, int]],
    total: int,
) -> tuple[list[_Cut], np.ndarray, np.ndarray]:
    """Standardises, cuts and quantises all channels, one after the other: a night takes two bytes
    a sample, and one channel's floats.

    Returns:
        The clips, and mean and sd of the channels, float32 [C].

    Raises:
        RecordingError: no channel of a known modality has a usable sample.
    """
    shape = len(channels), spec.clip_samples
    cut = [_Cut(np.zeros(shape, np.int16), np.ones(shape[0], np.float32), []) for _ in spans]
    mean, sd = np.zeros(shape[0], np.float32), np.zeros(shape[0], np.float32)
    known = np.array([c.modality in signals.MODALITIES for c in channels])
    usable = False
    for i, channel in enumerate(channels):
        z, valid, mean[i], sd[i] = standardised(channel, spec, total)
        usable |= known[i] and bool(valid.any())
        for piece, (lo, hi) in zip(cut, spans):
            clip_valid = np.zeros((1, spec.clip_samples), bool)  # the padding is False
            clip_valid[0, : hi - lo] = valid[lo:hi]
            gaps = dsp.mask_to_gaps(clip_valid)
            if len(gaps):
                piece.gaps.append(gaps + np.array([i, 0, 0], np.int32))
            piece.usable |= bool(known[i] and clip_valid.any())
            quantised, scale = dsp.quantise(z[None, lo:hi])
            piece.signals[i, : hi - lo], piece.scale[i] = quantised[0], scale[0]
    if not usable:
        raise RecordingError(
            recording.path,
            f"no usable channel: all {known.sum()} of a known modality are flat or empty",
        )
    return cut, mean, sd


def standardised(
    channel: Channel, spec: ClipSpec, total: int
) -> tuple[np.ndarray, np.ndarray, float, float]:
    """One channel as z float32 [N] (0 in gaps), valid bool [N], its mean and its sd."""
    z, valid = np.zeros(total, np.float32), np.zeros(total, bool)
    y, ok = dsp.resample_with_gaps(channel.samples, channel.sfreq, spec.sfreq, spec.resampling)
    n = min(total, len(y))  # rates of a fraction of a Hz end a sample early or late
    y, ok = y[:n], ok[:n]
    if not ok.any():
        add_note(channel.notes, "no valid sample: kept, and masked throughout")
        return z, valid, 0.0, 0.0
    z[:n], mean, sd = dsp.zscore(y, ok)
    if np.float32(sd) > 0:
        valid[:n] = ok
    else:
        z[:] = 0
        add_note(channel.notes, "no spread: kept, and masked throughout")
    return z, valid, mean, sd


def _span(recording: Recording, window: Window, spec: ClipSpec, total: int) -> tuple[int, int]:
    """First sample and last + 1 of a clip.

    Raises:
        RecordingError: it lies outside of the recording.
    """
    lo = round(window.start * spec.sfreq)
    hi = min(lo + spec.clip_samples, total)
    if lo < 0 or hi - lo < MIN_CLIP_SECONDS * spec.sfreq:
        raise RecordingError(
            recording.path,
            f"a clip from {window.start:g} s, but the recording lasts {recording.duration:g} s",
        )
    return lo, hi


def _check_labels(labels: Sequence[float], spec: ClipSpec, may_be_empty: bool = False) -> None:
    wanted = len(spec.classes) if spec.label_kind in ("classification", "multilabel") else 0
    if len(labels) != wanted and not (may_be_empty and len(labels) == 0):
        raise ValueError(
            f"{len(labels)} labels for label_kind {spec.label_kind!r} with classes "
            f"{spec.classes}: must match"
        )


def _back_to_back(recording: Recording, spec: ClipSpec, total: int) -> list[Window]:
    """One clip after the other over `total` samples, the partial last one included."""
    samples = spec.clip_samples
    count = math.ceil(total / samples)
    tail = total - (count - 1) * samples  # real samples of the last clip
    seconds = f"{tail / spec.sfreq:g} of {spec.clip_seconds:g} s"
    if tail < MIN_CLIP_SECONDS * spec.sfreq:
        if count == 1:
            raise RecordingError(
                recording.path,
                f"{recording.duration:g} s of recording: a clip needs {MIN_CLIP_SECONDS:g} s",
            )
        add_note(recording.notes, f"the last {tail / spec.sfreq:g} s are too short for a clip")
        count -= 1
    elif count == 1 and tail < samples:
        add_note(recording.notes, f"shorter than a clip: {seconds}, the rest masked")
    elif tail < samples:
        add_note(recording.notes, f"the last clip holds {seconds}, the rest masked")
    return [Window(clip * spec.clip_seconds) for clip in range(count)]


def add_note(notes: list[str], note: str) -> None:
    """Adds a note once."""
    if note not in notes:
        notes.append(note)
