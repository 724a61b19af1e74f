"""Times of day in scorers' files, one a sleep_epoch: what their rows are placed by."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from datetime import time
from pathlib import Path

from sleepfm_jax.errors import RecordingError

CLOCK = r"\d{1,2}:\d\d:\d\d(?:[.,]\d{1,6})?(?:\s*[AP]\.?M\.?)?"
"""Pattern of a time of day; to be matched without regard to case."""

_PARTS = re.compile(r"(\d{1,2}):(\d\d):(\d\d)(?:[.,](\d{1,6}))?\s*([AP])?\.?M?\.?", re.IGNORECASE)


def seconds_of_day(text: str) -> float | None:
    """Seconds since midnight of `22:10:30`, `22:10:30,500` or `10:10:30 PM`; None for no time."""
    found = _PARTS.fullmatch(text.strip())
    if found is None:
        return None
    hour, minute, second = int(found[1]), int(found[2]), int(found[3])
    if found[5]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if found[5].upper() == "P" else 0)
    if hour > 23 or minute > 59 or second > 59:
        return None
    return hour * 3600 + minute * 60 + second + float(f"0.{found[4] or 0}")


def time_of_day(seconds: float) -> time:
    """The time of day that many seconds after midnight."""
    whole, rest = divmod(seconds % 86_400, 1)
    minutes, second = divmod(int(whole), 60)
    return time(minutes // 60, minutes % 60, second, min(round(rest * 1e6), 999_999))


def since_first(path: Path, clocks: Sequence[tuple[int, float]]) -> list[float]:
    """Seconds of each (line, seconds of day) since the first one, over one midnight at most.

    Raises:
      RecordingError: the times are not in order.
    """
    out: list[float] = []
    days = 0
    for number, clock in clocks:
        moment = clock - clocks[0][1] + 86_400 * days
        if out and moment < out[-1]:
            days += 1
            moment += 86_400
        if moment >= 86_400 or (out and moment == out[-1]):
            raise RecordingError(path, f"line {number}: its times are not in order")
        out.append(moment)
    return out


def usual_step(onsets: Sequence[float], otherwise: float) -> float:
    """The most frequent time from one row to the next."""
    steps = Counter(round(b - a, 3) for a, b in itertools.pairwise(onsets))
    return steps.most_common(1)[0][0] if steps else otherwise
