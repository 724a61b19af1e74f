"""`metrics`: the means of the objective's own metrics over a split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from sleepfm_jax.evaluators.evaluator import Means, Predict


class Metrics:
    """See `evaluator.Evaluator`."""

    wants = ()

    def run(
        self, predict: Predict, batches: Iterable[Mapping[str, np.ndarray]]
    ) -> Iterator[tuple[str, Any]]:
        """Yields (name, mean) of every metric, each weighted by what counted in its batch."""
        means = Means()
        for batch in batches:
            means.add(predict(batch)[1])
        for name in means:
            yield name, means[name]


def make(row: Mapping[str, Any], objective: Any) -> Metrics:
    """The evaluator of a row of the configuration."""
    return Metrics()
