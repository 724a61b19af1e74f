"""results.json's figures of labelled datasets, from the predictions of a workdir alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from absl import logging

from sleepfm_jax.metrics import predictions, scoring
from sleepfm_jax.report.results import merge_results


def recompute(workdir: str | os.PathLike[str]) -> dict[str, Any]:
    """Computes `probes` and `differences` of every dataset with predictions anew, and replaces
    what results.json held of them.

    Returns:
      The two, as they are in results.json.
    """
    found, problems = predictions.load_all(Path(workdir))
    for problem in problems:
        logging.warning("%s", problem)
    update: dict[str, dict[str, Any]] = {"probes": {}, "differences": {}}
    for dataset, rows in found.items():
        scored, differences = scoring.tables(rows)
        if scored:
            update["probes"][dataset] = scored
        if differences:
            update["differences"][dataset] = differences
    merge_results(workdir, update, replace=("probes", "differences"))
    return update
