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
    classes = p.shape[1]
    guess = p.argmax(axis=1)
    confused = Confused(y, guess, classes)
    present = confused.present
    scored = [] if present.size < 2 else [1] if classes == 2 else present.tolist()
    ranked = [Ranked(p[:, k], y == k) for k in scored]
    if classes == 2:
        errors = (p[:, 1] - y) ** 2
    else:
        errors = ((p - np.eye(classes)[y]) ** 2).sum(axis=1)
    called = None if threshold is None else _call(p, threshold)

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        confusion = confused.counts(weights)
        found = confused.figures(confusion)
        true = confusion.sum(axis=2)  # [R, K]
        nothing = np.full(len(weights), np.nan)
        areas = [r.areas(weights) for r in ranked] or [(nothing, nothing)]
        figures = {
            "balanced_accuracy": found["balanced_accuracy"],
            "auroc": np.mean([auroc for auroc, _ in areas], axis=0),
            "auprc": np.mean([auprc for _, auprc in areas], axis=0),
            **{name: found[name] for name in ("f1", "f1_weighted", "kappa", "accuracy")},
            "brier": weights @ errors / true.sum(axis=1),
        }
        if classes == 2:
            figures["f1_positive"] = confused.f1(confusion)[:, 1]
        if called is not None:
            figures["sensitivity"] = ratio(weights @ ((y == 1) & called), true[:, 1])
            figures["specificity"] = ratio(weights @ ((y == 0) & ~called), true[:, 0])
        return figures

    return statistic


class Confused:
    """Confusion matrices of one set of examples under many weightings, and figures of them.

    The classes that are averaged over are those of the whole sample, whatever the weighting.

    Args:
      y_true, guess: int [N], classes 0..classes-1.

    Attributes:
      present: the classes that occur in `y_true`. only_guessed: those in `guess` alone.
    """

    def __init__(self, y_true: np.ndarray, guess: np.ndarray, classes: int):
        self.classes = classes
        self._cells = np.zeros((len(y_true), classes * classes))  # [N, K * K]
        self._cells[np.arange(len(y_true)), y_true * classes + guess] = 1.0
        self.present = np.unique(y_true)
        self.only_guessed = np.setdiff1d(guess, self.present)

    def counts(self, weights: np.ndarray) -> np.ndarray:
        """[R, N] → [R, K true, K predicted]."""
        return (weights @ self._cells).reshape(-1, self.classes, self.classes)

    def f1(self, confusion: np.ndarray) -> np.ndarray:
        """F1 of each class, [R, K]; NaN where it is neither a true nor a predicted one."""
        hits = np.diagonal(confusion, axis1=1, axis2=2)
        f1 = ratio(2 * hits, confusion.sum(axis=2) + confusion.sum(axis=1))
        f1[:, self.only_guessed] = 0.0
        return f1

    def figures(self, confusion: np.ndarray) -> dict[str, np.ndarray]:
        """{metric: [R]}: balanced accuracy, F1 (macro and weighted), kappa and accuracy."""
        hits = np.diagonal(confusion, axis1=1, axis2=2)  # [R, K]
        true, guessed = confusion.sum(axis=2), confusion.sum(axis=1)  # [R, K]
        total = true.sum(axis=1)
        f1, present = self.f1(confusion), self.present
        by_chance = (true * guessed).sum(axis=1) / total**2
        accuracy = hits.sum(axis=1) / total
        either = np.union1d(present, self.only_guessed)
        kappa = ratio(accuracy - by_chance, 1.0 - by_chance)
        return {
            "balanced_accuracy": ratio(hits, true)[:, present].mean(axis=1),
            "f1": f1[:, either].mean(axis=1),
            "f1_weighted": (f1[:, present] * true[:, present]).sum(axis=1) / total,
            "kappa": np.full(len(confusion), np.nan) if either.size < 2 else kappa,
            "accuracy": accuracy,
        }


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
