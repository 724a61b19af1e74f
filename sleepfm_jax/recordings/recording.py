"""What a recording is, whatever file it came from: its channels, their names, units and faults."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.files import MAX_GAP_SAMPLES, MAX_SFREQ, MIN_SFREQ, Annotation
from sleepfm_jax.recordings.person import Person
from sleepfm_jax.signals import MODALITIES, OTHER, clean_label, identify

# Microvolts in one unit. Some recorders write capitals only; nobody records megavolts, so MV is mV.
_MICROVOLTS = {
    **dict.fromkeys(("uv", "µv", "microv", "microvolt", "microvolts"), 1.0),
    **dict.fromkeys(("mv", "millivolt", "millivolts"), 1e3),
    **dict.fromkeys(("v", "volt", "volts"), 1e6),
    **dict.fromkeys(("nv", "nanovolt", "nanovolts"), 1e-3),
}
_ELECTRIC = ("bas", "ecg", "emg")
# More of the samples than this at a digital limit, and the amplifier was overdriven.
_CLIPPED = 0.01
_BLOCK = 1 << 20  # samples scaled at a time, to keep float64 copies small


@dataclass
class Channel:
    """One trace at its native rate; voltages in microvolts, whatever the file's unit."""

    label: str  # as in the file
    name: str  # canonical; `#2`, `#3` mark further channels of one name
    modality: str
    sfreq: float
    unit: str
    samples: np.ndarray  # float32 [T]; NaN in the gaps of a discontinuous file
    notes: list[str] = field(default_factory=list)


class FileChannel(Channel):
    """A channel whose samples are read from its file each time they are asked for.

    So a night of 40 channels needs the memory of one. What is read is not to be written to: it
    would be lost at the next reading; assign `samples` instead.
    """

    def __init__(
        self,
        label: str,
        name: str,
        modality: str,
        sfreq: float,
        unit: str,
        samples: Callable[[], np.ndarray] | np.ndarray,
        notes: list[str],
    ):
        super().__init__(label, name, modality, sfreq, unit, samples, notes)

    @property
    def samples(self) -> np.ndarray:
        if isinstance(self._samples, np.ndarray):
            return self._samples
        samples = self._samples()
        samples.flags.writeable = False
        return samples

    @samples.setter
    def samples(self, samples: Callable[[], np.ndarray] | np.ndarray) -> None:
        self._samples = samples


@dataclass(frozen=True)
class Window:
    """Where a clip begins (s from the recording's start), and its labels [K].

    None: the recording's own labels.
    """

    start: float
    labels: tuple[float, ...] | None = None


@dataclass
class Recording:
    """One night or exam of one subject."""

    path: str
    subject: str
    recording: str
    start: datetime | None
    duration: float  # seconds, gaps included
    channels: list[Channel]
    annotations: list[Annotation]
    stages: np.ndarray | None  # int8 [E], one a 30-s sleep_epoch from the start; -1 unscored
    notes: list[str] = field(default_factory=list)
    # Which clips of so many seconds a labelled dataset takes, where not all from start to end; see
    # `label_windows`.
    windows: Callable[[float], Sequence[Window]] | None = None
    person: Person = field(default_factory=Person)  # age and sex, where the file says them


@dataclass(frozen=True)
class Trace:
    """One signal of an opened file, not read yet."""

    label: str
    read: Callable[[str], Channel]  # from its modality to its channel, not yet named
    fault: str | None = None  # why it cannot be used, where that can be seen without reading it


def read_channels(
    path: Path,
    traces: Sequence[Trace],
    notes: list[str],
    modalities: Mapping[str, str] | None = None,
) -> list[Channel]:
    """Channels of the traces that can be used, named; what is kept out goes into `notes`.

    `modalities` {label: modality} counts for labels that are not known here, where another source
    says what they are (case and outer blanks do not matter); their names give no position.

    Raises:
      RecordingError: none of the traces is EEG, EOG, ECG, EMG or respiratory.
    """
    kept: list[tuple[Trace, str, str]] = []
    told = {clean_label(label).casefold(): said for label, said in (modalities or {}).items()}
    biosemi = _biosemi_caps(traces, told, notes)
    for trace in traces:
        said = told.get(clean_label(trace.label).casefold(), OTHER)
        if trace.fault:
            notes.append(f"signal {trace.label!r} kept out: {trace.fault}")
        elif trace.label in biosemi:
            # Not the bare label, which names another place of the head.
            kept.append((trace, trace.label if said == OTHER else f"BioSemi {trace.label}", said))
        else:
            identity = identify(trace.label)
            modality = said if identity.modality == OTHER else identity.modality
            kept.append((trace, identity.name, modality))
    # Before any sample is read: a file without a usable channel is refused at once.
    if not any(modality in MODALITIES for _, _, modality in kept):
        labels = ", ".join(repr(trace.label) for trace in traces) or "none"
        reasons = "; ".join(n for n in notes if "kept out" in n)
        raise RecordingError(
            path,
            f"no usable channel: labels found {labels}"
            + (f" ({reasons})" if reasons else "")
            + "; none is known as EEG, EOG, ECG, EMG or respiratory",
        )
    count = Counter(name for _, name, _ in kept)
    seen: Counter[str] = Counter()
    channels = []
    for trace, name, modality in kept:
        channel = trace.read(modality)
        channel.name = name
        seen[name] += 1
        if count[name] > 1:
            twins = [repr(t.label) for t, n, _ in kept if n == name][:20]
            channel.notes.append(f"{count[name]} channels are called {name}: {', '.join(twins)}")
            if seen[name] > 1:
                channel.name = f"{name}#{seen[name]}"
        channels.append(channel)
    return channels


def _biosemi_caps(traces: Sequence[Trace], told: Mapping[str, str], notes: list[str]) -> set[str]:
    """Labels of BioSemi's own numbering (A1 to H32), where C3 is not the 10-20 site.

    A cap has its bank A whole, so A1 and A2 are no mastoids beside an A3, which nothing else has.
    Letters from B on are banks only where B begins one: a cap of 16 has none, and C3 is C3.
    """
    labels = {trace.label for trace in traces}
    banks = "A-H" if {"A3", "A4", "B1", "B2"} <= labels else "A"
    caps = {label for label in labels if re.fullmatch(rf"[{banks}]\d{{1,2}}", label)}
    if not any(int(label[1:]) > 2 for label in caps if label.startswith("A")):
        return set()
    use = (
        "used without positions"
        if any(label.casefold() in told for label in caps)
        else "rename to 10-05 to use them"
    )
    examples = "A1, B1" if banks == "A-H" else "A1, A2"
    notes.append(f"{len(caps)} labels are BioSemi cap numbers ({examples}, ...): {use}")
    return caps


def bad_sfreq(sfreq: float) -> str | None:
    """Why a sampling rate is no recording's, or None."""
    if MIN_SFREQ <= sfreq <= MAX_SFREQ:  # False for NaN
        return None
    return f"a sampling rate of {sfreq:g} Hz is no recording's"


def bad_limits(
    physical: tuple[float | None, float | None], digital: tuple[float | None, float | None]
) -> str | None:
    """Why physical and digital limits (min, max) give no scale, or None."""
    if any(limit is None for limit in (*physical, *digital)):
        return "a physical or digital limit is not a number, so it cannot be scaled"
    if physical[0] == physical[1]:
        return f"its physical limits are equal ({physical[0]:g}), so it cannot be scaled"
    if digital[0] == digital[1]:
        return f"its digital limits are equal ({digital[0]:g}), so it cannot be scaled"
    gain = (physical[1] - physical[0]) / (digital[1] - digital[0])
    largest = max(abs(limit) for limit in (*physical, *digital))
    # One millionth of float32's largest: a voltage still has to become microvolts.
    if not (np.isfinite(gain) and abs(gain) > 0 and largest < 1e32 and abs(gain) * largest < 1e32):
        return "its physical and digital limits are beyond all measure, so it cannot be scaled"
    return None


def limit_notes(physical: tuple[float, float], digital: tuple[float, float]) -> list[str]:
    """Remarks on limits (min, max) that are in the wrong order."""
    return [
        f"polarity: the {name} limits are swapped, the signal is read inverted as they say"
        for name, (low, high) in (("physical", physical), ("digital", digital))
        if low > high
    ]


def amplitude_notes(digital: np.ndarray, low: float, high: float, modality: str) -> list[str]:
    """Whether a trace never moves or sits at its digital limits (inclusive)."""
    if len(digital) == 0 or digital.min() == digital.max():
        return ["flat"]
    if modality in MODALITIES:
        clipped = np.mean((digital <= low) | (digital >= high))
        if clipped > _CLIPPED:
            return [f"clipped {100 * clipped:.0f} %"]
    return []


def scaled(
    digital: np.ndarray,
    *,
    zero: float = 0.0,
    gain: float = 1.0,
    divisor: float = 1.0,
    offset: float = 0.0,
    factor: float = 1.0,
) -> np.ndarray:
    """float32 [T]: ((digital - zero) * gain / divisor + offset) * factor, in float64 by blocks."""
    samples = np.empty(len(digital), np.float32)
    for i in range(0, len(digital), _BLOCK):
        block = digital[i : i + _BLOCK].astype(np.float64)
        samples[i : i + _BLOCK] = ((block - zero) * gain / divisor + offset) * factor
    return samples


def channel_of_values(
    label: str, sfreq: float, unit: str, values: np.ndarray, modality: str
) -> Channel:
    """A channel of values that are physical already, in `unit`; what is not finite becomes NaN."""
    notes: list[str] = []
    unit, factor = voltage_unit(unit, modality, notes)
    notes += amplitude_notes(values, -np.inf, np.inf, modality)
    with np.errstate(over="ignore", invalid="ignore"):  # a float64 need not fit into a float32
        samples = scaled(values, factor=factor)
    drop_no_numbers(samples, notes)
    return Channel(label, "", modality, sfreq, unit, samples, notes)


def drop_no_numbers(samples: np.ndarray, notes: list[str]) -> None:
    """Makes infinite samples NaN, and says how many there were of both."""
    lost = ~np.isfinite(samples)
    if lost.any():
        samples[lost] = np.nan
        notes.append(f"{lost.mean():.1%} of the samples are no numbers")


def voltage_unit(unit: str, modality: str, notes: list[str]) -> tuple[str, float]:
    """(unit of the samples, factor to it): voltages become uV, all else stays."""
    factor = _MICROVOLTS.get(unit.lower().replace("μ", "µ").strip())
    if factor is not None:
        if unit == "MV":
            notes.append("unit 'MV' read as mV")
        return "uV", factor
    if modality in _ELECTRIC:
        notes.append(
            "no unit in the file: not scaled"
            if not unit
            else f"unit {unit!r} is no voltage: not scaled"
        )
    return unit, 1.0


def check_gaps(path: Path, gap_seconds: float, sfreqs: Sequence[float]) -> None:
    """Refuses gaps that would take more memory than a recording has samples.

    Raises:
      RecordingError: filling `gap_seconds` at all `sfreqs` needs over `MAX_GAP_SAMPLES`.
    """
    if gap_seconds * sum(sfreqs) > MAX_GAP_SAMPLES:
        raise RecordingError(
            path,
            f"its pieces lie {gap_seconds / 3600:.1f} h apart, too much to fill in for "
            f"{len(sfreqs)} signals: damaged times, or split it into one file per session",
        )
