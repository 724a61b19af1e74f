"""Metrics of one class an example, and their intervals over subjects (scikit-learn, no jax).

Rules, said once:

* Averages over classes are over the classes that occur in `y_true`; the others are listed as
  absent. A prediction of an absent class still costs the recall and F1 of the class it missed.
* A figure that cannot be had is NaN, and `notes` says why. NaN never enters an average.
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


def classification_metrics(y_true: np.ndarray, probabilities: np.ndarray) -> dict:
    """Metrics of labels with one class an example.

    Args:
      y_true: int [N], classes 0..K-1.
      probabilities: float [N, K]; the predicted class is the largest, ties to the first.

    Returns:
      `balanced_accuracy` (mean recall), `auroc` (binary: of class 1; more: one against the rest,
      mean), `f1` (mean over classes), `kappa` (Cohen's, unweighted), `accuracy`,
      `absent_classes` (indices that do not occur in `y_true`), `notes` (why a figure is NaN).

    Raises:
      ValueError: on shapes that disagree, labels outside 0..K-1, no examples, or a probability
        that is not finite.
    """
    y, p = _check_classes(y_true, probabilities)
    classes = p.shape[1]
    present = np.unique(y)
    absent = np.setdiff1d(np.arange(classes), present)
    predicted = p.argmax(axis=1)
    notes = []
    if absent.size:
        notes.append(
            f"classes {absent.tolist()} do not occur among the true labels: "
            "averages are over the others"
        )
    average = {"labels": present, "average": "macro", "zero_division": 0.0}
    auroc = kappa = float("nan")
    if present.size < 2:
        notes.append("AUROC is undefined: the true labels hold a single class")
    else:
        scored = [1] if classes == 2 else present
        auroc = float(np.mean([sk.roc_auc_score(y == k, p[:, k]) for k in scored]))
    if np.union1d(present, predicted).size < 2:
        notes.append("kappa is undefined: one class in the true labels and in the predictions")
    else:
        kappa = float(sk.cohen_kappa_score(y, predicted))
    return {
        "balanced_accuracy": float(sk.recall_score(y, predicted, **average)),
        "auroc": auroc,
        "f1": float(sk.f1_score(y, predicted, **average)),
        "kappa": kappa,
        "accuracy": float(sk.accuracy_score(y, predicted)),
        "absent_classes": absent.tolist(),
        "notes": notes,
    }


def classification_statistic(y_true: np.ndarray, probabilities: np.ndarray) -> Statistic:
    """The metrics of `classification_metrics`, for many weightings of the examples at once."""
    y, p = _check_classes(y_true, probabilities)
    examples, classes = p.shape
    present = np.unique(y)
    cells = np.zeros((examples, classes * classes))  # [N, K * K]: one cell of the confusion matrix
    cells[np.arange(examples), y * classes + p.argmax(axis=1)] = 1.0
    scored = [] if present.size < 2 else [1] if classes == 2 else present.tolist()
    ranked = [Ranked(p[:, k], y == k) for k in scored]

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        confusion = (weights @ cells).reshape(-1, classes, classes)  # [R, K true, K predicted]
        hits = np.diagonal(confusion, axis1=1, axis2=2)  # [R, K]
        true, guessed = confusion.sum(axis=2), confusion.sum(axis=1)  # [R, K]
        total = true.sum(axis=1)
        recall = ratio(hits, true)[:, present]
        f1 = ratio(2 * hits, true + guessed)[:, present]
        by_chance = (true * guessed).sum(axis=1) / total**2
        accuracy = hits.sum(axis=1) / total
        auroc = [r.auroc(weights) for r in ranked] or [np.full(len(weights), np.nan)]
        return {
            "balanced_accuracy": recall.mean(axis=1),
            "auroc": np.mean(auroc, axis=0),
            "f1": f1.mean(axis=1),
            "kappa": ratio(accuracy - by_chance, 1.0 - by_chance),
            "accuracy": accuracy,
        }

    return statistic


def classification_intervals(
    y_true: np.ndarray,
    probabilities: np.ndarray,
    subjects: Sequence[str] | np.ndarray,
    *,
    n: int = 1000,
    seed: int = 0,
) -> dict[str, list[float]]:
    """95 % intervals over subjects of the figures of `classification_metrics`."""
    y, p = _check_classes(y_true, probabilities)
    required = y[:, None] == np.unique(y)[None]  # [N, classes that occur]
    return subject_bootstrap(
        subjects, classification_statistic(y, p), required=required, n=n, seed=seed
    )


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
