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
5. 95 % intervals resample the test subjects (`sleepfm_jax.metrics.classification`).

A subject may be in one of training, validation and test only; anything else is refused.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from threadpoolctl import threadpool_limits

from sleepfm_jax.metrics import classification
from sleepfm_jax.metrics.feature_sets import (
    Examples,
    check_examples,
    refuse_shared_subjects,
    validation_subjects,
)

L2_GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
MAX_ITER = 200
# The matrices are small: on a busy machine, threads that wait for each other made a probe ten times
# slower than one thread (13 s against 1.3 s for 4,000 x 512 features).
_one_thread = threadpool_limits.wrap(limits=1)
LabelKind = Literal["classification", "multilabel"]
ClassWeight = Literal["balanced"] | None


class ProbeResult(dict):
    """The figures of a probe, ready for JSON, and the test predictions behind them.

    Keys: `balanced_accuracy`, `auroc`, `f1`, `ci95` {metric: [low, high]}, `subjects`, `examples`
    (of the test set), `l2`, `protocol`, `classes`, `confusion` ([K true][K predicted]; several
    labels: one [[tn, fp], [fn, tp]] a label), `notes` (everything a reader should know: absent
    classes, fits that did not converge, values filled in). One class an example: also `kappa` and
    `accuracy`; several labels: `average_precision`, `per_label` and `thresholds`.

    Attributes (not in the JSON): `y`, `probabilities`, `example_subjects`, `thresholds` of the
    test examples, for `paired_difference`.
    """

    y: np.ndarray
    probabilities: np.ndarray
    example_subjects: np.ndarray
    thresholds: np.ndarray | None


@dataclass
class _Settings:
    label_kind: LabelKind
    classes: list[str]
    l2_grid: list[float]  # strong to weak
    class_weight: ClassWeight
    max_iter: int
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


@_one_thread
def fit_probe(
    train: Examples | tuple,
    validation: Examples | tuple,
    test: Examples | tuple,
    *,
    label_kind: LabelKind = "classification",
    classes: Sequence[str] | None = None,
    l2_grid: Sequence[float] = L2_GRID,
    class_weight: ClassWeight = "balanced",
    impute: bool = False,
    bootstrap: int = 1000,
    seed: int = 0,
    max_iter: int = MAX_ITER,
) -> ProbeResult:
    """Fits, chooses and scores a probe on given splits.

    Args:
      train, validation, test: (x [N, F], y, subjects [N]) each; see `Examples`. Unscored examples
        (stage -1) are left out by the caller.
      label_kind: "classification", one class an example, or "multilabel".
      classes: names of the K classes or labels; the numbers found when None.
      l2_grid: strengths to choose from, any order.
      class_weight: "balanced" weighs each class inversely to its share of the training examples
        (the metric is balanced accuracy, and N2 is half of the night); None weighs examples alike.
      impute: fill NaN features with their training mean (0 after standardising). For the plain
        baseline, where a channel may be missing; encoder features are never NaN. Infinities are
        always refused.
      bootstrap: resamples. seed: of the bootstrap. max_iter: of lbfgs, for each L2.

    Raises:
      ValueError: a subject in two splits (named), features not finite (counted), labels outside
        the classes, an empty split, or shapes that disagree.
    """
    parts = {"train": train, "validation": validation, "test": test}
    checked = {name: check_examples(name, part, label_kind, impute) for name, part in parts.items()}
    refuse_shared_subjects({name: part.subjects for name, part in checked.items()})
    settings = _settings(checked.values(), label_kind, classes, l2_grid, class_weight, max_iter)
    probabilities, thresholds, l2 = _fit(*checked.values(), settings)
    counts = ", ".join(f"{len(np.unique(p.subjects))} {name}" for name, p in checked.items())
    protocol = f"given splits by subject ({counts} subjects), {_protocol(settings)}"
    predicted = (probabilities, thresholds, l2)
    return _result(checked["test"], predicted, protocol, settings, bootstrap, seed)


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
    bootstrap: int = 1000,
    max_iter: int = MAX_ITER,
) -> ProbeResult:
    """Cross-validation by subject, for data without official splits.

    The outer folds are scikit-learn's GroupKFold by subject, shuffled by `seed`. In each, a share
    of the remaining subjects is held out to choose the L2 (and thresholds), the rest are trained
    on, and the fold's subjects are predicted: the protocol of `fit_probe`, once a fold. The
    out-of-fold predictions are pooled, scored once, and resampled by subject. The intervals
    therefore leave out the variance of refitting on other subjects.

    Args: as `fit_probe`; x [N, F]. `l2` of the result lists one choice a fold.

    Raises:
      ValueError: as `fit_probe`, or fewer subjects than folds, or fewer than three subjects.
    """
    everyone = check_examples("the data", (x, y, subjects), label_kind, impute)
    names = np.unique(everyone.subjects)
    if folds < 2 or len(names) < max(folds, 3):
        raise ValueError(
            f"{len(names)} subjects cannot make {folds} folds with validation subjects: "
            "at least 2 folds, 3 subjects, and as many subjects as folds are needed"
        )
    settings = _settings([everyone], label_kind, classes, l2_grid, class_weight, max_iter)
    shape = (len(everyone.y), len(settings.classes))
    probabilities, thresholds = np.full(shape, np.nan), np.full(shape, 0.5)
    rng = np.random.default_rng(seed)
    splitter = GroupKFold(folds, shuffle=True, random_state=seed)
    chosen = []
    for rest, test in splitter.split(everyone.x, groups=everyone.subjects):
        held_out = validation_subjects(everyone, rest, validation_share, rng)
        inner = np.isin(everyone.subjects[rest], held_out)
        train, validation = rest[~inner], rest[inner]
        parts = {"train": train, "validation": validation, "test": test}
        refuse_shared_subjects({name: everyone.subjects[i] for name, i in parts.items()})
        fold = [Examples(*(column[i] for column in everyone)) for i in parts.values()]
        probabilities[test], cuts, l2 = _fit(*fold, settings)
        thresholds[test] = 0.5 if cuts is None else cuts
        chosen.append(l2)
    protocol = (
        f"{folds}-fold cross-validation by subject ({len(names)} subjects, seed {seed}, "
        f"{validation_share:.0%} of the training subjects for validation), out-of-fold "
        f"predictions pooled, {_protocol(settings)}"
    )
    cuts = thresholds if label_kind == "multilabel" else None
    predicted = (probabilities, cuts, chosen)
    return _result(everyone, predicted, protocol, settings, bootstrap, seed)


@_one_thread
def paired_difference(a: ProbeResult, b: ProbeResult, *, n: int = 1000, seed: int = 0) -> dict:
    """a minus b on the same test examples, with intervals from the same resampled subjects.

    Two intervals that overlap say little about a difference measured on the same people; this
    says it.

    Returns:
      `balanced_accuracy`, `auroc`, `f1`, `ci95`, `subjects`, `examples`, like a probe's row.

    Raises:
      ValueError: when the two were not scored on the same examples in the same order.
    """
    same = a.y.shape == b.y.shape and np.array_equal(a.y, b.y, equal_nan=a.y.dtype.kind == "f")
    if not (same and np.array_equal(a.example_subjects, b.example_subjects)):
        raise ValueError("the two probes were not scored on the same examples in the same order")
    if a.thresholds is None:
        first = classification.classification_statistic(a.y, a.probabilities)
        second = classification.classification_statistic(b.y, b.probabilities)
        required = a.y[:, None] == np.unique(a.y)[None]
    else:
        first = classification.multilabel_statistic(a.y, a.probabilities, a.thresholds)
        second = classification.multilabel_statistic(b.y, b.probabilities, b.thresholds)
        sides = np.concatenate([a.y == 1, a.y == 0], axis=1)
        both = np.tile((a.y == 1).any(axis=0) & (a.y == 0).any(axis=0), 2)
        required = sides[:, both]

    def difference(weights: np.ndarray) -> dict[str, np.ndarray]:
        ours, theirs = first(weights), second(weights)
        return {name: ours[name] - theirs[name] for name in ours}

    intervals = classification.subject_bootstrap(
        a.example_subjects, difference, required=required, n=n, seed=seed
    )
    names = ("balanced_accuracy", "auroc", "f1")
    return {
        **{name: a[name] - b[name] for name in names},
        "ci95": {name: intervals[name] for name in names},
        "subjects": a["subjects"],
        "examples": a["examples"],
    }


# --------------------------------------------------------------------------- fitting


def _fit(train: Examples, validation: Examples, test: Examples, settings: _Settings):
    """Probabilities of the test examples [N, K], thresholds [K] or None, and the L2 chosen."""
    mean, sd = _standardisation(train.x, settings)
    scaled = [_standardise(part.x, mean, sd) for part in (train, validation, test)]
    if settings.label_kind == "classification":
        path = _softmax_path(scaled, train.y, settings)

        def score(p):
            return classification.classification_metrics(validation.y, p)["balanced_accuracy"]
    else:
        path = _sigmoid_path(scaled, train.y, settings)

        def score(p):
            return classification.multilabel_metrics(validation.y, p)["auroc"]

    best = None
    for l2, (on_validation, on_test) in zip(settings.l2_grid, path, strict=True):
        value = score(on_validation)
        if best is None or value > best[0]:  # strict: the stronger of equals stays
            best = (value, l2, on_validation, on_test)
    value, l2, on_validation, on_test = best
    if np.isnan(value):
        settings.note(
            "the validation subjects cannot tell the L2 strengths apart (no label with positives "
            "and negatives): the strongest was used"
        )
    thresholds = None
    if settings.label_kind == "multilabel":
        thresholds = classification.choose_thresholds(validation.y, on_validation)
    return on_test, thresholds, l2


def _softmax_path(scaled, y, settings: _Settings):
    """(validation, test) probabilities [N, K] for each L2 of the grid."""
    x, *others = scaled
    seen = np.unique(y)
    if seen.size < 2:
        raise ValueError(f"the training examples hold a single class ({seen.tolist()})")
    missing = np.setdiff1d(np.arange(len(settings.classes)), seen)
    if missing.size:
        names = [settings.classes[k] for k in missing]
        settings.note(f"no training example of {names}: never predicted")
    path = []
    for model in _models(x, y, settings):
        outputs = []
        for part in others:
            p = np.zeros((len(part), len(settings.classes)))
            p[:, seen] = model.predict_proba(part)
            outputs.append(p)
        path.append(outputs)
    return path


def _sigmoid_path(scaled, y, settings: _Settings):
    """(validation, test) probabilities [N, K] for each L2, each label a regression of its own."""
    x, *others = scaled
    outputs = [[np.full((len(p), y.shape[1]), 0.5) for p in others] for _ in settings.l2_grid]
    for k in range(y.shape[1]):
        known = ~np.isnan(y[:, k])
        if np.unique(y[known, k]).size < 2:
            settings.note(
                f"training examples of {settings.classes[k]!r} are all alike: probability 0.5"
            )
            continue
        for i, model in enumerate(_models(x[known], y[known, k].astype(int), settings)):
            for j, part in enumerate(others):
                outputs[i][j][:, k] = model.predict_proba(part)[:, 1]
    return outputs


def _models(x, y, settings: _Settings):
    """One logistic regression, fitted along the L2 path from strong to weak. x is standardised."""
    model = LogisticRegression(
        warm_start=True, max_iter=settings.max_iter, class_weight=settings.class_weight
    )
    for l2 in settings.l2_grid:
        model.set_params(C=1.0 / (l2 * len(x)))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(x, y)
        for warning in caught:
            if issubclass(warning.category, ConvergenceWarning):
                settings.note(
                    f"lbfgs stopped at {settings.max_iter} iterations before converging, l2={l2:g}"
                )
            else:
                warnings.warn_explicit(
                    warning.message, warning.category, warning.filename, warning.lineno
                )
        yield model


def _standardisation(x: np.ndarray, settings: _Settings) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each training feature, [F]; sd 1 where it does not vary."""
    known = ~np.isnan(x)
    count = known.sum(axis=0)
    least = np.maximum(count, 1)
    mean = np.where(known, x, 0.0).sum(axis=0) / least
    sd = np.sqrt((np.where(known, x - mean, 0.0) ** 2).sum(axis=0) / least)
    if not known.all():
        settings.note(
            f"{np.mean(~known):.1%} of the training features were missing and took their mean "
            f"({int((count == 0).sum())} of {x.shape[1]} never measured)"
        )
    # Relative: a constant column of 1e6 has a rounding sd that must not be blown up to 1.
    return mean, np.where(sd > 1e-7 * np.maximum(np.abs(mean), 1e-20), sd, 1.0)


def _standardise(x: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    return np.nan_to_num((x - mean) / sd, nan=0.0, posinf=np.inf, neginf=-np.inf)


# --------------------------------------------------------------------------- result and checks


def _result(
    scored: Examples, predicted, protocol: str, settings: _Settings, bootstrap: int, seed: int
) -> ProbeResult:
    probabilities, thresholds, l2 = predicted
    y, subjects = scored.y, scored.subjects
    if settings.label_kind == "classification":
        figures = classification.classification_metrics(y, probabilities)
        absent = [settings.classes[k] for k in figures.pop("absent_classes")]
        figures["notes"] = [n for n in figures["notes"] if not n.startswith("classes [")]
        if absent:
            figures["notes"].append(f"no test example of {absent}: averages are over the others")
        ci95 = classification.classification_intervals(
            y, probabilities, subjects, n=bootstrap, seed=seed
        )
        confusion = np.zeros((len(settings.classes),) * 2, int)
        np.add.at(confusion, (y, probabilities.argmax(axis=1)), 1)
    else:
        figures = classification.multilabel_metrics(y, probabilities, thresholds)
        named = {settings.classes[k]: why for k, why in figures.pop("excluded_labels").items()}
        figures["notes"] = [f"label {name!r} is not scored: {why}" for name, why in named.items()]
        ci95 = classification.multilabel_intervals(
            y, probabilities, subjects, thresholds, n=bootstrap, seed=seed
        )
        guess = probabilities >= thresholds
        confusion = np.array(
            [
                [[np.sum((y[:, k] == t) & (guess[:, k] == g)) for g in (0, 1)] for t in (0, 1)]
                for k in range(y.shape[1])
            ]
        )
        if thresholds.ndim == 1:
            figures["thresholds"] = thresholds.tolist()
    people = len(np.unique(subjects))
    if any(np.isnan(bounds).any() for bounds in ci95.values()):
        settings.note(
            f"an interval is missing: too few of the {people} test subjects hold each class for "
            "resamples of subjects to keep every class"
        )
    notes = figures.pop("notes") + settings.notes
    result = ProbeResult(
        figures,
        ci95=ci95,
        subjects=people,
        examples=len(y),
        l2=l2,
        protocol=protocol,
        classes=settings.classes,
        confusion=confusion.tolist(),
        notes=notes,
    )
    result.y, result.probabilities = y, probabilities
    result.example_subjects, result.thresholds = subjects, thresholds
    return result


def _protocol(settings: _Settings) -> str:
    weighting = "class-balanced" if settings.class_weight == "balanced" else "unweighted"
    chosen_by = "balanced accuracy" if settings.label_kind == "classification" else "macro AUROC"
    return (
        f"standardised features, {weighting} logistic regression fitted on training subjects, "
        f"L2 of {len(settings.l2_grid)} chosen by {chosen_by} on validation subjects, "
        "95 % intervals over resampled test subjects"
    )


def _settings(parts, label_kind, classes, l2_grid, class_weight, max_iter) -> _Settings:
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
    return _Settings(label_kind, names, grid, class_weight, max_iter)
