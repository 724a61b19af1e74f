"""EDF and BDF files, plus versions included -> `Recording`.

The bytes themselves are in `edf_bytes`; here is what they mean: when each data record begins, which
signals are channels, and the stages among the annotations.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.files import MAX_DAYS, Annotation, shift
from sleepfm_jax.recordings.formats.edf_bytes import EdfFile, EdfSignal, open_edf
from sleepfm_jax.recordings.person import of_edf
from sleepfm_jax.recordings.recording import (
    Channel,
    FileChannel,
    Recording,
    Trace,
    amplitude_notes,
    bad_limits,
    bad_sfreq,
    check_gaps,
    limit_notes,
    read_channels,
    scaled,
    voltage_unit,
)
from sleepfm_jax.recordings.scorings.hypnogram import (
    score,
    spans_from_annotations,
    stages_from_spans,
)

# Bytes of samples in a file above which channels stay there until they are asked for.
_LARGE = 128 * 2**20


def read_edf(
    path: str | Path,
    *,
    subject: str,
    recording: str | None = None,
    hypnogram: str | Path | None = None,
    modalities: Mapping[str, str] | None = None,
) -> Recording:
    """Read an EDF, EDF+C, EDF+D, BDF or BDF+ file.

    The stages are those of `hypnogram` where given (see `read_hypnogram`), else of the file's own
    annotations, else None. Data records of a discontinuous file stand at their true times, with
    NaN in between. `recording` defaults to the file's name without its ending. `modalities`: of
    labels that are not known here (`read_channels`).

    Raises:
      RecordingError: the file cannot be read (see `open_edf`), none of its signals is EEG, EOG,
      ECG, EMG or respiratory, its data records overlap, or the hypnogram cannot be used.
    """
    edf = open_edf(path)
    notes = list(edf.notes)
    onsets, annotations, damaged = edf.annotations()
    # The clock of EDF+ in its place shows that the samples are in theirs.
    if damaged > edf.num_records and np.isnan(onsets).all():
        raise RecordingError(
            path,
            f"no data record has a readable time, and {damaged} annotations in {edf.num_records} "
            "data records could not be read: bytes were added, lost or changed on the way, as by "
            "transfers in text mode; copy it again, as binary",
        )
    if damaged:
        notes.append(f"{damaged} annotations could not be read")
    begin = _begin(onsets, notes)
    records = _record_starts(edf, onsets - begin, notes)
    duration = float(records[-1] + edf.record_seconds)
    start = shift(edf.start, begin)
    annotations = [Annotation(a.onset - begin, a.duration, a.text) for a in annotations]
    channels = _channels(edf, records, duration, notes, modalities)
    spans = spans_from_annotations(annotations)
    read = Recording(
        path=str(path),
        subject=subject,
        recording=Path(path).stem if recording is None else recording,
        start=start,
        duration=duration,
        channels=channels,
        annotations=annotations,
        stages=stages_from_spans(spans, duration) if spans else None,
        notes=notes,
        person=of_edf(edf.patient, edf.start),
    )
    return read if hypnogram is None else score(read, hypnogram)


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
    edf: EdfFile,
    records: np.ndarray,
    duration: float,
    notes: list[str],
    modalities: Mapping[str, str] | None,
) -> list[Channel]:
    ordinary = [signal for signal in edf.signals if not signal.is_annotation]
    gap = duration - edf.num_records * edf.record_seconds
    check_gaps(edf.path, gap, [s.samples_per_record / edf.record_seconds for s in ordinary])
    traces = [
        Trace(
            signal.label,
            partial(_read_channel, edf, signal, records, duration),
            _unusable(edf, signal),
        )
        for signal in ordinary
    ]
    return read_channels(edf.path, traces, notes, modalities)


def _unusable(edf: EdfFile, signal: EdfSignal) -> str | None:
    if signal.samples_per_record == 0:
        return "it has no samples"
    return bad_limits(signal.physical, signal.digital) or bad_sfreq(
        signal.samples_per_record / edf.record_seconds
    )


def _read_channel(
    edf: EdfFile, signal: EdfSignal, records: np.ndarray, duration: float, modality: str
) -> Channel:
    notes: list[str] = []
    unit, factor = voltage_unit(signal.unit, modality, notes)
    notes += limit_notes(signal.physical, signal.digital)
    low, high = sorted(signal.digital)
    bits = 8 * edf.bytes_per_sample
    lowest, highest = -(1 << bits - 1), (1 << bits - 1) - 1
    if low < lowest or high > highest:
        notes.append(f"digital limits {low:g} to {high:g} exceed {bits} bits")
    digital = edf.samples(signal)
    notes += amplitude_notes(digital, max(low, lowest), min(high, highest), modality)
    sfreq = signal.samples_per_record / edf.record_seconds
    _, total = _places(records, duration, signal.samples_per_record, sfreq)
    if total != len(digital):
        notes.append(f"gaps: {(total - len(digital)) / sfreq:g} s without data")
    read = partial(_samples, edf, signal, factor, records, duration)
    if edf.num_records * edf.record_bytes > _LARGE:
        return FileChannel(signal.label, "", modality, sfreq, unit, read, notes)
    return Channel(signal.label, "", modality, sfreq, unit, read(), notes)


def _samples(
    edf: EdfFile, signal: EdfSignal, factor: float, records: np.ndarray, duration: float
) -> np.ndarray:
    """float32 [T]: one signal, scaled, at its true times."""
    gain = (signal.physical[1] - signal.physical[0]) / (signal.digital[1] - signal.digital[0])
    samples = scaled(
        edf.samples(signal),
        zero=signal.digital[0],
        gain=gain,
        offset=signal.physical[0],
        factor=factor,
    )
    sfreq = signal.samples_per_record / edf.record_seconds
    return _place(samples, records, duration, signal.samples_per_record, sfreq)


def _places(
    records: np.ndarray, duration: float, per_record: int, sfreq: float
) -> tuple[np.ndarray, int]:
    """Where the first sample of every data record belongs, int64 [R], and how many there are."""
    firsts = np.floor(records * sfreq + 0.5).astype(np.int64)
    # Rounding may push a record onto the last sample of the one before; never overwrite.
    index = np.arange(len(firsts)) * per_record
    firsts = np.maximum.accumulate(firsts - index) + index
    return firsts, max(int(np.floor(duration * sfreq + 0.5)), int(firsts[-1]) + per_record)


def _place(
    samples: np.ndarray, records: np.ndarray, duration: float, per_record: int, sfreq: float
) -> np.ndarray:
    """Samples of consecutive data records [R * per_record] at their true times, NaN in the gaps."""
    firsts, total = _places(records, duration, per_record, sfreq)
    if total == len(samples):
        return samples
    placed = np.full(total, np.nan, np.float32)
    breaks = np.flatnonzero(np.diff(firsts) != per_record) + 1
    for run in np.split(np.arange(len(firsts)), breaks):
        source = slice(run[0] * per_record, (run[-1] + 1) * per_record)
        placed[firsts[run[0]] : firsts[run[0]] + len(run) * per_record] = samples[source]
    return placed
