"""The encoder: one for all modalities, any number of channels, any montage.

tokenizer → (+ electrode position) → pool over channels → + time position → LayerNorm → transformer
→ pool over time. Source: SleepFM (Nature Medicine 2026) and arXiv 2605.02500; docs/field.md §1.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from sleepfm_jax import config as configuration
from sleepfm_jax.models.dropout import DropoutStream
from sleepfm_jax.models.pooling import AttentionPooling
from sleepfm_jax.models.positions import ElectrodePositions, sinusoids
from sleepfm_jax.models.tokenizer import Tokenizer
from sleepfm_jax.models.transformer import TransformerLayer, layer_norm

_DEFAULT = configuration.section_defaults("model", "sleepfm")
POSITION_ENCODINGS = configuration.KINDS["model"]["sleepfm"]["position_encoding"].choices
DTYPES = configuration.KINDS["model"]["sleepfm"]["dtype"].choices


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
    """Sizes of the encoder; the defaults are the released SleepFM's (4.8 M parameters).

    The last four attributes, and `position_encoding="fourier_truncated"`, are quirks of the
    published code, for weights that were trained with them; each is off by default.

    Attributes:
      single_channel_shortcut: a modality with one channel slot goes past the channel pooling, so
        that an embedding depends on how many channels others in its batch have.
      mean_over_padding: padded channels enter the mean of the channel pooling (transfer paper).
      padding_in_statistics: padded channels enter the batch statistics in training.
      encode_absent: a modality without one valid channel gets an embedding of zeros' tokens,
        instead of zeros.
    """

    patch_samples: int = _DEFAULT["patch_samples"]
    width: int = _DEFAULT["width"]
    layers: int = _DEFAULT["layers"]
    heads: int = _DEFAULT["heads"]
    pooling_heads: int = _DEFAULT["pooling_heads"]
    mlp_dim: int = _DEFAULT["mlp_dim"]
    dropout: float = _DEFAULT["dropout"]
    max_tokens: int = _DEFAULT["max_tokens"]
    position_encoding: str = _DEFAULT["position_encoding"]
    position_scale: float = _DEFAULT["position_scale"]  # of fresh weights
    dtype: str = _DEFAULT["dtype"]  # of the arithmetic; parameters are always float32
    single_channel_shortcut: bool = _DEFAULT["single_channel_shortcut"]
    mean_over_padding: bool = _DEFAULT["mean_over_padding"]
    padding_in_statistics: bool = _DEFAULT["padding_in_statistics"]
    encode_absent: bool = _DEFAULT["encode_absent"]

    def __post_init__(self):
        if self.position_encoding not in POSITION_ENCODINGS:
            raise ValueError(
                f"position_encoding {self.position_encoding!r} is not one of {POSITION_ENCODINGS}"
            )
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype {self.dtype!r} is not one of {DTYPES}")


class Encoder(nnx.Module):
    """See the module's docstring. A dropout stream given at call time means training mode."""

    def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs):
        self.config = config
        dtype = jnp.dtype(config.dtype)
        width, dropout, mlp_dim = config.width, config.dropout, config.mlp_dim
        self.tokenizer = Tokenizer(config.patch_samples, width, dtype=dtype, rngs=rngs)
        if config.position_encoding != "none":
            self.electrodes = ElectrodePositions(
                width,
                truncated=config.position_encoding == "fourier_truncated",
                scale=config.position_scale,
                dtype=dtype,
                rngs=rngs,
            )

        def pooling(**switches):
            return AttentionPooling(
                width, config.pooling_heads, mlp_dim, dropout, dtype=dtype, rngs=rngs, **switches
            )

        self.channel_pooling = pooling(mean_over_padding=config.mean_over_padding)
        self.norm = layer_norm(width, dtype, rngs)
        self.layers = nnx.List(
            TransformerLayer(
                width, config.heads, mlp_dim, dropout, pre_norm=True, dtype=dtype, rngs=rngs
            )
            for _ in range(config.layers)
        )
        self.time_pooling = pooling()

    def __call__(
        self,
        x: jax.Array,
        channel_mask: jax.Array | None = None,
        positions: jax.Array | None = None,
        *,
        dropout: DropoutStream | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Encode clips of one modality.

        Args:
          x: [B, C, T] samples, z-scored (gaps 0), T = S * patch_samples.
          channel_mask: bool [B, C] or, where single patches are missing, [B, C, S];
            True = valid; None = all valid.
          positions: [B, C, 3] or [C, 3] on the unit sphere, NaN where a channel has none.
          dropout: the step's coins. Given: training mode (dropout, batch statistics). None:
            evaluation mode.

        Returns:
          clip [B, D] and tokens [B, S, D].

        Raises:
          ValueError: T is no whole number of patches, or more patches than `max_tokens`; a mask
            or positions of another shape.
        """
        b, c, t = x.shape
        if channel_mask is not None and channel_mask.shape[:2] != (b, c):
            raise ValueError(
                f"channel_mask {channel_mask.shape} does not fit x [B, C, T] {x.shape}"
            )
        if positions is not None and positions.shape not in ((c, 3), (b, c, 3)):
            raise ValueError(f"positions {positions.shape} do not fit x [B, C, T] {x.shape}")
        mask = self.full_mask(channel_mask, (b, c, t // self.config.patch_samples))
        tokens = self.tokenize(x, mask, positions, train=dropout is not None)
        # Without a mask the published code takes no shortcut either.
        shortcut = self.config.single_channel_shortcut and channel_mask is not None
        pooled, token_mask = self.pool_channels(tokens, mask, shortcut=shortcut, dropout=dropout)
        if self.config.encode_absent:
            token_mask = jnp.ones_like(token_mask)
        return self.contextualise(pooled[:, 0], token_mask[:, 0], dropout=dropout)

    @staticmethod
    def full_mask(mask: jax.Array | None, shape: tuple[int, int, int]) -> jax.Array:
        """None, [B, C] or [B, C, S] → bool [B, C, S]."""
        if mask is None:
            return jnp.ones(shape, bool)
        mask = mask.astype(bool)
        return jnp.broadcast_to(mask if mask.ndim == 3 else mask[:, :, None], shape)

    def tokenize(
        self,
        x: jax.Array,
        mask: jax.Array,
        positions: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> jax.Array:
        """x [B, C, T], mask [B, C, S], positions → tokens [B, C, S, D] with electrode positions."""
        # What the published code makes of padded channels matters where it lets them in.
        if (train and self.config.padding_in_statistics) or self.config.mean_over_padding:
            mask = jnp.ones_like(mask)
        tokens = self.tokenizer(x, mask, train)
        if positions is not None and self.config.position_encoding != "none":
            positions = jnp.broadcast_to(positions, (*x.shape[:2], 3))
            tokens = tokens + self.electrodes(positions)[:, :, None, :]
        return tokens

    def pool_channels(
        self,
        tokens: jax.Array,
        mask: jax.Array,
        sizes: tuple[int, ...] | None = None,
        *,
        shortcut: bool = False,
        dropout: DropoutStream | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Channels of each modality → one token a patch.

        Args:
          tokens: [B, C, S, D].
          mask: bool [B, C, S].
          sizes: channels of each of G modalities, laid out one after the other; None: one.
          shortcut: a modality of one channel goes past the pooling.

        Returns:
          pooled [B, G, S, D] and token mask [B, G, S].
        """
        b, c, s, d = tokens.shape
        sizes = sizes or (c,)
        by_patch = tokens.swapaxes(1, 2).reshape(b * s, c, d)  # [B*S, C, D]
        by_patch_mask = mask.swapaxes(1, 2).reshape(b * s, c)
        pooled = self.channel_pooling(
            by_patch, by_patch_mask, dropout, sizes=sizes, shortcut=shortcut
        )  # [B*S, G, D]
        pooled = pooled.reshape(b, s, len(sizes), d).swapaxes(1, 2)  # [B, G, S, D]
        ends = np.cumsum(sizes)
        token_mask = jnp.stack([mask[:, e - n : e].any(1) for e, n in zip(ends, sizes)], 1)
        return pooled, token_mask

    def contextualise(
        self, tokens: jax.Array, token_mask: jax.Array, *, dropout: DropoutStream | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """tokens [B, S, D], token mask [B, S] → clip [B, D], tokens [B, S, D]."""
        s = tokens.shape[1]
        if s > self.config.max_tokens:
            raise ValueError(
                f"{s} patches exceed max_tokens={self.config.max_tokens}: use shorter clips or a "
                "model with more time positions"
            )
        table = sinusoids(self.config.max_tokens, self.config.width)
        h = self.norm(tokens + jnp.asarray(table[:s], tokens.dtype))
        for layer in self.layers:
            h = layer(h, token_mask, dropout)
        return self.time_pooling(h, token_mask, dropout)[:, 0], h
