"""Every head by its name, and what each makes of the N sequences of a clip."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from sleepfm_jax.models.dropout import DropoutStream
from sleepfm_jax.models.heads.eeg import EEGHead
from sleepfm_jax.models.heads.layers import masked_mean
from sleepfm_jax.models.heads.pooled import AttentionHead, MeanHead
from sleepfm_jax.models.heads.resblocks import ResBlocksHead


@dataclasses.dataclass(frozen=True)
class HeadConfig:
    """A head and its sizes.

    Attributes:
      kind: one of `KINDS`.
      width: D of the tokens. classes: K.
      dropout, pool_length, time_mask …: see the heads that have them.
    """

    kind: str
    width: int
    classes: int
    dropout: float = 0.0
    pool_length: int = 2
    time_mask: float = 0.0
    time_mask_span: int = 6
    feature_mask: float = 0.0
    feature_mask_span: int = 64

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"head {self.kind!r} is not one of {', '.join(KINDS)}")


def make(config: HeadConfig, rngs: nnx.Rngs) -> nnx.Module:
    """The module of a head."""
    return KINDS[config.kind][0](config, rngs)


def logits(
    config: HeadConfig,
    head: Any,
    tokens: jax.Array,
    token_mask: jax.Array,
    dropout: DropoutStream | None = None,
) -> jax.Array:
    """tokens [B, N, S, D], token_mask bool [B, N, S] → logits [B, K], float32."""
    return KINDS[config.kind][1](head, tokens.astype(jnp.float32), token_mask, dropout)


def _mean(config, rngs):
    return MeanHead(config.width, config.classes, rngs=rngs)


def _attention(config, rngs):
    return AttentionHead(config.width, config.classes, dropout=config.dropout, rngs=rngs)


def _eeg(config, rngs):
    names = ("dropout", "time_mask", "time_mask_span", "feature_mask", "feature_mask_span")
    options = {name: getattr(config, name) for name in names}
    return EEGHead(config.width, config.classes, config.pool_length, **options, rngs=rngs)


def _resblocks(config, rngs):
    return ResBlocksHead(config.width, config.classes, dropout=config.dropout, rngs=rngs)


def _of_all(head, tokens, token_mask, dropout):
    return head(tokens, token_mask, dropout=dropout)


def _of_mean_sequence(head, tokens, token_mask, dropout):
    """The head sees at each time the mean of the sequences that are valid there."""
    call = getattr(head, "from_tokens", head)
    return call(masked_mean(tokens, token_mask, 1), token_mask.any(1), dropout=dropout)


def _of_each_sequence(head, tokens, token_mask, dropout):
    """Mean of the logits of the sequences in which something is valid."""
    b, n, s, d = tokens.shape
    each = head(tokens.reshape(b * n, s, d), token_mask.reshape(b * n, s), dropout=dropout)
    return masked_mean(each.reshape(b, n, -1), token_mask.any(-1), 1)  # [B, N, K] → [B, K]


KINDS: dict[str, tuple[Callable[..., nnx.Module], Callable[..., jax.Array]]] = {
    "linear": (_mean, _of_all),
    "attention": (_attention, _of_all),
    "eeg": (_eeg, _of_mean_sequence),
    "resblocks": (_resblocks, _of_mean_sequence),
    "resblocks_per_lead": (_resblocks, _of_each_sequence),
}
"""Head → (its module, what it makes of the sequences)."""
