"""A night: which channels are its signals, and how they come to a model's rates.

A night is made of the stored clips of a recording (`night_of_records`) or of a recording that was
just read (`night_of_recording`); from there on there is one way, `row`. So what a model is trained
on and what `launch.stage` gives it differ by the rounding of what is stored.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

from sleepfm_jax.data import clips
from sleepfm_jax.data.nights import normalisation as night_normalisation
from sleepfm_jax.data.record import Record
from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.read import Recording
from sleepfm_jax.signals import SLEEP_EPOCH_SECONDS, UNSCORED, dsp
from sleepfm_jax.signals.night_layout import NightLayout

SFREQ = 128.0
"""Hz that a recording comes to first, where no dataset says another: what datasets are built at."""

_CHANNELS = {  # signal → canonical names (`signals.labels`) that it may have, the best first
    "ABD": (r"ABD", r"ABD .+"),
    "ECG": (r"ECG", r"II", r"I", r"ECG .+|ECG\d+|ECG-.+", r"V\d|aV.|III"),
    "EOG-L": (r"E1-M[12]", r"E1", r"E1-(?!E2).+", r"LLC|LUC"),
    "EOG-R": (r"E2-M[12]", r"E2", r"E2-(?!E1).+", r"RUC|RLC"),
    "PPG": (r"PPG",),
    "THX": (r"THX", r"THX .+"),
}
_STILL = 1e-3  # of the night's sd: a sleep_epoch that moves less is flat
_MOST_STILL = 0.5  # of the sleep_epochs with a valid sample; more, and a PPG is flat


@dataclasses.dataclass(frozen=True)
class Night:
    """The signals of one night at one rate, not normalised.

    Attributes:
      signals: name → float32 [T], NaN in gaps; of the signals that the night has.
      channels: name → the label of the channel that it is, as in the file.
      native: name → Hz in the file.
      sfreq: Hz of all.
      stages: int32 [E]; -1 unscored.
    """

    signals: Mapping[str, np.ndarray]
    channels: Mapping[str, str]
    native: Mapping[str, float]
    sfreq: float
    stages: np.ndarray


def channels_of(names: Sequence[str], usable: Sequence[bool]) -> dict[str, int]:
    """{signal: which channel it is}, of the signals that these channels have.

    Args:
      names: canonical names, of all channels in their order; twins are marked `#2`, `#3`.
      usable: has the channel samples that move? One that has not is passed over for its twin.
    """
    found = {}
    for signal, patterns in _CHANNELS.items():
        for pattern in patterns:
            fits = (
                i
                for i, name in enumerate(names)
                if usable[i] and re.fullmatch(pattern, re.sub(r"#\d+$", "", name))
            )
            if (place := next(fits, None)) is not None:
                found[signal] = place
                break
    return found


def sleep_epochs_of(seconds: float) -> int:
    """E of a recording: whole sleep_epochs, one at least."""
    return max(1, int(seconds / SLEEP_EPOCH_SECONDS + 1e-3))


# --- from clips, or from a file -------------------------------------------------------------------


def night_of_records(
    records: Sequence[Record], sfreq: float, sleep_epochs: int, wanted: Sequence[str]
) -> Night:
    """The night whose clips these are; between them, gaps.

    Args:
      sfreq: Hz, of the clips. sleep_epochs: E of the night. wanted: signals to look for.
    """
    first = records[0]
    found = channels_of(first.channel_names, first.sd > 0)
    found = {signal: place for signal, place in found.items() if signal in wanted}
    total = round(sleep_epochs * SLEEP_EPOCH_SECONDS * sfreq)
    signals = {signal: np.full(total, np.nan, np.float32) for signal in found}
    stages = np.full(sleep_epochs, UNSCORED, np.int32)
    for record in records:
        start = round(record.start * sfreq)
        length = min(record.num_samples, record.signals.shape[1], total - start)
        if length > 0:
            gone = ~record.valid()[:, :length]
            for signal, place in found.items():
                z = record.signals[place, :length].astype(np.float32) * record.scale[place]
                z[gone[place]] = np.nan
                signals[signal][start : start + length] = z
        for entry in np.flatnonzero(record.stages != UNSCORED):
            at = int(record.start / SLEEP_EPOCH_SECONDS + entry + 1e-9)
            if at < sleep_epochs:
                stages[at] = record.stages[entry]
    return Night(
        signals=signals,
        channels={signal: first.channel_labels[place] for signal, place in found.items()},
        native={signal: float(first.native_sfreq[place]) for signal, place in found.items()},
        sfreq=sfreq,
        stages=stages,
    )


def night_of_recording(
    recording: Recording, wanted: Sequence[str], causal: bool = False, sfreq: float = SFREQ
) -> Night:
    """The night of a recording that was read from its file; nothing is stored.

    Args:
      wanted: signals to look for.
      causal: nothing of the future may enter: a gap is bridged by its last sample instead of a
        straight line to the next, and nothing is z-scored (`causal` needs it not).
      sfreq: Hz that a dataset would be built at.

    Raises:
      RecordingError: none of the signals is there.
    """
    channels = recording.channels
    found = channels_of([c.name for c in channels], [_moves(c.samples) for c in channels])
    found = {signal: place for signal, place in found.items() if signal in wanted}
    if not found:
        labels = ", ".join(repr(c.label) for c in channels[:20]) or "none"
        raise RecordingError(
            recording.path,
            f"no usable signal: of {', '.join(wanted)} none is among its channels ({labels}), or "
            "it is flat; rename the channels, or add their names to sleepfm_jax/signals/aliases.py",
        )
    spec = clips.ClipSpec(sfreq=sfreq)
    total = round(recording.duration * sfreq)
    sleep_epochs = sleep_epochs_of(recording.duration)
    whole = round(sleep_epochs * SLEEP_EPOCH_SECONDS * sfreq)
    signals = {}
    for signal, place in found.items():
        channel = channels[place]
        if causal:
            y, valid = resampled_by_the_past(channel.samples, channel.sfreq, sfreq)
        else:
            y, valid, _, _ = clips.standardised(channel, spec, total)
        at_hand = np.full(whole, np.nan, np.float32)
        length = min(whole, len(y), total)
        at_hand[:length] = np.where(valid, y, np.nan)[:length]
        signals[signal] = at_hand
    stages = np.full(sleep_epochs, UNSCORED, np.int32)
    if recording.stages is not None:
        scored = recording.stages[:sleep_epochs]
        stages[: len(scored)] = scored
    return Night(
        signals=signals,
        channels={signal: channels[place].label for signal, place in found.items()},
        native={signal: float(channels[place].sfreq) for signal, place in found.items()},
        sfreq=sfreq,
        stages=stages,
    )


def _moves(samples: np.ndarray) -> bool:
    finite = samples[np.isfinite(samples)]
    return len(finite) > 0 and dsp.zscore(finite, np.ones(len(finite), bool))[2] > 0


# --- to a model's rates ---------------------------------------------------------------------------


def resampled_by_the_past(
    x: np.ndarray, sfreq: float, target_sfreq: float, last: float = np.nan
) -> tuple[np.ndarray, np.ndarray]:
    """`dsp.resample_with_gaps` with gaps bridged by the last sample before them, [T] → (y, valid)
    [T']; one at the start by `last`, or, where that is NaN, by the first sample after it.

    It still looks ahead by `look_ahead`: whoever wants nothing of the future delays it by that.
    """
    finite = np.isfinite(x)
    if finite.all() or not finite.any():
        return dsp.resample_with_gaps(x, sfreq, target_sfreq)
    known = np.maximum.accumulate(np.where(finite, np.arange(len(x)), -1))
    first = x[finite.argmax()] if np.isnan(last) else last  # what is valid comes after the first
    filled = np.where(known < 0, first, x[known]).astype(x.dtype)
    y = dsp.resample(filled, sfreq, target_sfreq)
    at = np.arange(len(y)) * (sfreq / target_sfreq)
    before = np.minimum(np.floor(at + 1e-6).astype(np.int64), len(x) - 1)
    after = np.minimum(np.ceil(at - 1e-6).astype(np.int64), len(x) - 1)
    return y, finite[before] & finite[after]


def look_ahead(sfreq: float, target_sfreq: float) -> float:
    """Seconds of the future that resampling sees."""
    return 0.0 if sfreq == target_sfreq else dsp.ZERO_CROSSINGS / min(sfreq, target_sfreq)


def delays(native: float, sfreq: float, target_sfreq: float) -> tuple[int, int]:
    """By how many samples of its own rate a causal signal is late after each resampling, from the
    file's rate to the clips' (sfreq) and from there to the layout's: as far as they look ahead, and
    after the first by a whole number of samples of the layout's."""
    here, there = round(sfreq * SLEEP_EPOCH_SECONDS), round(target_sfreq * SLEEP_EPOCH_SECONDS)
    unit = here // math.gcd(here, there)
    first, second = look_ahead(native, sfreq), look_ahead(sfreq, target_sfreq)
    return (
        math.ceil((first * sfreq + 1) / unit) * unit if first else 0,
        math.ceil(second * target_sfreq) + 1 if second else 0,
    )


def delay(night: Night, signal: str, layout: NightLayout) -> int:
    """Samples of the layout by which a causal signal is late, after both resamplings."""
    rate = layout.sfreq(signal)
    first, second = delays(night.native[signal], night.sfreq, rate)
    return round(first * rate / night.sfreq) + second


def row(night: Night, layout: NightLayout) -> dict[str, np.ndarray]:
    """A night as one row of a batch, in all its length: {"signal/ABD": float32 [E * n], …} of the
    signals that it has, normalised, 0 in gaps.

    A PPG that does not move in most sleep_epochs is none; but `causal` cannot know.
    """
    causal = layout.normalisation == "causal"
    normalise = night_normalisation.FORMS[layout.normalisation]
    made = {}
    for signal, samples in layout.signals:
        if signal not in night.signals:
            continue
        x, sfreq = night.signals[signal], layout.sfreq(signal)
        resample = resampled_by_the_past if causal else dsp.resample_with_gaps
        y, valid = resample(x, night.sfreq, sfreq)
        whole = len(night.stages) * samples
        y, valid = _of_length(y, whole), _of_length(valid, whole)
        if causal and (late := delay(night, signal, layout)):
            y, valid = _late(y, late), _late(valid, late)
        if not valid.any() or (signal == "PPG" and not causal and _is_still(y, valid, samples)):
            continue
        z = normalise(y, valid, samples)
        if z.any():
            made[f"signal/{signal}"] = z
    return made


def _of_length(x: np.ndarray, length: int) -> np.ndarray:
    return np.pad(x[:length], (0, max(0, length - len(x))))


def _late(x: np.ndarray, samples: int) -> np.ndarray:
    return np.pad(x, (samples, 0))[: len(x)]


def _is_still(x: np.ndarray, valid: np.ndarray, samples: int) -> bool:
    """Does a signal not move in most of the sleep_epochs that have valid samples?"""
    pieces, there = x.reshape(-1, samples), valid.reshape(-1, samples)
    count = np.maximum(there.sum(axis=1), 1)
    mean = np.where(there, pieces, 0).sum(axis=1, dtype=np.float64) / count
    spread = np.where(there, (pieces - mean[:, None]) ** 2, 0).sum(axis=1, dtype=np.float64) / count
    known = there.any(axis=1)
    still = np.sqrt(spread[known]) <= _STILL * x[valid].std(dtype=np.float64)
    return bool(still.mean() > _MOST_STILL)
