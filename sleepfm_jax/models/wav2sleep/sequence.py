"""Vectors of sleep_epochs, mixed over the night: blocks of dilated convolutions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from sleepfm_jax.models.dropout import Dropout, DropoutStream
from sleepfm_jax.models.wav2sleep.convolution import ConvLayer, Memory
from sleepfm_jax.models.wav2sleep.keys import Sizes
from sleepfm_jax.models.wav2sleep.norms import ACTIVATIONS


class DilatedBlock(nnx.Module):
    """Convolutions of sleep_epochs 1, 2, 4, … apart, dropout, + input, activation."""

    def __init__(self, sizes: Sizes, *, rngs: nnx.Rngs):
        self.convs = nnx.List(
            ConvLayer(
                sizes.width,
                sizes.width,
                sizes.sequence_kernel,
                norm_kind=sizes.sequence_norm,
                activation=sizes.sequence_activation,
                dilation=2**i,
                backwards=sizes.backwards,
                dtype=jnp.dtype(sizes.dtype),
                rngs=rngs,
            )
            for i in range(sizes.dilations)
        )
        self.dropout = Dropout(sizes.dropout)
        self.activation = sizes.sequence_activation

    def __call__(
        self,
        x: jax.Array,
        inside: jax.Array,
        train: bool,
        dropout: DropoutStream | None,
        memory: Memory | None = None,
    ) -> jax.Array:
        """x [B, E, D], 0 outside the night, inside bool [B, E] → the same."""
        h = x
        for conv in self.convs:
            h = conv(h, inside, train, memory)
        h = ACTIVATIONS[self.activation](self.dropout(h, dropout) + x)
        return jnp.where(inside[..., None], h, 0)


class SequenceMixer(nnx.Module):
    """Blocks, one after the other."""

    def __init__(self, sizes: Sizes, *, rngs: nnx.Rngs):
        self.blocks = nnx.List(DilatedBlock(sizes, rngs=rngs) for _ in range(sizes.sequence_blocks))

    def __call__(self, x, inside, dropout=None, memory=None):
        """x [B, E, D], 0 outside the night, inside bool [B, E] → the same."""
        for block in self.blocks:
            x = block(x, inside, dropout is not None, dropout, memory)
        return x
