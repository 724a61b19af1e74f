"""How few channels keep most of a score: which combinations, both readings, intervals (numpy).

The score of a count is the mean over combinations of so many channels. Two things are a sample
here: the combinations, of all that there are, and the people. Intervals resample both: people by
random weights (exponential, so that none vanishes and no class with them), combinations with
replacement. Resampled means of k combinations spread less than those of k new ones do, by
(k - 1) / k in variance, few of them are surer of their spread than they should be (Student's t),
and combinations of which all were drawn are no sample at all: all three are put right, the last by
what is left to draw, 1 - k / possible.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from sleepfm_jax.metrics.intervals import LEAST_HOLDERS, LEAST_PEOPLE

KEPT = 0.95
"""Of the full score, as the transfer paper asks."""
READINGS = ("first", "sustained")
"""The first count that keeps it; the first from which on every larger one keeps it too."""


# --- which channels -------------------------------------------------------------------------------


def random_combinations(
    channels: int, count: int, wanted: int, rng: np.random.Generator
) -> list[tuple[int, ...]]:
    """So many different choices of `count` of the channels; all of them where there are no more.

    With the same generator, more combinations hold the fewer.
    """
    if math.comb(channels, count) <= wanted:
        return list(itertools.combinations(range(channels), count))
    found: dict[tuple[int, ...], None] = {}
    while len(found) < wanted:
        found.setdefault(tuple(sorted(rng.permutation(channels)[:count].tolist())))
    return list(found)


def farthest_first(positions: np.ndarray, start: int) -> list[int]:
    """All channels in the greedy spatial order: next comes what is farthest from those before.

    Args:
      positions: [C, 3]. start: the first. Of equally far ones the first comes first.
    """
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    order, nearest = [start], distance[start].copy()
    while len(order) < len(positions):
        nearest[order] = -1.0
        order.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, distance[order[-1]])
    return order


def greedy_combinations(
    positions: np.ndarray, count: int, wanted: int, rng: np.random.Generator
) -> tuple[list[tuple[int, ...]], int]:
    """The first `count` channels of the greedy order from so many different starts, and how many
    different ones there are from all starts."""
    starts = rng.permutation(len(positions)).tolist()
    sets = [tuple(sorted(farthest_first(positions, start)[:count])) for start in starts]
    different = list(dict.fromkeys(sets))
    return different[:wanted], len(different)


# --- how few --------------------------------------------------------------------------------------


def fewest(counts: Sequence[int], kept: Sequence[bool]) -> dict[str, int | None]:
    """{reading: count}, None where no count does. counts: ascending; kept: which keep it."""
    kept = np.asarray(kept, bool)
    sustained = np.logical_and.accumulate(kept[::-1])[::-1]
    return {
        name: int(counts[flags.argmax()]) if flags.any() else None
        for name, flags in zip(READINGS, (kept, sustained))
    }


def person_weights(people: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """float [n, N]: a random weight for each person, that of each of their examples."""
    member = np.unique(people, return_inverse=True)[1]
    return rng.exponential(size=(n, int(member.max()) + 1))[:, member]


def no_interval(people: np.ndarray, holders: Mapping[str, np.ndarray]) -> str | None:
    """Why too few people stand behind a score; None: there are enough (`metrics.intervals`)."""
    if (there := len(np.unique(people))) < LEAST_PEOPLE:
        return f"{there} people, an interval needs {LEAST_PEOPLE}"
    for name, holds in holders.items():
        if (held := len(np.unique(people[holds]))) < LEAST_HOLDERS:
            return f"{name} is held by {held} people, an interval needs {LEAST_HOLDERS}"
    return None


def resampled(scores: np.ndarray, possible: int, rng: np.random.Generator) -> np.ndarray | None:
    """A count's score under each weighting of the people and another draw of combinations, [n].

    Args:
      scores: [k, n], of each combination under each weighting. possible: how many combinations
        there are. None: one combination of several says nothing of the others.
    """
    k, n = scores.shape
    centre = scores.mean(axis=0)
    if k >= possible:
        return centre
    if k < 2:
        return None
    drawn = np.take_along_axis(scores, rng.integers(k, size=(k, n)), axis=0).mean(axis=0)
    few = stats.t.ppf(0.975, k - 1) / stats.norm.ppf(0.975)
    return centre + few * math.sqrt(k / (k - 1) * (1 - k / possible)) * (drawn - centre)


def curve(
    full: np.ndarray,
    of_count: Mapping[int, np.ndarray],
    possible: Mapping[int, int],
    *,
    of_people: Mapping[int | None, Sequence[float] | None] | None = None,
    too_few: str | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Score against count, and the fewest channels, with 95 % intervals.

    Args:
      full: [1 + n], the score with all channels: as it is, and under n weightings of the people.
      of_count: {count: [k, 1 + n]}, of each of its k combinations, under the same weightings.
      possible: {count: how many combinations there are}.
      of_people: {count, None for the full score: interval over people alone} of
        `intervals.person_intervals`, which weightings fall short of where nearly all are right; the
        combinations' spread is added to it. None: as resampled.
      too_few: why there can be no interval (`no_interval`).

    Returns:
      `full` {value, ci95}; `counts` [{count, value, ci95 or None, combinations, possible, values
      [k]}]; `fewest` {reading: {count, interval [low, high], reason}}: a bound None is more than
      the largest count; interval None: see reason.
    """
    rng = np.random.default_rng(seed)
    order = sorted(of_count)
    rows, drawn = [], {}
    for count in order:
        scores = of_count[count]
        drawn[count] = None if too_few else resampled(scores[:, 1:], possible[count], rng)
        rows.append(
            {
                "count": int(count),
                "value": float(scores[:, 0].mean()),
                "ci95": (
                    _percentiles(drawn[count])
                    if of_people is None
                    else _widened(of_people[count], scores[:, 0], possible[count])
                ),
                "combinations": len(scores),
                "possible": int(possible[count]),
                "values": scores[:, 0].tolist(),
            }
        )
    value = float(full[0])
    points = fewest(order, [row["value"] >= KEPT * value for row in rows])
    alone = [count for count in order if drawn[count] is None]
    reason = too_few
    if alone and not reason:
        reason = f"one combination of several at {', '.join(map(str, alone))} channels"
    said: dict[str, Any] = {
        name: {"count": count, "interval": None, "reason": reason} for name, count in points.items()
    }
    if reason is None:
        kept = np.stack([drawn[count] >= KEPT * full[1:] for count in order])  # [counts, n]
        each = [fewest(order, column) for column in kept.T]
        for name in READINGS:
            found = np.array([np.inf if one[name] is None else one[name] for one in each])
            ends = np.percentile(found, [2.5, 97.5], method="inverted_cdf")
            said[name]["interval"] = [int(end) if np.isfinite(end) else None for end in ends]
    ci95 = None if too_few else _percentiles(full[1:])
    if of_people is not None:
        ci95 = of_people[None]
    return {"full": {"value": value, "ci95": ci95}, "counts": rows, "fewest": said}


def _widened(ci95: Sequence[float] | None, values: np.ndarray, possible: int) -> list[float] | None:
    """An interval over people of the mean of k values [k], widened by what k of `possible`
    combinations leave open (Student's t)."""
    k, mean = len(values), float(values.mean())
    if ci95 is None or (k < 2 and k < possible):
        return None
    half = 0.0
    if k < possible:
        error = values.std(ddof=1) * math.sqrt((1 - k / possible) / k)
        half = float(stats.t.ppf(0.975, k - 1) * error)
    return [mean - math.hypot(mean - ci95[0], half), mean + math.hypot(ci95[1] - mean, half)]


def _percentiles(values: np.ndarray | None) -> list[float] | None:
    if values is None or not np.isfinite(values).all():
        return None
    return np.percentile(values, [2.5, 97.5]).tolist()
