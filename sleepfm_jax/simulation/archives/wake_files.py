"""Files as archives have them, byte by byte: plain EDF, WFDB with MATLAB samples. And their faults.

Written by hand rather than through a library, which would refuse what archives hold: repeated
labels, dashes for channels, limits that are swapped.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sleepfm_jax.simulation.archives.faults import NOTED, QUARANTINED, REPAIRED

_DIGITAL = 32767
_START = datetime.datetime(2009, 3, 5, 10, 30, 0)


def write_edf(
    path: Path,
    labels: Sequence[str],
    signals: np.ndarray,
    sfreq: int,
    *,
    subject: str,
    unit: str = "uV",
    limit: float = 3200.0,
    start: datetime.datetime = _START,
) -> None:
    """Writes a plain EDF file of one rate in 1-s data records; `signals` [C, T] in `unit`.

    Samples beyond ±`limit` are clipped; the last, incomplete second is not written.
    """
    count, seconds = len(labels), signals.shape[1] // sfreq

    def fields(texts: Sequence[object], width: int) -> bytes:
        return b"".join(str(text).encode("latin-1")[:width].ljust(width) for text in texts)

    when = [start.strftime("%d.%m.%y"), start.strftime("%H.%M.%S")]
    head = fields(["0"], 8) + fields([subject, "Startdate simulated"], 80) + fields(when, 8)
    head += fields([256 * (count + 1)], 8) + fields([""], 44) + fields([seconds, 1], 8)
    head += fields([count], 4) + fields(labels, 16) + fields([""] * count, 80)
    for text in (unit, f"{-limit:g}", f"{limit:g}", -_DIGITAL, _DIGITAL):
        head += fields([text] * count, 8)
    head += fields(["HP:0.000 Hz LP:0.0 Hz"] * count, 80) + fields([sfreq] * count, 8)
    head += fields([""] * count, 32)
    digital = np.clip(np.rint(signals * (_DIGITAL / limit)), -_DIGITAL, _DIGITAL)
    digital = digital[:, : seconds * sfreq].astype("<i2").reshape(count, seconds, sfreq)
    write_whole(path, head + digital.transpose(1, 0, 2).tobytes())


def write_wfdb(
    header: Path,
    leads: Sequence[str],
    signals: np.ndarray,
    sfreq: int,
    codes: Sequence[str],
    *,
    year: int,
) -> None:
    """Writes an exam as the CinC Challenges of 2020 or 2021 do: `.hea`, and `.mat` of int16 uV.

    `signals` [C, T] in mV; `codes` are its diagnoses.
    """
    name, count = header.stem, len(leads)
    digital = np.clip(np.rint(signals * 1000), -32000, 32000).astype("<i2")
    size = f"{name} {count} {sfreq} {digital.shape[1]}"
    lines = [f"{size} 12-May-2020 12:33:59" if year == 2020 else size]
    coded = "16+24 1000/mV" if year == 2020 else "16x1+24 1000.0(0)/mV"
    for lead, row in zip(leads, digital):
        total = int(row.sum(dtype=np.int64))
        checksum = (total + 32768) % 65536 - 32768
        lines.append(f"{name}.mat {coded} 16 0 {row[0]} {checksum} 0 {lead}")
    mark = "#" if year == 2020 else "# "
    about = {"Age": "59", "Sex": "Female", "Dx": ",".join(codes), "Rx": "Unknown"}
    lines += [f"{mark}{key}: {value}" for key, value in about.items()]
    # MATLAB 4: little-endian int16 matrix `val` [C, T], column by column.
    head = struct.pack("<5i", 30, count, digital.shape[1], 0, 4) + b"val\0"
    write_whole(header.with_suffix(".mat"), head + digital.T.tobytes())
    write_whole(header, ("\n".join(lines) + "\n").encode())


def write_dat(header: Path, leads: Sequence[str], signals: np.ndarray, sfreq: int) -> None:
    """Writes a record as PTB-XL does: `.hea` and `.dat` of int16 uV; `signals` [C, T] in mV."""
    name = header.stem
    digital = np.clip(np.rint(signals * 1000), -32000, 32000).astype("<i2")
    lines = [f"{name} {len(leads)} {sfreq} {digital.shape[1]}"]
    for lead, row in zip(leads, digital):
        total = int(row.sum(dtype=np.int64)) % 65536
        lines.append(f"{name}.dat 16 1000.0(0)/mV 16 0 {row[0]} {total} 0 {lead.upper()}")
    write_whole(header.with_suffix(".dat"), digital.T.tobytes())
    write_whole(header, ("\n".join(lines) + "\n").encode())


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that it is either whole or not there, folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    os.replace(part, path)


# --- faults ---------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Fault:
    """What is done to a recording's main file, and what a builder should make of it."""

    damage: Callable[[Path], None]
    outcome: str
    # A regular expression: in a line of the recording's entry in the build report (its reason, a
    # note, a channel with its notes). {first} stands for the label of the first channel.
    expected: str


def first_label(path: Path) -> str:
    """The label of an EDF file's first channel."""
    with path.open("rb") as file:
        return file.read(272)[256:].decode("latin-1").strip()


def _change(path: Path, change: Callable[[bytearray], bytearray | bytes]) -> None:
    path.write_bytes(bytes(change(bytearray(path.read_bytes()))))


def _truncated(path: Path) -> None:
    _change(path, lambda raw: raw[: int(0.7 * len(raw))])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _web_page(path: Path) -> None:
    _change(path, lambda raw: b"<html>404 Not Found</html>".ljust(len(raw) // 8))


# Where the fields of signals stand in an EDF header: bytes a signal before the field's block.
_PHYSICAL_MIN, _PHYSICAL_MAX = 104, 112


def _limit(raw: bytearray, field: int) -> slice:
    """The 8 bytes of a limit of the first signal."""
    first = 256 + int(raw[252:256]) * field
    return slice(first, first + 8)


def _unknown_records(path: Path) -> None:
    def change(raw: bytearray) -> bytearray:
        raw[236:244] = b"-1".ljust(8)
        return raw

    _change(path, change)


def _swapped_limits(path: Path) -> None:
    def change(raw: bytearray) -> bytearray:
        low, high = _limit(raw, _PHYSICAL_MIN), _limit(raw, _PHYSICAL_MAX)
        raw[low], raw[high] = raw[high], raw[low]
        return raw

    _change(path, change)


def _equal_limits(path: Path) -> None:
    def change(raw: bytearray) -> bytearray:
        raw[_limit(raw, _PHYSICAL_MAX)] = raw[_limit(raw, _PHYSICAL_MIN)]
        return raw

    _change(path, change)


def _flat(path: Path) -> None:
    """The first channel never moves."""

    def change(raw: bytearray) -> bytearray:
        count = int(raw[252:256])
        rates = [int(raw[256 + count * 216 + 8 * i :][:8]) for i in range(count)]
        first, step = 256 * (count + 1), 2 * sum(rates)
        for at in range(first, len(raw), step):
            raw[at : at + 2 * rates[0]] = bytes(2 * rates[0])
        return raw

    _change(path, change)


EDF_FAULTS = {
    "empty": Fault(_empty, QUARANTINED, "is empty"),
    "truncated": Fault(_truncated, REPAIRED, r"truncated: \d+ of \d+ data records"),
    "swapped_limits": Fault(_swapped_limits, NOTED, "^{first} .*physical limits are swapped"),
    "web_page": Fault(_web_page, QUARANTINED, "EDF"),
    "equal_limits": Fault(
        _equal_limits, NOTED, "signal '{first}' kept out: its physical limits are equal"
    ),
    "records_unknown": Fault(_unknown_records, REPAIRED, "the header gives -1 data records"),
    "flat": Fault(_flat, NOTED, "^{first} .*flat"),
}
"""Faults of an EDF file."""


def _signal_file(header: Path) -> Path:
    return header.with_suffix(".dat" if header.with_suffix(".dat").exists() else ".mat")


def _no_signal(header: Path) -> None:
    _signal_file(header).unlink()


def _short_signal(header: Path) -> None:
    _truncated(_signal_file(header))


def _changed_signal(header: Path) -> None:
    def change(raw: bytearray) -> bytearray:
        raw[2000] ^= 0x10
        return raw

    _change(_signal_file(header), change)


def _no_diagnosis(header: Path) -> None:
    lines = [line for line in header.read_text().splitlines() if "Dx" not in line]
    header.write_text("\n".join(lines) + "\n")


WFDB_FAULTS = {
    "missing_signal": Fault(_no_signal, QUARANTINED, "missing file"),
    "truncated": Fault(_short_signal, REPAIRED, r"truncated: \d+ of \d+ samples"),
    "no_diagnosis": Fault(_no_diagnosis, QUARANTINED, "#Dx:"),
    "changed_samples": Fault(_changed_signal, NOTED, "checksum does not match"),
    "empty_header": Fault(_empty, QUARANTINED, "0 bytes"),
}
"""Faults of a WFDB record, whose main file is its header."""
