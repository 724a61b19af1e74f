"""Logistic regressions along a path of L2 strengths, and the choice of one by validation subjects.

Features are standardised with the mean and standard deviation of the training examples. Each L2 of
the grid is fitted from strong to weak, warm-started along the path; several labels are a regression
each. `linear_probe` says the whole protocol.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np
from sklearn import metrics as sk
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from sleepfm_jax.metrics import multilabel
from sleepfm_jax.metrics.classification import choose_threshold
from sleepfm_jax.metrics.feature_sets import FeatureSet

LabelKind = Literal["classification", "multilabel"]
ClassWeight = Literal["balanced"] | None


@dataclass
class Settings:
    label_kind: LabelKind
    classes: list[str]
    l2_grid: list[float]  # strong to weak
    class_weight: ClassWeight
    max_iter: int
    unweighted: bool = True
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


class Fitted(NamedTuple):
    """Of one fit: probabilities of the test examples [N, K]; those of the unweighted fit with the
    same L2 (None with several labels); thresholds chosen on validation, [K] of several labels, [1]
    with two classes, else None; the L2."""

    probabilities: np.ndarray
    unweighted: np.ndarray | None
    thresholds: np.ndarray | None
    l2: float


def fit_and_predict(
    train: FeatureSet, validation: FeatureSet, test: FeatureSet, settings: Settings
) -> Fitted:
    """Fits along the path, chooses by the validation examples, predicts the test examples."""
    mean, sd = _standardisation(train.x, settings)
    scaled = [_standardise(part.x, mean, sd) for part in (train, validation, test)]
    unfinished: set[float] = set()
    if settings.label_kind == "classification":
        path = _softmax_path(scaled, train.y, settings, unfinished)

        def score(p):
            return sk.recall_score(
                validation.y,
                p.argmax(axis=1),
                labels=np.unique(validation.y),
                average="macro",
                zero_division=0.0,
            )

        _note_missing(train.y, validation.y, settings)
    else:
        path = _sigmoid_path(scaled, train.y, settings, unfinished)

        def score(p):
            return multilabel.multilabel_metrics(validation.y, p)["auroc"]

        _note_missing(train.y, validation.y, settings)

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
    elif len(settings.l2_grid) > 1 and l2 in (settings.l2_grid[0], settings.l2_grid[-1]):
        edge = "strongest" if l2 == settings.l2_grid[0] else "weakest"
        settings.note(
            f"the chosen L2 ({l2:g}) is the {edge} of the grid: there may be a better one"
        )
    if unfinished:
        which = "the chosen fit" if l2 in unfinished else "a fit that L2 was chosen among"
        settings.note(f"{which} stopped at {settings.max_iter} iterations before converging")
    unweighted = thresholds = None
    if settings.label_kind == "multilabel":
        thresholds = multilabel.choose_thresholds(validation.y, on_validation)
    else:
        unweighted = on_test
        if settings.class_weight is not None and settings.unweighted:
            alike = replace(settings, class_weight=None, l2_grid=[l2], notes=settings.notes)
            ((_, unweighted),) = _softmax_path(scaled, train.y, alike, unfinished)
        if len(settings.classes) == 2:  # the second one is positive
            thresholds = np.array([_threshold(validation.y, on_validation[:, 1], settings)])
    return Fitted(on_test, unweighted, thresholds, l2)


def _note_missing(trained: np.ndarray, y: np.ndarray, settings: Settings) -> None:
    """Says which classes or labels the validation people cannot choose by."""
    if y.ndim == 1:
        lacking = np.setdiff1d(trained, y)
        names = [settings.classes[k] for k in lacking]
        if len(np.unique(y)) < 2:
            settings.note("the validation people hold a single class: L2 is chosen by its recall")
        elif names:
            settings.note(f"no validation example of {', '.join(names)}: L2 is chosen without")
        return
    sides = (y == 1).any(axis=0) & (y == 0).any(axis=0)
    if names := [name for name, both in zip(settings.classes, sides) if not both]:
        settings.note(
            f"the validation people are all alike in {', '.join(names)}: L2 is chosen without, the "
            "threshold is 0.5"
        )


def _threshold(y: np.ndarray, p: np.ndarray, settings: Settings) -> float:
    """See `classification.choose_threshold`."""
    if np.unique(y).size < 2:
        settings.note("the validation people hold a single class: the threshold is 0.5")
    return choose_threshold(y, p)


def _softmax_path(scaled, y, settings: Settings, unfinished: set[float]):
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
    for model in _models(x, y, settings, unfinished):
        outputs = []
        for part in others:
            p = np.zeros((len(part), len(settings.classes)))
            p[:, seen] = model.predict_proba(part)
            outputs.append(p)
        path.append(outputs)
    return path


def _sigmoid_path(scaled, y, settings: Settings, unfinished: set[float]):
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
        for i, model in enumerate(_models(x[known], y[known, k].astype(int), settings, unfinished)):
            for j, part in enumerate(others):
                outputs[i][j][:, k] = model.predict_proba(part)[:, 1]
    return outputs


def _models(x, y, settings: Settings, unfinished: set[float]):
    """One logistic regression, fitted along the L2 path from strong to weak. x is standardised;
    `unfinished` takes the L2s whose fit did not converge."""
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
                unfinished.add(l2)
            else:
                warnings.warn_explicit(
                    warning.message, warning.category, warning.filename, warning.lineno
                )
        yield model


def _standardisation(x: np.ndarray, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
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
