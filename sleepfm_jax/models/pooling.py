"""Attention pooling: one post-norm transformer layer, then the mean over what is valid."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from sleepfm_jax.models.dropout import DropoutStream
from sleepfm_jax.models.transformer import TransformerLayer


class AttentionPooling(nnx.Module):
    """Pools the second axis of [N, L, D]; used over channels and over time.

    A single entry goes through the layer like any other, and padded entries are left out of the
    mean. The published code does neither, hence the two switches.

    Args:
      mean_over_padding: the transfer paper's pooling; padded entries are no keys, but what the
        layer makes of them enters the mean.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        mlp_dim: int,
        dropout: float,
        *,
        mean_over_padding: bool = False,
        dtype,
        rngs,
    ):
        self.mean_over_padding = mean_over_padding
        self.layer = TransformerLayer(
            width, heads, mlp_dim, dropout, pre_norm=False, dtype=dtype, rngs=rngs
        )

    def __call__(
        self,
        x: jax.Array,
        mask: jax.Array,
        dropout: DropoutStream | None = None,
        *,
        sizes: tuple[int, ...] | None = None,
        shortcut: bool = False,
    ) -> jax.Array:
        """Pool each group of entries on its own, all groups in one call of the layer.

        Args:
          x: [N, L, D].
          mask: bool [N, L], True = valid.
          dropout: the coins, in training; None in evaluation.
          sizes: lengths of G consecutive groups, summing to L; an entry attends to its own group
            only. None: one group.
          shortcut: a group of one entry is returned as it came, past the layer and its mask (both
            published systems).

        Returns:
          [N, G, D]; 0 where a group holds nothing valid.
        """
        sizes = sizes or (x.shape[1],)
        member = np.repeat(np.eye(len(sizes), dtype=bool), sizes, axis=1)  # [G, L]
        same_group = member.T @ member  # [L, L]
        y = self.layer(x, mask[:, None, :] & same_group, dropout)
        counted = jnp.ones_like(mask) if self.mean_over_padding else mask
        weight = (counted[:, None, :] & member).astype(x.dtype)  # [N, G, L]
        pooled = jnp.einsum("ngl,nld->ngd", weight, y) / jnp.maximum(weight.sum(-1), 1)[..., None]
        if shortcut and 1 in sizes:
            single = np.array(sizes) == 1
            first = np.cumsum(sizes) - np.array(sizes)
            pooled = jnp.where(single[:, None], x[:, first], pooled)
        return pooled
