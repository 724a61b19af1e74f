"""Heads of the transfer paper: tokens of an encoder → class logits.

Source: arXiv 2605.02500 (EEG fine-tuning; ECG residual blocks), docs/field.md §1.A. A dropout
stream given at call time means training mode, as in the encoder.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from sleepfm_jax.models.dropout import Dropout, DropoutStream
from sleepfm_jax.models.encoder import Encoder, EncoderConfig
from sleepfm_jax.models.transformer import layer_norm

EPSILON = 1e-5
MOMENTUM = 0.9
POSITION_KERNEL, POSITION_GROUPS = 25, 8


class BatchNorm(nnx.Module):
    """Batch normalisation of the last axis; running variance unbiased, as in PyTorch."""

    def __init__(self, features: int):
        self.scale = nnx.Param(jnp.ones(features))
        self.bias = nnx.Param(jnp.zeros(features))
        self.mean = nnx.BatchStat(jnp.zeros(features))
        self.var = nnx.BatchStat(jnp.ones(features))
        self.frozen = False  # then it uses its running statistics in training too (`models.pure`)

    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """x [..., C]; statistics over all other axes."""
        if train and not self.frozen:
            axes = tuple(range(x.ndim - 1))
            mean, var = x.mean(axes), x.var(axes)
            n = x.size // x.shape[-1]
            unbiased = var * n / max(n - 1, 1)
            for running, now in ((self.mean, mean), (self.var, unbiased)):
                now = jax.lax.stop_gradient(now)
                running[...] = MOMENTUM * running[...] + (1 - MOMENTUM) * now
        else:
            mean, var = self.mean[...], self.var[...]
        return (x - mean) * jax.lax.rsqrt(var + EPSILON) * self.scale[...] + self.bias[...]


class TokenConv(nnx.Module):
    """Convolution along time, same length: [B, S, C] → [B, S, D]."""

    def __init__(self, features: int, width: int, kernel: int, *, bias: bool = False, rngs):
        if kernel % 2 == 0:
            raise ValueError(f"kernel {kernel} must be odd")
        init = nnx.initializers.variance_scaling(1 / 3, "fan_in", "uniform")  # PyTorch's default
        self.kernel = nnx.Param(init(rngs.params(), (kernel, features, width)))
        self.bias = nnx.Param(jnp.zeros(width)) if bias else None

    def __call__(self, x: jax.Array) -> jax.Array:
        y = _convolve(x, self.kernel[...])
        return y if self.bias is None else y + self.bias[...]


def _convolve(x: jax.Array, kernel: jax.Array, groups: int = 1) -> jax.Array:
    """x [B, S, C], kernel [K, C / groups, D], K odd → [B, S, D]."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (1,),
        [(kernel.shape[0] // 2,) * 2],
        dimension_numbers=("NWC", "WIO", "NWC"),
        feature_group_count=groups,
    )


class RelativePosition(nnx.Module):
    """x + what a wide grouped convolution with weight normalisation, then GELU, makes of it."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        shape = (POSITION_KERNEL, width // POSITION_GROUPS, width)
        direction = nnx.initializers.normal(2 / (3 * width))(rngs.params(), shape)
        self.direction = nnx.Param(direction)
        self.length = nnx.Param(_tap_norm(direction))
        self.bias = nnx.Param(jnp.zeros(width))

    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, S, D] → [B, S, D]."""
        direction = self.direction[...]
        kernel = direction * (self.length[...] / _tap_norm(direction))
        moved = _convolve(x, kernel, POSITION_GROUPS) + self.bias[...]
        return x + jax.nn.gelu(moved, approximate=False)


def _tap_norm(kernel):
    """[K, I, O] → [K, 1, 1]: one norm for each tap."""
    return jnp.sqrt((kernel * kernel).sum((1, 2), keepdims=True))


def adaptive_mean(x: jax.Array, bins: int) -> jax.Array:
    """Means over time: [B, S, C] → [B, bins, C].

    Bin i covers [floor(i S / n), ceil((i + 1) S / n)); bins overlap where n does not divide S
    (PyTorch's AdaptiveAvgPool1d).
    """
    s = x.shape[1]
    weight = np.zeros((bins, s), np.float32)
    for i in range(bins):
        start, stop = i * s // bins, -(-(i + 1) * s // bins)
        weight[i, start:stop] = 1 / (stop - start)
    return jnp.einsum("ns,bsc->bnc", weight, x)


class LinearHead(nnx.Module):
    """The transfer paper's fine-tuned model: encoder → tokens → relative position → LayerNorm →
    widening → mean over `pool_length` stretches of time → MLP → logits.

    Args:
      encoder: sizes of the encoder.
      classes: K.
      pool_length: stretches of time; published: 2 when fine-tuning, 4 as the class default.
    """

    def __init__(
        self,
        encoder: EncoderConfig,
        classes: int,
        pool_length: int,
        *,
        dropout: float = 0.4,
        rngs: nnx.Rngs,
    ):
        width = encoder.width
        self.pool_length = pool_length
        self.encoder = Encoder(encoder, rngs=rngs)
        self.position = RelativePosition(width, rngs=rngs)
        self.norm = layer_norm(width, jnp.float32, rngs)
        self.widen = TokenConv(width, 3 * width, 1, bias=True, rngs=rngs)
        size = 3 * width * pool_length
        self.hidden = nnx.Linear(size, size, rngs=rngs)
        self.batch_norm = BatchNorm(size)
        self.classify = nnx.Linear(size, classes, rngs=rngs)
        self.token_dropout, self.dropout = Dropout(0.1), Dropout(dropout)

    def __call__(
        self,
        x: jax.Array,
        channel_mask: jax.Array | None = None,
        positions: jax.Array | None = None,
        *,
        dropout: DropoutStream | None = None,
    ) -> jax.Array:
        """Arguments as in `Encoder` → logits [B, K]."""
        _, tokens = self.encoder(x, channel_mask, positions, dropout=dropout)
        return self.from_tokens(tokens, dropout=dropout)

    def from_tokens(self, tokens: jax.Array, *, dropout: DropoutStream | None = None) -> jax.Array:
        """tokens [B, S, D] → logits [B, K]."""
        h = self.token_dropout(self.norm(self.position(tokens)), dropout)
        h = adaptive_mean(self.widen(h), self.pool_length)  # [B, N, 3D]
        h = h.swapaxes(1, 2).reshape(len(h), -1)  # [B, 3D * N], time innermost as published
        h = jax.nn.relu(self.dropout(self.hidden(h), dropout))
        return self.classify(self.batch_norm(h, train=dropout is not None))


class ResidualBlock(nnx.Module):
    """conv → norm → ReLU → conv → norm, + input, ReLU."""

    def __init__(self, width: int, kernel: int, *, rngs: nnx.Rngs):
        self.conv1, self.norm1 = TokenConv(width, width, kernel, rngs=rngs), BatchNorm(width)
        self.conv2, self.norm2 = TokenConv(width, width, kernel, rngs=rngs), BatchNorm(width)
        self.dropout = Dropout(0.1)

    def __call__(self, x: jax.Array, dropout: DropoutStream | None) -> jax.Array:
        train = dropout is not None
        h = self.dropout(jax.nn.relu(self.norm1(self.conv1(x), train)), dropout)
        h = self.norm2(self.conv2(h), train)
        return self.dropout(jax.nn.relu(x + h), dropout)


class ResBlocksHead(nnx.Module):
    """The transfer paper's ECG head: stem, residual blocks, mean over time, logits."""

    def __init__(self, width: int, classes: int, blocks: int, kernel: int, *, rngs: nnx.Rngs):
        self.stem, self.stem_norm = TokenConv(width, width, kernel, rngs=rngs), BatchNorm(width)
        self.blocks = nnx.List(ResidualBlock(width, kernel, rngs=rngs) for _ in range(blocks))
        self.classify = nnx.Linear(width, classes, rngs=rngs)
        self.dropout = Dropout(0.2)

    def __call__(self, tokens: jax.Array, *, dropout: DropoutStream | None = None) -> jax.Array:
        """tokens [B, S, D] → logits [B, K]."""
        h = self.stem_norm(self.stem(tokens), train=dropout is not None)
        h = self.dropout(jax.nn.relu(h), dropout)
        for block in self.blocks:
            h = block(h, dropout)
        return self.classify(h.mean(1))
