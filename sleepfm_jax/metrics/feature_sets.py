"""Labelled features of subjects, and what keeps a subject out of two splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Examples(NamedTuple):
    """Frozen features x [N, F]; y int [N] (or [N, K] of 0, 1, NaN); the subject of each, [N]."""

    x: np.ndarray
    y: np.ndarray
    subjects: Sequence[str] | np.ndarray


def check_examples(name: str, part, label_kind: str, impute: bool) -> Examples:
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
            f"fit label_kind {label_kind!r}"
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
            raise ValueError(f"{name}: labels of a classification must be whole numbers")
        return Examples(x, y.astype(np.int64), subjects)
    return Examples(x, y.astype(np.float64), subjects)


def refuse_shared_subjects(splits: dict[str, np.ndarray]) -> None:
    """ValueError naming the subjects that are in two of the splits {name: subjects}."""
    names = list(splits)
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            shared = np.intersect1d(splits[a], splits[b])
            if shared.size:
                shown = ", ".join(str(s) for s in shared[:5])
                more = f" and {shared.size - 5} more" if shared.size > 5 else ""
                raise ValueError(f"subjects in both {a} and {b}: {shown}{more}")


def validation_subjects(everyone: Examples, rest: np.ndarray, share: float, rng) -> np.ndarray:
    """Some of the subjects of the examples `rest` (indices), held out to choose by.

    The first of 50 random draws with every class (both sides of every label) among the held out
    and among the others; the first draw where none has.
    """
    names = np.unique(everyone.subjects[rest])
    held_out = max(1, round(share * len(names)))
    first = None
    for _ in range(50):
        picked = rng.permutation(names)[:held_out]
        first = picked if first is None else first
        inner = np.isin(everyone.subjects[rest], picked)
        y = everyone.y[rest]
        if all(np.array_equal(_seen(y[side]), _seen(y)) for side in (inner, ~inner)):
            return picked
    return first


def _seen(y: np.ndarray) -> np.ndarray:
    """The classes that occur; with several labels, which of each label's sides occur."""
    if y.ndim == 1:
        return np.unique(y)
    return np.stack([(y == 1).any(axis=0), (y == 0).any(axis=0)])
