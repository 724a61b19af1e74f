"""The bytes of an EDF, EDF+ or BDF file: header, samples at their native rates, annotations.

Read here rather than through a library because hospital files need what the libraries do not
give: a header checked against the file before anything is allocated, labels in any encoding, the
onset of every data record of an EDF+D, truncated files, and BDF one channel at a time. The tests
compare the values with edfio's and MNE's. Formats: Kemp et al. 1992; Kemp & Olivan 2003;
https://www.edfplus.info.
"""

from __future__ import annotations

import codecs
import math
import re
from dataclasses import dataclass, field
from datetime import date, datetime, time
from pathlib import Path

import numpy as np

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.files import MAX_DAYS, Annotation, size_of
from sleepfm_jax.recordings.transfer import refuse_text, surplus_hint, zeros_at_the_end

# What BDF's first bytes, \xffBIOSEMI, are once they were changed as if they were text.
TEXT_OF_BIOSEMI = (b"\xef\xbf\xbdBIOSE", b"\xc3\xbfBIOSEM")
_MAX_SIGNALS = 4096
_MAPPED = 64 * 2**20  # bytes of a file in memory at a time
_MAX_RECORDS = MAX_DAYS * 86_400  # each costs a look at its clock

_FIELDS = (
    ("label", 16),
    ("transducer", 80),
    ("unit", 8),
    ("physical_min", 8),
    ("physical_max", 8),
    ("digital_min", 8),
    ("digital_max", 8),
    ("prefilter", 80),
    ("samples", 8),
    ("reserved", 32),
)


@dataclass(frozen=True)
class EdfSignal:
    """One signal of the header. Limits are None where the field is not a number."""

    label: str
    unit: str
    physical: tuple[float | None, float | None]  # min, max
    digital: tuple[float | None, float | None]
    samples_per_record: int
    offset: int  # of its first byte in a data record
    is_annotation: bool


@dataclass
class EdfFile:
    """An opened file: its header, checked against its size; samples are read on demand."""

    path: Path
    bytes_per_sample: int  # 2: EDF, 3: BDF
    header_bytes: int
    start: datetime | None  # of the header; the first data record may begin a fraction later
    patient: str  # its local patient identification
    num_records: int  # complete ones present in the file
    record_seconds: float
    record_bytes: int
    discontinuous: bool
    signals: list[EdfSignal]
    notes: list[str] = field(default_factory=list)

    def _bytes(self, signal: EdfSignal) -> np.ndarray:
        """uint8 [records, bytes of the signal in one]."""
        width = signal.samples_per_record * self.bytes_per_sample
        out = np.empty((self.num_records, width), np.uint8)
        # The file is mapped piece by piece: mapped pages count as this process's memory.
        piece = max(1, _MAPPED // self.record_bytes)
        for first in range(0, self.num_records, piece):
            rows = min(piece, self.num_records - first)
            data = np.memmap(
                self.path,
                np.uint8,
                mode="r",
                offset=self.header_bytes + first * self.record_bytes,
                shape=(rows, self.record_bytes),
            )
            out[first : first + rows] = data[:, signal.offset : signal.offset + width]
        return out

    def samples(self, signal: EdfSignal) -> np.ndarray:
        """Digital values int16 or int32 [records * samples_per_record], one signal only."""
        raw = self._bytes(signal)
        if self.bytes_per_sample == 2:
            return raw.view("<i2").reshape(-1)
        # The 24 bits become the upper three bytes of an int32; the shift back carries the sign.
        wide = np.zeros((raw.size // 3, 4), np.uint8)
        wide[:, 1:] = raw.reshape(-1, 3)
        return wide.view("<i4").reshape(-1) >> 8

    def annotations(self) -> tuple[np.ndarray, list[Annotation], int]:
        """(data record onsets [R], NaN where unsaid; annotations; how many were unreadable).

        Times are as in the file: seconds from the header's start time.
        """
        onsets = np.full(self.num_records, np.nan)
        found: list[Annotation] = []
        damaged = 0
        for number, signal in enumerate(s for s in self.signals if s.is_annotation):
            # A zero behind every record: a list that fills its record ends there all the same.
            raw = np.pad(self._bytes(signal), ((0, 0), (0, 1)))
            width = raw.shape[1]
            timed = -1  # the last record whose first list has been seen
            for tal in _TAL.finditer(raw.tobytes()):
                record = tal.start() // width
                stamp, span, texts = tal.groups()
                if stamp is None:
                    damaged += bool(tal[0].strip())
                    continue
                onset, length = float(stamp), float(span or 0)
                if max(abs(onset), length) > MAX_DAYS * 86_400:
                    damaged += 1
                    continue
                if not texts.strip(b"\x14"):
                    # an empty first list keeps the record's time
                    if number == 0 and record != timed:
                        onsets[record] = onset
                else:
                    found += [
                        Annotation(onset, length, decode(text).strip())
                        for text in texts.split(b"\x14")
                        if text.strip()
                    ]
                timed = record
        found.sort(key=lambda a: a.onset)
        return onsets, found, damaged


# A list of annotations: onset, duration, texts; without any group where it is none.
_TAL = re.compile(rb"([+-]\d+(?:\.\d*)?)(?:\x15(\d+(?:\.\d*)?))?\x14([^\x00]*)|[^\x00]+")


def decode(raw: bytes, width: int | None = None) -> str:
    """UTF-8, else Latin-1. A field filled to its width may end in half a character."""
    raw = raw.strip(b" \x00")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        if len(raw) == width:
            try:
                return codecs.getincrementaldecoder("utf-8")().decode(raw)
            except UnicodeDecodeError:
                pass
    return raw.decode("latin-1")


def number(raw: bytes) -> float | None:
    """A number field; some European exporters write a decimal comma."""
    try:
        value = float(raw.strip(b" \x00").decode("ascii").replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def open_edf(path: str | Path) -> EdfFile:
    """Read and check the header of an EDF, EDF+C, EDF+D, BDF or BDF+ file.

    What is odd but harmless goes into `notes`: a truncated file, a record count of -1, an
    unreadable date.

    Raises:
      RecordingError: the file is missing, a folder, empty or of another format; its bytes were
        changed as if they were text; the header contradicts itself or the file's size; not one
        complete data record is there.
    """
    path = Path(path)
    size = size_of(path)
    try:
        edf, expected = _open(path, size)
    except RecordingError:
        with path.open("rb") as file:
            begins = file.read(8)
        if begins.startswith((b"0       ", b"\xffBIOSEMI", *TEXT_OF_BIOSEMI)):
            refuse_text(path)  # which moves what the header says
        raise
    refuse_text(path, expected)
    return edf


def _open(path: Path, size: int) -> tuple[EdfFile, int | None]:
    """(the file, the size that its header gives it or None)."""
    with path.open("rb") as file:
        fixed = file.read(256)
        bytes_per_sample = _format(path, fixed, size)
        num_signals = _count(path, "number of signals", fixed[252:256])
        header_bytes = _count(path, "header length", fixed[184:192])
        if not 0 < num_signals <= _MAX_SIGNALS:
            raise RecordingError(path, f"the header says {num_signals} signals: damaged header")
        if header_bytes != 256 * (num_signals + 1):
            raise RecordingError(
                path,
                f"the header says {num_signals} signals, but its length of {header_bytes} bytes "
                f"is that of {header_bytes / 256 - 1:g}: damaged header",
            )
        if size < header_bytes:
            raise RecordingError(
                path,
                f"truncated within the header: {num_signals} signals need {header_bytes} bytes, "
                f"the file has {size}; copy or export it again",
            )
        table = file.read(256 * num_signals)
    signals = _signals(path, table, num_signals, bytes_per_sample)
    record_bytes = bytes_per_sample * sum(s.samples_per_record for s in signals)
    seconds = number(fixed[244:252])
    if seconds is None or seconds < 0:
        raise RecordingError(path, f"data record duration {fixed[244:252]!r}: damaged header")
    ordinary = sum(not s.is_annotation for s in signals)
    if seconds == 0 and ordinary:
        raise RecordingError(
            path,
            f"data records last 0 s but there are {ordinary} signals: no sampling rate; "
            f"export it again",
        )
    if record_bytes == 0:
        raise RecordingError(path, "no signal has any sample: damaged header")
    notes: list[str] = []
    promised, num_records = _records(path, fixed[236:244], size, header_bytes, record_bytes, notes)
    if num_records > _MAX_RECORDS:
        raise RecordingError(
            path,
            f"{num_records} data records of {record_bytes} bytes and {seconds:g} s: damaged header",
        )
    if num_records * seconds > MAX_DAYS * 86_400:
        raise RecordingError(
            path,
            f"the header claims {num_records * seconds / 86_400:.0f} days ({num_records} records "
            f"of {seconds:g} s): damaged header",
        )
    edf = EdfFile(
        path=path,
        bytes_per_sample=bytes_per_sample,
        header_bytes=header_bytes,
        start=_start(fixed, notes),
        patient=decode(fixed[8:88], 80),
        num_records=num_records,
        record_seconds=seconds,
        record_bytes=record_bytes,
        discontinuous=fixed[192:197] in (b"EDF+D", b"BDF+D"),
        signals=signals,
        notes=notes,
    )
    return edf, header_bytes + promised * record_bytes if promised > 0 else None


def _format(path: Path, fixed: bytes, size: int) -> int:
    if fixed[:8] == b"\xffBIOSEMI":
        width = 3
    elif fixed[:8].strip(b" \x00") == b"0":
        width = 2
    else:
        hint = "is not an EDF or BDF file"
        if fixed[:3] == b"GDF":
            hint = "is a GDF file, not EDF: for read_recording"
        elif fixed[:2] == b"\x1f\x8b":
            hint = "is compressed with gzip: unpack it first"
        raise RecordingError(path, f"{hint} (it begins with {fixed[:8]!r})")
    if size < 256:
        raise RecordingError(path, f"truncated within the header: {size} bytes; copy it again")
    return width


def _count(path: Path, what: str, raw: bytes) -> int:
    value = number(raw)
    if value is None or value != int(value):
        raise RecordingError(path, f"{what} {raw!r} is not a whole number: damaged header")
    return int(value)


def _signals(path: Path, table: bytes, count: int, bytes_per_sample: int) -> list[EdfSignal]:
    columns: dict[str, list[bytes]] = {}
    at = 0
    for name, width in _FIELDS:
        columns[name] = [table[at + i * width : at + (i + 1) * width] for i in range(count)]
        at += width * count
    signals = []
    offset = 0
    for i in range(count):
        label = decode(columns["label"][i], 16)
        samples = _count(
            path, f"samples per data record of signal {i} {label!r}", columns["samples"][i]
        )
        if samples < 0:
            raise RecordingError(
                path, f"signal {i} {label!r} has {samples} samples: damaged header"
            )
        physical, digital = (
            (number(columns[f"{kind}_min"][i]), number(columns[f"{kind}_max"][i]))
            for kind in ("physical", "digital")
        )
        signals.append(
            EdfSignal(
                label=label,
                unit=decode(columns["unit"][i], 8),
                physical=physical,
                digital=digital,
                samples_per_record=samples,
                offset=offset,
                is_annotation=label in ("EDF Annotations", "BDF Annotations"),
            )
        )
        offset += samples * bytes_per_sample
    return signals


def _records(
    path: Path, raw: bytes, size: int, header_bytes: int, record_bytes: int, notes: list[str]
) -> tuple[int, int]:
    """(data records by the header, how many to read: that number, or what is there if less)."""
    promised = _count(path, "number of data records", raw)
    data_bytes = size - header_bytes
    present = data_bytes // record_bytes
    if present == 0:
        raise RecordingError(
            path,
            f"not one complete data record: a record has {record_bytes} bytes, the file has "
            f"{data_bytes} after its header; copy or export it again",
        )
    number = present if promised <= 0 else min(promised, present)
    end = header_bytes + number * record_bytes
    if promised <= 0:  # -1: the recorder never closed the file
        notes.append(
            f"the header gives {promised} data records: the {present} in the file are read"
        )
    elif promised > present:
        notes.append(f"truncated: {present} of {promised} data records present")
    elif size > end:
        with path.open("rb") as file:
            hint = surplus_hint(path, end, file.read(8))
        notes.append(
            f"{size - end} bytes after the last of {promised} data records are not read{hint}"
        )
    if zeros := zeros_at_the_end(path, header_bytes, end) // record_bytes:
        notes.append(f"the last {zeros} data records hold nothing but zeros, in every signal")
    return promised, number


_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]


def _start(fixed: bytes, notes: list[str]) -> datetime | None:
    """Date and time of the header; the EDF+ start date, with its four-digit year, goes first."""
    day = _date(fixed[168:176])
    plus = re.match(rb"Startdate (\d{1,2})-([A-Za-z]{3})-(\d{4})\b", fixed[88:168])
    if plus and plus[2].decode().upper() in _MONTHS:
        try:
            said = date(int(plus[3]), _MONTHS.index(plus[2].decode().upper()) + 1, int(plus[1]))
        except ValueError:
            pass
        else:
            if day is not None and (day.month, day.day) != (said.month, said.day):
                notes.append(
                    f"the header has two start dates, {day} and {said}: the second is used"
                )
            day = said
    clock = re.fullmatch(rb" ?(\d{1,2})[.:' -] ?(\d{1,2})[.:' -] ?(\d{1,2}) *", fixed[176:184])
    try:
        moment = time(*map(int, clock.groups())) if clock else None
    except ValueError:
        moment = None
    if day is None or moment is None:
        notes.append(
            f"start date and time {fixed[168:184].decode('latin-1')!r} not readable: none is set"
        )
        return None
    return datetime.combine(day, moment)


def _date(raw: bytes) -> date | None:
    match = re.fullmatch(rb" ?(\d{1,2})[./' -] ?(\d{1,2})[./' -] ?(\d{2}) *", raw)
    if match is None:
        return None
    day, month, year = map(int, match.groups())
    try:
        return date(year + (1900 if year >= 85 else 2000), month, day)  # the clipping date of EDF
    except ValueError:
        return None
