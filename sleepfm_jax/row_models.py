"""The models behind a row of predictions: those of the cells that said it, each with its best
weights. A cell is recognised by what it said, which the row holds number for number.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sleepfm_jax.data.examples import Examples
from sleepfm_jax.errors import StorageError
from sleepfm_jax.metrics import predictions as files
from sleepfm_jax.metrics import scoring
from sleepfm_jax.metrics.predictions import Predictions

BEST = "best"
"""Where a cell has its best weights."""


class Model(Protocol):
    """A fine-tuned model: `finetuned.Finetuned`."""

    objective: Any

    def predict(self, examples: Examples) -> Iterable[tuple[int, np.ndarray]]:
        """(index, probabilities [K]) of every row."""


@dataclasses.dataclass(frozen=True)
class Part:
    """One model of a row: repeat `r` of its predictions, of the rows [n] that it was asked."""

    model: Model
    r: int
    rows: np.ndarray
    columns: tuple[int, ...]


def about(workdir: Path, task: str, row: str) -> Mapping[str, Any]:
    """How a row of predictions was made.

    Raises:
      StorageError: there is none.
    """
    return files.load(path_of(workdir, task, row)).about


def metric_of(how: Mapping[str, Any]) -> str:
    """The task's own metric, or that of its label kind."""
    return how.get("metric") or scoring.headline_metric(how["label_kind"])


def parts_of(workdir: Path, task: str, row: str, load: Any) -> list[Part]:
    """The models behind a row, from the cells of the run.

    Args:
      load: `finetuned.load`, from a cell's best weights.

    Raises:
      StorageError: no such row, or a cell of it is gone.
    """
    whole = files.load(path_of(workdir, task, row))
    place = {example: i for i, example in enumerate(zip(*whole.examples()))}
    told = np.zeros(whole.probabilities.shape[:2], bool)
    parts = []
    for done in sorted((workdir / "cells").glob("*/done.json")):
        for path in sorted((done.parent / files.FOLDER).glob("*.npz")):
            said = files.load(path)
            found = _same(said, whole, place)
            if found is None or told[found[0], found[1]].any():
                continue
            told[found[0], found[1]] = True
            weights = done.parent / BEST
            parts.append(Part(load(weights if weights.is_dir() else done.parent), *found))
            break
    if not told.all():
        missing = sorted({int(whole.seeds[r]) for r, _ in np.argwhere(~told)})
        raise StorageError(
            f"{workdir}: no cell said what {row} of {task} says (seeds {missing}): it is gone, or "
            "this is no fine-tuned row"
        )
    return parts


def _same(said: Predictions, whole: Predictions, place: Mapping) -> tuple | None:
    """(repeat, rows, columns) of the row that are this cell's, number for number; else None."""
    if not set(whole.classes) <= set(said.classes):
        return None
    columns = tuple(said.classes.index(name) for name in whole.classes)
    mine = [place.get(example, -1) for example in zip(*said.examples())]
    rows = np.array(mine)
    inside = rows >= 0
    if not inside.any():
        return None
    theirs = said.probabilities[0][inside][:, columns]
    for r in range(len(whole.seeds)):
        if np.array_equal(whole.probabilities[r, rows[inside]], theirs):
            return r, rows[inside], columns
    return None


def path_of(workdir: Path, task: str, row: str) -> Path:
    """The row's file; a folder's name has no colon where the driver writes another mark."""
    root = workdir / files.FOLDER
    there = [path for path in sorted(root.glob("*")) if plain(path.name) == plain(task)]
    if not there:
        raise StorageError(
            f"{root}: no predictions of {task}: run `python -m launch.transfer --tasks={task}` "
            f"first (there: {', '.join(sorted(os.listdir(root))) if root.is_dir() else 'none'})"
        )
    return there[0] / f"{row}.npz"


def plain(name: str) -> str:
    """A task's name as a folder has it."""
    return "".join(letter if letter.isalnum() else "_" for letter in name)
