"""Stages as Philips' Alice and Sleepware G3 export them: a time of day and a stage a line.

    Epoch<tab>Time<tab>Stage
    1<tab>10:41:30 PM<tab>WK
    2<tab>10:42:00 PM<tab>N1

With or without a head, the numbers and the times; with tabs, semicolons or commas. `WK` is what
nobody else calls wakefulness.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime
from pathlib import Path

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.scorings.clock import (
    CLOCK,
    seconds_of_day,
    since_first,
    time_of_day,
    usual_step,
)
from sleepfm_jax.recordings.scorings.scoring import Scoring, Span, per_epoch
from sleepfm_jax.signals import SLEEP_EPOCH_SECONDS, UNSCORED, parse_stage

Lines = list[tuple[int, str]]
Row = tuple[int, list[str], int]  # number in the file, cells, stage

_STAGES = {
    "wk": 0,
    **{"s1": 1, "s2": 2, "s3": 3, "s4": 3, "1": 1, "2": 2, "3": 3, "4": 3},
    **dict.fromkeys(("ns", "un", "us", "mvt", "-", "--"), UNSCORED),
}


def understands(lines: Lines) -> bool:
    """Whether a column holds WK, and stages in nine in ten of the lines after the first."""
    rows = [_cells(text) for _, text in lines]
    column = _stage_column(rows)
    if column is None:
        return False
    known = sum(_stage(row, column) is not None for row in rows[1:])
    return known >= 0.9 * (len(rows) - 1)


def scoring(path: Path, lines: Lines, start: datetime | None) -> Scoring:
    """Stages of such a file.

    Raises:
      RecordingError: a line without a stage, or without a time that others have, or whose time or
      number does not follow the one before.
    """
    table = [(number, _cells(text)) for number, text in lines]
    column = _stage_column([cells for _, cells in table])
    if _stage(table[0][1], column) is None:  # the names of the columns
        table = table[1:]
    rows: list[Row] = []
    for number, cells in table:
        stage = _stage(cells, column)
        if stage is None:
            word = cells[column] if column < len(cells) else ""
            raise RecordingError(path, f"line {number}: {word[:40]!r} is not a sleep stage")
        rows.append((number, cells, stage))
    clocks = [(number, _clock(cells)) for number, cells, _ in rows]
    timed = [(number, clock) for number, clock in clocks if clock is not None]
    if not timed:
        return Scoring("Alice", _numbered(path, rows))
    if len(timed) < len(rows):
        number = next(number for number, clock in clocks if clock is None)
        raise RecordingError(path, f"line {number}: no time of day, others have one")
    onsets = since_first(path, timed)
    length = usual_step(onsets, SLEEP_EPOCH_SECONDS)
    spans = [(onset, length, stage) for onset, (_, _, stage) in zip(onsets, rows)]
    return Scoring("Alice", spans, clock=time_of_day(timed[0][1]), relative=False)


def _cells(text: str) -> list[str]:
    delimiter = next((d for d in "\t;," if d in text), None)
    cells = [text] if delimiter is None else text.split(delimiter)
    return [cell.strip().strip('"').strip() for cell in cells]


def _stage_column(rows: list[list[str]]) -> int | None:
    """The column in which WK stands most often."""
    found = Counter(i for row in rows for i, cell in enumerate(row) if cell.lower() == "wk")
    return found.most_common(1)[0][0] if found else None


def _stage(cells: list[str], column: int) -> int | None:
    if column >= len(cells):
        return None
    return _STAGES.get(cells[column].lower(), parse_stage(cells[column]))


def _clock(cells: list[str]) -> float | None:
    """The first time of day among the cells; a date may stand before it."""
    for cell in cells:
        found = re.search(rf"(?:^|\s)({CLOCK})$", cell, re.IGNORECASE)
        if found and (clock := seconds_of_day(found[1])) is not None:
            return clock
    return None


def _numbered(path: Path, rows: list[Row]) -> list[Span]:
    """Spans of sleep_epochs that are numbered, from 0 or from 1, or follow each other."""
    numbers = [cells[0] if cells and cells[0].isdecimal() else "" for _, cells, _ in rows]
    if not all(numbers):
        return per_epoch(stage for _, _, stage in rows)
    epochs = [int(number[:9]) for number in numbers]
    for (number, _, _), before, after in zip(rows[1:], epochs, epochs[1:]):
        if after <= before:
            raise RecordingError(path, f"line {number}: epoch {after} does not follow {before}")
    base = min(1, epochs[0])
    return [
        ((epoch - base) * SLEEP_EPOCH_SECONDS, SLEEP_EPOCH_SECONDS, stage)
        for epoch, (_, _, stage) in zip(epochs, rows)
    ]
