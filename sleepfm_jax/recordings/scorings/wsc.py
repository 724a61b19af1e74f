"""The Wisconsin Sleep Cohort's text files: `.stg.txt` (Gamma) and `.allscore.txt` (Twin).

As documented by the NSRR: `.stg.txt` has one line a sleep_epoch, numbered from 1, with the stage
as a number; `.allscore.txt` has a clock time and a text a line, and a stage only where it changes.
"""

from __future__ import annotations

import re
from datetime import datetime, time
from pathlib import Path

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.files import Annotation, read_text
from sleepfm_jax.recordings.scorings.scoring import STAGE_NUMBERS, Scoring, until_next
from sleepfm_jax.signals import SLEEP_EPOCH_SECONDS, UNSCORED, parse_stage

Lines = list[tuple[int, str]]

_STG_HEADER = re.compile(r"epoch\tuser-defined stage", re.IGNORECASE)
_STG_ROW = re.compile(r"(\d{1,6})\t(\d{1,2})(?:\t(\S*))?")
_CLOCK = r"(\d{1,2}):(\d\d):(\d\d)(?:\.(\d{1,6}))?"
_ALLSCORE_ROW = re.compile(_CLOCK + r"\s*\t\s*(.*)")
_NO_STAGE = ("NO STAGE", "MVT", "MOVEMENT", "UNSCORED")


def understands(lines: Lines) -> bool:
    """Whether the lines are those of one of the two files."""
    first = lines[0][1] if lines else ""
    if _STG_HEADER.match(first) or _STG_ROW.fullmatch(first):
        return True
    return any(
        (row := _ALLSCORE_ROW.fullmatch(text)) and row[5].upper().startswith("STAGE -")
        for _, text in lines
    )


def scoring(path: Path, lines: Lines, start: datetime | None) -> Scoring:
    """Stages and events of a WSC file.

    Raises:
      RecordingError: a line that is neither, an unknown stage, times out of order, a power
      failure, or a `.log.txt` beside a `.stg.txt` that says the recording began at another time.
    """
    if _STG_HEADER.match(lines[0][1]) or _STG_ROW.fullmatch(lines[0][1]):
        return _stg(path, lines, start)
    return _allscore(path, lines, start)


def _stg(path: Path, lines: Lines, start: datetime | None) -> Scoring:
    if _STG_HEADER.match(lines[0][1]):  # some files lack it
        lines = lines[1:]
    stages: dict[int, int] = {}
    for number, text in lines:
        row = _STG_ROW.fullmatch(text)
        stage = STAGE_NUMBERS.get(int(row[2])) if row else None
        if row is None or stage is None or row[1] == "0":
            raise RecordingError(
                path,
                f"line {number}: {text[:40]!r} is not the number of a sleep_epoch and its stage "
                f"(0 W, 1, 2, 3, 4, 5 REM, 6 movement, 7 unscored), separated by a tab",
            )
        epoch = int(row[1])
        if stages.setdefault(epoch, stage) != stage:
            raise RecordingError(path, f"line {number}: sleep_epoch {epoch} has two stages")
    _check_log(path, start)
    spans = [
        ((epoch - 1) * SLEEP_EPOCH_SECONDS, SLEEP_EPOCH_SECONDS, stage)
        for epoch, stage in sorted(stages.items())
    ]
    return Scoring("WSC stg", spans)


def _check_log(path: Path, start: datetime | None) -> None:
    """The log of the same night must have a recording that starts when the signals do."""
    if not path.name.endswith(".stg.txt") or start is None:
        return
    log = path.with_name(path.name.removesuffix(".stg.txt") + ".log.txt")
    if not (log.is_file() or log.is_symlink()):  # a link to nothing is told of when it is read
        return
    begun = []
    for line in read_text(log, "log").splitlines():
        row = re.match(_CLOCK + r"[^\t]*\tRecording Started", line.strip(), re.IGNORECASE)
        clock = _seconds(row) if row else None
        if clock is not None:
            begun.append((clock, line[:8]))
    if begun and all(_apart(start, clock) > 1 for clock, _ in begun):
        raise RecordingError(
            path,
            f"its log says that the recording started at {', '.join(c for _, c in begun)}, the "
            f"signals start at {start:%H:%M:%S}: sleep_epoch 1 cannot be placed",
        )


def _seconds(clock: re.Match[str]) -> float | None:
    """Seconds since midnight of the first four groups; None for no time of day."""
    hour, minute, second = int(clock[1]), int(clock[2]), int(clock[3])
    if hour > 23 or minute > 59 or second > 59:
        return None
    return hour * 3600 + minute * 60 + second + float(f"0.{clock[4] or 0}")


def _allscore(path: Path, lines: Lines, start: datetime | None) -> Scoring:
    changes: list[tuple[float, int]] = []
    events: list[Annotation] = []
    notes: list[str] = []
    first = now = None
    days = skipped = 0
    for number, text in lines:
        row = _ALLSCORE_ROW.fullmatch(text)
        clock = _seconds(row) if row else None
        if clock is None:
            skipped += 1
            continue
        if now is not None and clock + 86_400 * days < now - 1:
            days += 1  # past midnight
        now = clock + 86_400 * days
        first = now if first is None else first
        if now - first >= 86_400:
            raise RecordingError(path, f"line {number}: its times are not in order")
        remark = row[5].strip()
        if "POWER FAILURE" in remark.upper():
            raise RecordingError(
                path,
                f"line {number}: a power failure at {text[:8]}: the signals after it are not where "
                f"the clock says; leave this night out",
            )
        if stage := re.fullmatch(r"STAGE\s*-\s*(.*)", remark, re.IGNORECASE):
            name = stage[1].strip().upper()
            code = UNSCORED if name in _NO_STAGE else parse_stage(name)
            if code is None:
                raise RecordingError(path, f"line {number}: {remark[:40]!r} is not a sleep stage")
            changes.append((now, code))
        elif remark:
            # `HYPOPNEA - DUR: 21.3 SEC. - ...`
            length = re.search(r"DUR:\s*(\d{1,5}(?:\.\d{1,6})?)\s*SEC", remark, re.IGNORECASE)
            events.append(Annotation(now, float(length[1]) if length else 0.0, remark))
    if skipped:
        notes.append(f"{skipped} lines without a time of day are not read")
    # The last line of the file is the end of what was scored.
    end = max(now, changes[-1][0] + SLEEP_EPOCH_SECONDS)
    begun = [e.onset for e in events if e.text.upper() == "START RECORDING"]
    zero = begun[0] if begun else first
    if start is None and len(begun) > 1:
        raise RecordingError(
            path, f"{len(begun)} times START RECORDING, and the signals have no start time"
        )
    if start is not None and begun and all(_apart(start, clock) > 1 for clock in begun):
        notes.append(
            f"its START RECORDING at {_clock(begun[0])} is not the signals' start at "
            f"{start:%H:%M:%S}: placed by the clock"
        )
    return Scoring(
        "WSC allscore",
        [(onset - zero, length, stage) for onset, length, stage in until_next(changes, end)],
        [Annotation(e.onset - zero, e.duration, e.text) for e in events],
        clock=_clock(zero),
        relative=False,
        notes=notes,
    )


def _clock(seconds: float) -> time:
    whole, rest = divmod(seconds % 86_400, 1)
    minutes, second = divmod(int(whole), 60)
    return time(minutes // 60, minutes % 60, second, min(round(rest * 1e6), 999_999))


def _apart(start: datetime, seconds: float) -> float:
    """Seconds between two times of day."""
    own = start.hour * 3600 + start.minute * 60 + start.second + start.microsecond / 1e6
    return abs((seconds - own + 43_200) % 86_400 - 43_200)
