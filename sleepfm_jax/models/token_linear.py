"""Kind `token_linear`: stages by one affine layer on the frozen tokens of a sleep_epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from sleepfm_jax.models import night_tokens
from sleepfm_jax.models.heads.layers import masked_mean
from sleepfm_jax.models.night_tokens import TokenModel
from sleepfm_jax.signals.token_layout import TokenLayout

KEYS = night_tokens.KEYS


class Linear(nnx.Module):
    """The mean token of each sequence has a layer of its own; logits are the mean of those of the
    sequences that are there. With all of them it is one layer on all means side by side."""

    def __init__(self, layout: TokenLayout, *, rngs: nnx.Rngs):
        n, d, k = len(layout.names), layout.width, len(layout.classes)
        normal = nnx.initializers.normal(d**-0.5)
        self.kernel = nnx.Param(normal(rngs.params(), (n, d, k)))
        self.bias = nnx.Param(jnp.zeros((n, k)))

    def __call__(self, tokens, mask, present, inside, dropout=None) -> jax.Array:
        """See `night_tokens.TokenModel`."""
        means = masked_mean(tokens, mask, 3)  # [B, E, N, P, D] → [B, E, N, D]
        each = jnp.einsum("bend,ndk->benk", means, self.kernel[...]) + self.bias[...]
        return masked_mean(each, mask.any(-1), 2)  # [B, E, N, K] → [B, E, K]


def make(config: Mapping[str, Any], slots: tuple[tuple[str, int], ...]) -> TokenModel:
    """The model of a checked configuration; see `night_tokens.model`."""
    return night_tokens.model(Linear, config, slots)
