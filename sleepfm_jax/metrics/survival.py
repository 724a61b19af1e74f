"""The concordance index of times to events, for any weights (numpy, no jax).

Source: Harrell et al. (JAMA 1982). Of two people of whom the one's event was seen before the
other's time was over, it is asked whether the one had the higher hazard.
"""

from __future__ import annotations

import numpy as np

from sleepfm_jax.metrics.intervals import person_intervals
from sleepfm_jax.metrics.weighted import Statistic, ratio

NAME = "concordance"
_CHUNK = 4_000_000  # pairs at a time: 32 MB in float64


def concordance(hazards: np.ndarray, times: np.ndarray, events: np.ndarray) -> float:
    """Share of the comparable pairs that are ordered as they fell ill; equal hazards count half.

    A pair is comparable where the first one's event was seen and the other's time is later, or is
    the same and was censored there: two events at one time are not comparable.

    Args:
      hazards: [N], any number that rises with the hazard. times: [N]. events: [N], nonzero: seen.

    Returns:
      0 to 1; 0.5 is chance; NaN without a comparable pair.

    Raises:
      ValueError: shapes that differ, or a number that is not finite.
    """
    return float(concordance_statistic(hazards, times, events)(np.ones((1, len(times))))[NAME][0])


def concordance_statistic(hazards: np.ndarray, times: np.ndarray, events: np.ndarray) -> Statistic:
    """`concordance`, for many weightings of the people at once; a pair weighs their product.

    Returns:
      weights [R, N] -> {"concordance": [R]}.

    Raises:
      As `concordance`.
    """
    h, t = np.asarray(hazards, np.float64), np.asarray(times, np.float64)
    seen = np.asarray(events) != 0
    if h.ndim != 1 or not h.shape == t.shape == seen.shape:
        raise ValueError(f"expected three [N], got {h.shape}, {t.shape} and {seen.shape}")
    if not (np.isfinite(h).all() and np.isfinite(t).all()):
        raise ValueError("hazards and times must be finite")
    first = np.flatnonzero(seen)  # of a pair
    step = max(1, _CHUNK // max(1, len(h)))

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        right, pairs = np.zeros(len(weights)), np.zeros(len(weights))
        for start in range(0, len(first), step):
            i = first[start : start + step, None]  # [F, 1] against all others [N]
            comparable = (t > t[i]) | ((t == t[i]) & ~seen)
            score = np.where(comparable, (h[i] > h) + 0.5 * (h[i] == h), 0.0)
            own = weights[:, i[:, 0]]  # [R, F]
            pairs += (own * (weights @ comparable.T.astype(np.float64))).sum(axis=1)
            right += (own * (weights @ score.T)).sum(axis=1)
        return {NAME: ratio(right, pairs)}

    return statistic


def concordance_interval(
    people: np.ndarray, hazards: np.ndarray, times: np.ndarray, events: np.ndarray
) -> tuple[list[float] | None, str]:
    """95 % interval of `concordance` with people as the sample, and why there is none.

    Args:
      people: [N], whose each row is. The rest: as `concordance`.
    """
    seen = np.asarray(events) != 0
    found, reasons = person_intervals(
        people,
        concordance_statistic(hazards, times, events),
        {"the event": seen, "its absence": ~seen},
        limits={NAME: (0.0, 1.0)},
    )
    return found[NAME], reasons.get(NAME, "")
