"""Predictions of stages by cohort, subset of signals and model, as they lie in a workdir.

WORKDIR/staging/COHORT/SIGNALS/MODEL.npz, each a row with all its seeds. SIGNALS is "all" (what a
night has), "ECG+THX" and the like, or `SCORER`, what a person who scores has.
"""

from __future__ import annotations

import os
from pathlib import Path

from sleepfm_jax.errors import StorageError
from sleepfm_jax.metrics import predictions
from sleepfm_jax.metrics.predictions import Predictions

FOLDER = "staging"
SECTION = "staging"
"""Of results.json: {COHORT: {SIGNALS: {MODEL: figures, …, "differences": {"a-b": one}}}}."""

SCORER = "second scorer"
"""The model that is no model: what a second person scored, the ceiling."""

Stored = dict[str, dict[str, dict[str, Predictions]]]


def path_of(workdir: str | os.PathLike[str], cohort: str, signals: str, model: str) -> Path:
    """Where a row is."""
    return Path(workdir) / FOLDER / cohort / signals / f"{model}.npz"


def load_all(workdir: str | os.PathLike[str]) -> tuple[Stored, list[str]]:
    """{cohort: {signals: {model: predictions}}}, and what could not be read, in words."""
    found: Stored = {}
    problems = []
    for path in sorted((Path(workdir) / FOLDER).glob("*/*/*.npz")):
        try:
            one = predictions.load(path)
        except StorageError as error:
            problems.append(str(error))
            continue
        cohort, signals = path.parent.parent.name, path.parent.name
        found.setdefault(cohort, {}).setdefault(signals, {})[path.stem] = one
    return found, problems
