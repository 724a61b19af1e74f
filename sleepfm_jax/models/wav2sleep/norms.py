"""Norms and activations of wav2sleep's convolutions, over what lies inside the night.

Every norm takes x [B, L, C] and `inside` bool [B, E]: which of the E sleep_epochs that the L steps
belong to, in equal parts, count. What lies outside enters no statistics, and comes out as anything.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from sleepfm_jax.models.heads.layers import BatchNorm

EPSILON = 1e-5


def gelu(x: jax.Array) -> jax.Array:
    """The exact one, through erf as PyTorch has it: jax.nn.gelu's erfc takes four times as long on
    CPU, and is only more accurate where both are nearly 0."""
    return 0.5 * x * (1 + jax.lax.erf(x * np.array(math.sqrt(0.5), x.dtype)))


ACTIVATIONS = {
    "gelu": gelu,
    "relu": jax.nn.relu,
    "leaky": functools.partial(jax.nn.leaky_relu, negative_slope=0.01),
    "silu": jax.nn.silu,
    "linear": lambda x: x,
}


def by_sleep_epoch(x: jax.Array, sleep_epochs: int) -> jax.Array:
    """[B, L, C] → [B, E, L / E, C]."""
    b, length, c = x.shape
    return x.reshape(b, sleep_epochs, length // sleep_epochs, c)


def keep_inside(x: jax.Array, inside: jax.Array) -> jax.Array:
    """x [B, L, C] with zeros outside the night."""
    parts = by_sleep_epoch(x, inside.shape[1])
    return jnp.where(inside[:, :, None, None], parts, 0).reshape(x.shape)


class InstanceNorm(nnx.Module):
    """Each channel of each row over time; nothing learned."""

    def __init__(self, epsilon: float = EPSILON):
        self.epsilon = epsilon

    def __call__(self, x: jax.Array, inside: jax.Array, train: bool) -> jax.Array:
        """[B, L, C] → [B, L, C]."""
        wide = by_sleep_epoch(x.astype(jnp.float32), inside.shape[1])  # [B, E, L / E, C]
        weight = inside.astype(wide.dtype)[:, :, None]  # [B, E, 1]
        count = jnp.maximum(weight.sum(1), 1) * wide.shape[2]  # [B, 1]

        def mean(values):
            # First within each sleep_epoch: few numbers are added up at a time.
            return ((values.sum(2) * weight).sum(1) / count)[:, None, None]  # [B, 1, 1, C]

        centred = wide - mean(wide)
        y = centred * jax.lax.rsqrt(mean(jnp.square(centred)) + self.epsilon)
        return y.reshape(x.shape).astype(x.dtype)


class ChannelNorm(nnx.Module):
    """Over the channels of each step: LayerNorm, or without mean and bias (RMS)."""

    def __init__(self, features: int, *, centre: bool):
        self.scale = nnx.Param(jnp.ones(features))
        self.bias = nnx.Param(jnp.zeros(features)) if centre else None

    def __call__(self, x: jax.Array, inside: jax.Array, train: bool) -> jax.Array:
        """[B, L, C] → [B, L, C]."""
        y = x.astype(jnp.float32)
        if self.bias is not None:
            y = y - y.mean(-1, keepdims=True)
        y = y * jax.lax.rsqrt(jnp.square(y).mean(-1, keepdims=True) + EPSILON) * self.scale[...]
        return (y if self.bias is None else y + self.bias[...]).astype(x.dtype)


class NightBatchNorm(BatchNorm):
    """Batch normalisation; its statistics are of what lies inside nights that have the signal."""

    def __call__(self, x: jax.Array, inside: jax.Array, train: bool) -> jax.Array:
        """[B, L, C] → [B, L, C]."""
        wide = by_sleep_epoch(x.astype(jnp.float32), inside.shape[1])
        valid = jnp.broadcast_to(inside[:, :, None], wide.shape[:3])
        return super().__call__(wide, train, valid).reshape(x.shape).astype(x.dtype)


def norm(kind: str, features: int, instance_epsilon: float = EPSILON) -> nnx.Module:
    """A norm of `keys.NORMS` other than "auto"."""
    if kind == "instance":
        return InstanceNorm(instance_epsilon)
    if kind == "batch":
        return NightBatchNorm(features)
    return ChannelNorm(features, centre=kind == "layer")
