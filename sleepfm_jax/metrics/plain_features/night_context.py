"""What a row of features means within its night: against the whole of it, and beside its
neighbours."""

from __future__ import annotations

import numpy as np

CONTEXTS = ("row", "night", "around", "past")
"""What `with_context` gives of each feature, in order."""

_AROUND_SECONDS, _PAST_SECONDS = 150.0, 120.0
_LEAST_ROWS = 10  # fewer say nothing of a night's spread
_LOW, _HIGH = 0.05, 0.95  # quantiles whose distance is the spread


def with_context(rows: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Rows of one recording with their context, as YASA gives them (Vallat and Walker 2021).

    Give every sleep_epoch of the recording, those without a stage too: they are the night that a
    row stands in. Neighbours are found by time, so that gaps and missing clips only leave fewer.
    NaNs are left out of every statistic.

    Args:
      rows: float [E, F], one a sleep_epoch, in any order. seconds: [E], when each begins.

    Returns:
      float64 [E, 4 F], the parts of `CONTEXTS` one after another: the row; the row less the
      night's median, over its 5 to 95 % range ("night"); and of "night", the mean over the rows
      that begin within 2.5 min before or after (11 sleep_epochs), and over the last 2 min (5), the
      row included. A night of fewer than ten known rows, or without spread, says nothing: all
      three NaN.

    Raises:
      ValueError: on shapes that disagree or times that are not finite.
    """
    rows = np.asarray(rows, np.float64)
    seconds = np.asarray(seconds, np.float64)
    if rows.ndim != 2 or seconds.shape != (len(rows),) or not np.isfinite(seconds).all():
        raise ValueError(
            f"expected rows [E, F] and finite seconds [E], got {rows.shape}, {seconds.shape}"
        )
    night = _against_the_night(rows)
    order = np.argsort(seconds, kind="stable")
    around, past = (
        _mean_within(night[order], seconds[order], before, after)
        for before, after in ((_AROUND_SECONDS, _AROUND_SECONDS), (_PAST_SECONDS, 0.0))
    )
    back = np.argsort(order, kind="stable")
    return np.concatenate([rows, night, around[back], past[back]], axis=1)


def _against_the_night(rows: np.ndarray) -> np.ndarray:
    out = np.full(rows.shape, np.nan)
    for f, column in enumerate(rows.T):
        known = column[np.isfinite(column)]
        if known.size < _LEAST_ROWS:
            continue
        low, middle, high = np.quantile(known, [_LOW, 0.5, _HIGH])
        if high - low > 1e-9 * max(abs(low), abs(high)):
            out[:, f] = (column - middle) / (high - low)
    return out


def _mean_within(rows: np.ndarray, seconds: np.ndarray, before: float, after: float):
    """Mean of the known rows of [t - before, t + after], rows sorted by time."""
    known = np.isfinite(rows)
    first = np.searchsorted(seconds, seconds - before - 1e-6)
    end = np.searchsorted(seconds, seconds + after + 1e-6)
    start = np.zeros((1, rows.shape[1]))
    total = np.concatenate([start, np.cumsum(np.where(known, rows, 0.0), axis=0)])
    count = np.concatenate([start, np.cumsum(known, axis=0)])
    total, count = total[end] - total[first], count[end] - count[first]
    return np.divide(total, count, out=np.full(rows.shape, np.nan), where=count > 0)
