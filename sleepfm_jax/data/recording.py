"""One file of a sleep or EEG laboratory -> `Recording`: channels, annotations, stages.

Nothing is lost or changed silently: what is unusual about a channel is in its `notes`, what is
unusual about the file, and every signal that could not be kept, in the recording's.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

from sleepfm_jax.data.edf import (
    MAX_DAYS,
    Annotation,
    EdfFile,
    EdfSignal,
    RecordingError,
    open_edf,
    shift,
)
from sleepfm_jax.data.hypnogram import (
    read_hypnogram,
    read_hypnogram_and_notes,
    spans_from_annotations,
    stages_from_spans,
)
from sleepfm_jax.signals import MODALITIES, OTHER, identify

__all__ = ["Annotation", "Channel", "Recording", "RecordingError", "read_edf", "read_hypnogram"]

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


def read_edf(
    path: str | Path,
    *,
    subject: str,
    recording: str | None = None,
    hypnogram: str | Path | None = None,
) -> Recording:
    """Read an EDF, EDF+C, EDF+D, BDF or BDF+ file.

    The stages are those of `hypnogram` where given (see `read_hypnogram`), else of the file's own
    annotations, else None. Data records of a discontinuous file stand at their true times, with
    NaN in between. `recording` defaults to the file's name without its ending.

    Raises:
      RecordingError: the file cannot be read (see `open_edf`), none of its signals is EEG, EOG,
      ECG, EMG or respiratory, its data records overlap, or the hypnogram cannot be used.
    """
    edf = open_edf(path)
    notes = list(edf.notes)
    onsets, annotations, damaged = edf.annotations()
    if damaged:
        notes.append(f"{damaged} annotations could not be read")
    begin = _begin(onsets, notes)
    records = _record_starts(edf, onsets - begin, notes)
    duration = float(records[-1] + edf.record_seconds)
    start = shift(edf.start, begin)
    annotations = [Annotation(a.onset - begin, a.duration, a.text) for a in annotations]
    channels = _channels(edf, records, duration, notes)
    if hypnogram is not None:
        stages, remarks = read_hypnogram_and_notes(hypnogram, start=start, duration=duration)
        notes += remarks
    else:
        spans = spans_from_annotations(annotations)
        stages = stages_from_spans(spans, duration) if spans else None
    return Recording(
        path=str(path),
        subject=subject,
        recording=Path(path).stem if recording is None else recording,
        start=start,
        duration=duration,
        channels=channels,
        annotations=annotations,
        stages=stages,
        notes=notes,
    )


# --- time -----------------------------------------------------------------------------------------


def _begin(onsets: np.ndarray, notes: list[str]) -> float:
    """Seconds from the header's start time to the first data record: EDF+ keeps it there."""
    begin = onsets[0]
    if np.isnan(begin):
        return 0.0
    if abs(begin) > 86_400:
        notes.append(
            f"the first data record is said to begin {begin:g} s after the start: not believed"
        )
        return 0.0
    return float(begin)


def _record_starts(edf: EdfFile, onsets: np.ndarray, notes: list[str]) -> np.ndarray:
    """Seconds from the recording's start at which every data record begins [R]."""
    length = edf.record_seconds
    regular = np.arange(edf.num_records) * length
    told = ~np.isnan(onsets)
    if not edf.discontinuous:
        # A continuous file has no gaps by definition; what its clock says otherwise is worth a
        # note.
        if told.any() and np.abs(onsets - regular)[told].max() > max(length, 1e-3):
            notes.append(
                "the data records' times have gaps, but the file is marked continuous: not placed"
            )
        return regular
    if not told.any():
        notes.append(
            "discontinuous (EDF+D), but no data record says when it begins: read as continuous"
        )
        return regular
    starts = onsets.copy()
    starts[0] = 0.0
    for i in np.flatnonzero(np.isnan(starts)):
        starts[i] = starts[i - 1] + length
    if missing := int((~told).sum()):
        notes.append(
            f"{missing} data records do not say when they begin: placed after the one before"
        )
    overlap = starts[:-1] + length - starts[1:]
    if overlap.size and overlap.max() > min(0.01, 0.01 * length):
        i = int(overlap.argmax()) + 1
        raise RecordingError(
            edf.path,
            f"data record {i} begins at {starts[i]:g} s, before record {i - 1} ends at "
            f"{starts[i - 1] + length:g} s: damaged times; export it again as continuous EDF",
        )
    total = starts[-1] + length
    if total > MAX_DAYS * 86_400:
        raise RecordingError(
            edf.path, f"its data records span {total / 86_400:.0f} days: damaged times"
        )
    gap = total - edf.num_records * length
    if gap > 1e-3:
        count = int((-overlap > 1e-3).sum())
        notes.append(f"discontinuous: {count} gaps, {gap:g} s without data")
    return starts


# --- channels -------------------------------------------------------------------------------------


def _channels(
    edf: EdfFile, records: np.ndarray, duration: float, notes: list[str]
) -> list[Channel]:
    kept: list[tuple[EdfSignal, str, str]] = []
    biosemi = _biosemi_caps(edf, notes)
    for signal in edf.signals:
        if signal.is_annotation:
            continue
        if reason := _unusable(signal):
            notes.append(f"signal {signal.label!r} kept out: {reason}")
            continue
        if signal.label in biosemi:
            kept.append((signal, signal.label, OTHER))
            continue
        identity = identify(signal.label)
        kept.append((signal, identity.name, identity.modality))
    # Before any sample is read: a file without a usable channel is refused at once.
    if not any(modality in MODALITIES for _, _, modality in kept):
        labels = ", ".join(repr(s.label) for s in edf.signals if not s.is_annotation) or "none"
        reasons = "; ".join(n for n in notes if "kept out" in n)
        raise RecordingError(
            edf.path,
            f"no usable channel: labels found {labels}"
            + (f" ({reasons})" if reasons else "")
            + "; none is known as EEG, EOG, ECG, EMG or respiratory",
        )
    count = Counter(name for _, name, _ in kept)
    seen: Counter[str] = Counter()
    channels = []
    for signal, name, modality in kept:
        channel = _read_channel(edf, signal, name, modality, records, duration)
        seen[name] += 1
        if count[name] > 1:
            twins = [repr(s.label) for s, n, _ in kept if n == name]
            channel.notes.append(f"{count[name]} channels are called {name}: {', '.join(twins)}")
            if seen[name] > 1:
                channel.name = f"{name}#{seen[name]}"
        channels.append(channel)
    return channels


def _biosemi_caps(edf: EdfFile, notes: list[str]) -> set[str]:
    """Labels of BioSemi's own numbering (A1 to H32), where C3 is not the 10-20 site."""
    labels = {s.label for s in edf.signals}
    if not {"A3", "A4", "B1", "B2"} <= labels:
        return set()
    caps = {label for label in labels if re.fullmatch(r"[A-H]\d{1,2}", label)}
    notes.append(
        f"{len(caps)} labels are BioSemi cap numbers (A1, B1, ...): rename to 10-05 to use them"
    )
    return caps


def _unusable(signal: EdfSignal) -> str | None:
    if signal.samples_per_record == 0:
        return "it has no samples"
    limits = (signal.physical_min, signal.physical_max, signal.digital_min, signal.digital_max)
    if any(limit is None for limit in limits):
        return "a physical or digital limit is not a number, so it cannot be scaled"
    if signal.physical_min == signal.physical_max:
        return f"its physical limits are equal ({signal.physical_min:g}), so it cannot be scaled"
    if signal.digital_min == signal.digital_max:
        return f"its digital limits are equal ({signal.digital_min:g}), so it cannot be scaled"
    return None


def _read_channel(
    edf: EdfFile, signal: EdfSignal, name: str, modality: str, records: np.ndarray, duration: float
) -> Channel:
    notes: list[str] = []
    unit, factor = _unit(signal.unit, modality, notes)
    if signal.physical_min > signal.physical_max:
        notes.append(
            "polarity: the physical limits are swapped, the signal is read inverted as they say"
        )
    if signal.digital_min > signal.digital_max:
        notes.append(
            "polarity: the digital limits are swapped, the signal is read inverted as they say"
        )
    low, high = sorted((signal.digital_min, signal.digital_max))
    lowest, highest = -(1 << 8 * edf.bytes_per_sample - 1), (1 << 8 * edf.bytes_per_sample - 1) - 1
    if low < lowest or high > highest:
        notes.append(f"digital limits {low:g} to {high:g} exceed {8 * edf.bytes_per_sample} bits")
    digital = edf.samples(signal)
    if digital.min() == digital.max():
        notes.append("flat")
    elif modality in MODALITIES:
        clipped = np.mean((digital <= max(low, lowest)) | (digital >= min(high, highest)))
        if clipped > _CLIPPED:
            notes.append(f"clipped {100 * clipped:.0f} %")
    gain = (signal.physical_max - signal.physical_min) / (signal.digital_max - signal.digital_min)
    samples = np.empty(len(digital), np.float32)
    for i in range(0, len(digital), _BLOCK):
        block = digital[i : i + _BLOCK].astype(np.float64)
        block = (block - signal.digital_min) * gain + signal.physical_min
        samples[i : i + _BLOCK] = block * factor
    sfreq = signal.samples_per_record / edf.record_seconds
    samples = _place(samples, records, duration, signal.samples_per_record, sfreq, notes)
    return Channel(signal.label, name, modality, sfreq, unit, samples, notes)


def _unit(unit: str, modality: str, notes: list[str]) -> tuple[str, float]:
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


def _place(
    samples: np.ndarray,
    records: np.ndarray,
    duration: float,
    per_record: int,
    sfreq: float,
    notes: list[str],
) -> np.ndarray:
    """Samples of consecutive data records [R * per_record] at their true times, NaN in the gaps."""
    firsts = np.floor(records * sfreq + 0.5).astype(np.int64)
    # Rounding may push a record onto the last sample of the one before; never overwrite.
    index = np.arange(len(firsts)) * per_record
    firsts = np.maximum.accumulate(firsts - index) + index
    total = max(int(np.floor(duration * sfreq + 0.5)), int(firsts[-1]) + per_record)
    if total == len(samples):
        return samples
    placed = np.full(total, np.nan, np.float32)
    breaks = np.flatnonzero(np.diff(firsts) != per_record) + 1
    for run in np.split(np.arange(len(firsts)), breaks):
        source = slice(run[0] * per_record, (run[-1] + 1) * per_record)
        placed[firsts[run[0]] : firsts[run[0]] + len(run) * per_record] = samples[source]
    notes.append(f"gaps: {(total - len(samples)) / sfreq:g} s without data")
    return placed
