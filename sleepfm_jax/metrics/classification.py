"""Metrics of one task and their intervals over subjects (numpy and scikit-learn, no jax).

Point figures come from scikit-learn. Intervals resample *subjects* with replacement, because the
clips of one person are not independent: an interval over clips would be far too narrow. The
resampling never rebuilds an array of examples; it carries one weight an example (how often its
subject was drawn), so a thousand resamples are a few matrix products.

Rules, said once:

* Averages over classes are over the classes that occur in `y_true`; the others are listed as
  absent. A prediction of an absent class still costs the recall and F1 of the class it missed.
* A figure that cannot be had is NaN, and `notes` says why. NaN never enters an average.
* A resample in which a scored class (or the positive or negative side of a scored label) does not
  occur is redrawn, so every resample averages over the same classes as the point figure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from sklearn import metrics as sk

# {metric: value a resample} from the weights of the examples, [R, N] -> {name: [R]}
Statistic = Callable[[np.ndarray], Mapping[str, np.ndarray]]

_CHUNK = 4_000_000  # elements of the largest temporary array: 32 MB in float64
_DRAWS_PER_RESAMPLE = 50


# --------------------------------------------------------------------------- one class an example


def classification_metrics(y_true: np.ndarray, probabilities: np.ndarray) -> dict:
    """Metrics of a task with one class an example.

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
    ranked = [_Ranked(p[:, k], y == k) for k in scored]

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        confusion = (weights @ cells).reshape(-1, classes, classes)  # [R, K true, K predicted]
        hits = np.diagonal(confusion, axis1=1, axis2=2)  # [R, K]
        true, guessed = confusion.sum(axis=2), confusion.sum(axis=1)  # [R, K]
        total = true.sum(axis=1)
        recall = _ratio(hits, true)[:, present]
        f1 = _ratio(2 * hits, true + guessed)[:, present]
        by_chance = (true * guessed).sum(axis=1) / total**2
        accuracy = hits.sum(axis=1) / total
        auroc = [r.auroc(weights) for r in ranked] or [np.full(len(weights), np.nan)]
        return {
            "balanced_accuracy": recall.mean(axis=1),
            "auroc": np.mean(auroc, axis=0),
            "f1": f1.mean(axis=1),
            "kappa": _ratio(accuracy - by_chance, 1.0 - by_chance),
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


# --------------------------------------------------------------------------- several labels


def multilabel_metrics(
    y_true: np.ndarray, probabilities: np.ndarray, thresholds: np.ndarray | float = 0.5
) -> dict:
    """Metrics of a task with several yes/no labels an example.

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
        ranked.append((known, _Ranked(p[known, k], y[known, k] == 1)))

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        if not scored:
            nothing = np.full(len(weights), np.nan)
            return {"balanced_accuracy": nothing, "auroc": nothing, "f1": nothing}
        counts = (weights @ cells).reshape(len(weights), len(scored), 4)
        tp, fn, fp, tn = np.moveaxis(counts, -1, 0)  # each [R, K]
        recalls = (_ratio(tp, tp + fn) + _ratio(tn, tn + fp)) / 2
        auroc = [r.auroc(weights[:, known]) for known, r in ranked]
        return {
            "balanced_accuracy": recalls.mean(axis=1),
            "auroc": np.mean(auroc, axis=0),
            "f1": _ratio(2 * tp, 2 * tp + fp + fn).mean(axis=1),
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


# --------------------------------------------------------------------------- intervals


def subject_bootstrap(
    subjects: Sequence[str] | np.ndarray,
    statistic: Statistic,
    *,
    required: np.ndarray | None = None,
    n: int = 1000,
    seed: int = 0,
) -> dict[str, list[float]]:
    """95 % percentile intervals from resampling subjects with replacement.

    Args:
      subjects: [N], the subject of each example.
      statistic: weights float [R, N] -> {metric: [R]}; a weight is the number of times the
        example's subject was drawn.
      required: bool [N, J] or None: a resample must draw at least one example of every column,
        else it is redrawn (at most 50 draws a resample asked for).
      n: resamples. seed: of the draws; the same seed gives the same intervals.

    Returns:
      {metric: [low, high]}. [NaN, NaN] with fewer than two subjects, where the redraws ran out, or
      where the statistic is NaN in a resample.

    Raises:
      ValueError: with no examples, or when `required` does not fit them.
    """
    names, member = np.unique(np.asarray(subjects), return_inverse=True)  # member: [N]
    if not member.size:
        raise ValueError("no examples to resample")
    if required is None:
        required = np.ones((member.size, 1), bool)
    if required.shape[0] != member.size:
        raise ValueError(f"required has {required.shape[0]} rows for {member.size} examples")
    holds = np.zeros((names.size, required.shape[1]))  # [subjects, J]
    np.add.at(holds, member, required)
    counts = _draw(names.size, holds > 0, n, np.random.default_rng(seed))
    if names.size < 2 or len(counts) < n:
        empty = statistic(np.ones((1, member.size)))
        return {name: [float("nan")] * 2 for name in empty}
    values: dict[str, list[np.ndarray]] = {}
    step = max(1, _CHUNK // member.size)
    for start in range(0, n, step):
        weights = counts[start : start + step][:, member].astype(np.float64)  # [R, N]
        for name, value in statistic(weights).items():
            values.setdefault(name, []).append(np.asarray(value))
    return {  # np.percentile gives NaN where a value is NaN, which is the rule
        name: [float(v) for v in np.percentile(np.concatenate(parts), [2.5, 97.5])]
        for name, parts in values.items()
    }


def _draw(subjects: int, holds: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Up to n rows of how often each subject was drawn, [n, subjects], each meeting `holds`."""
    accepted: list[np.ndarray] = []
    found = drawn = 0
    batch = max(1, min(n, _CHUNK // subjects))
    while found < n and drawn < _DRAWS_PER_RESAMPLE * n:
        picks = rng.integers(subjects, size=(batch, subjects))
        rows = picks + subjects * np.arange(batch)[:, None]
        counts = np.bincount(rows.ravel(), minlength=batch * subjects).reshape(batch, subjects)
        counts = counts[(counts @ holds > 0).all(axis=1)].astype(np.int32)
        accepted.append(counts)
        found += len(counts)
        drawn += batch
    return np.concatenate(accepted)[:n]


class _Ranked:
    """Examples sorted by score once, so the AUROC of any weighting is a cumulative sum.

    AUROC = P(score of a positive > that of a negative) + P(equal) / 2, the Mann-Whitney form; with
    weights, the share of (positive, negative) pairs, each counted weight times weight.
    """

    def __init__(self, scores: np.ndarray, positive: np.ndarray):
        self.order = np.argsort(scores, kind="stable")
        ordered = scores[self.order]
        self.positive = np.asarray(positive, bool)[self.order]
        new = np.concatenate([[True], ordered[1:] != ordered[:-1]])
        self.first = np.flatnonzero(new)  # where each run of equal scores begins
        self.tied = self.first.size < ordered.size

    def auroc(self, weights: np.ndarray) -> np.ndarray:
        """float [R, N] -> [R]; NaN where a weighting has no positive or no negative."""
        ordered = weights[:, self.order]
        positive = np.where(self.positive, ordered, 0.0)
        negative = ordered - positive
        if self.tied:
            positive = np.add.reduceat(positive, self.first, axis=1)
            negative = np.add.reduceat(negative, self.first, axis=1)
        below = np.cumsum(negative, axis=1) - negative / 2  # half of the equal ones
        pairs = positive.sum(axis=1) * negative.sum(axis=1)
        return _ratio(np.einsum("rg,rg->r", positive, below), pairs)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """above / below, NaN where below is 0 (a 0/0 is not a 0)."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below != 0)


# --------------------------------------------------------------------------- checks


def _check_classes(y_true: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y, p = np.asarray(y_true), np.asarray(probabilities, np.float64)
    if y.ndim != 1 or p.ndim != 2 or len(y) != len(p) or p.shape[1] < 2:
        raise ValueError(
            f"expected y_true [N] and probabilities [N, K >= 2], got {y.shape} and {p.shape}"
        )
    _check_scores(p)
    outside = ~np.isin(y, np.arange(p.shape[1]))
    if outside.any():
        raise ValueError(
            f"{int(outside.sum())} of {len(y)} labels are not a class 0..{p.shape[1] - 1} "
            f"(first: {y[outside][0]}): leave unscored examples out before scoring"
        )
    return y.astype(np.int64), p


def _check_labels(y_true: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y, p = np.asarray(y_true, np.float64), np.asarray(probabilities, np.float64)
    if y.ndim != 2 or y.shape != p.shape:
        raise ValueError(
            f"expected y_true and probabilities of one shape [N, K], got {y.shape} and {p.shape}"
        )
    _check_scores(p)
    wrong = ~(np.isnan(y) | (y == 0) | (y == 1))
    if wrong.any():
        raise ValueError(f"{int(wrong.sum())} labels are not 0, 1 or NaN (first: {y[wrong][0]})")
    return y, p


def _check_scores(p: np.ndarray) -> None:
    if not len(p):
        raise ValueError("no examples to score")
    bad = ~np.isfinite(p).all(axis=1)
    if bad.any():
        raise ValueError(f"{int(bad.sum())} of {len(p)} examples have a probability not finite")


def _excluded_labels(y: np.ndarray) -> dict[int, str]:
    """{label index: reason} of the labels that cannot be scored."""
    excluded = {}
    for k in range(y.shape[1]):
        sides = (("positive", 1), ("negative", 0))
        missing = [name for name, value in sides if not (y[:, k] == value).any()]
        if missing:
            excluded[k] = f"no {' and no '.join(missing)} example"
    return excluded
