"""Transformer layers, pre- and post-norm, with a validity mask.

Same arithmetic as PyTorch's `nn.TransformerEncoderLayer`: biases everywhere, LayerNorm epsilon
1e-5, one dropout rate for attention weights, feed-forward activations and both residuals.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from sleepfm_jax.models.dropout import Dropout, DropoutStream

EPSILON = 1e-5


def layer_norm(width: int, dtype, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """LayerNorm over the last axis with the reference's epsilon."""
    return nnx.LayerNorm(width, epsilon=EPSILON, dtype=dtype, rngs=rngs)


class SelfAttention(nnx.Module):
    """Multi-head self-attention; keys that the mask excludes get no weight."""

    def __init__(self, width: int, heads: int, dropout: float, *, dtype, rngs: nnx.Rngs):
        if width % heads:
            raise ValueError(f"width {width} is not divisible by {heads} heads")
        self.heads = heads
        xavier = nnx.initializers.xavier_uniform()
        self.qkv = nnx.Linear(width, 3 * width, kernel_init=xavier, dtype=dtype, rngs=rngs)
        self.out = nnx.Linear(width, width, dtype=dtype, rngs=rngs)
        self.dropout = Dropout(dropout)

    def __call__(self, x: jax.Array, mask: jax.Array, dropout: DropoutStream | None) -> jax.Array:
        """x [N, L, D]; mask True = valid: [N, L] keys, or [N, L, L] query, key → [N, L, D].

        A mask of floats is added to the scores instead (PyTorch's rule, which a published model
        met by accident: see `models.staging`).
        """
        n, length, d = x.shape
        if mask.ndim == 2:
            mask = mask[:, None, :]
        qkv = self.qkv(x).reshape(n, length, 3, self.heads, d // self.heads)  # [N, L, 3, H, D/H]
        q, k, v = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]
        scores = jnp.einsum("nqhd,nkhd->nhqk", q, k) / (d // self.heads) ** 0.5
        scores, mask = scores.astype(jnp.float32), mask[:, None]
        if mask.dtype == bool:
            # A finite floor, so that a query without one valid key stays finite; it gets zeros.
            weights = jax.nn.softmax(jnp.where(mask, scores, -1e30), axis=-1)
            weights = jnp.where(mask, weights, 0)
        else:
            weights = jax.nn.softmax(scores + mask, axis=-1)
        weights = self.dropout(weights.astype(v.dtype), dropout)
        mixed = jnp.einsum("nhqk,nkhd->nqhd", weights, v).reshape(n, length, d)
        return self.out(mixed)


class TransformerLayer(nnx.Module):
    """Attention and feed-forward with residuals; `pre_norm` as in the stack, else as in pooling."""

    def __init__(
        self,
        width: int,
        heads: int,
        mlp_dim: int,
        dropout: float,
        *,
        pre_norm: bool,
        activation: Callable[[jax.Array], jax.Array] = jax.nn.relu,
        dtype,
        rngs: nnx.Rngs,
    ):
        self.pre_norm, self.activation = pre_norm, activation
        self.attention = SelfAttention(width, heads, dropout, dtype=dtype, rngs=rngs)
        self.up = nnx.Linear(width, mlp_dim, dtype=dtype, rngs=rngs)
        self.down = nnx.Linear(mlp_dim, width, dtype=dtype, rngs=rngs)
        self.norm1 = layer_norm(width, dtype, rngs)
        self.norm2 = layer_norm(width, dtype, rngs)
        self.dropout = Dropout(dropout)

    def __call__(
        self, x: jax.Array, mask: jax.Array, dropout: DropoutStream | None = None
    ) -> jax.Array:
        """x [N, L, D], mask as in `SelfAttention` → [N, L, D]."""
        if self.pre_norm:
            x = x + self._attend(self.norm1(x), mask, dropout)
            return x + self._feed_forward(self.norm2(x), dropout)
        x = self.norm1(x + self._attend(x, mask, dropout))
        return self.norm2(x + self._feed_forward(x, dropout))

    def _attend(self, x, mask, dropout):
        return self.dropout(self.attention(x, mask, dropout), dropout)

    def _feed_forward(self, x, dropout):
        hidden = self.dropout(self.activation(self.up(x)), dropout)
        return self.dropout(self.down(hidden), dropout)
