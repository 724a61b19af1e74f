"""Labelled features of subjects, and how some are held out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import GroupKFold


class FeatureSet(NamedTuple):
    """Frozen features x [N, F]; y int [N] (or [N, K] of 0, 1, NaN); the subject of each, [N]."""

    x: np.ndarray
    y: np.ndarray
    subjects: Sequence[str] | np.ndarray


def check_features(name: str, part, label_kind: str, impute: bool) -> FeatureSet:
    """One split as float64 [N, F], int [N] or float [N, K], and subjects [N], or ValueError."""
    if label_kind not in ("classification", "multilabel"):
        raise ValueError(f"label_kind must be 'classification' or 'multilabel', got {label_kind!r}")
    x, y, subjects = (np.asarray(a) for a in part)
    x = x.astype(np.float64)
    if x.ndim != 2 or len(x) == 0:
        raise ValueError(f"{name}: expected features [N, F] with N >= 1, got {x.shape}")
    axes = 1 if label_kind == "classification" else 2
    if y.ndim != axes or not len(x) == len(y) == len(subjects):
        raise ValueError(
            f"{name}: features {x.shape}, labels {y.shape} and subjects {subjects.shape} do not "
            f"fit {label_kind} labels"
        )
    bad = np.isinf(x).any(axis=1) if impute else ~np.isfinite(x).all(axis=1)
    if bad.any():
        kind = "infinite" if impute else "NaN or infinite"
        raise ValueError(
            f"{name}: {int(bad.sum())} of {len(x)} examples have {kind} features "
            f"(first: example {int(np.argmax(bad))}, subject {subjects[np.argmax(bad)]})"
        )
    if label_kind == "classification":
        if not np.array_equal(y, np.round(y)):
            raise ValueError(f"{name}: classification labels must be whole numbers")
        return FeatureSet(x, y.astype(np.int64), subjects)
    return FeatureSet(x, y.astype(np.float64), subjects)


def validation_subjects(everyone: FeatureSet, rest: np.ndarray, share: float, rng) -> np.ndarray:
    """Some of the subjects of the examples `rest` (indices), held out to choose by.

    The first of 50 random draws with every class (both sides of every label) among the held out
    and among the others; where none has, the first that leaves every class to train on; where none
    does, the first that leaves most of them.
    """
    names = np.unique(everyone.subjects[rest])
    held_out = max(1, round(share * len(names)))
    y, best = everyone.y[rest], None
    for _ in range(50):
        picked = rng.permutation(names)[:held_out]
        inner = np.isin(everyone.subjects[rest], picked)
        left, held = (_count_seen(y[side]) for side in (~inner, inner))
        if left == held == _count_seen(y):
            return picked
        if best is None or left > best[0]:
            best = (left, picked)
    return best[1]


def fold_of_each(everyone: FeatureSet, folds: int, seed: int) -> np.ndarray:
    """int [N], the fold in which each example is held out, by subject.

    scikit-learn's GroupKFold, shuffled by the seed; shuffled again, up to 50 times, where a fold
    would leave others with fewer classes to train on than there are.
    """
    best = None
    for attempt in range(50):
        found = np.empty(len(everyone.y), int)
        state = seed if attempt == 0 else np.random.RandomState([seed, attempt])
        splitter = GroupKFold(folds, shuffle=True, random_state=state)
        for number, (_, test) in enumerate(splitter.split(everyone.x, groups=everyone.subjects)):
            found[test] = number
        least = min(_count_seen(everyone.y[found != number]) for number in range(folds))
        if least == _count_seen(everyone.y):
            return found
        if best is None or least > best[0]:
            best = (least, found)
    return best[1]


def _count_seen(y: np.ndarray) -> int:
    """How many classes occur; with several labels, how many of the labels' sides."""
    if y.ndim == 1:
        return len(np.unique(y))
    return int((y == 1).any(axis=0).sum() + (y == 0).any(axis=0).sum())
