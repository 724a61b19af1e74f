"""What trainings predicted → the rows of the subset table, one a model, cohort and subset."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import logging

from sleepfm_jax.errors import DatasetError
from sleepfm_jax.metrics import predictions
from sleepfm_jax.metrics.predictions import Predictions
from sleepfm_jax.report.staging import stored

Key = tuple[str, str, str]
"""(cohort, signals, model)"""


def gather(runs: Mapping[str, Sequence[str | os.PathLike[str]]]) -> dict[Key, Predictions]:
    """Rows of several models.

    Args:
      runs: model → the folders of its trainings, one a seed, each with the predictions that an
        evaluator `staging` kept of a test split.

    Raises:
      DatasetError: a folder without such predictions; a cohort and subset that two rows of one
        training are of; seeds that were scored on other nights, or are twice the same.
      StorageError: a file is damaged.
    """
    found: dict[Key, list[Predictions]] = {}
    for model, folders in runs.items():
        for folder in folders:
            for (cohort, signals), one in _of_run(Path(folder)).items():
                found.setdefault((cohort, signals, model), []).append(one)
    for (cohort, signals, model), seeds in found.items():
        if len(seeds) < len(runs[model]):
            logging.warning(
                "%s from %s in %s: in %d of %d trainings",
                *(model, signals, cohort, len(seeds), len(runs[model])),
            )
    return {key: together(seeds, key[2]) for key, seeds in found.items()}


def _of_run(folder: Path) -> dict[tuple[str, str], Predictions]:
    """{(cohort, signals): predictions} of the test rows of one training."""
    found: dict[tuple[str, str], Predictions] = {}
    for path in sorted((folder / predictions.FOLDER).glob("*/*.npz")):
        one = predictions.load(path)
        about = one.about
        if "signals" not in about or about.get("split") not in ("test", "cross-validation"):
            continue
        key = (str(about["dataset"]), str(about["signals"]))
        if key in found:
            raise DatasetError(f"{folder}: two rows are of {key[1]} in {key[0]}; keep one")
        found[key] = one
    if not found:
        raise DatasetError(
            f"{folder}: no predictions of stages in a test split: give its evaluator of kind "
            "'staging' keep_predictions=True"
        )
    return found


def together(seeds: Sequence[Predictions], model: str) -> Predictions:
    """One row of all the trainings of a model, examples in order of person, recording and time.

    Raises:
      DatasetError: they were scored on other nights, or a seed is there twice.
    """
    ordered = [_in_order(one) for one in seeds]
    first = ordered[0]
    for other in ordered[1:]:
        same = all(np.array_equal(*pair) for pair in zip(first.examples(), other.examples()))
        if not same or not np.array_equal(first.label, other.label):
            raise DatasetError(f"{model}: its seeds were scored on other nights: score them anew")
    numbers = np.concatenate([one.seeds for one in ordered])
    if len(np.unique(numbers)) < len(numbers):
        raise DatasetError(f"{model}: seeds {numbers.tolist()}: each training needs its own")
    about = dict(first.about) | {
        "row": model,
        "steps": [step for one in ordered for step in one.about.get("steps", ())],
        "weights": [f"seed {seed}" for seed in numbers.tolist()],
    }
    return dataclasses.replace(
        first,
        probabilities=np.concatenate([one.probabilities for one in ordered]),
        seeds=numbers,
        fold=np.concatenate([one.fold for one in ordered]),
        about=about,
    )


def _in_order(p: Predictions) -> Predictions:
    order = np.lexsort([p.sleep_epoch, p.clip, p.recording, p.person])
    names = ("person", "recording", "clip", "sleep_epoch", "label")
    return dataclasses.replace(
        p,
        **{name: getattr(p, name)[order] for name in names},
        probabilities=p.probabilities[:, order],
        fold=p.fold[:, order],
    )


def save(workdir: str | os.PathLike[str], rows: Mapping[Key, Predictions]) -> None:
    """Puts rows into workdir, those of the same name replaced.

    Raises:
      OSError: the disk is full, or the folder not writable.
    """
    for key, one in rows.items():
        predictions.save(stored.path_of(workdir, *key), one)
