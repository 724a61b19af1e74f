"""The best checkpoint beside the newest ones, by a figure of an evaluator."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from sleepfm_jax.errors import ConfigError
from sleepfm_jax.training.checkpoint import Checkpoints


class KeepBest:
    """Keeps one checkpoint in a folder of its own, where `config.keep_best.figure` names a figure.

    Args:
      wanted: `config.keep_best`: figure, such as "validation/loss", and largest.
      held: what `look` returned last, when a run goes on.
    """

    def __init__(self, folder: Path, wanted: Mapping[str, Any], held: Mapping[str, Any] | None):
        self._figure, self._largest = wanted["figure"], wanted["largest"]
        # Of another figure, where the configuration has changed, it says nothing.
        self._held = dict(held) if held and held["figure"] == self._figure else None
        self._checkpoints = Checkpoints(folder, keep=1) if self._figure else None

    def look(
        self, step: int, figures: Mapping[str, Any], state: Any, about: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """Saves when the figure is better than every one before.

        Returns:
          {"figure", "value", "step"} of the best so far, to be kept with the newest checkpoint;
          None before the first.

        Raises:
          ConfigError: its evaluator was run, and gave no such figure.
        """
        value = figures.get(self._figure) if self._checkpoints else None
        row = self._figure.partition("/")[0] + "/"
        there = sorted(name for name in figures if name.startswith(row))
        if self._checkpoints and value is None and there:
            raise ConfigError(
                f"config.keep_best.figure is {self._figure!r}; expected one of {', '.join(there)}"
            )
        if value is None or not math.isfinite(value):
            return self._held
        better = self._held is None or (
            value > self._held["value"] if self._largest else value < self._held["value"]
        )
        if better:
            self._held = {"figure": self._figure, "value": float(value), "step": step}
            # A run that was killed after this save and before the next one does it again.
            if self._checkpoints.latest() != step:
                self._checkpoints.save(step, state, {**about, "best": self._held})
        return self._held

    def nothing_since(self, step: int, steps: int) -> bool:
        """Has nothing better come within so many steps (more than 0) before this one?"""
        return step - (self._held["step"] if self._held else 0) >= steps

    def weights(self, state: Any) -> Any:
        """A state with step, parameters and statistics of the best; the same where there is none.

        Args:
          state: `training.state.TrainState`, of the last step.

        Raises:
          CheckpointError: it is damaged, or not there any more.
        """
        if not self._held or self._held["step"] == int(state.step):
            return state
        self.wait()
        fields = {"params": state.params, "batch_stats": state.batch_stats}
        like = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), fields
        )
        step = self._held["step"]
        found = self._checkpoints.restore_parts(step, like)
        at = jax.device_put(state.step.dtype.type(step), state.step.sharding)
        return state.replace(step=at, **found)

    def wait(self) -> None:
        """Until the best is on disk: what says which it is must not be there before it."""
        if self._checkpoints:
            self._checkpoints.wait()

    def close(self) -> None:
        """Finish and release."""
        if self._checkpoints:
            self._checkpoints.close()
