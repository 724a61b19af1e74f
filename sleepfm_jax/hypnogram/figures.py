"""The figures of a staged night: sleep statistics, and agreement where somebody scored it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from sklearn.metrics import cohen_kappa_score

from sleepfm_jax.hypnogram.night import StagedNight
from sleepfm_jax.metrics.sleep_statistics import sleep_statistics


def figures(night: StagedNight) -> dict[str, Any]:
    """What stats.json holds of a night beside its signals; None in place of what there is not.

    Returns:
      `statistics` and, of a scored night, `scored_statistics`: of `metrics.sleep_statistics`, in
      which the time in bed is the whole recording, for nobody says when the lights went out;
      `agreement` {kappa, accuracy, sleep_epochs}, over the sleep_epochs that were scored;
      `confidence`: the mean probability of the stage that was chosen.
    """
    predicted, scored = night.predicted, night.scored_classes()
    chosen = night.probabilities.max(axis=1)[night.staged]
    return {
        "statistics": _told(sleep_statistics(predicted, night.classes)),
        "scored_statistics": None
        if scored is None
        else _told(sleep_statistics(scored, night.classes)),
        "agreement": None if scored is None else _agreement(predicted, scored),
        "confidence": _rounded(float(chosen.mean())) if chosen.size else None,
    }


def _agreement(predicted: np.ndarray, scored: np.ndarray) -> dict[str, Any] | None:
    """None without a sleep_epoch that is both staged and scored."""
    both = (predicted >= 0) & (scored >= 0)
    if not both.any():
        return None
    predicted, scored = predicted[both], scored[both]
    one_stage = len(np.unique([predicted, scored])) == 1  # and κ is 0 / 0
    kappa = math.nan if one_stage else float(cohen_kappa_score(scored, predicted))
    return {
        "kappa": _rounded(kappa),
        "accuracy": _rounded(float(np.mean(predicted == scored))),
        "sleep_epochs": int(both.sum()),
    }


def _told(statistics: dict[str, float]) -> dict[str, float | None]:
    return {name: _rounded(value) for name, value in statistics.items()}


def _rounded(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None
