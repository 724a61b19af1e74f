"""Labels of intervals: the Temple University corpora's `.rec`, `.tse`, `.csv`; CHB-MIT's summaries.

https://isip.piconepress.com/projects/nedc (TUH); https://physionet.org/content/chbmit.
"""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass
from pathlib import Path

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.files import read_text
from sleepfm_jax.recordings.scorings.scoring import seconds

# The channels of a `.rec` file are numbers into this montage (TCP, averaged reference).
TCP_MONTAGE = (
    *("FP1-F7", "F7-T3", "T3-T5", "T5-O1", "FP2-F8", "F8-T4", "T4-T6", "T6-O2"),
    *("A1-T3", "T3-C3", "C3-CZ", "CZ-C4", "C4-T4", "T4-A2"),
    *("FP1-F3", "F3-C3", "C3-P3", "P3-O1", "FP2-F4", "F4-C4", "C4-P4", "P4-O2"),
)
REC_LABELS = {1: "spsw", 2: "gped", 3: "pled", 4: "eyem", 5: "artf", 6: "bckg"}
_ALL_CHANNELS = "TERM"  # what a `.csv` writes for a label of the whole recording


@dataclass(frozen=True)
class LabelledInterval:
    """What happened, when (s from the recording's start), and on which channel; None: on all."""

    channel: str | None
    start: float
    stop: float
    label: str


def read_intervals(path: str | Path) -> list[LabelledInterval]:
    """The labelled intervals of one recording, in the file's order.

    By ending: `.rec` (`channel,start,stop,1-6`, TUEV), `.csv` and `.csv_bi` (a header, then
    `channel,start_time,stop_time,label,confidence`), and `.tse`, `.tse_bi`, `.tse_agg` (`start
    stop label probability`). Labels are in lower case.

    Raises:
      RecordingError: another ending, a line that does not fit, an unknown code or channel, or an
      interval that ends before it starts.
    """
    path = Path(path)
    kind = path.suffix.lower().removesuffix("_bi").removesuffix("_agg")
    reader = {".rec": _rec, ".csv": _csv, ".tse": _tse}.get(kind)
    if reader is None:
        raise RecordingError(path, "is no label file of the TUH corpora: .rec, .tse or .csv")
    lines = [
        (number, line.strip())
        for number, line in enumerate(read_text(path, "label file").splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    return reader(path, lines)


def _interval(
    path: Path, number: int, channel: str | None, start: str, stop: str, label: str
) -> LabelledInterval:
    begin, end = seconds(start), seconds(stop)
    if begin is None or end is None or begin < 0 or end < begin:
        raise RecordingError(
            path, f"line {number}: {start[:20]!r} to {stop[:20]!r} is no interval in seconds"
        )
    return LabelledInterval(channel, begin, end, label)


def _rec(path: Path, lines: list[tuple[int, str]]) -> list[LabelledInterval]:
    found = []
    for number, line in lines:
        fields = [field.strip() for field in line.split(",")]
        channel = int(fields[0]) if re.fullmatch(r"\d{1,3}", fields[0]) else len(TCP_MONTAGE)
        code = fields[3] if len(fields) == 4 else ""
        label = REC_LABELS.get(int(code)) if re.fullmatch(r"\d", code) else None
        if label is None or channel >= len(TCP_MONTAGE):
            raise RecordingError(
                path,
                f"line {number}: {line[:60]!r} is not channel 0 to {len(TCP_MONTAGE) - 1}, start, "
                f"stop, label 1 to 6",
            )
        found.append(_interval(path, number, TCP_MONTAGE[channel], fields[1], fields[2], label))
    return found


def _tse(path: Path, lines: list[tuple[int, str]]) -> list[LabelledInterval]:
    if lines and lines[0][1].startswith("version"):
        lines = lines[1:]
    found = []
    for number, line in lines:
        fields = line.split()
        if not 3 <= len(fields) <= 4 or not _is_label(fields[2]):
            raise RecordingError(
                path, f"line {number}: {line[:60]!r} is not start, stop, label, probability"
            )
        found.append(_interval(path, number, None, fields[0], fields[1], fields[2].lower()))
    return found


def _csv(path: Path, lines: list[tuple[int, str]]) -> list[LabelledInterval]:
    columns = ["channel", "start_time", "stop_time", "label"]
    header = [c.strip().lower() for c in lines[0][1].split(",")] if lines else []
    if not set(columns) <= set(header):
        raise RecordingError(path, f"has no header with the columns {', '.join(columns)}")
    at = [header.index(column) for column in columns]
    found = []
    for number, line in lines[1:]:
        try:
            fields = [field.strip() for field in next(csv.reader([line]))]
        except csv.Error:
            fields = []
        if len(fields) < len(header) or not _is_label(fields[at[3]]):
            raise RecordingError(path, f"line {number}: {line[:60]!r} does not fit its header")
        channel, start, stop, label = (fields[i] for i in at)
        whole = channel.upper() == _ALL_CHANNELS
        found.append(
            _interval(path, number, None if whole else channel, start, stop, label.lower())
        )
    return found


def _is_label(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z]\w{0,40}", text) is not None


# --- CHB-MIT --------------------------------------------------------------------------------------


def read_chb_summary(path: str | Path) -> dict[str, list[LabelledInterval]]:
    """Seizures of every file of a `chbNN-summary.txt`, by the file's name; [] where there are none.

    Raises:
      RecordingError: no file named in it, a file named twice, or a number of seizures that differs
      from the starts and ends that are listed.
    """
    path = Path(path)
    found: dict[str, list[LabelledInterval]] = {}
    promised: dict[str, int] = {}
    name = begun = None

    def finish() -> None:
        if name is None:
            return
        count = promised.get(name)
        if begun is not None or count is None or count != len(found[name]):
            raise RecordingError(
                path,
                f"{name}: {count if count is not None else 'an unsaid number of'} seizures are "
                f"announced, {len(found[name])} have a start and an end",
            )

    for number, line in enumerate(read_text(path, "summary").splitlines(), 1):
        key, colon, value = (part.strip() for part in line.partition(":"))
        key = key.lower()
        if not colon:
            continue
        if key == "file name":
            finish()
            name, begun = value, None
            if not name or name in found:
                raise RecordingError(path, f"line {number}: file {name!r} is there twice")
            found[name] = []
        elif name is not None and key == "number of seizures in file":
            if not re.fullmatch(r"\d{1,4}", value):
                raise RecordingError(path, f"line {number}: {value[:20]!r} is not a number")
            promised[name] = int(value)
        elif name is not None and re.fullmatch(r"seizure (\d+ )?start time", key):
            if begun is not None:
                raise RecordingError(path, f"line {number}: the seizure before it has no end")
            begun = _seconds_of(path, number, value)
        elif name is not None and re.fullmatch(r"seizure (\d+ )?end time", key):
            stop = _seconds_of(path, number, value)
            if begun is None or stop < begun:
                raise RecordingError(path, f"line {number}: a seizure ends before it starts")
            found[name].append(LabelledInterval(None, begun, stop, "seizure"))
            begun = None
    finish()
    if not found:
        raise RecordingError(path, "names no file: it is no summary of CHB-MIT")
    return found


def _seconds_of(path: Path, number: int, value: str) -> float:
    told = seconds(re.sub(r"\s*seconds?$", "", value))
    if told is None or told < 0 or not math.isfinite(told):
        raise RecordingError(path, f"line {number}: {value[:20]!r} is not a number of seconds")
    return told
