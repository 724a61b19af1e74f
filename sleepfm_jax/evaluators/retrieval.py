"""`retrieval`: does a clip's vector in one modality find the same clip in the others?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from absl import logging

from sleepfm_jax.evaluators.evaluator import Means, Predict
from sleepfm_jax.metrics.person_probe import person_probe
from sleepfm_jax.metrics.retrieval import retrieval


@dataclasses.dataclass(frozen=True)
class Retrieval:
    """See `evaluator.Evaluator`; for objectives that predict `clip` [B, M, D] and `presence`.

    Attributes:
      modalities: names along M.
      candidates: clips of all people among which a clip looks for itself.
      names_people: is it probed, too, how well the vectors name their person? It takes seconds.
    """

    modalities: tuple[str, ...]
    candidates: int
    names_people: bool = False
    wants = ("clip", "presence", "person", "recording")
    whole_recordings = True

    def run(
        self, predict: Predict, batches: Iterable[Mapping[str, np.ndarray]]
    ) -> Iterator[tuple[str, Any]]:
        """Yields ("loss", mean over the terms) and ("retrieval", see `metrics.retrieval`; with
        "person_probe", see `metrics.person_probe`)."""
        means, found = Means(), {name: [] for name in (*self.wants, "index")}
        for batch in batches:
            predictions, metrics = predict(batch)
            means.add(metrics)
            for name, values in found.items():
                values.append(predictions[name])
        yield "loss", means["loss"]
        joined = {name: np.concatenate(values) for name, values in found.items()}
        order = np.argsort(joined["index"], kind="stable")  # of the split: a night's, in time
        clip, presence, person, recording = (joined[name][order] for name in self.wants)
        clip, presence = clip.swapaxes(0, 1), presence.swapaxes(0, 1)  # [M, N, …]
        figures = retrieval(
            clip, presence, person, recording, candidates=self.candidates, names=self.modalities
        )
        if self.names_people:
            figures["person_probe"] = person_probe(clip, presence, person, self.modalities)
        if count := figures["clips_left_out"]:
            logging.warning("retrieval without %d clips: zero or not finite vectors", count)
        yield "retrieval", figures


def make(row: Mapping[str, Any], objective: Any) -> Retrieval:
    """The evaluator of a row of the configuration."""
    return Retrieval(objective.layout.modalities, row["candidates"], row["every"] == 0)
