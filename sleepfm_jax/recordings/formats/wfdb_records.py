"""WFDB records (PhysioNet): a `.hea` header and the `.dat` or `.mat` files that it names.

The header is checked against the files before any sample is read: what it claims decides what is
allocated. https://physionet.org/physiotools/wag/header-5.htm
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.files import MAX_DAYS, read_head, size_of, unfetched
from sleepfm_jax.recordings.formats.wfdb_annotations import events_of, read_wfdb_annotations
from sleepfm_jax.recordings.formats.wfdb_header import Header, parse_header
from sleepfm_jax.recordings.formats.wfdb_samples import FORMATS, digital_samples
from sleepfm_jax.recordings.person import of_comments
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
from sleepfm_jax.recordings.transfer import refuse_text, surplus_hint, zeros_at_the_end

_MAX_HEADER_BYTES = 5_000_000
_MAX_SIGNALS = 4096


@dataclass
class _Segment:
    """One single-segment record whose header fits its files."""

    path: Path  # of the header
    header: Header
    frames: int  # complete ones in the files
    notes: list[str]
    digital: dict[int, np.ndarray] = field(default_factory=dict)  # read, and not yet fetched

    def samples(self, index: int) -> np.ndarray:
        """Digital samples int [frames * samps_per_frame] of one signal; it is kept no longer."""
        if index not in self.digital:  # all at once: the signals are interleaved in their file
            self.digital = digital_samples(self.path, self.header, self.frames)
        return self.digital.pop(index)


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
    if header.segments is not None:
        segments = _segments(path, header, notes)
    else:
        segment = _check(path, header)
        notes += segment.notes
        segments = [(0, segment)]
    frames = max(at + segment.frames for at, segment in segments)
    if header.segments is not None:
        frames = max(frames, header.sig_len or 0)
    fs = header.fs
    if frames == 0:
        sizes = {
            name: part.path.with_name(name).stat().st_size
            for _, part in segments
            for name in part.header.file_names
        }
        said = ", ".join(f"{name} has {size} bytes" for name, size in sizes.items())
        raise RecordingError(path, f"{said}: no sample in it; copy it again")
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
        person=of_comments(header.comments),
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


def _read_header(path: Path) -> Header:
    raw = read_head(path, _MAX_HEADER_BYTES + 1)
    if not _MAX_HEADER_BYTES >= len(raw) > 0:
        raise RecordingError(path, f"is no WFDB header: it has {len(raw)} bytes")
    try:
        header = parse_header(raw.decode("ascii", errors="ignore"))
    except ValueError as error:
        raise RecordingError(path, f"is not a readable WFDB header ({error})") from error
    if not 0 < header.num_signals <= _MAX_SIGNALS:
        raise RecordingError(path, f"the header says {header.num_signals} signals: damaged header")
    if reason := bad_sfreq(header.fs):
        raise RecordingError(path, f"{reason}: damaged header")
    lines = [line.split() for line in raw.decode("latin-1").splitlines() if line.strip()]
    fields = next(line for line in lines if not line[0].startswith("#"))
    # The grammar takes of a number what it understands: 1 of 1e99.
    told = fields[2].partition("/")[0] if len(fields) > 2 else str(header.fs)
    if not re.fullmatch(r"\d*\.?\d+", told) or float(told) != header.fs:
        raise RecordingError(path, f"its sampling rate {told[:40]!r} is no number: damaged header")
    if len(fields) > 3 and fields[3] != str(header.sig_len or 0):
        raise RecordingError(path, f"its number of samples {fields[3][:40]!r} is none")
    return header


def _start(header: Header, notes: list[str]) -> datetime | None:
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


def _check(path: Path, header: Header) -> _Segment:
    """The complete frames that every signal file of a header holds."""
    count, notes = header.num_signals, []
    if len(header.signals) != count:
        raise RecordingError(
            path, f"the header says {count} signals and describes {len(header.signals)}"
        )
    promised = header.sig_len
    frames = math.inf
    filled = math.inf  # frames of zeros at the end of every file
    for name in header.file_names:
        members = [signal for signal in header.signals if (signal.file_name or "") == name]
        formats = {signal.fmt for signal in members}
        fmt = members[0].fmt
        if len(formats) > 1 or fmt not in FORMATS:
            raise RecordingError(
                path, f"signal file {name}: formats {sorted(formats)} cannot be read"
            )
        rate = [signal.samps_per_frame or 1 for signal in members]
        offset = members[0].byte_offset
        skew = max(signal.skew for signal in members)
        if max(rate) > 100_000:
            raise RecordingError(path, f"signal file {name}: damaged header")
        file = _beside(path, name)
        if reason := unfetched(file):
            raise RecordingError(path, f"its signal file {name}: {reason}")
        if not file.is_file():
            raise RecordingError(path, f"its signal file {name} is not there")
        size = file.stat().st_size
        width = FORMATS[fmt][0] * sum(rate)
        present = max(0, int((size - offset) / width + 1e-9))
        if promised and not fmt.startswith("5"):  # FLAC's length says nothing
            _check_size(path, name, size, offset, width, promised, notes)
            end = offset + int(min(present, promised) * width)
            filled = min(filled, zeros_at_the_end(file, offset, end) // width)
        elif not fmt.startswith("5"):
            refuse_text(path, name=name)
        if skew >= max(present, 1):  # a file without any sample is told of by its frames
            raise RecordingError(path, f"signal file {name}: skew of {skew} samples")
        frames = min(frames, present)
    if promised:
        if frames < promised:
            notes.append(f"truncated: {frames} of {promised} samples present")
        frames = min(frames, promised)
        if header.fs <= filled < frames:
            notes.append(
                f"the last {filled / header.fs:g} s hold nothing but zeros, in all signals"
            )
    else:
        if any(signal.fmt.startswith("5") for signal in header.signals):
            raise RecordingError(path, "the header gives no number of samples")
        notes.append("the header gives no number of samples: those in its files are read")
    return _Segment(path, header, int(frames), notes)


def _check_size(
    path: Path, name: str, size: int, offset: int, width: float, promised: int, notes: list[str]
) -> None:
    """Compares a signal file's size with what its header says of it."""
    expected = offset + math.ceil(width * promised)
    # Samples of 212 and the like come in groups: the last one may be written whole.
    spare = 0 if float(width).is_integer() else 3
    refuse_text(path, size if expected <= size <= expected + spare else expected, name=name)
    if size > expected + spare:
        hint = surplus_hint(path.with_name(name), expected)
        notes.append(
            f"{size - expected} bytes of {name} after the last of {promised} samples are not read"
            f"{hint}"
        )


def _physical(segment: _Segment, index: int, modality: str) -> tuple[np.ndarray, str, list[str]]:
    """(float32 [T], unit, notes) of one signal of one segment."""
    signal, notes = segment.header.signals[index], []
    digital = segment.samples(index)
    if not signal.calibrated:
        notes.append("no gain in the header: 200 units per mV are assumed, as WFDB says")
    unit, factor = voltage_unit(signal.units, modality, notes)
    bits, middle = signal.adc_res, signal.adc_zero
    missing = FORMATS[signal.fmt][1]
    absent = digital == missing if missing is not None else np.zeros(len(digital), bool)
    half = 2.0 ** (bits - 1) if 0 < bits <= 32 else math.inf
    notes += amplitude_notes(digital[~absent], middle - half, middle + half - 1, modality)
    samples = scaled(digital, zero=signal.baseline, divisor=signal.adc_gain, factor=factor)
    if absent.any():
        samples[absent] = np.nan
        notes.append(f"{absent.mean():.1%} of the samples are marked as missing")
    told = signal.checksum
    complete = segment.frames == segment.header.sig_len and not any(
        other.skew for other in segment.header.signals
    )
    if told is not None and complete and (int(digital.sum(dtype=np.int64)) - told) % 65536:
        notes.append("the header's checksum does not match: samples were changed or damaged")
    return samples, unit, notes


# --- segments -------------------------------------------------------------------------------------


def _segments(path: Path, header: Header, notes: list[str]) -> list[tuple[int, _Segment]]:
    """(first frame, segment) of every segment that has signals, in the order of the header."""
    if not header.segments:
        raise RecordingError(path, "the header of its segments is damaged")
    found: list[tuple[int, _Segment]] = []
    at = absent = 0
    for i, (name, length) in enumerate(header.segments):
        if name == "~" or (i == 0 and length == 0):  # nothing recorded; the layout of what follows
            absent += length
            at += length
            continue
        own = _beside(path, f"{name}.hea")
        part = _read_header(own)
        if part.segments is not None:
            raise RecordingError(own, "is a segment, and has segments itself: damaged header")
        if part.fs != header.fs:
            raise RecordingError(own, f"is at {part.fs:g} Hz, the record at {header.fs:g} Hz")
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
    notes.append(f"{len(found)} segments, {absent / header.fs:g} s without any")
    return found


def _traces(
    path: Path, segments: list[tuple[int, _Segment]], frames: int, fs: float
) -> list[Trace]:
    """The distinct signals of all segments; equal names in one header are told apart by order."""
    places: dict[tuple[str, int], list[tuple[int, _Segment, int]]] = {}
    for at, segment in segments:
        seen: dict[str, int] = {}
        for i, signal in enumerate(segment.header.signals):
            label = signal.sig_name or f"signal {i}"
            seen[label] = seen.get(label, 0) + 1
            places.setdefault((label, seen[label]), []).append((at, segment, i))
    rates = {
        key: {segment.header.signals[i].samps_per_frame or 1 for _, segment, i in parts}
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
    rate = parts[0][1].header.signals[parts[0][2]].samps_per_frame or 1
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
