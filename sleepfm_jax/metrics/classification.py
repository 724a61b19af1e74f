"""Metrics of one class an example, as scikit-learn has them, for any weights (numpy, no jax).

Rules, said once:

* Where scikit-learn has a value, ours is equal to it, absent classes included: recall is averaged
  over the classes that occur among the true labels (`balanced_accuracy_score`), F1 over those that
  occur among the true or the predicted ones (`f1_score`): a class that is only predicted has F1 0.
* One against the rest is averaged over the classes that occur among the true labels.
* A figure that cannot be had is NaN, and `notes` says why. NaN never enters an average.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import roc_curve

from sleepfm_jax.metrics.weighted import Ranked, Statistic, check_scores, ratio


def classification_metrics(
    y_true: np.ndarray, probabilities: np.ndarray, *, threshold: np.ndarray | float | None = None
) -> dict:
    """Metrics of labels with one class an example.

    Args:
      y_true: int [N], classes 0..K-1.
      probabilities: float [N, K]; the predicted class is the largest, ties to the first.
      threshold: two classes only: a number or [N], chosen on validation people, never on these
        labels; class 1 is called where its probability >= threshold, for `sensitivity` and
        `specificity` alone. None: these two are left out.

    Returns:
      `balanced_accuracy` (mean recall), `auroc`, `auprc` (average precision; both: two classes, of
      class 1; more, one against the rest, mean), `f1` (macro), `f1_weighted` (by true examples),
      `kappa` (Cohen's, unweighted), `accuracy`, `brier` (two classes: mean of (p1 - y)^2, 0..1;
      more: the sum over classes of (pk - yk)^2, averaged, 0..2). With two classes also
      `f1_positive` (of class 1) and, with a threshold, `sensitivity`, `specificity`. Besides:
      `absent_classes` (indices that do not occur in `y_true`), `notes` (why a figure is NaN).

    Raises:
      ValueError: on shapes that disagree, labels outside 0..K-1, no examples, a probability that
        is not finite, or a threshold with more than two classes.
    """
    y, p = _check_classes(y_true, probabilities)
    figures = classification_statistic(y, p, threshold=threshold)(np.ones((1, len(y))))
    figures = {name: float(value[0]) for name, value in figures.items()}
    absent = np.setdiff1d(np.arange(p.shape[1]), y)
    notes = []
    if absent.size:
        notes.append(
            f"classes {absent.tolist()} do not occur among the true labels: recall, AUROC and "
            "AUPRC are averaged over the others; F1 counts them as 0 where they are predicted"
        )
    one = "the true labels hold a single class"
    reasons = {
        "auroc": f"AUROC is undefined: {one}",
        "auprc": f"AUPRC is undefined: {one}",
        "kappa": "kappa is undefined: one class in the true labels and in the predictions",
        "f1_positive": "F1 of class 1 is undefined: it is neither a true nor a predicted one",
        "sensitivity": "sensitivity is undefined: no true label is class 1",
        "specificity": "specificity is undefined: no true label is class 0",
    }
    notes += [reasons[name] for name, value in figures.items() if np.isnan(value)]
    return {**figures, "absent_classes": absent.tolist(), "notes": notes}


def classification_statistic(
    y_true: np.ndarray, probabilities: np.ndarray, *, threshold: np.ndarray | float | None = None
) -> Statistic:
    """The metrics of `classification_metrics`, for many weightings of the examples at once.

    The classes that are averaged over are those of the whole sample: a weighting under which a true
    class has no weight gives NaN, never the average over fewer classes.
    """
    y, p = _check_classes(y_true, probabilities)
    examples, classes = p.shape
    guess = p.argmax(axis=1)
    cells = np.zeros((examples, classes * classes))  # [N, K * K]: one cell of the confusion matrix
    cells[np.arange(examples), y * classes + guess] = 1.0
    present = np.unique(y)
    only_guessed = np.setdiff1d(guess, present)
    scored = [] if present.size < 2 else [1] if classes == 2 else present.tolist()
    ranked = [Ranked(p[:, k], y == k) for k in scored]
    if classes == 2:
        errors = (p[:, 1] - y) ** 2
    else:
        errors = ((p - np.eye(classes)[y]) ** 2).sum(axis=1)
    called = None if threshold is None else _call(p, threshold)

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        confusion = (weights @ cells).reshape(-1, classes, classes)  # [R, K true, K predicted]
        hits = np.diagonal(confusion, axis1=1, axis2=2)  # [R, K]
        true, guessed = confusion.sum(axis=2), confusion.sum(axis=1)  # [R, K]
        total = true.sum(axis=1)
        f1 = ratio(2 * hits, true + guessed)
        f1[:, only_guessed] = 0.0
        by_chance = (true * guessed).sum(axis=1) / total**2
        accuracy = hits.sum(axis=1) / total
        nothing = np.full(len(weights), np.nan)
        areas = [r.areas(weights) for r in ranked] or [(nothing, nothing)]
        either = np.union1d(present, only_guessed)
        figures = {
            "balanced_accuracy": ratio(hits, true)[:, present].mean(axis=1),
            "auroc": np.mean([auroc for auroc, _ in areas], axis=0),
            "auprc": np.mean([auprc for _, auprc in areas], axis=0),
            "f1": f1[:, either].mean(axis=1),
            "f1_weighted": (f1[:, present] * true[:, present]).sum(axis=1) / total,
            "kappa": nothing if either.size < 2 else ratio(accuracy - by_chance, 1.0 - by_chance),
            "accuracy": accuracy,
            "brier": weights @ errors / total,
        }
        if classes == 2:
            figures["f1_positive"] = f1[:, 1]
        if called is not None:
            figures["sensitivity"] = ratio(weights @ ((y == 1) & called), true[:, 1])
            figures["specificity"] = ratio(weights @ ((y == 0) & ~called), true[:, 0])
        return figures

    return statistic


def choose_threshold(y_true: np.ndarray, probabilities: np.ndarray) -> float:
    """The threshold of class 1 with the best sum of sensitivity and specificity on these
    (validation) examples, halfway to the next score; .5 where they hold a single class.

    Args:
      y_true: [N] of 0 and 1. probabilities: float [N], of class 1.
    """
    if np.unique(y_true).size < 2:
        return 0.5
    wrong, right, cuts = roc_curve(y_true, probabilities, drop_intermediate=False)
    best = int(np.argmax(right - wrong))  # cuts descend from inf
    below = cuts[best + 1] if best + 1 < len(cuts) else 0.0
    above = cuts[best] if np.isfinite(cuts[best]) else 1.0
    return float((above + below) / 2)


def class_holders(y_true: np.ndarray, classes: Sequence[str]) -> dict[str, np.ndarray]:
    """{"class 'NAME'": bool [N]} of the classes that occur, for `person_intervals`."""
    y = np.asarray(y_true)
    return {f"class {classes[k]!r}": y == k for k in np.unique(y)}


def _call(p: np.ndarray, threshold: np.ndarray | float) -> np.ndarray:
    if p.shape[1] != 2:
        raise ValueError(f"a threshold calls one of two classes, here are {p.shape[1]}")
    return p[:, 1] >= np.broadcast_to(np.asarray(threshold, np.float64), len(p))


def _check_classes(y_true: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y, p = np.asarray(y_true), np.asarray(probabilities, np.float64)
    if y.ndim != 1 or p.ndim != 2 or len(y) != len(p) or p.shape[1] < 2:
        raise ValueError(
            f"expected y_true [N] and probabilities [N, K >= 2], got {y.shape} and {p.shape}"
        )
    check_scores(p)
    outside = ~np.isin(y, np.arange(p.shape[1]))
    if outside.any():
        raise ValueError(
            f"{int(outside.sum())} of {len(y)} labels are not a class 0..{p.shape[1] - 1} "
            f"(first: {y[outside][0]}): leave unscored examples out before scoring"
        )
    return y.astype(np.int64), p
