"""The compiled parts of a run, shared by all runs of one process that are the same program."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sleepfm_jax import config as configuration
from sleepfm_jax.training import freezing, optim, sharding
from sleepfm_jax.training import state as train_state
from sleepfm_jax.training.step import Step, step_function


class Compiled(NamedTuple):
    """Attributes:
    create: seed (uint32) → the fresh state, on the mesh. step: (state, batch) → (state, metrics);
    the state given is used up. shardings: of the state's leaves.
    """

    create: Callable[[Any], train_state.TrainState]
    step: Step
    shardings: Any


def compiled(objective: Any, config: Mapping[str, Any], mesh: jax.sharding.Mesh) -> Compiled:
    """The parts of a run; those of an earlier one where the objective, the optimiser, the mesh and
    the sharding rules are equal: these are traced and compiled once (for each shape of a batch).

    Raises:
      ConfigError, ValueError: they do not fit each other.
    """
    endless = config["optimiser"]["schedule"] in configuration.ANY_LENGTH
    steps = None if endless else config["steps"]
    parts = (config["optimiser"], config["sharding_rules"])
    return _compiled(objective, *(json.dumps(part, sort_keys=True) for part in parts), steps, mesh)


@functools.lru_cache(maxsize=32)
def _compiled(objective, optimiser: str, rules: str, steps: int | None, mesh) -> Compiled:
    tx = optim.optimiser(json.loads(optimiser), steps or 1, objective.frozen)

    def create(seed):
        return train_state.create(objective, tx, seed)

    shapes = jax.eval_shape(create, jnp.uint32(0))
    freezing.check_patterns(shapes.params, objective.frozen, "config.frozen")
    shardings = sharding.tree_shardings(shapes, mesh, json.loads(rules))
    step = jax.jit(
        step_function(objective, tx),
        donate_argnums=0,
        out_shardings=(shardings, sharding.replicated(mesh)),
    )
    return Compiled(jax.jit(create, out_shardings=shardings), step, shardings)
