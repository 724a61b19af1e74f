"""Schedule `plateau`: the rate falls when looks at the run bring nothing better.

Its state is part of the optimiser's, so that it is saved with it; updates do not change it, figures
do (`told`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax


class Plateau(NamedTuple):
    """Attributes:
    scale: float32, factor of the rate. best: float32, NaN before the first figure. waited: int32,
    looks since the best, or since the rate last fell.
    """

    scale: jax.Array
    best: jax.Array
    waited: jax.Array


def plateau() -> optax.GradientTransformation:
    """Updates times the factor that the figures so far have left."""

    def init(params):
        return Plateau(jnp.float32(1), jnp.float32(jnp.nan), jnp.int32(0))

    def update(updates, state, params=None):
        return jax.tree.map(lambda u: u * state.scale.astype(u.dtype), updates), state

    return optax.GradientTransformation(init, update)


def told(opt_state: Any, figure: float, config: Mapping[str, Any], *, largest: bool) -> Any:
    """The optimiser's state after a look: another `Plateau` where it has one.

    The rate is multiplied by `plateau_factor` at the look after `plateau_patience` looks that were
    no better than the best before them (as PyTorch counts, whose least difference is 0 here).

    Args:
      figure: of this look; one that is not finite is no better.
      config: `config.optimiser`.
      largest: is the largest the best?
    """

    def after(part):
        if not isinstance(part, Plateau):
            return part
        scale, best, waited = (np.asarray(jax.device_get(x)) for x in part)
        value = np.float32(figure)
        better = math.isfinite(value) and (
            np.isnan(best) or (value > best if largest else value < best)
        )
        best, waited = (value, np.int32(0)) if better else (best, waited + np.int32(1))
        if waited > config["plateau_patience"]:
            least = config["least_rate"] / config["learning_rate"] if config["learning_rate"] else 1
            scale = np.float32(max(scale * config["plateau_factor"], min(least, scale)))
            waited = np.int32(0)
        new = Plateau(scale, best, waited)
        return jax.tree.map(lambda x, old: jax.device_put(x, old.sharding), new, part)

    return jax.tree.map(after, opt_state, is_leaf=lambda part: isinstance(part, Plateau))
