"""results.json's figures of labelled datasets, from the predictions of a workdir alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from absl import logging

from sleepfm_jax.metrics import predictions, scoring
from sleepfm_jax.report.results import RESULTS, merge_results, read_json


def recompute(workdir: str | os.PathLike[str]) -> dict[str, Any]:
    """Computes `probes` and `differences` of every dataset with predictions anew, and replaces
    what results.json held of these datasets; of others it keeps what is there.

    Returns:
      The two, of these datasets, as they are in results.json.

    Raises:
      ValueError: when the present results.json cannot be read.
    """
    workdir = Path(workdir)
    found, problems = predictions.load_all(workdir)
    for problem in problems:
        logging.warning("%s", problem)
    computed: dict[str, dict[str, Any]] = {"probes": {}, "differences": {}}
    for dataset, rows in found.items():
        computed["probes"][dataset], computed["differences"][dataset] = scoring.tables(rows)
    if found:
        before, _ = read_json(workdir / RESULTS)
        whole = {
            key: (before.get(key) if isinstance(before.get(key), dict) else {}) | mine
            for key, mine in computed.items()
        }
        merge_results(workdir, whole, replace=tuple(whole))
    return computed
