"""Bidirectional LSTMs that read a night's tokens: sleep staging and survival.

Source: SleepFM (Nature Medicine 2026), its staging and Cox models. Both pool the channels (there:
the modalities' token sequences) of each step first.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from sleepfm_jax.models.dropout import Dropout, DropoutStream
from sleepfm_jax.models.pooling import AttentionPooling
from sleepfm_jax.models.positions import sinusoids
from sleepfm_jax.models.transformer import TransformerLayer, layer_norm


class LSTMDirection(nnx.Module):
    """One layer, one direction; gates i, f, g, o and two biases, as in PyTorch."""

    def __init__(self, features: int, hidden: int, *, reverse: bool, rngs: nnx.Rngs):
        self.reverse = reverse
        uniform = nnx.initializers.uniform(2 / hidden**0.5)

        def draw(*shape):
            return nnx.Param(uniform(rngs.params(), shape) - 1 / hidden**0.5)

        self.input_kernel, self.input_bias = draw(features, 4 * hidden), draw(4 * hidden)
        self.hidden_kernel, self.hidden_bias = draw(hidden, 4 * hidden), draw(4 * hidden)

    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        """x [B, S, F], mask bool [B, S] → [B, S, H].

        A step that the mask excludes leaves the state as it was and puts out zeros, so each
        direction starts at the first valid step it meets.
        """
        drive = x @ self.input_kernel[...] + self.input_bias[...] + self.hidden_bias[...]
        kernel = self.hidden_kernel[...]
        zeros = jnp.zeros((x.shape[0], kernel.shape[0]), drive.dtype)

        def step(state, now):
            hidden, cell = state
            drive, valid = now
            i, f, g, o = jnp.split(drive + hidden @ kernel, 4, axis=-1)
            new_cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
            new_hidden = jax.nn.sigmoid(o) * jnp.tanh(new_cell)
            valid = valid[:, None]
            state = jnp.where(valid, new_hidden, hidden), jnp.where(valid, new_cell, cell)
            return state, jnp.where(valid, new_hidden, 0)

        steps = (drive.swapaxes(0, 1), mask.swapaxes(0, 1))
        _, out = jax.lax.scan(step, (zeros, zeros), steps, reverse=self.reverse)
        return out.swapaxes(0, 1)


class BidirectionalLSTM(nnx.Module):
    """Layers of two directions each, [forward, backward] side by side; dropout between layers."""

    def __init__(self, features: int, hidden: int, layers: int, dropout: float, *, rngs: nnx.Rngs):
        sizes = [features] + [2 * hidden] * (layers - 1)
        self.forward = nnx.List(
            LSTMDirection(size, hidden, reverse=False, rngs=rngs) for size in sizes
        )
        self.backward = nnx.List(
            LSTMDirection(size, hidden, reverse=True, rngs=rngs) for size in sizes
        )
        self.dropout = Dropout(dropout)

    def __call__(
        self, x: jax.Array, mask: jax.Array, dropout: DropoutStream | None = None
    ) -> jax.Array:
        """x [B, S, F], mask bool [B, S] → [B, S, 2H]."""
        for i, (forward, backward) in enumerate(zip(self.forward, self.backward)):
            if i:
                x = self.dropout(x, dropout)
            x = jnp.concatenate([forward(x, mask), backward(x, mask)], axis=-1)
        return x


def _pool_steps(model, tokens, mask, dropout):
    """tokens [B, C, S, D], mask [B, C, S] → pooled [B, S, D], valid steps bool [B, S]."""
    b, c, s, d = tokens.shape
    mask, corner = mask.astype(bool), model.corner_masks
    # The published models take the mask of step 0 for all steps, and that of channel 0 for time.
    by_step = jnp.broadcast_to(mask[:, :, :1], mask.shape) if corner else mask
    steps = mask[:, 0] if corner else mask.any(1)
    tokens = jnp.where(by_step[..., None], tokens, 0)  # padding may hold anything
    pooled = model.channel_pooling(
        tokens.swapaxes(1, 2).reshape(b * s, c, d),
        by_step.swapaxes(1, 2).reshape(b * s, c),
        dropout,
        shortcut=model.single_channel_shortcut,
    )
    return pooled.reshape(b, s, d), steps


class StagingLSTM(nnx.Module):
    """Stage logits for every step of a night.

    The last four arguments are quirks of the published model, off by default.

    Args:
      width, heads, pooling_heads, layers, classes: sizes; `layers` counts those of the transformer
        and those of the LSTM.
      max_tokens: longest night, in steps.
      single_channel_shortcut: as in `EncoderConfig`.
      corner_masks: the mask of the first step holds for all, that of the first channel for time.
      additive_temporal_mask: padded steps get one more in the attention score, where they should
        get no attention: PyTorch adds a mask of floats.
      unpacked_lstm: the LSTM reads the padding too, and carries it backwards into the night.
    """

    def __init__(
        self,
        *,
        width: int,
        heads: int,
        pooling_heads: int,
        mlp_dim: int,
        layers: int,
        classes: int,
        max_tokens: int,
        dropout: float = 0.3,
        single_channel_shortcut: bool = False,
        corner_masks: bool = False,
        additive_temporal_mask: bool = False,
        unpacked_lstm: bool = False,
        rngs: nnx.Rngs,
    ):
        self.max_tokens, self.single_channel_shortcut = max_tokens, single_channel_shortcut
        self.corner_masks, self.unpacked_lstm = corner_masks, unpacked_lstm
        self.additive_temporal_mask = additive_temporal_mask
        kwargs = {"dtype": jnp.float32, "rngs": rngs}
        self.channel_pooling = AttentionPooling(width, pooling_heads, mlp_dim, dropout, **kwargs)
        self.norm = layer_norm(width, jnp.float32, rngs)
        self.layers = nnx.List(
            TransformerLayer(width, heads, mlp_dim, dropout, pre_norm=True, **kwargs)
            for _ in range(layers)
        )
        self.lstm = BidirectionalLSTM(width, width // 2, layers, dropout, rngs=rngs)
        self.classify = nnx.Linear(width, classes, rngs=rngs)

    def __call__(
        self, tokens: jax.Array, mask: jax.Array, *, dropout: DropoutStream | None = None
    ) -> jax.Array:
        """tokens [B, C, S, D], mask bool [B, C, S] (True = valid) → logits [B, S, K].

        Raises:
          ValueError: more steps than `max_tokens`.
        """
        _, _, s, d = tokens.shape
        if s > self.max_tokens:
            raise ValueError(f"{s} steps exceed max_tokens={self.max_tokens}: crop the night")
        h, steps = _pool_steps(self, tokens, mask, dropout)
        h = self.norm(h + sinusoids(self.max_tokens, d)[:s])
        attended = 1 - steps.astype(h.dtype) if self.additive_temporal_mask else steps
        for layer in self.layers:
            h = layer(h, attended, dropout)
        h = self.lstm(h, jnp.ones_like(steps) if self.unpacked_lstm else steps, dropout)
        return self.classify(h)


class CoxLSTM(nnx.Module):
    """Log hazards of K diseases from a night's tokens and two demographic numbers.

    Args:
      demographics: width of their embedding; 0: they are not looked at.
      single_channel_shortcut, corner_masks: quirks, as in `StagingLSTM`.
    """

    def __init__(
        self,
        *,
        width: int,
        pooling_heads: int,
        mlp_dim: int,
        layers: int,
        classes: int,
        demographics: int,
        dropout: float = 0.3,
        single_channel_shortcut: bool = False,
        corner_masks: bool = False,
        rngs: nnx.Rngs,
    ):
        self.corner_masks, self.single_channel_shortcut = corner_masks, single_channel_shortcut
        self.channel_pooling = AttentionPooling(
            width, pooling_heads, mlp_dim, dropout, dtype=jnp.float32, rngs=rngs
        )
        self.lstm = BidirectionalLSTM(width, width // 2, layers, 0.0, rngs=rngs)
        if demographics:
            self.demographics = nnx.Linear(2, demographics, rngs=rngs)
        self.hazards = nnx.Linear(width + demographics, classes, rngs=rngs)
        self.dropout = Dropout(dropout)

    def __call__(
        self,
        tokens: jax.Array,
        mask: jax.Array,
        demographics: jax.Array | None = None,
        *,
        dropout: DropoutStream | None = None,
    ) -> jax.Array:
        """tokens [B, C, S, D], mask bool [B, C, S], demographics [B, 2] (as trained with: age and
        sex, standardised; None for a model without) → hazards [B, K]. A night without one valid
        step counts as zeros."""
        h, steps = _pool_steps(self, tokens, mask, dropout)
        h = self.lstm(h, steps, dropout)
        night = h.sum(1) / jnp.maximum(steps.sum(1, keepdims=True), 1)  # zeros outside valid steps
        if hasattr(self, "demographics"):
            person = self.dropout(jax.nn.relu(self.demographics(demographics)), dropout)
            night = jnp.concatenate([night, person], axis=-1)
        return self.hazards(night)
