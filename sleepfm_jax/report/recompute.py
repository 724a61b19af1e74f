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
    before, _ = read_json(workdir / RESULTS)
    kept = {key: _mappings(before.get(key)) for key in ("probes", "differences")}
    computed: dict[str, dict[str, Any]] = {"probes": {}, "differences": {}}
    for dataset, rows in found.items():
        computed["probes"][dataset], computed["differences"][dataset] = scoring.tables(rows)
    for (dataset, row), problem in problems.items():
        logging.warning("%s", problem)
        old = _mappings(kept["probes"].get(dataset)).get(row)
        if old is not None:  # a file that was damaged since does not undo what was read from it
            notes = [note for note in old.get("notes") or [] if note != problem]
            rows = computed["probes"].setdefault(dataset, {})
            rows[row] = old | {"notes": [*notes, problem]}
        for pair, old in _mappings(kept["differences"].get(dataset)).items():
            if row in pair.split("-"):
                computed["differences"].setdefault(dataset, {}).setdefault(pair, old)
    if computed["probes"]:
        whole = {key: kept[key] | mine for key, mine in computed.items()}
        merge_results(workdir, whole, replace=tuple(whole))
    return computed


def _mappings(value: Any) -> dict[str, dict]:
    """The mappings of a mapping; what else a broken results.json holds is not for us."""
    if not isinstance(value, dict):
        return {}
    return {key: one for key, one in value.items() if isinstance(one, dict)}
