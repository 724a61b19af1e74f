"""Heads that see a clip's tokens as a set: their mean, or a weighted one, and one affine layer."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from sleepfm_jax.models.dropout import Dropout, DropoutStream
from sleepfm_jax.models.heads.layers import masked_mean
from sleepfm_jax.models.transformer import layer_norm


class MeanHead(nnx.Module):
    """Mean of the valid tokens → one affine layer."""

    def __init__(self, width: int, classes: int, *, rngs: nnx.Rngs):
        self.classify = nnx.Linear(width, classes, rngs=rngs)

    def __call__(
        self, tokens: jax.Array, token_mask: jax.Array, *, dropout: DropoutStream | None = None
    ) -> jax.Array:
        """tokens [B, N, S, D], token_mask bool [B, N, S] → logits [B, K]."""
        return self.classify(masked_mean(tokens, token_mask, (1, 2)))


class AttentionHead(nnx.Module):
    """Mean of the valid tokens, weighted by what they hold → one affine layer.

    A token's weight is the softmax over the clip of w · tanh(V LayerNorm(token)): attention-based
    multiple-instance pooling (Ilse et al. 2018). It starts as the plain mean.
    """

    def __init__(self, width: int, classes: int, *, dropout: float, rngs: nnx.Rngs):
        self.norm = layer_norm(width, jnp.float32, rngs)
        self.hidden = nnx.Linear(width, width, rngs=rngs)
        zeros = nnx.initializers.zeros
        self.score = nnx.Linear(width, 1, use_bias=False, kernel_init=zeros, rngs=rngs)
        self.classify = nnx.Linear(width, classes, rngs=rngs)
        self.dropout = Dropout(dropout)

    def __call__(
        self, tokens: jax.Array, token_mask: jax.Array, *, dropout: DropoutStream | None = None
    ) -> jax.Array:
        """tokens [B, N, S, D], token_mask bool [B, N, S] → logits [B, K]."""
        b, d = len(tokens), tokens.shape[-1]
        x, valid = tokens.reshape(b, -1, d), token_mask.reshape(b, -1)  # [B, N*S, D], [B, N*S]
        x = jnp.where(valid[..., None], x, 0)
        score = self.score(jnp.tanh(self.hidden(self.norm(x))))[..., 0]  # [B, N*S]
        weight = jax.nn.softmax(jnp.where(valid, score, -1e30), -1)
        pooled = jnp.einsum("bl,bld->bd", jnp.where(valid, weight, 0), x)
        return self.classify(self.dropout(pooled, dropout))
