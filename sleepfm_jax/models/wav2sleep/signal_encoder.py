"""One signal's samples → a vector a sleep_epoch."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from sleepfm_jax.models.transformer import layer_norm
from sleepfm_jax.models.wav2sleep.convolution import TORCH, ConvLayer, Convolution, Memory
from sleepfm_jax.models.wav2sleep.keys import Sizes
from sleepfm_jax.models.wav2sleep.norms import ACTIVATIONS, keep_inside

KERNEL = 3
VECTORS = 4  # of a sleep_epoch, that the dense layer makes one of


class Block(nnx.Module):
    """Three convolutions, half the length, + a linear map of the input, activation."""

    def __init__(
        self, features_in: int, features: int, norm_kind: str, sizes: Sizes, *, rngs: nnx.Rngs
    ):
        dtype = jnp.dtype(sizes.dtype)
        self.pool = sizes.variant == "paper2024"
        self.activation = sizes.activation
        same = {
            "norm_kind": norm_kind,
            "activation": sizes.activation,
            "instance_epsilon": sizes.instance_epsilon,
            "backwards": sizes.causal == "convolution",
            "dtype": dtype,
            "rngs": rngs,
        }
        last = 1 if self.pool else 2
        self.conv1 = ConvLayer(features_in, features, KERNEL, **same)
        self.conv2 = ConvLayer(features, features, KERNEL, **same)
        self.conv3 = ConvLayer(features, features, KERNEL, stride=last, **same)
        self.residual = (
            Convolution(features_in, features, 1, stride=2, dtype=dtype, rngs=rngs)
            if sizes.residual
            else None
        )

    def __call__(self, x, inside, train, memory=None):
        """x [B, L, C], inside bool [B, E] → [B, L / 2, D]."""
        h = x
        for conv in (self.conv1, self.conv2, self.conv3):
            h = conv(h, inside, train, memory)
        if self.pool:
            b, length, c = h.shape
            h = h.reshape(b, length // 2, 2, c).max(2)
        if self.residual is not None:
            h = h + self.residual(x)
        return keep_inside(ACTIVATIONS[self.activation](h), inside)


class SignalEncoder(nnx.Module):
    """Blocks, each of half the length, down to four vectors a sleep_epoch; then a dense layer."""

    def __init__(self, samples: int, sizes: Sizes, *, rngs: nnx.Rngs):
        dtype = jnp.dtype(sizes.dtype)
        self.samples, self.chunked = samples, sizes.causal == "chunk"
        self.activation = sizes.activation
        channels = sizes.channels(samples)
        self.blocks = nnx.List(
            Block(before, after, sizes.block_norm(i), sizes, rngs=rngs)
            for i, (before, after) in enumerate(zip((1, *channels), channels))
        )
        self.dense = nnx.Linear(
            VECTORS * channels[-1], sizes.width, kernel_init=TORCH, dtype=dtype, rngs=rngs
        )
        self.norm = layer_norm(sizes.width, dtype, rngs) if sizes.output_norm else None

    def __call__(
        self, x: jax.Array, inside: jax.Array, train: bool, memory: Memory | None = None
    ) -> jax.Array:
        """x [B, E * samples], 0 outside the night, inside bool [B, E] → [B, E, D], 0 outside."""
        b, e = inside.shape
        if x.shape != (b, e * self.samples):
            raise ValueError(f"samples {x.shape} are not {self.samples} for each of {inside.shape}")
        h, within = x[..., None], inside  # [B, E * samples, 1]
        if self.chunked:  # each sleep_epoch is a row of its own
            h, within = h.reshape(b * e, self.samples, 1), inside.reshape(b * e, 1)
        h = keep_inside(h, within)
        for block in self.blocks:
            h = block(h, within, train, memory)
        h = ACTIVATIONS[self.activation](self.dense(h.reshape(b, e, -1)))  # time goes first
        h = h if self.norm is None else self.norm(h)
        return jnp.where(inside[..., None], h, 0)
