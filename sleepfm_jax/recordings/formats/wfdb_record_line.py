"""The first line of a WFDB header as archives write it, made into one that WFDB's own rules allow.

The CinC Challenge 2020 handed out headers whose record is named after its signal file
(`E00009.mat 12 500 5000`) and whose date comes before the time (`05-Feb-2020 11:39:16`). The
standard has neither: a reader takes the date's day for seconds, or refuses the header.
"""

from __future__ import annotations

import re
from datetime import date

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DATE_FIRST = re.compile(
    r"(?P<day>\d{1,2})(?P<mark>[-/])(?P<month>\d{1,2}|[A-Za-z]{3})(?P=mark)(?P<year>\d{4})\s+"
    r"(?P<time>\d{1,2}:\d{1,2}(?::\d{1,2}(?:\.\d+)?)?)\s*"
)
_NAMED_AS_FILE = re.compile(r"^(\s*[-\w]+)\.(?:mat|dat|hea)(?=[/\s])")


def standard_record_line(line: str) -> str:
    """A header's record line with a plain name, and with the time before a date as `d/m/yyyy`.

    A line that is by the standard is returned as it is. A date and time that cannot be is left
    out, so that nothing else is taken for it.
    """
    line = _NAMED_AS_FILE.sub(r"\1", line)
    fields = line.split(None, 4)
    if len(fields) < 5 or (found := _DATE_FIRST.fullmatch(fields[4])) is None:
        return line
    moment = _moment(found)
    return " ".join(fields[:4]) if moment is None else f"{' '.join(fields[:4])} {moment}"


def _moment(found: re.Match[str]) -> str | None:
    month = found["month"].lower()
    number = int(month) if month.isdigit() else _MONTHS.index(month) + 1 if month in _MONTHS else 0
    try:
        day = date(int(found["year"]), number, int(found["day"]))
    except ValueError:
        return None
    parts = [float(part) for part in found["time"].split(":")]
    if parts[0] > 23 or any(part >= 60 for part in parts[1:]):
        return None
    clock = found["time"] if len(parts) == 3 else f"{found['time']}:00"
    return f"{clock} {day.day}/{day.month}/{day.year}"
