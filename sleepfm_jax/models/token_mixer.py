"""Kind `token_mixer`: wav2sleep with frozen tokens in the place of its signal encoders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from sleepfm_jax.models import night_tokens, wav2sleep
from sleepfm_jax.models.night_tokens import TokenModel
from sleepfm_jax.models.wav2sleep.convolution import TORCH
from sleepfm_jax.models.wav2sleep.mixer import Mixer
from sleepfm_jax.models.wav2sleep.sequence import SequenceMixer
from sleepfm_jax.signals.token_layout import TokenLayout

_MIXED = ("width", "mixer_layers", "heads", "mlp_dim", "registers", "mixer_activation")
_IN_SEQUENCE = ("sequence_blocks", "sequence_kernel", "dilations")
_IN_SEQUENCE += ("sequence_norm", "sequence_activation", "dropout", "dtype")
KEYS = night_tokens.KEYS | {name: wav2sleep.KEYS[name] for name in (*_MIXED, *_IN_SEQUENCE)}


class TokenMixer(nnx.Module):
    """The tokens of a sequence in a sleep_epoch → a vector, by a layer of the sequence's own (as
    each of wav2sleep's signals has an encoder of its own) → mixer → sequence → classifier."""

    def __init__(self, layout: TokenLayout, *, rngs: nnx.Rngs, **options):
        sizes = wav2sleep.Sizes(signals=(), encoders=(), classes=len(layout.classes), **options)
        dtype = jnp.dtype(sizes.dtype)

        def linear(features: int, width: int) -> nnx.Linear:
            return nnx.Linear(features, width, kernel_init=TORCH, dtype=dtype, rngs=rngs)

        self.names = layout.names
        size = layout.tokens * layout.width
        self.adapters = nnx.Dict({name: linear(size, sizes.width) for name in layout.names})
        self.mixer = Mixer(sizes, rngs=rngs)
        self.sequence = SequenceMixer(sizes, rngs=rngs)
        self.classify = linear(sizes.width, sizes.classes)

    def __call__(self, tokens, mask, present, inside, dropout=None) -> jax.Array:
        """See `night_tokens.TokenModel`."""
        b, e, n, p, d = tokens.shape
        flat = tokens.reshape(b, e, n, p * d)  # [B, E, N, P, D] → [B, E, N, P * D]
        vectors = [self.adapters[name](flat[:, :, i]) for i, name in enumerate(self.names)]
        mixed = self.mixer(jnp.stack(vectors, 2), present, dropout)  # [B, E, N, W] → [B, E, W]
        mixed = jnp.where(inside[..., None], mixed, 0)
        return self.classify(self.sequence(mixed, inside, dropout))


def make(config: Mapping[str, Any], slots: tuple[tuple[str, int], ...]) -> TokenModel:
    """The model of a checked configuration; see `night_tokens.model`."""
    return night_tokens.model(TokenMixer, config, slots)
