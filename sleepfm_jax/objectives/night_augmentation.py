"""What training does to a batch of nights: a model is to do without any signal, either way up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

KEPT_FIRST = ("ECG", "PPG")
"""One of these stays where the coins would leave nothing; one of any where a night has neither."""


def mask_signals(
    key: jax.Array, present: jax.Array, signals: Sequence[str], rates: Mapping[str, float]
) -> jax.Array:
    """Leaves signals out of nights, each by a coin of its own; never all that a night has.

    Args:
      present: bool [B, N]: has the night this signal?
      signals: names along N.
      rates: name → probability that it is left out; a signal that is not named stays.

    Returns:
      bool [B, N], `present` without what is left out; of a night of which all would be, one signal
      stays, drawn evenly: of `KEPT_FIRST`, of any where it has none of these.
    """
    rate = jnp.array([rates.get(name, 0.0) for name in signals])
    coins, lots = jax.random.uniform(key, (2, *present.shape))
    kept = present & (coins >= rate)
    first = present & jnp.array([name in KEPT_FIRST for name in signals])
    may_stay = jnp.where(first.any(1, keepdims=True), first, present)
    lot = jnp.where(may_stay, lots, -1.0).argmax(1)[:, None]
    one = may_stay & (jnp.arange(len(signals)) == lot)
    return jnp.where(kept.any(1, keepdims=True), kept, one)


def turn_over(
    key: jax.Array, batch: Mapping[str, jax.Array], signals: Sequence[str]
) -> dict[str, jax.Array]:
    """A batch with each signal of each night turned over or not, by a fair coin: an electrode pair
    may be connected either way round.

    Args:
      batch: `signal/NAME` float [B, T] of every signal; the rest stays as it is.
    """
    sides = jax.random.bernoulli(key, shape=(len(batch["present"]), len(signals)))  # [B, N]
    turned = {}
    for n, name in enumerate(signals):
        x = batch[f"signal/{name}"]
        turned[f"signal/{name}"] = jnp.where(sides[:, n, None], -x, x)
    return dict(batch) | turned
