"""A model that has no parameters: a batch's `tokens` [B, N, S, D] are its outputs, all valid."""

import dataclasses

import jax.numpy as jnp

from sleepfm_jax.config import Key
from sleepfm_jax.signals.layout import Layout

KEYS = {"width": Key(16, "of a token", low=1)}


@dataclasses.dataclass(frozen=True)
class GivenTokens:
    layout: Layout
    width: int

    def init(self, key):
        return {}, {}

    def apply(self, params, stats, batch, key=None, is_frozen=None):
        tokens = batch["tokens"]
        mask = jnp.ones(tokens.shape[:3], bool)
        out = {"clip": tokens.mean(2), "tokens": tokens, "presence": mask.any(-1)}
        return out | {"token_mask": mask}, {}


def make(config, slots):
    return GivenTokens(Layout(slots, 1), config["model"]["width"])
