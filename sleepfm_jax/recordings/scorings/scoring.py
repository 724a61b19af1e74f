"""What one file of a scorer says, before it is laid onto a recording's time axis."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, time

from sleepfm_jax.recordings.files import MAX_DAYS, Annotation
from sleepfm_jax.signals import SLEEP_EPOCH_SECONDS, UNSCORED

Span = tuple[float, float, int]  # onset, duration, stage

# Stages as numbers, one a sleep_epoch, where 5 is REM: Rechtschaffen and Kales' 4 is N3; 6 is
# movement, 7 to 9 unscored. The NSRR, Compumedics, the WSC and ISRUC all write them so.
STAGE_NUMBERS = {0: 0, 1: 1, 2: 2, 3: 3, 4: 3, 5: 4} | dict.fromkeys((6, 7, 8, 9, -1), UNSCORED)

# Where a date says nothing: EDF+ asks for it in anonymised files, and the NSRR writes it.
_NO_DATE = (1985, 1, 1)


@dataclass
class Scoring:
    """Stages and events of one file; times are seconds from its own zero.

    The zero is `start` where the file gives a date and time, `clock` where it gives a time of day
    alone, and the recording's start where it gives neither (its times are then relative by
    definition, unless `relative` is False: then a start is lacking, which is worth a note).
    """

    dialect: str
    spans: list[Span]
    events: list[Annotation] = field(default_factory=list)
    start: datetime | None = None
    clock: time | None = None
    relative: bool = True
    notes: list[str] = field(default_factory=list)

    def offset(self, start: datetime | None) -> tuple[float, list[str]]:
        """Seconds to add to this file's times for a recording that begins at `start`, and notes."""
        own = self.start
        if own is None and self.clock is None:
            lacking = "a start time is missing: the hypnogram is taken to begin with the recording"
            return 0.0, [] if self.relative else [lacking]
        if start is None:
            return 0.0, [
                "a start time is missing: the hypnogram is taken to begin with the recording"
            ]
        if own is not None:
            dates = {(own.year, own.month, own.day), (start.year, start.month, start.day)}
            if len(dates) == 1 or _NO_DATE not in dates:
                return (own - start).total_seconds(), []
        clock = self.clock if own is None else own.time()
        seconds = _seconds_of_day(clock) - _seconds_of_day(start.time())
        # of the two nights that fit, the nearer one: a hypnogram begins within half a day
        offset = (seconds + 43_200) % 86_400 - 43_200
        notes = []
        if own is not None:
            notes.append("one of the dates is anonymised: the hypnogram is placed by time of day")
        return offset, notes


def _seconds_of_day(clock: time) -> float:
    return clock.hour * 3600 + clock.minute * 60 + clock.second + clock.microsecond / 1e6


def per_epoch(stages: Iterable[int], seconds: float = SLEEP_EPOCH_SECONDS) -> list[Span]:
    """Spans of stages that follow each other, one every `seconds`."""
    return [(i * seconds, seconds, stage) for i, stage in enumerate(stages)]


def until_next(changes: list[tuple[float, int]], end: float) -> list[Span]:
    """Spans of stages that each last until the next change, the last one until `end`."""
    changes = sorted(changes, key=lambda change: change[0])
    ends = [onset for onset, _ in changes[1:]] + [end]
    return [(a, b - a, stage) for (a, stage), b in zip(changes, ends) if b > a]


def seconds(text: str | None) -> float | None:
    """A number of seconds within a month; None where the text is none."""
    try:
        value = float(text.strip().replace(",", ".")) if text else math.nan
    except ValueError:
        return None
    return value if abs(value) <= MAX_DAYS * 86_400 else None  # False for NaN
