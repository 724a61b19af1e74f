"""Predictions of cells → the rows of a task: folds merged, a repeat a seed, labels that are scored.

A row is `WORKDIR/predictions/TASK/CONDITION.MODE[.fFRACTION].npz`; `about` says all that the tables
need, so that they can be made again from the files alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sleepfm_jax.errors import DatasetError
from sleepfm_jax.metrics import multilabel
from sleepfm_jax.metrics.classification import choose_threshold
from sleepfm_jax.metrics.predictions import Predictions
from sleepfm_jax.transfer.conditions import Task


def name_of(condition: str, mode: str, fraction: float = 1.0) -> str:
    """The row's name, and its file's."""
    return f"{condition}.{mode}" + ("" if fraction == 1 else f".f{fraction:g}")


def with_thresholds(scored: Predictions, chosen_on: Predictions) -> Predictions:
    """The predictions of one training, with each label's threshold from its validation people: the
    best F1 (several labels), or the best sum of sensitivity and specificity (two classes)."""
    n, k = scored.probabilities.shape[1:]
    y, p = chosen_on.label, chosen_on.probabilities[0].astype(np.float64)
    if y.ndim == 2:
        cuts = multilabel.choose_thresholds(y, p)
    elif k == 2:
        cuts = np.array([choose_threshold(y, p[:, 1])])
    else:
        return scored
    wide = np.broadcast_to(cuts.astype(np.float32), (1, n, len(cuts)))
    return dataclasses.replace(scored, thresholds=np.ascontiguousarray(wide))


def merge(seeds: Mapping[int, Sequence[Predictions]], *, in_folds: bool) -> Predictions:
    """One row of all its trainings.

    Args:
      seeds: seed → its predictions, one a fold (one without folds); one repeat each.
      in_folds: the fold of each goes into the row.

    Raises:
      DatasetError: two seeds were scored on other examples.
    """
    repeats = []
    for folds in seeds.values():
        columns: dict[str, Any] = {}
        for name in ("person", "recording", "clip", "sleep_epoch", "label"):
            columns[name] = np.concatenate([getattr(one, name) for one in folds])
        for name in ("probabilities", "thresholds"):
            values = [getattr(one, name) for one in folds]
            columns[name] = None if values[0] is None else np.concatenate(values, axis=1)[0]
        number = [np.full(len(one.label), i if in_folds else -1) for i, one in enumerate(folds)]
        columns["fold"] = np.concatenate(number)
        by = (columns["sleep_epoch"], columns["clip"], columns["recording"], columns["person"])
        order = np.lexsort(by)
        repeats.append({k: None if v is None else v[order] for k, v in columns.items()})
    first = repeats[0]
    for other in repeats[1:]:
        if not all(np.array_equal(first[k], other[k]) for k in ("person", "recording", "clip")):
            raise DatasetError("two seeds of a row were scored on other examples: train them anew")

    def stacked(name: str) -> np.ndarray | None:
        return None if first[name] is None else np.stack([one[name] for one in repeats])

    return Predictions(
        **{k: first[k] for k in ("person", "recording", "clip", "sleep_epoch", "label")},
        probabilities=stacked("probabilities"),
        thresholds=stacked("thresholds"),
        fold=stacked("fold").astype(np.int16),
        seeds=np.array(list(seeds)),
        about=dict(next(iter(seeds.values()))[0].about),
    )


def of_task(predictions: Predictions, task: Task, about: Mapping[str, Any]) -> Predictions:
    """The predictions with the labels that the task scores, and what is said of the row."""
    p = predictions
    known = list(p.classes)
    if p.label.ndim == 2 and tuple(known) != task.labels:
        chosen = [known.index(name) for name in task.labels]
        p = dataclasses.replace(
            p,
            label=p.label[:, chosen],
            probabilities=p.probabilities[:, :, chosen],
            thresholds=None if p.thresholds is None else p.thresholds[:, :, chosen],
            about={**p.about, "classes": list(task.labels)},
        )
    return dataclasses.replace(p, about={**p.about, **about})
