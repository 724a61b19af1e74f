"""The transfer paper's EEG head: tokens → masks (training) → relative position → LayerNorm →
widening → mean over stretches of time → MLP → logits.

Source: arXiv 2605.02500, docs/field.md §1.A; its front is BENDR's (Kostas et al. 2021).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from sleepfm_jax.models.dropout import Dropout, DropoutStream, coins, uniforms
from sleepfm_jax.models.encoder import Encoder, EncoderConfig
from sleepfm_jax.models.heads.layers import (
    BatchNorm,
    TokenConv,
    adaptive_mean,
    convolve,
    masked,
)
from sleepfm_jax.models.transformer import layer_norm

POSITION_KERNEL, POSITION_GROUPS = 25, 8


class RelativePosition(nnx.Module):
    """x + what a wide grouped convolution with weight normalisation, then GELU, makes of it."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        if width % POSITION_GROUPS:
            raise ValueError(f"width {width} is not divisible by the head's {POSITION_GROUPS}")
        shape = (POSITION_KERNEL, width // POSITION_GROUPS, width)
        direction = nnx.initializers.normal(2 / (3 * width))(rngs.params(), shape)
        self.direction = nnx.Param(direction)
        self.length = nnx.Param(_tap_norm(direction))
        self.bias = nnx.Param(jnp.zeros(width))

    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, S, D] → [B, S, D]."""
        direction = self.direction[...]
        kernel = direction * (self.length[...] / _tap_norm(direction))
        moved = convolve(x, kernel, POSITION_GROUPS) + self.bias[...]
        return x + jax.nn.gelu(moved, approximate=False)


def _tap_norm(kernel):
    """[K, I, O] → [K, 1, 1]: one norm for each tap."""
    return jnp.sqrt((kernel * kernel).sum((1, 2), keepdims=True))


def draw_spans(
    dropout: DropoutStream, valid: jax.Array, probability: float, span: int
) -> jax.Array:
    """Spans of `span` places in each row, bool [B, L]: every valid place [B, L] starts one with
    `probability`, and every row with a valid place has one at least, as if it were drawn anew until
    it has (published)."""
    count = valid.sum(-1)  # [B]
    place = jnp.cumsum(valid, -1) - 1  # among the valid ones
    # Where the first span starts is a geometric law cut at the row's end; by its inverse.
    log_none = jnp.log1p(-jnp.float32(probability))
    some = -jnp.expm1(count * log_none)
    u = uniforms(dropout.next(), count.shape)
    first = jnp.floor(jnp.log1p(-u * some) / log_none).astype(jnp.int32)
    first = jnp.minimum(first, count - 1)[:, None]
    later = (place > first) & coins(dropout.next(), valid.shape, probability)
    starts = jnp.cumsum(valid & ((place == first) | later), -1)
    before = jnp.pad(starts, ((0, 0), (span, 0)))[:, : starts.shape[1]]
    return starts > before


class EEGHead(nnx.Module):
    """See the module's docstring.

    Args:
      width: D of the tokens. classes: K.
      pool_length: stretches of time; published: 2 when fine-tuning, 4 as the class default.
      dropout: of the MLP; that of the tokens is a quarter of it (published: .4 and .1).
      time_mask: in training: probability that a span of `time_mask_span` tokens starts at a token;
        they become a learned vector.
      feature_mask: likewise of `feature_mask_span` features, in all tokens of a row; they become 0.
    """

    def __init__(
        self,
        width: int,
        classes: int,
        pool_length: int,
        *,
        dropout: float = 0.4,
        time_mask: float = 0.0,
        time_mask_span: int = 6,
        feature_mask: float = 0.0,
        feature_mask_span: int = 64,
        rngs: nnx.Rngs,
    ):
        self.pool_length = pool_length
        self.time_mask, self.time_mask_span = time_mask, time_mask_span
        self.feature_mask, self.feature_mask_span = feature_mask, feature_mask_span
        self.mask_vector = nnx.Param(nnx.initializers.normal(width**-0.5)(rngs.params(), (width,)))
        self.position = RelativePosition(width, rngs=rngs)
        self.norm = layer_norm(width, jnp.float32, rngs)
        self.widen = TokenConv(width, 3 * width, 1, bias=True, rngs=rngs)
        size = 3 * width * pool_length
        self.hidden = nnx.Linear(size, size, rngs=rngs)
        self.batch_norm = BatchNorm(size)
        self.classify = nnx.Linear(size, classes, rngs=rngs)
        self.token_dropout, self.dropout = Dropout(dropout / 4), Dropout(dropout)
        self.frozen = False  # then nothing is masked in training (`models.pure`)

    def from_tokens(
        self,
        tokens: jax.Array,
        token_mask: jax.Array | None = None,
        *,
        dropout: DropoutStream | None = None,
    ) -> jax.Array:
        """tokens [B, S, D], token_mask bool [B, S] (None: all valid) → logits [B, K]."""
        valid = jnp.ones(tokens.shape[:2], bool) if token_mask is None else token_mask
        train = dropout is not None
        if train and not self.frozen:
            tokens = self._augmented(tokens, valid, dropout)
        h = self.position(masked(tokens, valid))
        h = self.token_dropout(self.norm(h), dropout)
        h = adaptive_mean(self.widen(h), self.pool_length, valid)  # [B, N, 3D]
        h = h.swapaxes(1, 2).reshape(len(h), -1)  # [B, 3D * N], time innermost as published
        h = jax.nn.relu(self.dropout(self.hidden(h), dropout))
        return self.classify(self.batch_norm(h, train, valid.any(-1)))

    def _augmented(self, tokens, valid, dropout):
        """Tokens [B, S, D] with spans of time and of features masked."""
        if self.time_mask:
            hidden = draw_spans(dropout, valid, self.time_mask, self.time_mask_span)
            tokens = jnp.where(hidden[..., None], self.mask_vector[...], tokens)
        if self.feature_mask:
            every = jnp.ones(tokens.shape[::2], bool)  # [B, D]
            hidden = draw_spans(dropout, every, self.feature_mask, self.feature_mask_span)
            tokens = jnp.where(hidden[:, None], 0, tokens)
        return tokens


class LinearHead(EEGHead):
    """The transfer paper's fine-tuned model, encoder and EEG head in one, for its weights.

    Args:
      encoder: sizes of the encoder.
      classes, pool_length, dropout: as in `EEGHead`.
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
        super().__init__(encoder.width, classes, pool_length, dropout=dropout, rngs=rngs)
        self.encoder = Encoder(encoder, rngs=rngs)

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
