"""Are probabilities what they say? Reliability bins and the expected calibration error (numpy)."""

from __future__ import annotations

import numpy as np


def reliability(event: np.ndarray, probability: np.ndarray, *, bins: int = 10) -> dict[str, list]:
    """How often an event of a stated probability happens.

    Args:
      event: [N] of 0 and 1; NaN = unknown, left out.
      probability: float [N] in 0..1, of the event.
      bins: of equal width over 0..1; the upper edge belongs to a bin, as in scikit-learn's
        `calibration_curve`.

    Returns:
      `mean_probability` [B], `share` [B] (of the examples in which the event happened), `count`
      [B], of the bins that hold an example; `ece`: the mean over examples of a bin's
      |share - mean_probability|, NaN without examples.

    Raises:
      ValueError: on shapes that disagree, or a probability outside 0..1.
    """
    event, probability = np.asarray(event, np.float64), np.asarray(probability, np.float64)
    if event.ndim != 1 or event.shape != probability.shape:
        raise ValueError(
            f"expected event and probability [N], got {event.shape} and {probability.shape}"
        )
    known = ~np.isnan(event)
    event, probability = event[known], probability[known]
    if not (np.abs(probability - 0.5) <= 0.5 + 1e-6).all():  # float32 rounds sums past 1
        raise ValueError("a probability lies outside 0..1")
    where = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], probability)
    count = np.bincount(where, minlength=bins)
    held = count > 0
    mean = np.bincount(where, probability, minlength=bins)[held] / count[held]
    share = np.bincount(where, event, minlength=bins)[held] / count[held]
    ece = float(np.average(np.abs(share - mean), weights=count[held])) if len(event) else np.nan
    return {
        "mean_probability": mean.tolist(),
        "share": share.tolist(),
        "count": count[held].tolist(),
        "ece": ece,
    }


def class_reliability(y_true: np.ndarray, probabilities: np.ndarray, *, bins: int = 10) -> dict:
    """Reliability of labels with one class an example.

    Args:
      y_true: int [N]. probabilities: float [N, K].

    Returns:
      That of `reliability`: two classes, of class 1; more, of the predicted class being right.
    """
    y, p = np.asarray(y_true), np.asarray(probabilities, np.float64)
    if p.shape[1] == 2:
        return reliability(y == 1, p[:, 1], bins=bins)
    return reliability(p.argmax(axis=1) == y, p.max(axis=1), bins=bins)
