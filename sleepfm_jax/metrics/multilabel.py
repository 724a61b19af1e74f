"""Metrics of several yes/no labels an example, for any weights, and thresholds (numpy, no jax).

A label without a positive or without a negative is excluded from every average, and is listed with
its reason. A figure that cannot be had is NaN, and `notes` says why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sleepfm_jax.metrics.weighted import Ranked, Statistic, check_scores, ratio


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
      `balanced_accuracy`, `auroc`, `auprc` (average precision), `f1` (of the positive side),
      `brier` (mean of (p - y)^2, 0..1), each the mean over the scored labels; `per_label`
      {metric: [K], NaN where excluded}; `excluded_labels` {index: reason} for labels without a
      positive or a negative; `notes`.

    Raises:
      ValueError: on shapes that disagree, labels other than 0, 1, NaN, no examples, or a
        probability that is not finite.
    """
    y, p = _check_labels(y_true, probabilities)
    excluded = _excluded_labels(y)
    of_labels, scored = _of_labels(y, p, thresholds)
    per_label, means = {}, {}
    for name, values in of_labels(np.ones((1, len(y)))).items():
        every = np.full(p.shape[1], np.nan)
        every[scored] = values[0]
        per_label[name] = every.tolist()
        means[name] = float(values[0].mean()) if scored else float("nan")
    notes = [f"label {k} is not scored: {reason}" for k, reason in excluded.items()]
    if not scored:
        notes.append("no label has both positives and negatives: every figure is undefined")
    return {**means, "per_label": per_label, "excluded_labels": excluded, "notes": notes}


def multilabel_statistic(
    y_true: np.ndarray, probabilities: np.ndarray, thresholds: np.ndarray | float = 0.5
) -> Statistic:
    """The means of `multilabel_metrics`, for many weightings of the examples at once.

    The labels that are averaged over are those scored in the whole sample: a weighting under which
    one of them loses its positives or its negatives gives NaN, never the average over fewer.
    """
    y, p = _check_labels(y_true, probabilities)
    of_labels, scored = _of_labels(y, p, thresholds)

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        nothing = np.full(len(weights), np.nan)
        figures = of_labels(weights)
        return {name: v.mean(axis=1) if scored else nothing for name, v in figures.items()}

    return statistic


def label_holders(y_true: np.ndarray, labels: Sequence[str]) -> dict[str, np.ndarray]:
    """{"label 'NAME'", "the absence of 'NAME'": bool [N]} of what is scored: `person_intervals`."""
    y = np.asarray(y_true, np.float64)
    excluded = _excluded_labels(y)
    holders = {}
    for k in range(y.shape[1]):
        if k not in excluded:
            holders[f"label {labels[k]!r}"] = y[:, k] == 1
            holders[f"the absence of {labels[k]!r}"] = y[:, k] == 0
    return holders


def _of_labels(
    y: np.ndarray, p: np.ndarray, thresholds: np.ndarray | float
) -> tuple[Callable[[np.ndarray], dict[str, np.ndarray]], list[int]]:
    """weights [R, N] -> {metric: [R, S]} of the S scored labels, and which these are."""
    guess = p >= np.broadcast_to(np.asarray(thresholds, np.float64), p.shape)
    excluded = _excluded_labels(y)
    scored = [k for k in range(p.shape[1]) if k not in excluded]
    positive, negative = y[:, scored] == 1, y[:, scored] == 0  # [N, S]; both False where unknown
    guess = guess[:, scored]
    errors = np.where(positive | negative, (p[:, scored] - positive) ** 2, 0.0)
    columns = [positive & guess, positive & ~guess, negative & guess, negative & ~guess, errors]
    cells = np.stack(columns, axis=-1, dtype=np.float64)  # [N, S, 5]
    cells = cells.reshape(len(y), len(scored) * 5)
    ranked = [
        (known, Ranked(p[known, k], y[known, k] == 1))
        for k, known in zip(scored, (positive | negative).T, strict=True)
    ]

    def figures(weights: np.ndarray) -> dict[str, np.ndarray]:
        sums = (weights @ cells).reshape(len(weights), len(scored), 5)
        tp, fn, fp, tn, squares = np.moveaxis(sums, -1, 0)  # each [R, S]
        areas = np.empty((2, len(weights), len(scored)))
        for column, (known, ranking) in enumerate(ranked):
            areas[:, :, column] = ranking.areas(weights if known.all() else weights[:, known])
        return {
            "balanced_accuracy": (ratio(tp, tp + fn) + ratio(tn, tn + fp)) / 2,
            "auroc": areas[0],
            "auprc": areas[1],
            "f1": ratio(2 * tp, 2 * tp + fp + fn),
            "brier": ratio(squares, tp + fn + fp + tn),
        }

    return figures, scored


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
