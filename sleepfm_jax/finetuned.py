"""A trained objective with its head, without what trained it: what says something of an example."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sleepfm_jax import pretrained
from sleepfm_jax.data.datasets import check_made_alike
from sleepfm_jax.data.examples import Examples
from sleepfm_jax.errors import CheckpointError


@dataclasses.dataclass(frozen=True)
class Finetuned:
    """An objective with parameters that nothing changes any more, always in evaluation mode.

    Attributes:
      objective: a description (`objectives.objective.Objective`): layout, predict.
      params, stats: of the objective; the encoder's are under "encoder".
      config: of the run, in today's layout.
      preprocessing: metadata of the records that it was trained on.
      people: pseudonyms of the people that it was trained on, before and here; None when it does
        not say.
      source, step: the checkpoint that it was read from.
    """

    objective: Any
    params: Any
    stats: Any
    config: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    people: frozenset[str] | None = None
    source: str = ""
    step: int | None = None

    @functools.cached_property
    def fingerprint(self) -> str:
        """Says which weights these are: 16 hexadecimal digits over all paths and values."""
        return pretrained.fingerprint_of((self.params, self.stats))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names along the last axis of the probabilities."""
        return self.objective.layout.labels

    def check_made_alike(self, metadata: Mapping[str, Any], name: str) -> None:
        """Records must have been made as those that it was trained on; clips may be of any length.

        Raises:
          DatasetError: names what differs, with both values.
        """
        check_made_alike(self.preprocessing, metadata, ("the checkpoint", name))

    def predict(
        self, examples: Examples, *, output: str = "probabilities", batch_size: int = 32
    ) -> Iterator[tuple[int, np.ndarray]]:
        """What is said of every row, in order, from all devices.

        Args:
          examples: of the objective's layout (`experiment.make_examples`).
          output: which of what the objective predicts.

        Yields:
          index of the row, and what is said of it: probabilities [K].
        """

        def forward(placed):
            return _forward(self.objective, output, placed)

        for index, said in pretrained.each_row(
            forward, (self.params, self.stats), examples, batch_size
        ):
            yield index, said[output]


def load(folder: str | Path, step: int | None = None) -> Finetuned:
    """The objective of a run of launch.pretrain, with its head. Arguments: `pretrained.read`.

    Raises:
      As `pretrained.read`; CheckpointError also where the objective has no labels.
    """
    stored = pretrained.read(folder, step, "fine-tuned model")
    if not stored.objective.layout.labels:
        kind = stored.config["objective"]["kind"]
        raise CheckpointError(f"{folder}: objective {kind!r} has no labels and no head to predict")
    return Finetuned(
        objective=stored.objective,
        params=stored.params,
        stats=stored.stats,
        config=stored.config,
        preprocessing=stored.about["preprocessing"],
        people=stored.people,
        source=stored.source,
        step=stored.step,
    )


@functools.lru_cache(maxsize=64)
def _forward(objective: Any, output: str, placed: jax.sharding.Sharding):
    """Compiled once for all parameters and splits; an objective is a hashable description."""

    def predict(params, stats, batch):
        return {output: objective.predict(params, stats, batch)[output]}, batch["index"]

    return jax.jit(predict, out_shardings=placed)
