"""Bias and limits of agreement of two measurements of the same nights (Bland and Altman, 1986).

The bias is the mean of the differences, the limits are bias ± 1.96 sd of them: where 95 of 100
nights' differences lie, if these are about normal. Intervals are over people
(`metrics.intervals`): where everybody has one night and differences are normal, these are Bland and
Altman's, bias ± t sd / √n and limits ± t sd √(1/n + 1.96² / (2 (n - 1))); they stay right where a
person has several nights, or where a few nights differ by hours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sleepfm_jax.metrics.intervals import person_intervals
from sleepfm_jax.metrics.weighted import ratio

WIDTH = 1.96


def agreement(
    people: Sequence[str] | np.ndarray, reference: np.ndarray, measured: np.ndarray
) -> dict[str, Any]:
    """measured minus reference.

    Args:
      people: [N], the person of each night. reference, measured: float [N]; NaN: there is none.

    Returns:
      `bias`, `sd` (of the nights' differences, n - 1), `low` and `high` (the limits); `ci95` {bias,
      low, high: [low, high], or None} with `reasons`; `nights`, `people`; `left_out`, nights
      without one of the two values. With fewer than two nights figures are NaN.

    Raises:
      ValueError: shapes that disagree.
    """
    people = np.asarray(people)
    difference = np.asarray(measured, float) - np.asarray(reference, float)
    if difference.ndim != 1 or people.shape != difference.shape:
        raise ValueError(f"people {people.shape} do not fit differences {difference.shape}")
    known = np.isfinite(difference)
    people, difference = people[known], difference[known]
    counts = {
        "nights": len(difference),
        "people": len(np.unique(people)),
        "left_out": int(np.sum(~known)),
    }
    names = ("bias", "low", "high")
    if not len(difference):
        nothing = dict.fromkeys(("bias", "sd", "low", "high"), float("nan"))
        why = dict.fromkeys(names, "no night has both values")
        return {**nothing, "ci95": dict.fromkeys(names), "reasons": why, **counts}

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        total = weights.sum(axis=1)
        bias = ratio(weights @ difference, total)
        squares = (weights * (difference - bias[:, None]) ** 2).sum(axis=1)
        sd = np.sqrt(ratio(squares, total - 1))
        return {"bias": bias, "low": bias - WIDTH * sd, "high": bias + WIDTH * sd, "sd": sd}

    figures = {name: float(v[0]) for name, v in statistic(np.ones((1, len(people)))).items()}

    def limits(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {name: value for name, value in statistic(weights).items() if name in names}

    ci95, reasons = person_intervals(people, limits, {})
    return {**figures, "ci95": ci95, "reasons": reasons, **counts}
