"""Hypnograms that YASA wrote as CSV: `Hypnogram.hypno.to_csv(...)`.

    Epoch,Stage             Time,Expert
    0,WAKE                  2022-12-15 22:30:00,WAKE
    1,N1                    2022-12-15 22:30:30,N1

The second column is called Stage or after its scorer; ART is an artefact, UNS unscored.
https://yasa-sleep.org
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.scorings.clock import usual_step
from sleepfm_jax.recordings.scorings.scoring import Scoring
from sleepfm_jax.signals import SLEEP_EPOCH_SECONDS, UNSCORED

Lines = list[tuple[int, str]]

_STAGES = {"WAKE": 0, "N1": 1, "N2": 2, "N3": 3, "REM": 4, "ART": UNSCORED, "UNS": UNSCORED}
_HEAD = re.compile(r"(epoch|time),[^,]*", re.IGNORECASE)
_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d:\d\d(?:\.\d{1,6})?))?\d{0,3}(?:[+-]\d\d:?\d\d|Z)?"
)


def understands(lines: Lines) -> bool:
    """Whether the lines are a table of two columns, the second of which holds YASA's stages.

    `Epoch,Stage` with other words is a table as others write it.
    """
    if len(lines) < 2 or not _HEAD.fullmatch(lines[0][1]):
        return False
    return all(text.rpartition(",")[2].strip() in _STAGES for _, text in lines[1:])


def scoring(path: Path, lines: Lines, start: datetime | None) -> Scoring:
    """Stages of such a table: by number from 0, or by their times, of the recording's own clock.

    Raises:
      RecordingError: a number or time that is none, or does not follow the one before.
    """
    stages = [_STAGES[text.rpartition(",")[2].strip()] for _, text in lines[1:]]
    cells = [(number, text.partition(",")[0].strip()) for number, text in lines[1:]]
    timed = lines[0][1].lower().startswith("time")
    moments: list[datetime] = []
    places: list[float] = []
    for number, cell in cells:
        if timed:
            moments.append(_moment(path, number, cell))
            places.append((moments[-1] - moments[0]).total_seconds())
        elif cell.isdecimal() and len(cell) < 7:
            places.append(int(cell) * SLEEP_EPOCH_SECONDS)
        else:
            raise RecordingError(path, f"line {number}: epoch {cell[:20]!r} is no whole number")
        if len(places) > 1 and places[-1] <= places[-2]:
            raise RecordingError(
                path, f"line {number}: {cell[:40]!r} does not follow the one before"
            )
    length = usual_step(places, SLEEP_EPOCH_SECONDS) if timed else SLEEP_EPOCH_SECONDS
    spans = [(place, length, stage) for place, stage in zip(places, stages)]
    return Scoring("YASA", spans, start=moments[0] if timed else None)


def _moment(path: Path, number: int, cell: str) -> datetime:
    """A moment by its wall clock: what is said of a time zone is the recording's too."""
    found = _MOMENT.fullmatch(cell)
    try:
        return datetime.fromisoformat(f"{found[1]} {found[2] or '00:00:00'}")
    except (TypeError, ValueError):
        raise RecordingError(path, f"line {number}: {cell[:40]!r} is no date and time") from None
