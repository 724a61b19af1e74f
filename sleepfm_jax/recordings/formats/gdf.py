"""GDF, the General Data Format for biosignals (versions 1 and 2), at its native rates.

Read here because the one library that reads it, MNE, brings every channel to the fastest rate; the
tests compare the values with MNE's. Format: Schlögl 2013, arXiv:cs/0608052.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.files import MAX_DAYS, Annotation, read_head, size_of
from sleepfm_jax.recordings.formats.edf_bytes import decode
from sleepfm_jax.recordings.person import Person, age_at
from sleepfm_jax.recordings.recording import (
    Channel,
    Recording,
    Trace,
    amplitude_notes,
    bad_limits,
    bad_sfreq,
    drop_no_numbers,
    limit_notes,
    read_channels,
    scaled,
    voltage_unit,
)
from sleepfm_jax.recordings.transfer import refuse_text, surplus_hint, zeros_at_the_end

_MAX_SIGNALS = 4096
_MAX_EVENTS = 5_000_000
# Numbers of the standard's data types; 24-bit integers have no NumPy type.
_TYPES = {
    **{1: "<i1", 2: "<u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<i8", 8: "<u8"},
    **{16: "<f4", 17: "<f8", 279: "int24", 535: "uint24"},
}
# Codes of ISO/IEEE 11073-10101 that a recording of people has; the low five bits are the prefix.
_UNITS = {512: "", 544: "%", 4256: "V", 4288: "Ohm", 6048: "°C", 2496: "Hz", 3872: "mmHg"}
_PREFIXES = {0: "", 18: "m", 19: "u", 20: "n", 3: "k"}


@dataclass(frozen=True)
class _Signal:
    label: str
    unit: str
    physical: tuple[float, float]
    digital: tuple[float, float]
    per_record: int
    type: str  # of `_TYPES`
    offset: int  # of its first byte in a data record

    @property
    def bytes_per_sample(self) -> int:
        return 3 if self.type.endswith("int24") else np.dtype(self.type).itemsize


@dataclass(frozen=True)
class _Gdf:
    path: Path
    version: float
    start: datetime | None
    header_bytes: int
    num_records: int
    record_seconds: float
    record_bytes: int
    signals: list[_Signal]
    notes: list[str]
    person: Person


def read_gdf(
    path: str | Path,
    *,
    subject: str,
    recording: str | None = None,
    modalities: Mapping[str, str] | None = None,
) -> Recording:
    """Read a GDF file. Events become annotations, their text the event's code (`0x0300`).

    `modalities`: of labels that are not known here (`read_channels`).

    Raises:
      RecordingError: another format, a header that contradicts itself or the file's size, bytes
      that were changed as if they were text, or no usable channel.
    """
    path = Path(path)
    try:
        gdf = _open(path)
    except RecordingError:
        if read_head(path, 4) == b"GDF ":
            refuse_text(path)  # which moves what the header says
        raise
    notes = list(gdf.notes)
    annotations, end = _events(gdf, notes)
    refuse_text(path, end)
    _check_end(gdf, end, notes)
    traces = [
        Trace(signal.label, partial(_read_channel, gdf, signal), _unusable(gdf, signal))
        for signal in gdf.signals
    ]
    return Recording(
        path=str(path),
        subject=subject,
        recording=Path(path).stem if recording is None else recording,
        start=gdf.start,
        duration=gdf.num_records * gdf.record_seconds,
        channels=read_channels(gdf.path, traces, notes, modalities),
        annotations=annotations,
        stages=None,
        notes=notes,
        person=gdf.person,
    )


# --- header ---------------------------------------------------------------------------------------


def _open(path: Path) -> _Gdf:
    size = size_of(path)
    fixed = read_head(path, 256)
    version = re.fullmatch(rb"GDF (\d\.\d\d)", fixed[:8])
    if version is None:
        raise RecordingError(path, f"is not a GDF file (it begins with {fixed[:8]!r})")
    number = float(version[1])
    if len(fixed) < 256:
        raise RecordingError(path, f"truncated within the header: {size} bytes; copy it again")
    if number < 1.9:
        header_bytes = _integer(fixed, 184, "<i8")
        count = _integer(fixed, 252, "<u4")
        start = _start_of_text(fixed[168:184])
    else:
        header_bytes = 256 * _integer(fixed, 184, "<u2")
        count = _integer(fixed, 252, "<u2")
        start = _start_of_days(_integer(fixed, 168, "<u8"))
    if not 0 < count <= _MAX_SIGNALS:
        raise RecordingError(path, f"the header says {count} signals: damaged header")
    if not 256 * (count + 1) <= header_bytes <= size:
        raise RecordingError(
            path,
            f"the header says {count} signals and {header_bytes} bytes of header, in a file of "
            f"{size}: damaged header or truncated file",
        )
    numerator, denominator = (_integer(fixed, at, "<u4") for at in (244, 248))
    if numerator == 0 or denominator == 0:
        raise RecordingError(
            path, f"data records last {numerator}/{denominator} s: no sampling rate; export again"
        )
    table = read_head(path, 256 * (count + 1))[256:]
    signals = _signals(path, table, count, number)
    record_bytes = sum(s.bytes_per_sample * s.per_record for s in signals)
    if record_bytes == 0:
        raise RecordingError(path, "no signal has any sample: damaged header")
    notes = [] if start is not None else ["the header has no start date: none is set"]
    promised = _integer(fixed, 236, "<i8")
    present = (size - header_bytes) // record_bytes
    if present == 0:
        raise RecordingError(
            path, f"not one complete data record of {record_bytes} bytes; copy it again"
        )
    if promised <= 0:
        notes.append(f"the header gives {promised} data records: {present} are in the file")
    elif promised > present:
        notes.append(f"truncated: {present} of {promised} data records present")
    records = present if promised <= 0 else min(promised, present)
    record_seconds = numerator / denominator
    if records * record_seconds > MAX_DAYS * 86_400:
        raise RecordingError(
            path,
            f"the header claims {records * record_seconds / 86_400:.0f} days: damaged header",
        )
    return _Gdf(
        path,
        number,
        start,
        header_bytes,
        records,
        record_seconds,
        record_bytes,
        signals,
        notes,
        Person() if number < 1.9 else _person(fixed, start),
    )


def _person(fixed: bytes, start: datetime | None) -> Person:
    """Version 2: the birthday as the start's date is written, the sex in two bits."""
    birth = _start_of_days(_integer(fixed, 176, "<u8"))
    return Person(age_at(birth, start), {1: "male", 2: "female"}.get(fixed[87] & 3, ""))


def _integer(raw: bytes, at: int, kind: str) -> int:
    return int(np.frombuffer(raw, kind, 1, at)[0])


def _signals(path: Path, table: bytes, count: int, version: float) -> list[_Signal]:
    limit = "<i8" if version < 1.9 else "<f8"
    number_of_samples = 216  # where the widths before it end, in both versions

    def column(before: int, kind: str) -> list[float]:
        return np.frombuffer(table, kind, count, before * count).tolist()

    units = (
        [decode(table[96 * count + 8 * i :][:8]) for i in range(count)]
        if version < 1.9
        else [_unit(int(code)) for code in column(102, "<u2")]
    )
    physical = list(zip(column(104, "<f8"), column(112, "<f8")))
    digital = list(zip(column(120, limit), column(128, limit)))
    samples = [int(n) for n in column(number_of_samples, "<i4")]
    kinds = [int(kind) for kind in column(number_of_samples + 4, "<i4")]
    signals, offset = [], 0
    for i in range(count):
        label = decode(table[16 * i : 16 * i + 16], 16)
        if samples[i] < 0 or kinds[i] not in _TYPES:
            raise RecordingError(
                path,
                f"signal {i} {label!r} has {samples[i]} samples a record of data type {kinds[i]}: "
                f"damaged header",
            )
        signals.append(
            _Signal(label, units[i], physical[i], digital[i], samples[i], _TYPES[kinds[i]], offset)
        )
        offset += signals[-1].bytes_per_sample * samples[i]
    return signals


def _unit(code: int) -> str:
    base, prefix = _UNITS.get(code & ~31), _PREFIXES.get(code & 31)
    if code == 0:
        return ""
    return f"unit code {code}" if base is None or prefix is None else prefix + base


def _start_of_text(raw: bytes) -> datetime | None:
    """Version 1: YYYYMMDDhhmmsscc."""
    text = raw.decode("latin-1").strip(" \x00")
    digits = re.fullmatch(r"(\d{14})(\d{2})?", text)
    try:
        moment = datetime.strptime(digits[1], "%Y%m%d%H%M%S") if digits else None
    except ValueError:
        return None
    return moment and moment + timedelta(milliseconds=10 * int(digits[2] or 0))


def _start_of_days(value: int) -> datetime | None:
    """Version 2: days since the year 0, in units of 2**-32."""
    if value == 0:
        return None
    try:
        return datetime(1, 1, 1) + timedelta(days=value / 2**32 - 367)
    except OverflowError:
        return None


# --- samples --------------------------------------------------------------------------------------


def _unusable(gdf: _Gdf, signal: _Signal) -> str | None:
    if signal.per_record == 0:
        return "it has no samples"
    limits = [x if math.isfinite(x) else None for x in (*signal.physical, *signal.digital)]
    return bad_limits(tuple(limits[:2]), tuple(limits[2:])) or bad_sfreq(
        signal.per_record / gdf.record_seconds
    )


def _digital(gdf: _Gdf, signal: _Signal) -> np.ndarray:
    """Digital values [records * per_record] of one signal, in their own type."""
    data = np.memmap(
        gdf.path,
        np.uint8,
        mode="r",
        offset=gdf.header_bytes,
        shape=(gdf.num_records, gdf.record_bytes),
    )
    width = signal.per_record * signal.bytes_per_sample
    raw = np.ascontiguousarray(data[:, signal.offset : signal.offset + width])
    if signal.bytes_per_sample != 3:
        return raw.view(signal.type).reshape(-1)
    # The 24 bits become the upper three bytes of an int32; the shift back carries the sign.
    wide = np.zeros((raw.size // 3, 4), np.uint8)
    wide[:, 1:] = raw.reshape(-1, 3)
    return wide.view("<u4" if signal.type == "uint24" else "<i4").reshape(-1) >> 8


def _read_channel(gdf: _Gdf, signal: _Signal, modality: str) -> Channel:
    notes: list[str] = []
    unit, factor = voltage_unit(signal.unit, modality, notes)
    notes += limit_notes(signal.physical, signal.digital)
    digital = _digital(gdf, signal)
    low, high = sorted(signal.digital)
    notes += amplitude_notes(digital, low, high, modality)
    gain = (signal.physical[1] - signal.physical[0]) / (signal.digital[1] - signal.digital[0])
    with np.errstate(over="ignore", invalid="ignore"):  # a float64 need not fit into a float32
        samples = scaled(
            digital, zero=signal.digital[0], gain=gain, offset=signal.physical[0], factor=factor
        )
    drop_no_numbers(samples, notes)
    sfreq = signal.per_record / gdf.record_seconds
    return Channel(signal.label, "", modality, sfreq, unit, samples, notes)


# --- events ---------------------------------------------------------------------------------------


def _events(gdf: _Gdf, notes: list[str]) -> tuple[list[Annotation], int | None]:
    """(the table behind the data records, where it ends or None where that is not known).

    Mode, rate, number; then position, type, duration.
    """
    if any(note.startswith("truncated") for note in notes):
        return [], None
    begin = gdf.header_bytes + gdf.num_records * gdf.record_bytes
    with gdf.path.open("rb") as file:
        file.seek(begin)
        head = file.read(8)
        if not head.strip(b"\x00") or head[:4] == b"GDF ":  # no table
            return [], begin
        if len(head) < 8:
            notes.append("truncated: its event table is not complete, and not read")
            return [], None
        mode, three = head[0], int.from_bytes(head[1:4], "little")
        if gdf.version < 1.94:
            sfreq, count = float(three), _integer(head, 4, "<u4")
        else:
            count, sfreq = three, float(np.frombuffer(head, "<f4", 1, 4)[0])
        # Of each event: position uint32, type uint16; in mode 3 channel uint16, duration uint32.
        width = {1: 6, 3: 12}.get(mode)
        if width is None or bad_sfreq(sfreq) or count > _MAX_EVENTS:
            notes.append("its event table could not be read")
            return [], None
        raw = file.read(width * count)
    if len(raw) < width * count:
        notes.append(f"truncated: its table of {count} events is not complete, and not read")
        return [], None
    positions = np.frombuffer(raw, "<u4", count).astype(np.int64) - 1  # the first sample is 1
    types = np.frombuffer(raw, "<u2", count, 4 * count)
    lengths = np.frombuffer(raw, "<u4", count, 8 * count) if mode == 3 else np.zeros(count)
    events = [
        Annotation(float(p / sfreq), float(d / sfreq), f"0x{t:04X}")
        for p, t, d in zip(positions, types, lengths)
    ]
    return sorted(events, key=lambda event: event.onset), begin + 8 + width * count


def _check_end(gdf: _Gdf, end: int | None, notes: list[str]) -> None:
    """Says what lies behind the file's end, and whether its last data records were filled up."""
    surplus = 0 if end is None else size_of(gdf.path) - end
    if surplus > 0:
        hint = surplus_hint(gdf.path, end, b"GDF ")
        notes.append(f"{surplus} bytes after its last event are not read{hint}")
    last = gdf.header_bytes + gdf.num_records * gdf.record_bytes
    if zeros := zeros_at_the_end(gdf.path, gdf.header_bytes, last) // gdf.record_bytes:
        notes.append(f"the last {zeros} data records hold nothing but zeros, in every signal")
