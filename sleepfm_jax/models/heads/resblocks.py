"""The transfer paper's ECG head: stem, residual convolutions along time, mean over time, logits.

Source: arXiv 2605.02500, docs/field.md §1.A.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from sleepfm_jax.models.dropout import Dropout, DropoutStream
from sleepfm_jax.models.heads.layers import BatchNorm, TokenConv, masked_mean


class ResidualBlock(nnx.Module):
    """conv → norm → ReLU → conv → norm, + input, ReLU."""

    def __init__(self, width: int, kernel: int, dropout: float, *, rngs: nnx.Rngs):
        self.conv1, self.norm1 = TokenConv(width, width, kernel, rngs=rngs), BatchNorm(width)
        self.conv2, self.norm2 = TokenConv(width, width, kernel, rngs=rngs), BatchNorm(width)
        self.dropout = Dropout(dropout)

    def __call__(self, x: jax.Array, valid: jax.Array, dropout: DropoutStream | None) -> jax.Array:
        """x [B, S, D], valid [B, S] → [B, S, D]."""
        train = dropout is not None
        h = self.norm1(self.conv1(x, valid), train, valid)
        h = self.dropout(jax.nn.relu(h), dropout)
        h = self.norm2(self.conv2(h, valid), train, valid)
        return self.dropout(jax.nn.relu(x + h), dropout)


class ResBlocksHead(nnx.Module):
    """See the module's docstring.

    Args:
      width: D of the tokens. classes: K. blocks, kernel: published: 2 and 7.
      dropout: after the stem; after convolutions half of it (published: .2 and .1).
    """

    def __init__(
        self,
        width: int,
        classes: int,
        blocks: int = 2,
        kernel: int = 7,
        *,
        dropout: float = 0.2,
        rngs: nnx.Rngs,
    ):
        self.stem, self.stem_norm = TokenConv(width, width, kernel, rngs=rngs), BatchNorm(width)
        self.blocks = nnx.List(
            ResidualBlock(width, kernel, dropout / 2, rngs=rngs) for _ in range(blocks)
        )
        self.classify = nnx.Linear(width, classes, rngs=rngs)
        self.dropout = Dropout(dropout)

    def __call__(
        self,
        tokens: jax.Array,
        token_mask: jax.Array | None = None,
        *,
        dropout: DropoutStream | None = None,
    ) -> jax.Array:
        """tokens [B, S, D], token_mask bool [B, S] (None: all valid) → logits [B, K]."""
        valid = jnp.ones(tokens.shape[:2], bool) if token_mask is None else token_mask
        h = self.stem_norm(self.stem(tokens, valid), dropout is not None, valid)
        h = self.dropout(jax.nn.relu(h), dropout)
        for block in self.blocks:
            h = block(h, valid, dropout)
        return self.classify(masked_mean(h, valid, 1))
