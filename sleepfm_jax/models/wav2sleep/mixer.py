"""The vectors that a sleep_epoch's signals have → one vector: a transformer without positions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from sleepfm_jax.models.dropout import DropoutStream, uniforms
from sleepfm_jax.models.transformer import TransformerLayer
from sleepfm_jax.models.wav2sleep.keys import Sizes
from sleepfm_jax.models.wav2sleep.norms import ACTIVATIONS


class Mixer(nnx.Module):
    """A learned token attends to the signals that are present; it is the output."""

    def __init__(self, sizes: Sizes, *, rngs: nnx.Rngs):
        dtype = jnp.dtype(sizes.dtype)
        self.permute = sizes.variant == "paper2024"
        self.frozen = False  # then the order is kept in training too (`models.pure`)
        normal = nnx.initializers.normal(1.0)
        # The token that is read, and the registers.
        self.tokens = nnx.Param(normal(rngs.params(), (1 + sizes.registers, sizes.width)))
        self.layers = nnx.List(
            TransformerLayer(
                sizes.width,
                sizes.heads,
                sizes.mlp_dim,
                sizes.dropout,
                pre_norm=True,
                activation=ACTIVATIONS[sizes.mixer_activation],
                dtype=dtype,
                rngs=rngs,
            )
            for _ in range(sizes.mixer_layers)
        )

    def __call__(
        self, vectors: jax.Array, present: jax.Array, dropout: DropoutStream | None = None
    ) -> jax.Array:
        """vectors [B, E, N, D], present bool [B, N] → [B, E, D]; finite without any signal."""
        b, e, n, d = vectors.shape
        if self.permute and dropout is not None and not self.frozen:
            order = jnp.argsort(uniforms(dropout.next(), (n,)))
            vectors, present = vectors[:, :, order], present[:, order]
        learned = self.tokens[...].astype(vectors.dtype)
        count = learned.shape[0]
        h = jnp.concatenate([jnp.broadcast_to(learned, (b, e, count, d)), vectors], 2)
        mask = jnp.concatenate([jnp.ones((b, count), bool), present], 1)  # [B, R + N]
        mask = jnp.broadcast_to(mask[:, None], (b, e, count + n)).reshape(b * e, count + n)
        h = h.reshape(b * e, count + n, d)  # [B * E, R + N, D]
        for layer in self.layers:
            h = layer(h, mask, dropout)
        return h[:, 0].reshape(b, e, d)
