"""Moving average of weights, properly begun: what is evaluated in place of the weights themselves.

It is part of an objective's stats, moves in `after_update`, and so is saved, restored and refused
with everything else. The published one (wav2sleep's callback) holds the initial weights until it
begins, so that e^-1 of them are left after 10,000 updates with a decay of .9999; this one holds the
weights of the step before.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def begin(params: Any) -> dict[str, Any]:
    """Of fresh parameters: nothing but them."""
    # Copies: a state that is given away on an accelerator may not hold an array twice.
    return {"updates": jnp.int32(0), "params": jax.tree.map(jnp.copy, params)}


def moved(
    average: dict[str, Any], params: Any, step: jax.Array, *, decay: float, start: int
) -> dict[str, Any]:
    """The average after an update.

    Args:
      average: before it. params: after it.
      step: of this update, counted from 1.
      decay: the part of the average that stays.
      start: the step that is first averaged; before it the average is the parameters. 0 and 1
        both average the first step; 0 with the initial parameters, 1 from it on.
    """
    # What was initialised from elsewhere has an average of nothing: its first update is the first.
    fresh = (step < start) | ((average["updates"] == 0) & (start > 0))

    def after(mean, now):
        return jnp.where(fresh, now, now + decay * (mean - now))

    return {
        "updates": average["updates"] + 1,
        "params": jax.tree.map(after, average["params"], params),
    }


def weights(average: dict[str, Any], params: Any) -> Any:
    """What is to be evaluated: the average, or the parameters where there is none yet."""
    empty = average["updates"] == 0
    return jax.tree.map(lambda mean, now: jnp.where(empty, now, mean), average["params"], params)
