"""`retrieval`: does a clip's vector in one modality find the same clip in the others?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from absl import logging

from sleepfm_jax.evaluators.evaluator import Means, Predict
from sleepfm_jax.metrics.retrieval import retrieval


@dataclasses.dataclass(frozen=True)
class Retrieval:
    """See `evaluator.Evaluator`; for objectives that predict `clip` [B, M, D] and `presence`.

    Attributes:
      modalities: names along M.
      candidates: clips among which a clip looks for itself.
    """

    modalities: tuple[str, ...]
    candidates: int
    wants = ("clip", "presence")

    def run(
        self, predict: Predict, batches: Iterable[Mapping[str, np.ndarray]]
    ) -> Iterator[tuple[str, Any]]:
        """Yields ("loss", mean over the terms) and ("retrieval", see `metrics.retrieval`)."""
        means, clips, presences = Means(), [], []
        for batch in batches:
            predictions, metrics = predict(batch)
            means.add(metrics)
            clips.append(predictions["clip"])
            presences.append(predictions["presence"])
        yield "loss", means["loss"]
        found = retrieval(
            np.concatenate(clips).swapaxes(0, 1),  # [M, N, D]
            np.concatenate(presences).swapaxes(0, 1),  # [M, N]
            candidates=self.candidates,
            names=self.modalities,
        )
        if count := found["clips_left_out"]:
            logging.warning("retrieval without %d clips: zero or not finite vectors", count)
        yield "retrieval", found


def make(row: Mapping[str, Any], objective: Any) -> Retrieval:
    """The evaluator of a row of the configuration."""
    return Retrieval(objective.layout.modalities, row["candidates"])
