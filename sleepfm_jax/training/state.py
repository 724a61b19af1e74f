"""Everything a run is made of at one step, as one pytree, and the function that advances it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
      params, batch_stats, opt_state: pytrees of arrays.
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


def create(task: Any, tx: optax.GradientTransformation, seed: int) -> TrainState:
    """A fresh state of a task (anything with `init(key) -> (params, batch_stats)`)."""
    params, batch_stats = task.init(jax.random.key(seed))
    state = TrainState(
        step=jnp.int32(0),
        params=params,
        batch_stats=batch_stats,
        opt_state=tx.init(params),
        seed=jnp.uint32(seed),
        skipped=jnp.int32(0),
        skipped_in_a_row=jnp.int32(0),
    )
    # No weak types: they do not survive a checkpoint, and a resumed run must be the same program.
    return jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), state)


def step_function(
    task: Any, tx: optax.GradientTransformation
) -> Callable[[TrainState, Mapping[str, jax.Array]], tuple[TrainState, dict[str, jax.Array]]]:
    """(state, batch) → (state, metrics): one update, refused when anything in it is not finite.

    A refused update leaves parameters, statistics and optimiser as they were and counts itself.
    """

    def step(state: TrainState, batch: Mapping[str, jax.Array]):
        key = jax.random.fold_in(jax.random.key(state.seed), state.step + 1)
        (_, (batch_stats, metrics)), grads = jax.value_and_grad(task.loss_fn, has_aux=True)(
            state.params, state.batch_stats, batch, key
        )
        grad_norm = optax.tree.norm(grads)
        fine = jnp.isfinite(metrics["loss"]) & jnp.isfinite(grad_norm)

        def accept():
            updates, opt_state = tx.update(grads, state.opt_state, state.params)
            params = task.project(optax.apply_updates(state.params, updates))
            return params, batch_stats, opt_state

        def refuse():
            return state.params, state.batch_stats, state.opt_state

        params, stats, opt_state = jax.lax.cond(fine, accept, refuse)
        refused = (~fine).astype(jnp.int32)
        new = state.replace(
            step=state.step + 1,
            params=params,
            batch_stats=stats,
            opt_state=opt_state,
            skipped=state.skipped + refused,
            skipped_in_a_row=(state.skipped_in_a_row + 1) * refused,
        )
        metrics |= {
            "grad_norm": grad_norm,
            "skipped": new.skipped,
            "skipped_in_a_row": new.skipped_in_a_row,
            "example_order": order_checksum(batch["index"]),
        }
        return new, metrics

    return step


def order_checksum(index: jax.Array) -> jax.Array:
    """uint32 that changes with the examples [B] of a batch and with their order: two runs that log
    the same number saw the same rows in the same places."""
    place = jnp.arange(index.shape[0], dtype=jnp.uint32)
    x = (index.astype(jnp.uint32) + 1) * jnp.uint32(0x9E3779B9) ^ place * jnp.uint32(0x85EBCA6B)
    # Mixed before it is summed: sums of plain products of small numbers are often equal.
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return jnp.sum(x ^ (x >> 16), dtype=jnp.uint32)
