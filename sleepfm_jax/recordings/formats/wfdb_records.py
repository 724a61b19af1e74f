"""WFDB records (PhysioNet): a `.hea` header and the `.dat` or `.mat` files that it names.

The header is checked against the files before the wfdb library is let near them: what it claims
decides what the library allocates. https://physionet.org/physiotools/wag/header-5.htm
"""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.files import MAX_DAYS, read_head, size_of
from sleepfm_jax.recordings.formats.wfdb_annotations import events_of, read_wfdb_annotations
from sleepfm_jax.recordings.formats.wfdb_record_line import standard_record_line
from sleepfm_jax.recordings.recording import (
    Channel,
    Recording,
    Trace,
    amplitude_notes,
    bad_sfreq,
    check_gaps,
    read_channels,
    scaled,
    voltage_unit,
)

_MAX_HEADER_BYTES = 5_000_000
_MAX_SIGNALS = 4096
# Bytes of a sample, what a missing one reads as, and its bits. FLAC's are a guess from above.
_FORMATS = {
    "8": (1, None, 32),
    "16": (2, -(1 << 15), 16),
    "24": (3, -(1 << 23), 32),
    "32": (4, -(1 << 31), 32),
    "61": (2, -(1 << 15), 16),
    "80": (1, -(1 << 7), 16),
    "160": (2, -(1 << 15), 16),
    "212": (1.5, -(1 << 11), 16),
    "310": (4 / 3, -(1 << 9), 16),
    "311": (4 / 3, -(1 << 9), 16),
    "508": (0.001, -(1 << 7), 16),
    "516": (0.001, -(1 << 15), 16),
    "524": (0.001, -(1 << 23), 32),
}
_DEFAULT_GAIN = 200.0  # of a header that gives none, says WFDB


@dataclass
class _Segment:
    """One single-segment record whose header fits its files."""

    path: Path  # of the header
    header: Any  # wfdb.Record
    frames: int  # complete ones in the files
    notes: list[str]
    digital: dict[int, np.ndarray] = field(default_factory=dict)  # read, and not yet fetched


def read_wfdb(
    path: str | Path, *, subject: str, recording: str | None = None, annotator: str | None = None
) -> Recording:
    """Read one WFDB record, of one or many segments, at the native rate of each signal.

    `path` is the header, a signal file beside it or the record's name without an ending. Missing
    samples are NaN, as are the pieces between segments. With an `annotator` (`atr`), the
    annotation file of that ending gives the annotations.

    Raises:
      RecordingError: header or signal file missing or damaged, lengths that the files do not
      have, segments that do not fit each other, or no usable channel.
    """
    path = header_path(Path(path))
    header = _read_header(path)
    notes: list[str] = []
    if hasattr(header, "seg_name"):
        segments = _segments(path, header, notes)
    else:
        segment = _check(path, header)
        notes += segment.notes
        segments = [(0, segment)]
    frames = max(at + segment.frames for at, segment in segments)
    if isinstance(header.sig_len, int) and hasattr(header, "seg_name"):
        frames = max(frames, header.sig_len)
    fs = float(header.fs)
    if frames == 0:
        names = dict.fromkeys(name for _, part in segments for name in part.header.file_name)
        raise RecordingError(path, f"{', '.join(names)}: no sample in it; copy it again")
    if frames / fs > MAX_DAYS * 86_400:
        raise RecordingError(
            path, f"the header claims {frames / fs / 86_400:.0f} days: damaged header"
        )
    traces = _traces(path, segments, frames, fs)
    channels = read_channels(path, traces, notes)
    annotations = []
    if annotator is not None:
        found, ticks = read_wfdb_annotations(path.with_suffix(f".{annotator}"))
        annotations, remarks = events_of(found, ticks or fs)
        notes += remarks
    return Recording(
        path=str(path),
        subject=subject,
        recording=path.stem if recording is None else recording,
        start=_start(header, notes),
        duration=frames / fs,
        channels=channels,
        annotations=annotations,
        stages=None,
        notes=notes,
    )


def header_path(path: Path) -> Path:
    """The header of a record that is named by any of its files, or without an ending.

    Raises:
      RecordingError: there is none.
    """
    if path.suffix == ".hea":
        return path
    for header in (path.with_name(path.name + ".hea"), path.with_suffix(".hea")):
        if os.path.isfile(header):  # which, unlike Path's, bears any name
            return header
    size_of(path)
    raise RecordingError(path, f"a WFDB record needs its header: no {path.stem}.hea beside it")


def _read_header(path: Path) -> Any:
    """wfdb.Record or wfdb.MultiRecord of a header, nothing but parsed."""
    raw = read_head(path, _MAX_HEADER_BYTES + 1)
    if not _MAX_HEADER_BYTES >= len(raw) > 0:
        raise RecordingError(path, f"is no WFDB header: it has {len(raw)} bytes")
    try:
        with _library() as wfdb:
            header = wfdb.rdheader(str(path.resolve().with_suffix("")))
    except Exception as error:  # wfdb raises whatever its parser stumbles over
        raise RecordingError(
            path, f"is not a readable WFDB header ({error or type(error).__name__})"
        ) from error
    if not isinstance(header.n_sig, int) or not 0 < header.n_sig <= _MAX_SIGNALS:
        raise RecordingError(path, f"the header says {header.n_sig} signals: damaged header")
    if reason := bad_sfreq(float(header.fs or 0)):
        raise RecordingError(path, f"{reason}: damaged header")
    lines = [line.split() for line in raw.decode("latin-1").splitlines() if line.strip()]
    lines = [fields for fields in lines if not fields[0].startswith("#")]
    # wfdb takes of a number what it understands: 1 of 1e99.
    told = lines[0][2].partition("/")[0] if len(lines[0]) > 2 else str(header.fs)
    if not re.fullmatch(r"\d*\.?\d+", told) or float(told) != header.fs:
        raise RecordingError(path, f"its sampling rate {told[:40]!r} is no number: damaged header")
    if len(lines[0]) > 3 and lines[0][3] != str(header.sig_len or 0):
        raise RecordingError(path, f"its number of samples {lines[0][3][:40]!r} is none")
    # wfdb fills in a gain where the header has none (or 0), and does not say so.
    header.uncalibrated = [
        len(fields) < 3 or re.match(r"0*\.?0*(?:[^\d.]|$)", fields[2]) is not None
        for fields in lines[1:]
    ]
    return header


@contextmanager
def _library() -> Iterator[Any]:
    """The wfdb module, without its warnings: 4.3 uses what pandas 3 deprecates.

    It reads headers from their files and from nowhere else, each time anew, so that what archives
    write otherwise (`wfdb_record_line`) has to be put right inside of it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import wfdb  # most of a second to import, and only for WFDB records
        from wfdb.io import _header

        parse = _header._parse_record_line
        _header._parse_record_line = lambda line: parse(standard_record_line(line))
        try:
            yield wfdb
        finally:
            _header._parse_record_line = parse


def _start(header: Any, notes: list[str]) -> datetime | None:
    if header.base_time is None:
        return None
    if header.base_date is None:
        notes.append(f"the header has a time ({header.base_time}) but no date: no start is set")
        return None
    return datetime.combine(header.base_date, header.base_time)


# --- one segment ----------------------------------------------------------------------------------


def _beside(path: Path, name: str | None) -> Path:
    """A file that a header names; never one outside its folder."""
    if not name or name == "-" or Path(name).name != name:
        raise RecordingError(path, f"the header names {str(name)[:80]!r} as a file: not read")
    return path.parent / name


def _check(path: Path, header: Any) -> _Segment:
    """The complete frames that every signal file of a header holds."""
    count, notes = header.n_sig, []
    if not all(
        len(getattr(header, name) or ()) == count
        for name in ("file_name", "fmt", "adc_gain", "baseline", "sig_name", "uncalibrated")
    ):
        raise RecordingError(path, f"the header says {count} signals and describes fewer")
    promised = header.sig_len
    frames = math.inf
    for name in dict.fromkeys(header.file_name):
        members = [i for i in range(count) if header.file_name[i] == name]
        formats = {header.fmt[i] for i in members}
        if len(formats) > 1 or header.fmt[members[0]] not in _FORMATS:
            raise RecordingError(
                path, f"signal file {name}: formats {sorted(map(str, formats))} cannot be read"
            )
        rate = [header.samps_per_frame[i] or 1 for i in members]
        offset = header.byte_offset[members[0]] or 0
        skews = [header.skew[i] or 0 for i in members]
        if min(rate) < 1 or max(rate) > 100_000 or offset < 0 or min(skews) < 0:
            raise RecordingError(path, f"signal file {name}: damaged header")
        file = _beside(path, name)
        if not file.is_file():
            raise RecordingError(path, f"its signal file {name} is not there")
        width = _FORMATS[header.fmt[members[0]]][0] * sum(rate)
        present = max(0, int((file.stat().st_size - offset) / width + 1e-9))
        if max(skews) >= max(present, 1):  # a file without any sample is told of by its frames
            raise RecordingError(path, f"signal file {name}: skew of {max(skews)} samples")
        frames = min(frames, present)
    if promised:
        if frames < promised:
            notes.append(f"truncated: {frames} of {promised} samples present")
        frames = min(frames, promised)
    else:
        if any(header.fmt[i].startswith("5") for i in range(count)):
            raise RecordingError(path, "the header gives no number of samples")
        notes.append("the header gives no number of samples: those in its files are read")
    return _Segment(path, header, int(frames), notes)


def _digital(segment: _Segment, index: int) -> np.ndarray:
    """Digital samples int [frames * samps_per_frame] of one signal; it is kept no longer."""
    if index not in segment.digital:  # all at once: the signals are interleaved in their file
        bits = max(_FORMATS[fmt][2] for fmt in segment.header.fmt)
        try:
            with _library() as wfdb:
                record = wfdb.rdrecord(
                    str(segment.path.resolve().with_suffix("")),
                    sampto=segment.frames if segment.header.sig_len else None,
                    physical=False,
                    smooth_frames=False,
                    return_res=bits,
                )
        except Exception as error:
            raise RecordingError(
                segment.path, f"its signals cannot be read ({error or type(error).__name__})"
            ) from error
        rates = [rate or 1 for rate in segment.header.samps_per_frame]
        segment.digital = {
            i: digital[: segment.frames * rates[i]] for i, digital in enumerate(record.e_d_signal)
        }
    return segment.digital.pop(index)


def _physical(segment: _Segment, index: int, modality: str) -> tuple[np.ndarray, str, list[str]]:
    """(float32 [T], unit, notes) of one signal of one segment."""
    header, notes = segment.header, []
    digital = _digital(segment, index)
    gain, baseline = header.adc_gain[index] or _DEFAULT_GAIN, header.baseline[index]
    if header.uncalibrated[index]:
        notes.append("no gain in the header: 200 units per mV are assumed, as WFDB says")
    unit, factor = voltage_unit(header.units[index] or "mV", modality, notes)
    bits, middle = header.adc_res[index] or 0, header.adc_zero[index] or 0
    missing = _FORMATS[header.fmt[index]][1]
    absent = digital == missing if missing is not None else np.zeros(len(digital), bool)
    half = 2.0 ** (bits - 1) if 0 < bits <= 32 else math.inf
    notes += amplitude_notes(digital[~absent], middle - half, middle + half - 1, modality)
    samples = scaled(digital, zero=baseline or 0, divisor=gain, factor=factor)
    if absent.any():
        samples[absent] = np.nan
        notes.append(f"{absent.mean():.1%} of the samples are marked as missing")
    told = header.checksum[index]
    complete = segment.frames == header.sig_len and not any(header.skew)
    if told is not None and complete and (int(digital.sum(dtype=np.int64)) - told) % 65536:
        notes.append("the header's checksum does not match: samples were changed or damaged")
    return samples, unit, notes


# --- segments -------------------------------------------------------------------------------------


def _segments(path: Path, header: Any, notes: list[str]) -> list[tuple[int, _Segment]]:
    """(first frame, segment) of every segment that has signals, in the order of the header."""
    names, lengths = header.seg_name or [], header.seg_len or []
    if not names or len(names) != len(lengths) or any(x is None or x < 0 for x in lengths):
        raise RecordingError(path, "the header of its segments is damaged")
    found: list[tuple[int, _Segment]] = []
    at = absent = 0
    for i, (name, length) in enumerate(zip(names, lengths)):
        if name == "~" or (i == 0 and length == 0):  # nothing recorded; the layout of what follows
            absent += length
            at += length
            continue
        own = _beside(path, f"{name}.hea")
        part = _read_header(own)
        if hasattr(part, "seg_name"):
            raise RecordingError(own, "is a segment, and has segments itself: damaged header")
        if part.fs != header.fs:
            raise RecordingError(own, f"is at {part.fs} Hz, the record at {header.fs} Hz")
        segment = _check(own, part)
        notes += [f"{own.name}: {note}" for note in segment.notes]
        if segment.frames > length:
            raise RecordingError(
                own, f"has {segment.frames} samples, the record's header gives it {length}"
            )
        absent += length - segment.frames
        found.append((at, segment))
        at += length
    if header.sig_len is not None and at != header.sig_len:
        raise RecordingError(
            path, f"its segments have {at} samples, its header says {header.sig_len}"
        )
    if not found:
        raise RecordingError(path, "none of its segments holds a signal")
    notes.append(f"{len(found)} segments, {absent / float(header.fs):g} s without any")
    return found


def _traces(
    path: Path, segments: list[tuple[int, _Segment]], frames: int, fs: float
) -> list[Trace]:
    """The distinct signals of all segments; equal names in one header are told apart by order."""
    places: dict[tuple[str, int], list[tuple[int, _Segment, int]]] = {}
    for at, segment in segments:
        seen: dict[str, int] = {}
        for i, name in enumerate(segment.header.sig_name):
            label = name or f"signal {i}"
            seen[label] = seen.get(label, 0) + 1
            places.setdefault((label, seen[label]), []).append((at, segment, i))
    rates = {
        key: {segment.header.samps_per_frame[i] or 1 for _, segment, i in parts}
        for key, parts in places.items()
    }
    gaps = [
        (frames - sum(segment.frames for _, segment, _ in parts)) / fs for parts in places.values()
    ]
    check_gaps(path, 1.0, [gap * fs * max(rates[key]) for gap, key in zip(gaps, places)])
    traces = []
    for (label, number), parts in places.items():
        rate = rates[label, number]
        fault = bad_sfreq(fs * max(rate))
        if len(rate) > 1:
            fault = f"its rate changes between segments ({sorted(rate)} samples a frame)"
        traces.append(Trace(label, partial(_read_parts, label, parts, frames, fs), fault))
    return traces


def _read_parts(
    label: str, parts: list[tuple[int, _Segment, int]], frames: int, fs: float, modality: str
) -> Channel:
    rate = parts[0][1].header.samps_per_frame[parts[0][2]] or 1
    whole = None
    notes: list[str] = []
    units = []
    for at, segment, index in parts:
        samples, unit, remarks = _physical(segment, index, modality)
        units.append(unit)
        notes += [n if len(parts) == 1 else f"{segment.path.stem}: {n}" for n in remarks]
        if len(samples) == frames * rate:
            whole = samples
            continue
        if whole is None:
            whole = np.full(frames * rate, np.nan, np.float32)
        whole[at * rate : at * rate + len(samples)] = samples
    if len(set(units)) > 1:
        raise RecordingError(
            parts[0][1].path, f"signal {label!r} changes its unit: {sorted(set(units))}"
        )
    if covered := sum(segment.frames for _, segment, _ in parts) - frames:
        notes.append(f"gaps: {-covered / fs:g} s without data")
    return Channel(label, "", modality, fs * rate, units[0], whole, notes)
