"""Linear probe: one affine layer on frozen features, scored on subjects it never saw.

Protocol, the same for encoder features and for the plain baseline:

1. Features are standardised with the mean and standard deviation of the training examples.
2. Multinomial logistic regression (one binary regression a label for several labels), lbfgs, for
   each L2 of the grid from strong to weak, warm-started along the path. The objective is
   mean loss + l2 / 2 * ||weights||^2, so one grid serves any number of examples.
3. The L2 with the best balanced accuracy (several labels: macro AUROC) on the *validation* subjects
   is kept, the stronger on a draw. Several labels: each label's threshold is chosen there too (F1).
4. That model, fitted on the training subjects alone, is scored on the test subjects; validation
   examples are never trained on, so nothing is refitted after the choice.
5. One class an example: the same fit without class weights goes beside it, because kappa and F1
   punish a classifier that was told all classes are equally frequent. Two classes: a threshold of
   the second one is chosen on the validation subjects (Youden's index).

What comes out are predictions; figures are computed from them elsewhere (`metrics.scoring`).

A subject may be in one of training, validation and test only; anything else is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from sleepfm_jax.metrics.feature_sets import (
    FeatureSet,
    check_features,
    fold_of_each,
    validation_subjects,
)
from sleepfm_jax.metrics.logistic_path import ClassWeight, LabelKind, Settings, fit_and_predict

L2_GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
MAX_ITER = 200
# The matrices are small: on a busy machine, threads that wait for each other made a probe ten times
# slower than one thread (13 s against 1.3 s for 4,000 x 512 features).
_one_thread = threadpool_limits.wrap(limits=1)


class Fit(NamedTuple):
    """What a probe says of the scored examples.

    Attributes:
      probabilities: float [N, K]. unweighted: the same without class weights; None: several labels.
      thresholds: float [N, K] of several labels, [N, 1] of the second of two classes, else None.
      fold: int [N], in which each example was held out; -1 with given splits.
      l2: chosen, one a fold. protocol, notes: in words, for the reader.
    """

    probabilities: np.ndarray
    unweighted: np.ndarray | None
    thresholds: np.ndarray | None
    fold: np.ndarray
    l2: list[float]
    protocol: str
    notes: list[str]


@_one_thread
def fit_probe(
    train: FeatureSet | tuple,
    validation: FeatureSet | tuple,
    test: FeatureSet | tuple,
    *,
    label_kind: LabelKind = "classification",
    classes: Sequence[str] | None = None,
    l2_grid: Sequence[float] = L2_GRID,
    class_weight: ClassWeight = "balanced",
    impute: bool = False,
    max_iter: int = MAX_ITER,
    unweighted: bool = True,
    splits: str = "given splits by subject",
) -> Fit:
    """Fits and chooses a probe on given splits, and predicts the test examples.

    Args:
      train, validation, test: (x [N, F], y, subjects [N]) each; see `FeatureSet`. The caller
        sees to it that nobody is in two of them (`data.people.refuse_shared`), and leaves out
        unscored examples (stage -1).
      label_kind: "classification", one class an example, or "multilabel".
      classes: names of the K classes or labels; the numbers found when None.
      l2_grid: strengths to choose from, any order.
      class_weight: "balanced" weighs each class inversely to its share of the training examples
        (the metric is balanced accuracy, and N2 is half of the night); None weighs examples alike.
      impute: fill NaN features with their training mean (0 after standardising). For the plain
        baseline, where a channel may be missing; encoder features are never NaN. Infinities are
        always refused.
      max_iter: of lbfgs, for each L2. unweighted: fit also without class weights; otherwise that
        of the result is the class-balanced one. splits: where they are from, for the protocol's
        words.

    Raises:
      ValueError: features not finite (counted), labels outside the classes, an empty split, or
        shapes that disagree.
    """
    parts = {"train": train, "validation": validation, "test": test}
    checked = {name: check_features(name, part, label_kind, impute) for name, part in parts.items()}
    settings = _settings(checked.values(), label_kind, classes, l2_grid, class_weight, max_iter)
    settings.unweighted = unweighted
    found = fit_and_predict(*checked.values(), settings)
    counts = ", ".join(f"{len(np.unique(p.subjects))} {name}" for name, p in checked.items())
    protocol = f"{splits} ({counts} subjects), {_protocol(settings)}"
    n = len(checked["test"].y)
    cuts = found.thresholds
    return Fit(
        found.probabilities,
        found.unweighted,
        None if cuts is None else np.broadcast_to(cuts, (n, len(cuts))),
        np.full(n, -1),
        [found.l2],
        protocol,
        settings.notes,
    )


@_one_thread
def grouped_cv_probe(
    x: np.ndarray,
    y: np.ndarray,
    subjects: Sequence[str] | np.ndarray,
    *,
    folds: int = 5,
    seed: int = 0,
    validation_share: float = 0.2,
    label_kind: LabelKind = "classification",
    classes: Sequence[str] | None = None,
    l2_grid: Sequence[float] = L2_GRID,
    class_weight: ClassWeight = "balanced",
    impute: bool = False,
    max_iter: int = MAX_ITER,
    unweighted: bool = True,
) -> Fit:
    """Cross-validation by subject, for data without official splits.

    The outer folds are by subject, shuffled by `seed` (`fold_of_each`). In each, a share of the
    remaining subjects is held out to choose the L2 (and thresholds), the rest are trained on, and
    the fold's subjects are predicted: the protocol of `fit_probe`, once a fold. The
    out-of-fold predictions are pooled. Intervals over subjects therefore leave out the variance of
    refitting on other subjects, and pooled scores that rank (AUROC) compare examples of different
    fits: their mean over folds goes beside them.

    Args: as `fit_probe`; x [N, F].

    Raises:
      ValueError: as `fit_probe`, or fewer subjects than folds, or fewer than three subjects.
    """
    everyone = check_features("the data", (x, y, subjects), label_kind, impute)
    names = np.unique(everyone.subjects)
    if folds < 2 or len(names) < max(folds, 3):
        raise ValueError(
            f"{len(names)} subjects cannot make {folds} folds with validation subjects: "
            "at least 2 folds, 3 subjects, and as many subjects as folds are needed"
        )
    settings = _settings([everyone], label_kind, classes, l2_grid, class_weight, max_iter)
    settings.unweighted = unweighted
    n, k = len(everyone.y), len(settings.classes)
    probabilities = np.full((n, k), np.nan)
    unweighted = thresholds = None
    rng = np.random.default_rng(seed)
    fold = fold_of_each(everyone, folds, seed)
    chosen = []
    for number in range(folds):
        rest, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        held_out = validation_subjects(everyone, rest, validation_share, rng)
        inner = np.isin(everyone.subjects[rest], held_out)
        train, validation = rest[~inner], rest[inner]
        parts = [FeatureSet(*(column[i] for column in everyone)) for i in (train, validation, test)]
        found = fit_and_predict(*parts, settings)
        probabilities[test] = found.probabilities
        if found.unweighted is not None:
            unweighted = np.full((n, k), np.nan) if unweighted is None else unweighted
            unweighted[test] = found.unweighted
        if found.thresholds is not None:
            shape = (n, len(found.thresholds))
            thresholds = np.full(shape, np.nan) if thresholds is None else thresholds
            thresholds[test] = found.thresholds
        chosen.append(found.l2)
    protocol = (
        f"{folds}-fold cross-validation by subject ({len(names)} subjects, "
        f"{validation_share:.0%} of the training subjects for validation), out-of-fold "
        f"predictions pooled, {_protocol(settings)}"
    )
    return Fit(probabilities, unweighted, thresholds, fold, chosen, protocol, settings.notes)


def hold_out_validation(
    train: FeatureSet | tuple, *, share: float = 0.2, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Training and validation examples (indices) of a training split, by subject: for datasets with
    an official test split and no validation split."""
    everyone = FeatureSet(*(np.asarray(a) for a in train))
    every = np.arange(len(everyone.y))
    held_out = validation_subjects(everyone, every, share, np.random.default_rng(seed))
    inner = np.isin(everyone.subjects, held_out)
    return every[~inner], every[inner]


def _protocol(settings: Settings) -> str:
    weighting = "class-balanced" if settings.class_weight == "balanced" else "unweighted"
    chosen_by = "balanced accuracy" if settings.label_kind == "classification" else "macro AUROC"
    return (
        f"standardised features, {weighting} logistic regression fitted on training subjects, "
        f"L2 of {len(settings.l2_grid)} chosen by {chosen_by} on validation subjects"
    )


def _settings(parts, label_kind, classes, l2_grid, class_weight, max_iter) -> Settings:
    parts = list(parts)
    if label_kind == "classification":
        found = 1 + max(int(part.y.max()) for part in parts)
        lowest = min(int(part.y.min()) for part in parts)
    else:
        found, lowest = parts[0].y.shape[1], 0
        if any(part.y.shape[1] != found for part in parts):
            raise ValueError("the splits differ in the number of labels")
    names = [str(k) for k in range(found)] if classes is None else [str(c) for c in classes]
    if lowest < 0 or found > len(names) or (label_kind == "multilabel" and found != len(names)):
        raise ValueError(
            f"labels run from {lowest} to {found - 1} but there are {len(names)} classes {names}: "
            "leave unscored examples (-1) out, or name every class"
        )
    if len({part.x.shape[1] for part in parts}) > 1:
        raise ValueError("the splits differ in the number of features")
    grid = sorted({float(l2) for l2 in l2_grid}, reverse=True)
    if not grid or grid[-1] <= 0:
        raise ValueError(f"l2_grid must hold positive numbers, got {list(l2_grid)}")
    if class_weight not in ("balanced", None):
        raise ValueError(f"class_weight must be 'balanced' or None, got {class_weight!r}")
    return Settings(label_kind, names, grid, class_weight, max_iter)
