"""Staging while the night goes on: a state and a sleep_epoch's samples in, its logits out.

What a state remembers does not grow: the sleep_epochs that the dilated convolutions still reach
(of the published sizes 12 times 6 to 192 vectors), and of encoders with backward-looking
convolutions two steps each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from sleepfm_jax.models.wav2sleep import Wav2Sleep


def start(model: Wav2Sleep, rows: int = 1) -> Any:
    """The state before the first sleep_epoch of B = `rows` nights: zeros, a pytree of arrays.

    Raises:
      ValueError: the model sees later sleep_epochs; the message says through what.
    """
    if why := model.sizes.looks_ahead():
        raise ValueError(f"cannot be streamed: {why}")
    samples = {
        name: jax.ShapeDtypeStruct((rows, count), jnp.float32)
        for name, count in model.sizes.signals
    }
    present = jax.ShapeDtypeStruct((rows, len(samples)), bool)

    def first(params, stats, samples, present):
        return step(model, params, stats, None, samples, present)[1]

    shapes = jax.eval_shape(first, *model.shapes(), samples, present)
    return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)


def step(
    model: Wav2Sleep,
    params,
    stats,
    state: Any,
    samples: Mapping[str, jax.Array],
    present: jax.Array,
) -> tuple[dict[str, jax.Array], Any]:
    """One sleep_epoch further; pure, to be compiled: `jax.jit(step, static_argnums=0)`.

    Args:
      state: of `start`, or of the step before.
      samples: name → float32 [B, samples] of this sleep_epoch, normalised by what came before
        (normalisation "causal"), finite; of every signal of the model.
      present: bool [B, N], which of them a night has; the same at each step of a night.

    Returns:
      {logits float32 [B, K], features [B, D]}, the state after it. The same as `Wav2Sleep.apply`
      of the whole night says of this sleep_epoch, up to rounding.
    """
    inside = jnp.ones((present.shape[0], 1), bool)
    network = model.module(params, stats)
    logits, features, state = network(samples, present, inside, past=state)
    return {"logits": logits[:, 0].astype(jnp.float32), "features": features[:, 0]}, state
