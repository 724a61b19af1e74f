"""HDF5 recordings: CODE-15 %'s layout of many exams, and a generic one of a dataset a signal.

Generic layout: every one-dimensional numeric dataset with an attribute `fs` (or `sfreq`,
`sampling_rate`, `sampling_frequency`; Hz) is a signal. Its label is the attribute `label` or its
path in the file; its unit the attribute `unit` or `units`. Every group with one-dimensional
datasets `start` (or `onset`) and `duration`, in seconds, is a kind of event, named by its path.
The file's attribute `start` (ISO 8601) is the recording's start. DOSED writes this layout.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.files import MAX_DAYS, Annotation, size_of
from sleepfm_jax.recordings.recording import (
    Channel,
    Recording,
    Trace,
    bad_sfreq,
    channel_of_values,
    read_channels,
)

_RATES = ("fs", "sfreq", "sampling_rate", "sampling_frequency")
_MAX_SAMPLES = 2**30  # of one signal
_MAX_ITEMS = 10_000  # datasets and groups of a file
# No compression of HDF5 exceeds deflate's 1032:1; what does was never written.
_MAX_RATIO, _FREE_BYTES = 1_100, 1 << 26

CODE15_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
CODE15_SFREQ = 400.0
# The files give no unit. The PhysioNet Challenge 2025, which publishes these exams again as WFDB,
# takes them for millivolts.
_CODE15_UNIT = "mV"


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    size_of(path)
    try:
        with h5py.File(path, "r") as file:
            yield file
    except RecordingError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError) as error:
        raise RecordingError(path, f"is not a readable HDF5 file ({error})") from error


def code15_exams(path: str | Path) -> np.ndarray:
    """int64 [N]: the exam ids of a CODE-15 file in its order, without the blank row at its end.

    Raises:
      RecordingError: no HDF5 file, or not of this layout.
    """
    with _opened(Path(path)) as file:
        return _exam_ids(Path(path), file)


def _exam_ids(path: Path, file: h5py.File) -> np.ndarray:
    if not _is_code15(file):
        raise RecordingError(path, "has no `exam_id` and `tracings`: it is no CODE-15 file")
    ids, tracings = file["exam_id"], file["tracings"]
    if ids.shape[0] != tracings.shape[0] or tracings.shape[2] != len(CODE15_LEADS):
        raise RecordingError(
            path, f"`exam_id` {ids.shape} and `tracings` {tracings.shape} do not fit each other"
        )
    ids = ids[:].astype(np.int64)
    # The published files end with a row of zeros.
    return ids[:-1] if len(ids) and ids[-1] == 0 else ids


def _is_code15(file: h5py.File) -> bool:
    ids, tracings = file.get("exam_id"), file.get("tracings")
    return (
        isinstance(ids, h5py.Dataset)
        and isinstance(tracings, h5py.Dataset)
        and ids.ndim == 1
        and tracings.ndim == 3
        and ids.dtype.kind in "iu"
        and tracings.dtype.kind in "iuf"
    )


def read_hdf5(
    path: str | Path, *, subject: str, recording: str | None = None, exam: int | None = None
) -> Recording:
    """Read one recording of an HDF5 file; `exam` says which of a CODE-15 file's (its `exam_id`).

    Raises:
      RecordingError: no HDF5 file, of another layout, no such exam, or no usable channel.
    """
    path = Path(path)
    with _opened(path) as file:
        if _is_code15(file):
            return _code15(path, file, subject, recording, exam)
        if exam is not None:
            raise RecordingError(path, f"exam {exam} is asked for, but it is no CODE-15 file")
        return _generic(path, file, subject, recording)


def _code15(
    path: Path, file: h5py.File, subject: str, recording: str | None, exam: int | None
) -> Recording:
    """One exam, without the zeros that fill it up to 4096 samples on both sides."""
    ids = _exam_ids(path, file)
    if exam is None:
        if len(ids) != 1:
            raise RecordingError(path, f"holds {len(ids)} exams: say which (exam=)")
        exam = int(ids[0])
    rows = np.flatnonzero(ids == exam)
    if len(rows) != 1:
        raise RecordingError(path, f"holds exam {exam} {len(rows)} times")
    tracings = file["tracings"]
    if tracings.shape[1] > 10_000_000:
        raise RecordingError(path, f"its exams have {tracings.shape[1]} samples: damaged file")
    raw = np.asarray(tracings[int(rows[0])], np.float64)  # [T, 12]
    moving = np.flatnonzero((raw != 0).any(axis=1))
    if len(moving) == 0:
        raise RecordingError(path, f"exam {exam} holds nothing but zeros")
    first, last = int(moving[0]), int(moving[-1]) + 1
    notes = ["no unit in the file: taken for mV"]
    if last - first < len(raw):
        notes.append(f"padding of {first} and {len(raw) - last} zeros around the exam is cut")
    traces = [
        Trace(
            lead,
            partial(channel_of_values, lead, CODE15_SFREQ, _CODE15_UNIT, raw[first:last, i]),
        )
        for i, lead in enumerate(CODE15_LEADS)
    ]
    return Recording(
        path=str(path),
        subject=subject,
        recording=str(exam) if recording is None else recording,
        start=None,
        duration=(last - first) / CODE15_SFREQ,
        channels=read_channels(path, traces, notes),
        annotations=[],
        stages=None,
        notes=notes,
    )


# --- generic --------------------------------------------------------------------------------------


def _generic(path: Path, file: h5py.File, subject: str, recording: str | None) -> Recording:
    datasets, groups = _items(path, file)
    notes: list[str] = []
    traces, seconds = [], []
    events: list[Annotation] = []
    of_events = set()
    for name, group in groups.items():
        found = _events(path, name, group)
        if found is not None:
            events += found
            of_events |= {f"{name}/{part}" for part in group}
    for name, dataset in datasets.items():
        if name in of_events:
            continue
        rate = next((dataset.attrs[key] for key in _RATES if key in dataset.attrs), None)
        label = _text(dataset.attrs.get("label"), name)
        fault, sfreq = _fault(dataset, rate)
        traces.append(Trace(label, partial(_read, path, label, dataset, sfreq), fault))
        if fault is None:
            seconds.append(dataset.shape[0] / sfreq)
    if not traces:
        raise RecordingError(path, "holds no dataset with a sampling rate (attribute `fs`)")
    duration = max(seconds, default=0.0)
    if duration > MAX_DAYS * 86_400:
        raise RecordingError(path, f"its signals last {duration / 86_400:.0f} days: damaged rates")
    start = None
    if "start" in file.attrs:
        try:
            start = datetime.fromisoformat(_text(file.attrs["start"], "")).replace(tzinfo=None)
        except ValueError:
            notes.append("its attribute `start` is no ISO 8601 time: none is set")
    channels = read_channels(path, traces, notes)
    for channel in channels:
        _fill_up(channel, duration)
    return Recording(
        path=str(path),
        subject=subject,
        recording=path.stem if recording is None else recording,
        start=start,
        duration=duration,
        channels=channels,
        annotations=sorted(events, key=lambda event: event.onset),
        stages=None,
        notes=notes,
    )


def _fill_up(channel: Channel, duration: float) -> None:
    """Gives a channel that ends early the recording's length; NaN where it has ended."""
    missing = round(duration * channel.sfreq) - len(channel.samples)
    if missing > 0:
        channel.samples = np.pad(channel.samples, (0, missing), constant_values=np.nan)
        channel.notes.append(f"ends {missing / channel.sfreq:g} s before the recording")


def _items(path: Path, file: h5py.File) -> tuple[dict[str, h5py.Dataset], dict[str, h5py.Group]]:
    datasets: dict[str, h5py.Dataset] = {}
    groups: dict[str, h5py.Group] = {}

    def visit(name: str, item: Any) -> None:
        if len(datasets) + len(groups) >= _MAX_ITEMS:
            raise RecordingError(path, f"holds more than {_MAX_ITEMS} datasets: no recording")
        if isinstance(item, h5py.Dataset):
            datasets[name] = item
        elif isinstance(item, h5py.Group):  # what else there is, named types, holds nothing
            groups[name] = item

    file.visititems(visit)
    return datasets, groups


def _text(value: Any, default: str) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return value if isinstance(value, str) else default


def _fault(dataset: h5py.Dataset, rate: Any) -> tuple[str | None, float]:
    """(why a dataset is no signal, or None; its rate in Hz)."""
    if dataset.ndim != 1 or dataset.dtype.kind not in "iuf":
        return f"it is no series of numbers (shape {dataset.shape}, {dataset.dtype})", math.nan
    if rate is None:
        return "it has no sampling rate (attribute `fs`)", math.nan
    try:
        sfreq = float(np.asarray(rate).reshape(-1)[0])
    except (ValueError, TypeError, IndexError):
        return "its sampling rate is no number", math.nan
    size = dataset.shape[0]
    if size == 0:
        return "it has no samples", sfreq
    stored = dataset.id.get_storage_size()
    written = stored * _MAX_RATIO + _FREE_BYTES
    if size > _MAX_SAMPLES or size * dataset.dtype.itemsize > written:
        return f"it claims {size} samples, and {stored} bytes are stored", sfreq
    return bad_sfreq(sfreq), sfreq


def _read(path: Path, label: str, dataset: h5py.Dataset, sfreq: float, modality: str) -> Channel:
    unit = _text(dataset.attrs.get("unit", dataset.attrs.get("units")), "")
    try:
        values = dataset[:]
    except (OSError, RuntimeError, ValueError, MemoryError) as error:  # a damaged chunk
        raise RecordingError(path, f"dataset {label!r} cannot be read ({error})") from error
    return channel_of_values(label, sfreq, unit, values, modality)


def _events(path: Path, name: str, group: h5py.Group) -> list[Annotation] | None:
    onset = group.get("start", group.get("onset"))
    length = group.get("duration")
    series = (onset, length)
    if not all(isinstance(s, h5py.Dataset) and s.ndim == 1 for s in series):
        return None
    if onset.shape != length.shape or onset.shape[0] > 5_000_000:
        raise RecordingError(path, f"events {name!r}: starts and durations do not fit each other")
    try:
        onsets, lengths = onset[:].astype(np.float64), length[:].astype(np.float64)
    except (ValueError, TypeError) as error:
        raise RecordingError(path, f"events {name!r}: not seconds") from error
    if not (np.isfinite(onsets).all() and np.isfinite(lengths).all()):
        raise RecordingError(path, f"events {name!r}: not seconds")
    return [Annotation(float(o), float(d), name) for o, d in zip(onsets, lengths)]
