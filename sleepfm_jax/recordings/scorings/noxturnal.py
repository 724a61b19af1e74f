"""Noxturnal's table of events: start, end, name, duration; in any language, usually UTF-16.

The columns are found by what they hold, since their titles are translated: the first two columns
of dates and times, the first other column of words.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.files import MAX_DAYS, Annotation
from sleepfm_jax.recordings.scorings.scoring import Scoring
from sleepfm_jax.signals import parse_stage

Lines = list[tuple[int, str]]

_MOMENT = re.compile(
    r"(\d{1,4})([./-])(\d{1,2})\2(\d{1,4})[ T]+"
    r"(\d{1,2}):(\d\d):(\d\d)(?:[.,](\d{1,6}))?\s*([AP]M)?",
    re.IGNORECASE,
)
# Wake in Noxturnal's languages, without accents; N1, N2, N3 and REM it does not translate.
_WAKE = frozenset(
    ("wake", "eveil", "wach", "vigilia", "veglia", "vaken", "vagen", "vaka", "valve", "waak")
)
_UNSCORED = frozenset(("unscored", "unknown", "no stage", "non classe"))


def understands(lines: Lines) -> bool:
    """Whether the lines are a table whose rows begin with two moments (after header and units)."""
    return any(len(_moments(_cells(text, _delimiter(text)))) >= 2 for _, text in lines[1:3])


def _delimiter(text: str) -> str:
    return next((d for d in "\t;" if d in text), ",")


def _cells(text: str, delimiter: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([text], delimiter=delimiter), [])]
    except csv.Error:
        return []


def _moments(cells: list[str]) -> list[int]:
    return [i for i, cell in enumerate(cells) if _MOMENT.fullmatch(cell)]


def scoring(path: Path, lines: Lines, start: datetime | None) -> Scoring:
    """Stages and events of a table of events.

    Raises:
      RecordingError: no row of two moments and a name, or dates that could be day-month or
      month-day (neither the dates nor the recording's `start` say which).
    """
    delimiter = _delimiter(next(text for _, text in lines[1:3] if _MOMENT.search(text)))
    rows: list[tuple[re.Match[str], re.Match[str], str, int]] = []
    skipped = 0
    for number, text in lines[1:]:
        cells = _cells(text, delimiter)
        moments = _moments(cells)
        name = next((c for i, c in enumerate(cells) if i not in moments and _is_name(c)), None)
        if len(moments) < 2 or name is None:
            skipped += not re.fullmatch(r"[\s,;\t\[\]\w%/°]*", text)  # the row of units is no loss
            continue
        first, second = (_MOMENT.fullmatch(cells[i]) for i in moments[:2])
        rows.append((first, second, name, number))
    if not rows:
        raise RecordingError(path, "no row with a start, an end and a name")
    order = _order(path, [match for row in rows for match in row[:2]], start)
    zero = min(_moment(path, row[0], order, row[3]) for row in rows)
    spans, events = [], []
    for first, second, name, number in rows:
        onset = (_moment(path, first, order, number) - zero).total_seconds()
        length = (_moment(path, second, order, number) - zero).total_seconds() - onset
        if length < 0 or onset > MAX_DAYS * 86_400 or length > MAX_DAYS * 86_400:
            raise RecordingError(path, f"line {number}: {name[:40]!r} lasts {length:g} s")
        stage = _stage(name)
        if stage is None:
            events.append(Annotation(onset, length, name))
        elif length > 0:
            spans.append((onset, length, stage))
    if not spans:
        names = [name for name, _ in Counter(row[2] for row in rows).most_common(8)]
        raise RecordingError(path, f"no sleep stage among its {len(rows)} events (such as {names})")
    notes = [f"{skipped} lines without a start, an end and a name are not read"] if skipped else []
    return Scoring("Noxturnal", spans, events, start=zero, notes=notes)


def _is_name(cell: str) -> bool:
    return bool(re.search(r"[^\W\d_]", cell)) and not cell.startswith("[")


def _stage(name: str) -> int | None:
    decomposed = unicodedata.normalize("NFKD", name.lower())
    plain = "".join(c for c in decomposed if not unicodedata.combining(c)).strip()
    if plain in _WAKE:
        return 0
    if plain in _UNSCORED:
        return -1
    return parse_stage(name)


def _order(path: Path, moments: list[re.Match[str]], start: datetime | None) -> str:
    """`ymd`, `dmy` or `mdy`, as the dates themselves or the recording's start decide."""
    orders = {
        order for order in ("ymd", "dmy", "mdy") if all(_date(m, order) for m in _distinct(moments))
    }
    if start is not None and len(orders) > 1:
        near = {
            order
            for order in orders
            if any(abs((_date(m, order) - start).days) <= 2 for m in _distinct(moments))
        }
        orders = near or orders
    if len(orders) == 1:
        return orders.pop()
    # A night has two dates at most, and they follow each other.
    joined = {order for order in orders if _days(moments, order) <= 2}
    # One date alone: read either way it puts the times of day, all that is left to use, alike.
    if len(joined) == 1 or (joined and len(_distinct(moments)) == 1):
        return min(joined)
    example = moments[0][0]
    raise RecordingError(
        path,
        f"dates such as {example!r} could be day-month or month-day: give the recording's start"
        if orders
        else f"{example!r} is not a date and time",
    )


def _distinct(moments: list[re.Match[str]]) -> list[re.Match[str]]:
    """One moment of each date."""
    return list({(m[1], m[3], m[4]): m for m in moments}.values())


def _days(moments: list[re.Match[str]], order: str) -> int:
    days = sorted(_date(m, order).toordinal() for m in _distinct(moments))
    return days[-1] - days[0] + 1


def _date(moment: re.Match[str], order: str) -> datetime | None:
    parts = dict(zip(order, (moment[1], moment[3], moment[4])))
    if len(parts["y"]) != 4 or len(parts["m"]) > 2 or len(parts["d"]) > 2:
        return None
    try:
        return datetime(int(parts["y"]), int(parts["m"]), int(parts["d"]))
    except ValueError:
        return None


def _moment(path: Path, moment: re.Match[str], order: str, number: int) -> datetime:
    hour = int(moment[5])
    if moment[9]:
        hour = hour % 12 + (12 if moment[9].upper() == "PM" else 0)
    try:
        return _date(moment, order) + timedelta(
            hours=hour,
            minutes=int(moment[6]),
            seconds=int(moment[7]),
            microseconds=int((moment[8] or "").ljust(6, "0")),
        )
    except OverflowError:
        raise RecordingError(path, f"line {number}: {moment[0]!r} is no moment") from None
