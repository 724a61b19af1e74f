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

    A single valid entry goes through the layer like any other (the reference returns the plain mean
    for L = 1, so that an embedding there depends on how its batch was padded), and padded entries
    are left out of the mean.
    """

    def __init__(self, width: int, heads: int, mlp_dim: int, dropout: float, *, dtype, rngs):
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
    ) -> jax.Array:
        """Pool each group of entries on its own, all groups in one call of the layer.

        Args:
          x: [N, L, D].
          mask: bool [N, L], True = valid.
          dropout: the coins, in training; None in evaluation.
          sizes: lengths of G consecutive groups, summing to L; an entry attends to its own group
            only. None: one group.

        Returns:
          [N, G, D]; 0 where a group holds nothing valid.
        """
        sizes = sizes or (x.shape[1],)
        member = np.repeat(np.eye(len(sizes), dtype=bool), sizes, axis=1)  # [G, L]
        same_group = member.T @ member  # [L, L]
        x = self.layer(x, mask[:, None, :] & same_group, dropout)
        weight = (mask[:, None, :] & member).astype(x.dtype)  # [N, G, L]
        return jnp.einsum("ngl,nld->ngd", weight, x) / jnp.maximum(weight.sum(-1), 1)[..., None]
