"""Everything a run is made of at one step, as one pytree."""

from __future__ import annotations

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax


@flax.struct.dataclass
class TrainState:
    """All leaves are arrays, so that Orbax can save them from any number of processes.

    Attributes:
      step: int32, updates asked for, skipped ones included; also the data position.
      params, batch_stats, opt_state: pytrees of arrays; batch_stats is all that an objective calls
        its stats.
      seed: uint32, of everything random; the key of a step is a function of (seed, step).
      skipped: int32, updates refused because the loss or a gradient was not finite.
      skipped_in_a_row: int32.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    seed: jax.Array
    skipped: jax.Array
    skipped_in_a_row: jax.Array


def create(objective: Any, tx: optax.GradientTransformation, seed: int) -> TrainState:
    """A fresh state of an objective."""
    params, stats = objective.init(jax.random.key(seed))
    return of_parameters(params, stats, tx, seed)


def of_parameters(params: Any, stats: Any, tx: optax.GradientTransformation, seed: int):
    """The state at step 0 with these parameters."""
    state = TrainState(
        step=jnp.int32(0),
        params=params,
        batch_stats=stats,
        opt_state=tx.init(params),
        seed=jnp.uint32(seed),
        skipped=jnp.int32(0),
        skipped_in_a_row=jnp.int32(0),
    )
    # No weak types: they do not survive a checkpoint, and a resumed run must be the same program.
    return jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), state)
