r"""SOMNOmedics' sleep profile (DOMINO's ASCII export), `Schlafprofil.txt`.

    Signal ID: SchlafProfil\profil
    Start Time: 17.11.2010 23:57:00
    Unit:
    Signal Type: Discret
    Events list: N3,N2,N1,Rem,Wach,Artefakt
    Rate: 30 s

    23:57:00,000; Wach

In German or English; every other signal of the export has a file with such a head too.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.scorings.clock import (
    CLOCK,
    seconds_of_day,
    since_first,
    time_of_day,
    usual_step,
)
from sleepfm_jax.recordings.scorings.scoring import Scoring
from sleepfm_jax.signals import SLEEP_EPOCH_SECONDS, UNSCORED, parse_stage

Lines = list[tuple[int, str]]

_DATE = r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}"
_ROW = re.compile(rf"(?:{_DATE}\s+)?({CLOCK})\s*;\s*([^;]*?)\s*;?", re.IGNORECASE)
_MOMENT = re.compile(rf"(\d{{1,4}})([./-])(\d{{1,2}})\2(\d{{1,4}})(?:\s+({CLOCK}))?", re.IGNORECASE)
_STAGES = {
    **dict.fromkeys(("wach", "wk"), 0),
    **{"s1": 1, "s2": 2, "s3": 3, "s4": 3},
    **dict.fromkeys(("a", "artefakt", "artefact", "artifact", "bewegung", "movement"), UNSCORED),
    **dict.fromkeys(("", "-", "undefined", "undefiniert"), UNSCORED),
}


def understands(lines: Lines) -> bool:
    """Whether the lines are a file of this export, be it the sleep profile or not."""
    return bool(lines) and re.match(r"signal id\s*:", lines[0][1], re.IGNORECASE) is not None


def scoring(path: Path, lines: Lines, start: datetime | None) -> Scoring:
    """Stages of a sleep profile.

    Raises:
      RecordingError: the file is another signal's, a line is neither of the head nor a time and a
      stage, or times are out of order.
    """
    head: dict[str, str] = {}
    rows: list[tuple[int, float, int]] = []
    for number, text in lines:
        row = _ROW.fullmatch(text)
        clock = seconds_of_day(row[1]) if row else None
        if clock is not None:
            _check_signal(path, head)
            stage = _STAGES.get(row[2].lower(), parse_stage(row[2]))
            if stage is None:
                raise RecordingError(path, f"line {number}: {row[2][:40]!r} is not a sleep stage")
            rows.append((number, clock, stage))
        elif not rows and ":" in text:
            key, _, value = text.partition(":")
            head.setdefault(key.strip().lower(), value.strip())
        else:
            _check_signal(path, head)
            raise RecordingError(path, f"line {number}: {text[:40]!r} is not a time and a stage")
    _check_signal(path, head)
    if not rows:
        return Scoring("SOMNOmedics", [])
    onsets = since_first(path, [(number, clock) for number, clock, _ in rows])
    rate = re.fullmatch(r"(\d{1,5}(?:[.,]\d+)?)\s*(ms|s)", head.get("rate", ""))
    length = (
        float(rate[1].replace(",", ".")) * (1e-3 if rate[2] == "ms" else 1)
        if rate
        else usual_step(onsets, SLEEP_EPOCH_SECONDS)
    )
    if not length > 0:
        raise RecordingError(path, f"its rate {head['rate'][:40]!r} is no length of a sleep_epoch")
    spans = [(onset, length, stage) for onset, (_, _, stage) in zip(onsets, rows)]
    first = rows[0][1]
    zero = _start(head.get("start time", ""), first)
    if zero is not None:
        return Scoring("SOMNOmedics", spans, start=zero)
    return Scoring("SOMNOmedics", spans, clock=time_of_day(first), relative=False)


def _check_signal(path: Path, head: dict[str, str]) -> None:
    signal = head.get("signal id", "")
    if not re.search(r"profil", signal, re.IGNORECASE):
        raise RecordingError(
            path,
            f"is the signal {signal[:40]!r} of a SOMNOmedics export, not its sleep profile "
            "(Schlafprofil.txt)",
        )


def _start(text: str, first: float) -> datetime | None:
    """The moment of the first row, `first` s after midnight; None where no date says which day.

    A date such as 03/04/2021 could be of March or of April: then the time of day has to do.
    """
    found = _MOMENT.fullmatch(text)
    if found is None:
        return None
    a, mark, b, c = found[1], found[2], found[3], found[4]
    if len(a) == 4:
        day, month, year = int(c), int(b), int(a)
    elif mark == "." or int(a) > 12 or int(a) == int(b):
        day, month, year = int(a), int(b), int(c)
    elif int(b) > 12:
        day, month, year = int(b), int(a), int(c)
    else:
        return None
    try:
        begun = datetime(year, month, day)
    except ValueError:
        return None
    told = seconds_of_day(found[5]) if found[5] else None
    moved = 0.0 if told is None else (first - told + 43_200) % 86_400 - 43_200
    try:
        return begun + timedelta(seconds=first if told is None else told + moved)
    except OverflowError:
        return None
