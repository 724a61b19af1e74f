"""The rows of `config.evaluators`: which examples each looks at, and what it gets of a batch."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from sleepfm_jax.data import datasets, stream
from sleepfm_jax.data.division import Division
from sleepfm_jax.data.examples import Examples, base_of, spread, whole_recordings
from sleepfm_jax.evaluators.evaluator import FIELDS, WHOSE, Evaluator
from sleepfm_jax.metrics.predictions import Predictions
from sleepfm_jax.training import sharding
from sleepfm_jax.training.state import TrainState
from sleepfm_jax.training.stopping import StopSignal


class Evaluation:
    """Runs rows of `config.evaluators`.

    Args:
      config: checked. evaluators: by the names of their rows.
      stop: is asked before every batch.
      seen: datasets that a part of the model was trained on before, and stays as it was.
    """

    def __init__(
        self,
        objective: Any,
        evaluators: Mapping[str, Evaluator],
        mesh: jax.sharding.Mesh,
        config: Mapping[str, Any],
        data_dir: Any,
        division: Division,
        stop: StopSignal,
        seen: Sequence[str] = (),
    ):
        self._objective, self._evaluators, self._mesh = objective, evaluators, mesh
        self._config, self._data_dir, self._division = config, data_dir, division
        self._stop, self._seen = stop, seen
        self._views: dict[tuple, Examples | None] = {}
        self._rows = sharding.local_rows(config["batch_size"], mesh)

    def __call__(self, state: TrainState, name: str) -> dict[str, Any]:
        """{name: value} of a row; {} where no dataset in use has the split.

        Raises:
          Interrupted: before the batch at which the run is asked to stop.
        """
        row, evaluator = self._config["evaluators"][name], self._evaluators[name]
        choose = whole_recordings if getattr(evaluator, "whole_recordings", False) else spread
        examples = self._view(tuple(row["datasets"]), row["split"], choose, row["examples"])
        if examples is None:
            return {}
        batch_size, base = self._config["batch_size"], base_of(examples)
        whose = [wanted for wanted in evaluator.wants if wanted in WHOSE]
        forward = _forward(
            self._objective, self._mesh, tuple(w for w in evaluator.wants if w not in WHOSE)
        )

        def predict(batch):
            self._stop.check()
            batch = sharding.global_batch(batch, self._mesh, batch_size, self._rows)
            out = forward(state.params, state.batch_stats, batch)
            predictions, metrics, index = jax.device_get(out)
            real = index >= 0
            predictions = {key: np.asarray(value)[real] for key, value in predictions.items()}
            for said in whose:  # of all processes' rows: an index is of the whole split
                ask = getattr(base, f"{said}_of")
                predictions[said] = np.array([ask(int(i)) for i in index[real]], WHOSE[said])
            return predictions | {"index": index[real]}, metrics

        batches = stream.one_pass(
            examples,
            batch_size=batch_size,
            rows=self._rows,
            num_threads=self._config["data"]["num_threads"],
            prefetch=self._config["data"]["prefetch"],
        )
        found = dict(evaluator.run(predict, batches))
        return {
            key: self._told(value, name, state) if isinstance(value, Predictions) else value
            for key, value in found.items()
        }

    def _view(
        self, names: tuple[str, ...], split: str, choose: Callable, limit: int
    ) -> Examples | None:
        """The rows that are looked at, chosen once."""
        key = (names, split, choose, limit)
        if key not in self._views:
            examples = self._division.rows(split, names)
            self._views[key] = None if examples is None else choose(examples, limit)
        return self._views[key]

    def _told(self, found: Predictions, name: str, state: TrainState) -> Predictions:
        """With what an evaluator does not know: whose rows these are, and of which weights."""
        row = self._config["evaluators"][name]
        names = tuple(row["datasets"]) or self._division.names
        in_folds = self._config["data"]["folds"] and names == self._division.names
        about = {
            "row": name,
            "dataset": "+".join(names),
            "dataset_fingerprint": "+".join(self._fingerprints(names)),
            "split": "cross-validation" if in_folds else row["split"],
            "trained_on": list(dict.fromkeys((*self._division.names, *self._seen))),
            "steps": [int(state.step)],
            "input_scaling": self._config["data"]["input_scaling"],
        }
        seeds = np.array([self._config["seed"]])
        return dataclasses.replace(found, seeds=seeds, about=about | dict(found.about))

    def _fingerprints(self, names: tuple[str, ...]) -> list[str]:
        return [datasets.fingerprint(self._data_dir, name) for name in names]


@functools.lru_cache(maxsize=64)
def _forward(objective: Any, mesh: jax.sharding.Mesh, wanted: tuple[str, ...]):
    """(params, stats, batch) → (what is wanted, metrics, index): compiled once in a process for all
    runs of equal objectives."""

    def run(params, stats, batch):
        asked = tuple(name for name in wanted if name not in FIELDS)
        predictions = objective.predict(params, stats, batch) if asked else {}
        _, (_, metrics) = objective.loss(params, stats, batch, None)
        found = {name: (batch if name in FIELDS else predictions)[name] for name in wanted}
        return found, metrics, batch["index"]

    return jax.jit(run, out_shardings=sharding.replicated(mesh))
