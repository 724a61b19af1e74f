"""Kind `token_lstm`: SleepFM's staging model on its frozen tokens, step by step over the night.

Source: SleepFM (Nature Medicine 2026), with its masks mended; docs/differences.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
from flax import nnx

from sleepfm_jax.config.keys import Key
from sleepfm_jax.models import night_tokens
from sleepfm_jax.models.heads.layers import masked_mean
from sleepfm_jax.models.night_tokens import TokenModel
from sleepfm_jax.models.recurrent import StagingLSTM
from sleepfm_jax.signals.token_layout import TokenLayout

KEYS = night_tokens.KEYS | {
    "heads": Key(4, "of attention over the night; they divide the width", low=1),
    "pooling_heads": Key(4, "of attention over the sequences; divide the width", low=1),
    "mlp_dim": Key(2048, "hidden numbers of each feed-forward", low=1),
    "layers": Key(1, "of the transformer, and of the LSTM", low=1),
    "dropout": Key(0.3, "probability, in training", low=0, below=1),
    # Quirks of the published code (docs/differences.md).
    "single_channel_shortcut": Key(False, "one sequence goes past the pooling"),
    "corner_masks": Key(
        False, "the first step's mask holds for all, the first sequence's for time"
    ),
    "additive_temporal_mask": Key(False, "padding gets more attention, not none"),
    "unpacked_lstm": Key(False, "the LSTM reads the padding, too"),
}


class NightLSTM(nnx.Module):
    """`StagingLSTM` over all tokens of a night; logits of a sleep_epoch are the mean of those of
    its steps (published: each step has a label)."""

    def __init__(self, layout: TokenLayout, *, rngs: nnx.Rngs, **options):
        self.steps = StagingLSTM(
            width=layout.width,
            classes=len(layout.classes),
            max_tokens=layout.longest * layout.tokens,
            rngs=rngs,
            **options,
        )

    def __call__(self, tokens, mask, present, inside, dropout=None) -> jax.Array:
        """See `night_tokens.TokenModel`."""
        b, e, n, p, d = tokens.shape
        of_sequence = tokens.swapaxes(1, 2).reshape(
            b, n, e * p, d
        )  # [B, E, N, P, D] → [B, N, S, D]
        valid = mask.swapaxes(1, 2).reshape(b, n, e * p)
        logits = self.steps(of_sequence, valid, dropout=dropout).reshape(b, e, p, -1)
        return masked_mean(logits, mask.any(2), 2)  # [B, E, P, K] → [B, E, K]


def make(config: Mapping[str, Any], slots: tuple[tuple[str, int], ...]) -> TokenModel:
    """The model of a checked configuration; see `night_tokens.model`."""
    return night_tokens.model(NightLSTM, config, slots)
