"""Metrics of several yes/no labels an example, and their intervals (scikit-learn, no jax).

A label without a positive or without a negative is excluded from every average, and is listed with
its reason. A figure that cannot be had is NaN, and `notes` says why.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn import metrics as sk

from sleepfm_jax.metrics.intervals import (
    Ranked,
    Statistic,
    check_scores,
    ratio,
    subject_bootstrap,
)


def multilabel_metrics(
    y_true: np.ndarray, probabilities: np.ndarray, thresholds: np.ndarray | float = 0.5
) -> dict:
    """Metrics of several yes/no labels an example.

    Args:
      y_true: [N, K] of 0 and 1; NaN = unknown, which leaves the example out of that label alone.
      probabilities: float [N, K].
      thresholds: a number, [K] or [N, K]: a label is predicted where probability >= threshold.
        They must come from validation subjects, never from these labels.

    Returns:
      `balanced_accuracy`, `auroc`, `f1` (of the positive side), `average_precision`, each the mean
      over the scored labels; `per_label` {metric: [K], NaN where excluded};
      `excluded_labels` {index: reason} for labels without a positive or a negative; `notes`.

    Raises:
      ValueError: on shapes that disagree, labels other than 0, 1, NaN, no examples, or a
        probability that is not finite.
    """
    y, p = _check_labels(y_true, probabilities)
    predicted = p >= np.broadcast_to(np.asarray(thresholds, np.float64), p.shape)
    excluded = _excluded_labels(y)
    names = ("balanced_accuracy", "auroc", "f1", "average_precision")
    per_label = {name: [float("nan")] * p.shape[1] for name in names}
    for k in range(p.shape[1]):
        if k in excluded:
            continue
        known = ~np.isnan(y[:, k])
        truth, guess, score = y[known, k].astype(int), predicted[known, k], p[known, k]
        per_label["balanced_accuracy"][k] = float(sk.balanced_accuracy_score(truth, guess))
        per_label["auroc"][k] = float(sk.roc_auc_score(truth, score))
        per_label["f1"][k] = float(sk.f1_score(truth, guess, zero_division=0.0))
        per_label["average_precision"][k] = float(sk.average_precision_score(truth, score))
    scored = [k for k in range(p.shape[1]) if k not in excluded]
    notes = [f"label {k} is not scored: {reason}" for k, reason in excluded.items()]
    if not scored:
        notes.append("no label has both positives and negatives: every figure is undefined")
    means = {
        name: float(np.mean([per_label[name][k] for k in scored])) if scored else float("nan")
        for name in names
    }
    return {**means, "per_label": per_label, "excluded_labels": excluded, "notes": notes}


def multilabel_statistic(
    y_true: np.ndarray, probabilities: np.ndarray, thresholds: np.ndarray | float = 0.5
) -> Statistic:
    """`balanced_accuracy`, `auroc`, `f1` of `multilabel_metrics`, for many weightings at once."""
    y, p = _check_labels(y_true, probabilities)
    predicted = p >= np.broadcast_to(np.asarray(thresholds, np.float64), p.shape)
    excluded = _excluded_labels(y)
    scored = [k for k in range(p.shape[1]) if k not in excluded]
    positive, negative = y[:, scored] == 1, y[:, scored] == 0  # [N, K]; both False where unknown
    guess = predicted[:, scored]
    columns = [positive & guess, positive & ~guess, negative & guess, negative & ~guess]
    cells = np.stack(columns, axis=-1).reshape(len(y), -1).astype(np.float64)  # [N, K * 4]
    ranked = []
    for k in scored:
        known = ~np.isnan(y[:, k])
        ranked.append((known, Ranked(p[known, k], y[known, k] == 1)))

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        if not scored:
            nothing = np.full(len(weights), np.nan)
            return {"balanced_accuracy": nothing, "auroc": nothing, "f1": nothing}
        counts = (weights @ cells).reshape(len(weights), len(scored), 4)
        tp, fn, fp, tn = np.moveaxis(counts, -1, 0)  # each [R, K]
        recalls = (ratio(tp, tp + fn) + ratio(tn, tn + fp)) / 2
        auroc = [r.auroc(weights[:, known]) for known, r in ranked]
        return {
            "balanced_accuracy": recalls.mean(axis=1),
            "auroc": np.mean(auroc, axis=0),
            "f1": ratio(2 * tp, 2 * tp + fp + fn).mean(axis=1),
        }

    return statistic


def multilabel_intervals(
    y_true: np.ndarray,
    probabilities: np.ndarray,
    subjects: Sequence[str] | np.ndarray,
    thresholds: np.ndarray | float = 0.5,
    *,
    n: int = 1000,
    seed: int = 0,
) -> dict[str, list[float]]:
    """95 % intervals over subjects of three of the figures of `multilabel_metrics`."""
    y, p = _check_labels(y_true, probabilities)
    excluded = _excluded_labels(y)
    scored = [k for k in range(p.shape[1]) if k not in excluded]
    required = np.concatenate([y[:, scored] == 1, y[:, scored] == 0], axis=1)  # [N, 2 K]
    statistic = multilabel_statistic(y, p, thresholds)
    return subject_bootstrap(subjects, statistic, required=required, n=n, seed=seed)


def choose_thresholds(y_true: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The threshold of each label with the best F1 on these (validation) examples.

    Args:
      y_true: [N, K] of 0, 1 and NaN (unknown). probabilities: float [N, K].

    Returns:
      float64 [K], halfway between two neighbouring scores, so that a tie with an example is never
      decided by rounding; 0.5 for a label without a positive or a negative here.
    """
    y, p = _check_labels(y_true, probabilities)
    excluded = _excluded_labels(y)
    thresholds = np.full(p.shape[1], 0.5)
    for k in range(p.shape[1]):
        if k in excluded:
            continue
        known = ~np.isnan(y[:, k])
        scores, truth = p[known, k], y[known, k] == 1
        values = np.unique(scores)  # ascending
        cuts = np.concatenate([values[:1], (values[:-1] + values[1:]) / 2])
        group = np.searchsorted(values, scores)
        positives = np.bincount(group[truth], minlength=values.size)[::-1].cumsum()[::-1]
        everyone = np.bincount(group, minlength=values.size)[::-1].cumsum()[::-1]
        thresholds[k] = cuts[np.argmax(2 * positives / (truth.sum() + everyone))]
    return thresholds


def _check_labels(y_true: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y, p = np.asarray(y_true, np.float64), np.asarray(probabilities, np.float64)
    if y.ndim != 2 or y.shape != p.shape:
        raise ValueError(
            f"expected y_true and probabilities of one shape [N, K], got {y.shape} and {p.shape}"
        )
    check_scores(p)
    wrong = ~(np.isnan(y) | (y == 0) | (y == 1))
    if wrong.any():
        raise ValueError(f"{int(wrong.sum())} labels are not 0, 1 or NaN (first: {y[wrong][0]})")
    return y, p


def _excluded_labels(y: np.ndarray) -> dict[int, str]:
    """{label index: reason} of the labels that cannot be scored."""
    excluded = {}
    for k in range(y.shape[1]):
        sides = (("positive", 1), ("negative", 0))
        missing = [name for name, value in sides if not (y[:, k] == value).any()]
        if missing:
            excluded[k] = f"no {' and no '.join(missing)} example"
    return excluded
