"""One update: loss, gradients, optimiser, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from sleepfm_jax.training import freezing
from sleepfm_jax.training.state import TrainState

Step = Callable[[TrainState, Mapping[str, jax.Array]], tuple[TrainState, dict[str, Any]]]


def step_function(objective: Any, tx: optax.GradientTransformation) -> Step:
    """(state, batch) → (state, metrics): one update, refused when anything in it is not finite.

    A refused update leaves parameters, statistics and optimiser as they were and counts itself.
    What the objective calls frozen gets no gradient and keeps its statistics. Metrics are (sum,
    count), as the objective's.
    """

    def step(state: TrainState, batch: Mapping[str, jax.Array]):
        key = jax.random.fold_in(jax.random.key(state.seed), state.step + 1)

        def loss(params):
            params = freezing.stop_gradients(params, objective.frozen)
            return objective.loss(params, state.batch_stats, batch, key)

        (value, (stats, metrics)), grads = jax.value_and_grad(loss, has_aux=True)(state.params)
        grad_norm = optax.tree.norm(grads)
        fine = jnp.isfinite(value) & jnp.isfinite(grad_norm)

        def accept():
            updates, opt_state = tx.update(grads, state.opt_state, state.params)
            params = optax.apply_updates(state.params, updates)
            params, moved = objective.after_update(params, stats, state.step + 1)
            params = freezing.keep(state.params, params, objective.frozen)
            return params, freezing.keep(state.batch_stats, moved, objective.frozen), opt_state

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
        once = jnp.int32(1)
        metrics = (
            {"loss": (value, once)}
            | dict(metrics)
            | {
                "grad_norm": (grad_norm, once),
                "skipped": (new.skipped, once),
                "skipped_in_a_row": (new.skipped_in_a_row, once),
                "example_order": (order_checksum(batch["index"]), once),
            }
        )
        return new, metrics

    return step


def means(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """(sum, count) of each → its mean, as Python numbers; NaN where nothing counted."""
    found = {}
    for name, (total, count) in jax.device_get(dict(metrics)).items():
        if count == 1:
            found[name] = total.item()  # whole numbers stay whole
        else:
            found[name] = (total / total.dtype.type(count)).item() if count else float("nan")
    return found


def order_checksum(index: jax.Array) -> jax.Array:
    """uint32 that changes with the examples [B] of a batch and with their order: two runs that log
    the same number saw the same rows in the same places."""
    place = jnp.arange(index.shape[0], dtype=jnp.uint32)
    x = (index.astype(jnp.uint32) + 1) * jnp.uint32(0x9E3779B9) ^ place * jnp.uint32(0x85EBCA6B)
    # Mixed before it is summed: sums of plain products of small numbers are often equal.
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return jnp.sum(x ^ (x >> 16), dtype=jnp.uint32)
