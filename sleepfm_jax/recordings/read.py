"""One file of a sleep or EEG laboratory -> `Recording`: channels, annotations, stages.

Nothing is lost or changed silently: what is unusual about a channel is in its `notes`, what is
unusual about the file, and every signal that could not be kept, in the recording's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.files import MAX_DAYS, Annotation, read_head, shift, size_of
from sleepfm_jax.recordings.formats.arrays import read_npz
from sleepfm_jax.recordings.formats.brainvision_eeglab import read_brainvision, read_eeglab
from sleepfm_jax.recordings.formats.edf_bytes import EdfFile, EdfSignal, open_edf
from sleepfm_jax.recordings.formats.gdf import read_gdf
from sleepfm_jax.recordings.formats.hdf5 import read_hdf5
from sleepfm_jax.recordings.formats.wfdb_records import read_wfdb
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
    read_hypnogram,
    read_stages,
    spans_from_annotations,
    stages_from_spans,
)

__all__ = [
    "Annotation",
    "Channel",
    "Recording",
    "RecordingError",
    "read_edf",
    "read_hypnogram",
    "read_recording",
]

# Bytes of samples in a file above which channels stay there until they are asked for.
_LARGE = 128 * 2**20


def read_recording(
    path: str | Path,
    *,
    subject: str,
    recording: str | None = None,
    hypnogram: str | Path | None = None,
    exam: int | None = None,
    modalities: Mapping[str, str] | None = None,
) -> Recording:
    """Read one recording of any format known here; the format is found by content.

    EDF, EDF+, BDF (`read_edf`), GDF (`read_gdf`), BrainVision by its header (`read_brainvision`),
    EEGLAB (`read_eeglab`), HDF5 (`read_hdf5`, with `exam` for CODE-15), `.npz` (`read_npz`), WFDB
    by its header, a signal file or the record's name (`read_wfdb`).
    The stages are those of `hypnogram` where given, else the file's own, else None. `modalities`
    {label: modality} counts for labels that are not known here, in the first five formats.

    Raises:
      RecordingError: see the reader of each format; a format not known; `exam` where there are
      none; `modalities` for another format.
    """
    path = Path(path)
    # A WFDB record may be named without an ending, and its signal files have no magic number.
    wfdb = not os.path.exists(path) and os.path.isfile(f"{path}.hea")
    head = b"" if wfdb else read_head(path, 8)
    if exam is not None and head != b"\x89HDF\r\n\x1a\n":
        raise RecordingError(path, f"exam {exam} is asked for, but it is no CODE-15 file")
    names = {"subject": subject, "recording": recording}
    reader = None if wfdb else _reader_of_labels(path, head)
    if reader is not None:
        read = reader(path, modalities=modalities, **names)
    elif head == b"\x89HDF\r\n\x1a\n":
        read = read_hdf5(path, exam=exam, **names)
    elif head[:4] == b"PK\x03\x04" and path.suffix.lower() == ".npz":
        read = read_npz(path, **names)
    elif wfdb or path.suffix == ".hea" or os.path.isfile(path.with_suffix(".hea")):
        read = read_wfdb(path, **names)
    elif head[:2] == b"\x1f\x8b":
        raise RecordingError(path, "is compressed with gzip: unpack it first")
    else:
        size_of(path)
        raise RecordingError(
            path,
            f"is none of EDF, BDF, GDF, BrainVision's .vhdr, EEGLAB's .set, HDF5, .npz, and no "
            f"WFDB header {path.stem}.hea lies beside it (it begins with {head!r})",
        )
    if modalities and reader is None:
        raise RecordingError(path, "its format takes no modalities from elsewhere")
    return read if hypnogram is None else score(read, hypnogram)


def _reader_of_labels(path: Path, head: bytes) -> Callable[..., Recording] | None:
    """The reader of a format whose labels are free text, from a file's first 8 bytes, or None."""
    if head == b"\xffBIOSEMI" or head.strip(b" \x00") == b"0":
        return read_edf
    if head[:4] == b"GDF ":
        return read_gdf
    if head.removeprefix(b"\xef\xbb\xbf")[:5] == b"Brain":
        return read_brainvision
    if head[:6] == b"MATLAB" and path.suffix.lower() == ".set":
        return read_eeglab
    return None


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
    )
    return read if hypnogram is None else score(read, hypnogram)


def score(recording: Recording, hypnogram: str | Path) -> Recording:
    """Gives a recording the stages of a hypnogram file and adds its events to the annotations.

    Raises:
      RecordingError: see `read_stages`.
    """
    scored = read_stages(hypnogram, start=recording.start, duration=recording.duration)
    recording.stages = scored.stages
    recording.annotations = sorted(recording.annotations + scored.events, key=lambda a: a.onset)
    recording.notes += scored.notes
    return recording


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
