"""What the loop asks of an evaluator, and what it gives it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

Scored = tuple[dict[str, np.ndarray], dict[str, tuple[np.ndarray, np.ndarray]]]
"""Of one batch: predictions, name → [B, …] of all real rows of all processes, their `index` among
them; and the objective's metrics, name → (sum, count)."""

Predict = Callable[[Mapping[str, np.ndarray]], Scored]


class Evaluator(Protocol):
    """One row of `config.evaluators`.

    Attributes:
      wants: names of the predictions that it reads; what nobody wants is not computed.
    """

    wants: tuple[str, ...]

    def run(
        self, predict: Predict, batches: Iterable[Mapping[str, np.ndarray]]
    ) -> Iterator[tuple[str, Any]]:
        """One pass over a split → (name, value) pairs. Numbers are logged; a dictionary is a result
        of its own, whose numbers are logged as name_key."""


def due(row: Mapping[str, Any], step: int, last: bool) -> bool:
    """Is a row of `config.evaluators` to be run at this step? `every` 0: after the last step."""
    return last if row["every"] == 0 else last or step % row["every"] == 0


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
