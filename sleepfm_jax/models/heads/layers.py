"""What heads are made of: normalisation, convolutions and means that keep to what is valid."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

EPSILON = 1e-5
MOMENTUM = 0.9


class BatchNorm(nnx.Module):
    """Batch normalisation of the last axis; running variance unbiased, as in PyTorch."""

    def __init__(self, features: int):
        self.scale = nnx.Param(jnp.ones(features))
        self.bias = nnx.Param(jnp.zeros(features))
        self.mean = nnx.BatchStat(jnp.zeros(features))
        self.var = nnx.BatchStat(jnp.ones(features))
        self.frozen = False  # then it uses its running statistics in training too (`models.pure`)

    def __call__(self, x: jax.Array, train: bool, valid: jax.Array | None = None) -> jax.Array:
        """x [..., C], valid bool [...] (None: all); statistics over all other axes, of what is
        valid."""
        if train and not self.frozen:
            mean, var = self._batch_statistics(x, valid)
        else:
            mean, var = self.mean[...], self.var[...]
        return (x - mean) * jax.lax.rsqrt(var + EPSILON) * self.scale[...] + self.bias[...]

    def _batch_statistics(self, x, valid):
        """Mean and biased variance [C]; moves the running ones."""
        axes = tuple(range(x.ndim - 1))
        valid = jnp.ones(x.shape[:-1], bool) if valid is None else valid
        count = valid.sum().astype(x.dtype)
        n = jnp.maximum(count, 1)
        mean = masked(x, valid).sum(axes) / n
        var = masked(jnp.square(x - mean), valid).sum(axes) / n
        unbiased = var * n / jnp.maximum(n - 1, 1)
        keep = jnp.where(count > 0, MOMENTUM, 1.0).astype(x.dtype)
        for running, now in ((self.mean, mean), (self.var, unbiased)):
            running[...] = keep * running[...] + (1 - keep) * jax.lax.stop_gradient(now)
        return mean, var


class TokenConv(nnx.Module):
    """Convolution along time, same length: [B, S, C] → [B, S, D]."""

    def __init__(self, features: int, width: int, kernel: int, *, bias: bool = False, rngs):
        if kernel % 2 == 0:
            raise ValueError(f"kernel {kernel} must be odd")
        init = nnx.initializers.variance_scaling(1 / 3, "fan_in", "uniform")  # PyTorch's default
        self.kernel = nnx.Param(init(rngs.params(), (kernel, features, width)))
        self.bias = nnx.Param(jnp.zeros(width)) if bias else None

    def __call__(self, x: jax.Array, valid: jax.Array | None = None) -> jax.Array:
        """What is not valid [B, S] enters as zeros, as what lies beyond both ends does."""
        y = convolve(x if valid is None else masked(x, valid), self.kernel[...])
        return y if self.bias is None else y + self.bias[...]


def convolve(x: jax.Array, kernel: jax.Array, groups: int = 1) -> jax.Array:
    """x [B, S, C], kernel [K, C / groups, D], K odd → [B, S, D]."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (1,),
        [(kernel.shape[0] // 2,) * 2],
        dimension_numbers=("NWC", "WIO", "NWC"),
        feature_group_count=groups,
    )


def masked(x: jax.Array, valid: jax.Array) -> jax.Array:
    """x [..., C] with zeros where valid [...] is not."""
    return jnp.where(valid[..., None], x, 0)


def masked_mean(x: jax.Array, valid: jax.Array, axes: int | tuple[int, ...]) -> jax.Array:
    """Mean of x [..., C] over axes of `valid` [...]; 0 where nothing is valid."""
    return masked(x, valid).sum(axes) / jnp.maximum(valid.sum(axes), 1)[..., None]


def adaptive_mean(x: jax.Array, bins: int, valid: jax.Array | None = None) -> jax.Array:
    """Means over stretches of time: [B, S, C] → [B, bins, C]; 0 where nothing is valid.

    Of n valid tokens, counted one after the other, stretch i covers [floor(i n / bins),
    ceil((i + 1) n / bins)); stretches overlap where bins does not divide n (PyTorch's
    AdaptiveAvgPool1d), and none is empty. So padding changes nothing.
    """
    valid = jnp.ones(x.shape[:2], bool) if valid is None else valid
    count = valid.sum(-1)[:, None]  # [B, 1]
    first = jnp.arange(bins)
    start, stop = first * count // bins, -(-(first + 1) * count // bins)  # [B, bins]
    place = (jnp.cumsum(valid, -1) - 1)[:, None]  # [B, 1, S]
    inside = (place >= start[..., None]) & (place < stop[..., None]) & valid[:, None]
    weight = inside / jnp.maximum(inside.sum(-1, keepdims=True), 1).astype(x.dtype)
    return jnp.einsum("bns,bsc->bnc", weight.astype(x.dtype), masked(x, valid))
