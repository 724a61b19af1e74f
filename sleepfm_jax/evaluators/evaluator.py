"""What the loop asks of an evaluator, and what it gives it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

Scored = tuple[dict[str, np.ndarray], dict[str, tuple[np.ndarray, np.ndarray]]]
"""Of one batch: predictions, name → [B, …] of all real rows of all processes, their `index` among
them; and the objective's metrics, name → (sum, count)."""

WHOSE = {"person": np.str_, "recording": np.str_, "stored_recording": np.str_, "clip_number": int}
"""Predictions that are not the objective's, [B], and of which type: the person's pseudonym, and
what tells the recording from all others; of rows with labels also the recording's name as it is
stored, and the row's number in it."""

FIELDS = ("labels", "stages", "present", "times", "events")
"""Predictions that are the batch's own. labels: float [B, K] of 0, 1 and NaN (unknown), by
`Layout.labels`. Of nights: stages, int [B, E], indices into `signals.STAGES`, -1 unscored; present,
bool [B, N], the signals that were read: an evaluator may take some away before it asks. Of people
who were followed up: times and events, float [B, K] (`data.follow_up`)."""

Predict = Callable[[Mapping[str, np.ndarray]], Scored]


class Evaluator(Protocol):
    """One row of `config.evaluators`.

    Attributes:
      wants: names of the predictions that it reads; what nobody wants is not computed. Those of
        `WHOSE` are the loop's own: whose row it is; those of `FIELDS` are of the batch.
      whole_recordings: may be left out, which is False: `examples` of the row are spread evenly
        over the split. True: they are whole recordings of people spread evenly.
    """

    wants: tuple[str, ...]

    def run(
        self, predict: Predict, batches: Iterable[Mapping[str, np.ndarray]]
    ) -> Iterator[tuple[str, Any]]:
        """One pass over a split → (name, value) pairs. Numbers are logged; a dictionary is a result
        of its own; see `flat` for what of it is logged. `metrics.predictions.Predictions` are given
        to whoever called the loop, and never logged."""


def due(row: Mapping[str, Any], step: int, last: bool) -> bool:
    """Is a row of `config.evaluators` to be run at this step? `every` 0: after the last step."""
    return last if row["every"] == 0 else last or step % row["every"] == 0


def flat(prefix: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    """What is logged: {"train/loss": …}; the numbers of a dictionary, and of dictionaries in it,
    as "validation/retrieval_within_person_top1". What is deeper is for results.json alone."""
    found = {}

    def add(name: str, value: Any, depth: int) -> None:
        if isinstance(value, int | float | np.number):
            found[f"{prefix}/{name}"] = value
        elif isinstance(value, Mapping) and depth < 2:
            for key, inner in value.items():
                add(f"{name}_{key}", inner, depth + 1)

    for name, value in figures.items():
        add(name, value, 0)
    return found


class Means:
    """Adds up metrics of batches."""

    def __init__(self):
        self._sums: dict[str, list[float]] = {}

    def add(self, metrics: Mapping[str, tuple[Any, Any]]) -> None:
        """One batch's (sum, count) of each name."""
        for name, pair in metrics.items():
            held = self._sums.setdefault(name, [0.0, 0.0])
            for place, value in enumerate(pair):
                held[place] += float(value)

    def __getitem__(self, name: str) -> float:
        """The mean; NaN where nothing counted."""
        total, count = self._sums[name]
        return total / count if count else float("nan")

    def __iter__(self) -> Iterator[str]:
        return iter(self._sums)
