"""Convolutions along time, and what the backward-looking ones remember of earlier sleep_epochs."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from sleepfm_jax.models.wav2sleep.convolve import convolve
from sleepfm_jax.models.wav2sleep.norms import ACTIVATIONS, keep_inside, norm

TORCH = nnx.initializers.variance_scaling(1 / 3, "fan_in", "uniform")  # PyTorch's default


class Memory:
    """The end of what each backward-looking convolution saw, in the order of their calls.

    Args:
      pasts: of the sleep_epochs before, [B, reach, C] each; None: of silence, zeros.
    """

    def __init__(self, pasts: Sequence[jax.Array] | None = None):
        self._pasts = pasts
        self.kept: list[jax.Array] = []

    def before(self, x: jax.Array, reach: int) -> jax.Array:
        """x [B, L, C] with the `reach` steps before it, [B, reach + L, C]; remembers its end."""
        if self._pasts is None:
            past = jnp.zeros((x.shape[0], reach, x.shape[2]), x.dtype)
        else:
            past = self._pasts[len(self.kept)]
        joined = jnp.concatenate([past, x], 1)
        self.kept.append(joined[:, joined.shape[1] - reach :])
        return joined


class Convolution(nnx.Module):
    """[B, L, C] → [B, L / stride, D], without bias; zeros beyond both ends."""

    def __init__(
        self,
        features_in: int,
        features: int,
        kernel: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        backwards: bool = False,
        dtype,
        rngs: nnx.Rngs,
    ):
        self.stride, self.dilation, self.backwards = stride, dilation, backwards
        self.reach = (kernel - 1) * dilation
        self.dtype = dtype
        self.kernel = nnx.Param(TORCH(rngs.params(), (kernel, features_in, features)))

    def __call__(self, x: jax.Array, memory: Memory | None = None) -> jax.Array:
        """`memory`: x goes on from what was before (of a backward-looking one)."""
        pad = (self.reach, 0) if self.backwards else (self.reach // 2,) * 2
        if memory is not None and self.backwards and self.reach:
            x, pad = memory.before(x, self.reach), (0, 0)
        x, kernel = x.astype(self.dtype), self.kernel[...].astype(self.dtype)
        return convolve(x, kernel, self.stride, self.dilation, pad)


class ConvLayer(nnx.Module):
    """Convolution → norm → activation; only the convolution's output is kept for gradients."""

    def __init__(
        self,
        features_in: int,
        features: int,
        kernel: int,
        *,
        norm_kind: str,
        activation: str,
        instance_epsilon: float = 1e-5,
        stride: int = 1,
        dilation: int = 1,
        backwards: bool = False,
        dtype,
        rngs: nnx.Rngs,
    ):
        self.conv = Convolution(
            features_in,
            features,
            kernel,
            stride=stride,
            dilation=dilation,
            backwards=backwards,
            dtype=dtype,
            rngs=rngs,
        )
        self.norm = norm(norm_kind, features, instance_epsilon)
        self.activation = activation

    def __call__(
        self, x: jax.Array, inside: jax.Array, train: bool, memory: Memory | None = None
    ) -> jax.Array:
        """x [B, L, C] that is 0 outside the night, inside bool [B, E] → the same of [B, L', D]."""
        graph, params, stats = nnx.split(self.norm, nnx.Param, nnx.BatchStat)

        def run(params, stats, h):
            norm = nnx.merge(graph, params, stats)
            h = ACTIVATIONS[self.activation](norm(h, inside, train))
            return keep_inside(h, inside), nnx.state(norm, nnx.BatchStat)

        # The rest is a few passes over it, cheaper to run again than to store.
        h, stats = jax.checkpoint(run)(params, stats, self.conv(x, memory))
        nnx.update(self.norm, stats)
        return h
