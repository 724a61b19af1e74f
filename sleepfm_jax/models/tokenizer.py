"""Patch tokenizer: six strided convolutions turn a patch of samples into one token.

Source: SleepFM (Nature Medicine 2026), docs/field.md §1.B: Conv1d(kernel 5, stride 2, padding 2)
1→4→8→16→32→64→128, each followed by BatchNorm, ELU and LayerNorm over [length, channels]; mean over
length; Linear to the width. Two differences, both by design: padded patches do not enter the batch
statistics, and the layout is channels last.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

CONV_CHANNELS = (4, 8, 16, 32, 64, 128)
KERNEL, STRIDE, PADDING = 5, 2, 2
EPSILON = 1e-5
MOMENTUM = 0.9  # of the running statistics; PyTorch calls it 0.1


@jax.custom_vjp
def elu(x: jax.Array) -> jax.Array:
    """ELU with alpha 1, any shape. Its gradient reads the output, so `exp` is evaluated once:
    on CPU that is a third of the tokenizer's time."""
    return jnp.where(x > 0, x, jnp.exp(jnp.minimum(x, 0)) - 1)


def _elu_forward(x):
    y = elu(x)
    return y, y


def _elu_backward(y, g):
    return (g * jnp.where(y > 0, 1, y + 1).astype(g.dtype),)


elu.defvjp(_elu_forward, _elu_backward)


class ConvStage(nnx.Module):
    """Conv → BatchNorm → ELU → LayerNorm over [length, channels] of one patch.

    The [N, L, C] activations are normalised as [N, L*C] rows: reductions and broadcasts then run
    over long contiguous rows instead of four to 128 channels.
    """

    def __init__(self, features_in: int, features: int, length: int, *, dtype, rngs: nnx.Rngs):
        self.features, self.dtype = features, dtype
        self.frozen = False  # then it uses its running statistics in training too (`models.pure`)
        bound = 1 / (features_in * KERNEL) ** 0.5  # PyTorch's default for convolutions
        uniform = nnx.initializers.uniform(2 * bound)
        shape = (KERNEL, features_in, features)
        self.kernel = nnx.Param(uniform(rngs.params(), shape) - bound)
        self.bias = nnx.Param(uniform(rngs.params(), (features,)) - bound)
        self.bn_scale = nnx.Param(jnp.ones(features))
        # Not zeros: LayerNorm below divides a patch's amplitude away, unless offsets that do not
        # scale with it stand beside it. Arousals and movements are amplitude above all, and what
        # the modalities share most plainly.
        self.bn_bias = nnx.Param(2 * jax.random.uniform(rngs.params(), (features,)) - 1)
        self.mean = nnx.BatchStat(jnp.zeros(features))
        self.var = nnx.BatchStat(jnp.ones(features))
        self.ln_scale = nnx.Param(jnp.ones((length, features)))
        self.ln_bias = nnx.Param(jnp.zeros((length, features)))

    def __call__(self, x: jax.Array, valid: jax.Array, train: bool) -> jax.Array:
        """x [N, L, C_in], valid [N] → [N, ceil(L/2), C]."""
        rows, (n, length, c) = self._convolve(x)
        if train and not self.frozen:
            mean, var = self._batch_statistics(rows, valid, length)
        else:
            # The convolution's bias only shifts the mean that batch statistics subtract again, so
            # it is applied here, where running statistics may disagree with it.
            mean, var = self.mean[...] - self.bias[...], self.var[...]
        scale = self.bn_scale[...] * jax.lax.rsqrt(var + EPSILON)
        shift = self.bn_bias[...] - mean * scale
        rows = rows * jnp.tile(scale, length).astype(self.dtype)
        rows = elu(rows + jnp.tile(shift, length).astype(self.dtype))
        rows = _normalise_rows(rows)
        rows = rows * self.ln_scale[...].reshape(-1).astype(self.dtype)
        rows = rows + self.ln_bias[...].reshape(-1).astype(self.dtype)
        return rows.reshape(n, length, c)

    def moments(self, x: jax.Array, valid: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """What it normalises, of x [N, L, C_in] and valid [N]: number of values a channel, their
        mean [C] (the convolution's bias included, as in the running statistics) and biased
        variance [C], over valid patches and time."""
        rows, (_, length, _) = self._convolve(x)
        mean, var, weight, count = self._moments(rows, valid, length)
        return jnp.where(weight > 0, count, 0), mean + self.bias[...], var

    def _convolve(self, x):
        """x [N, L, C_in] → rows [N, L*C] without the bias, and (N, L, C)."""
        x = jax.lax.conv_general_dilated(
            x.astype(self.dtype),
            self.kernel[...].astype(self.dtype),
            (STRIDE,),
            [(PADDING, PADDING)],
            dimension_numbers=("NWC", "WIO", "NWC"),
        )
        n, length, c = x.shape
        return x.reshape(n, length * c), (n, length, c)

    def _moments(self, rows, valid, length):
        """Mean and biased variance [C], number of valid patches, values a channel (at least L)."""
        rows = rows.astype(jnp.float32)
        weight = valid.astype(jnp.float32)
        count = jnp.maximum(weight.sum(), 1) * length
        by_channel = (length, self.features)
        # In full float32: accelerators round the factors of products by default.
        highest = jax.lax.Precision.HIGHEST
        mean = jnp.matmul(weight, rows, precision=highest).reshape(by_channel).sum(0) / count
        # Centred before squaring: a strong offset must not cancel the variance's digits.
        centred = rows - jnp.tile(mean, length)
        var = jnp.matmul(weight, centred * centred, precision=highest).reshape(by_channel)
        var = var.sum(0) / count
        return mean, var, weight.sum(), count

    def _batch_statistics(self, rows, valid, length):
        """Mean and biased variance [C] over valid patches and time; moves the running ones."""
        mean, var, weight, count = self._moments(rows, valid, length)
        keep = jnp.where(weight > 0, MOMENTUM, 1.0)
        unbiased = var * count / jnp.maximum(count - 1, 1)
        self.mean[...] = keep * self.mean[...] + (1 - keep) * jax.lax.stop_gradient(
            mean + self.bias[...]
        )
        self.var[...] = keep * self.var[...] + (1 - keep) * jax.lax.stop_gradient(unbiased)
        return mean, var


def _normalise_rows(rows: jax.Array) -> jax.Array:
    """Each row of [N, F] to mean 0 and variance 1, statistics in float32."""
    wide = rows.astype(jnp.float32)
    mean = wide.mean(-1, keepdims=True)
    var = jnp.maximum((wide * wide).mean(-1, keepdims=True) - mean * mean, 0)
    return ((wide - mean) * jax.lax.rsqrt(var + EPSILON)).astype(rows.dtype)


class Tokenizer(nnx.Module):
    """Samples to tokens: [B, C, T] → [B, C, S, D], S = T / patch_samples."""

    def __init__(self, patch_samples: int, width: int, *, dtype=jnp.float32, rngs: nnx.Rngs):
        self.patch_samples, self.width = patch_samples, width
        stages, features_in, length = [], 1, patch_samples
        for features in CONV_CHANNELS:
            length = (length + 2 * PADDING - KERNEL) // STRIDE + 1
            stages.append(ConvStage(features_in, features, length, dtype=dtype, rngs=rngs))
            features_in = features
        self.stages = nnx.List(stages)
        self.project = nnx.Linear(CONV_CHANNELS[-1], width, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array, mask: jax.Array, train: bool = False) -> jax.Array:
        """Args:
          x: [B, C, T] samples, z-scored; T a multiple of `patch_samples`.
          mask: bool [B, C, S], True = valid. Only valid patches enter the batch statistics.
          train: batch statistics (and move the running ones) instead of running statistics.

        Raises:
          ValueError: T is not a multiple of the patch.
        """
        h, valid = self._patches(x, mask)
        for stage in self.stages:
            h = stage(h, valid, train)
        tokens = self.project(h.mean(1))  # [B*C*S, D]
        return tokens.reshape(*mask.shape, self.width)

    def moments(
        self, x: jax.Array, mask: jax.Array, stage: int
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """What one stage normalises, the stages before it in evaluation mode.

        Args:
          x: [B, C, T] samples. mask: bool [B, C, S]. stage: its number.

        Returns:
          number of values a channel, their mean [C] and biased variance [C]; see
          `ConvStage.moments`.
        """
        h, valid = self._patches(x, mask)
        for before in self.stages[:stage]:
            h = before(h, valid, False)
        return self.stages[stage].moments(h, valid)

    def _patches(self, x, mask):
        """x [B, C, T], mask [B, C, S] → patches [B*C*S, P, 1], 0 where padded; valid [B*C*S]."""
        b, c, t = x.shape
        if t == 0 or t % self.patch_samples:
            raise ValueError(
                f"a clip of {t} samples is not a whole number of patches of "
                f"{self.patch_samples} samples: crop or pad it"
            )
        s = t // self.patch_samples
        h = x.reshape(b * c * s, self.patch_samples, 1)
        valid = mask.reshape(b * c * s)
        # What lies in a padded patch is arbitrary (even NaN); it must not reach a product with 0.
        return jnp.where(valid[:, None, None], h, 0), valid
