"""The model family `sleepfm`: one encoder over the slots of every modality of a clip.

Source: SleepFM (Nature Medicine 2026) and arXiv 2605.02500; docs/field.md §1.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sleepfm_jax import config as configuration
from sleepfm_jax.models.dropout import DropoutStream
from sleepfm_jax.models.encoder import Encoder, EncoderConfig
from sleepfm_jax.models.pure import Pure, statistics
from sleepfm_jax.signals.layout import (
    INPUT_SCALINGS,
    PUBLISHED_LIMIT,
    PUBLISHED_UNIT,
    Layout,
)

_DEFAULT = configuration.section_defaults("model", "sleepfm")
BATCH_STATISTICS = configuration.KINDS["model"]["sleepfm"]["batch_statistics"].choices
SEQUENCES = configuration.KINDS["model"]["sleepfm"]["sequences"].choices


@dataclasses.dataclass(frozen=True)
class SleepFM:
    """Parameters and outputs of the encoder; all methods are pure.

    Attributes:
      encoder: sizes of the encoder.
      slots: channels of each modality in a batch, in the batch's order.
      batch_statistics: "joint": one call of the tokenizer for all channels, so that training
        normalises as evaluation will; "per_modality": a call for each modality, as published,
        normalised by its own statistics, while evaluation uses a blend of all four.
      input_scaling: see `signals.layout`.
      sequences: "modality": the channels of a modality are pooled into one sequence of tokens;
        "channel": each channel has its own (the transfer paper's ECG).
    """

    encoder: EncoderConfig
    slots: tuple[tuple[str, int], ...]
    batch_statistics: str = _DEFAULT["batch_statistics"]
    input_scaling: str = INPUT_SCALINGS[0]
    sequences: str = _DEFAULT["sequences"]

    def __post_init__(self):
        if self.batch_statistics not in BATCH_STATISTICS:
            raise ValueError(
                f"batch_statistics {self.batch_statistics!r} is not one of {BATCH_STATISTICS}"
            )
        if self.sequences not in SEQUENCES:
            raise ValueError(f"sequences {self.sequences!r} is not one of {SEQUENCES}")

    @property
    def layout(self) -> Layout:
        """What a row must hold."""
        config = self.encoder
        return Layout(self.slots, config.patch_samples, config.max_tokens, self.input_scaling)

    @property
    def width(self) -> int:
        """D."""
        return self.encoder.width

    @property
    def _sizes(self) -> tuple[int, ...]:
        """Channels of each sequence, in the batch's order."""
        if self.sequences == "channel":
            return (1,) * self.layout.channels
        return tuple(count for _, count in self.slots)

    @functools.cached_property
    def _pure(self) -> Pure:
        return Pure(lambda rngs: Encoder(self.encoder, rngs=rngs))

    def init(self, key: jax.Array) -> tuple[dict, dict]:
        """Fresh (params, statistics): nested dictionaries of arrays."""
        return self._pure.init(key)

    def apply(
        self,
        params,
        stats,
        batch: Mapping[str, jax.Array],
        key: jax.Array | None = None,
        is_frozen: Callable[[str], bool] | None = None,
    ) -> tuple[dict[str, Any], dict]:
        """Outputs of a batch (`data.clip_examples`), and the statistics after it.

        Args:
          key: of dropout. Given: training mode. None: evaluation mode.
          is_frozen: see `Pure.module`.

        Returns:
          {clip [B, M, D], tokens [B, M, S, D], presence bool [B, M], token_mask bool [B, M, S]},
          statistics. M: modalities, or channels where each is a sequence.
        """
        encoder = self._pure.module(params, stats, is_frozen)
        dropout = None if key is None else DropoutStream(key)
        mask = batch["mask"]  # [B, C, S]
        x = self._inputs(batch)  # [B, C, T]
        sizes = self._sizes
        train = dropout is not None
        if self.batch_statistics == "joint" or not train:
            tokens = encoder.tokenize(x, mask, batch["positions"], train=train)
        else:
            counts = [count for _, count in self.slots]
            ends = np.cumsum(counts)
            parts = [slice(end - count, end) for end, count in zip(ends, counts)]
            tokens = jnp.concatenate(
                [
                    encoder.tokenize(x[:, c], mask[:, c], batch["positions"][:, c], train=True)
                    for c in parts
                ],
                axis=1,
            )
        shortcut = self.encoder.single_channel_shortcut
        pooled, token_mask = encoder.pool_channels(
            tokens, mask, sizes, shortcut=shortcut, dropout=dropout
        )
        b, m, s, _ = pooled.shape  # [B, M, S, D]: the batch stays the leading, sharded axis
        seen = jnp.ones_like(token_mask) if self.encoder.encode_absent else token_mask
        clip, tokens = encoder.contextualise(
            pooled.reshape(b * m, s, -1), seen.reshape(b * m, s), dropout=dropout
        )
        outputs = {
            "clip": clip.reshape(b, m, -1),  # [B, M, D]
            "tokens": tokens.reshape(b, m, s, -1),  # [B, M, S, D]
            "presence": token_mask.any(-1),  # [B, M]
            "token_mask": token_mask,  # [B, M, S]
        }
        return outputs, statistics(encoder)

    def raw_tokens(self, params, stats, batch: Mapping[str, jax.Array]) -> jax.Array:
        """The tokenizer's own tokens, averaged over each sequence's valid channels, [B, M, S, D].

        In evaluation mode, before electrode positions and before anything attends: what is known
        without attention. 0 where no channel of it is valid (`token_mask` of `apply`).
        """
        encoder = self._pure.module(params, stats)
        mask = batch["mask"]  # [B, C, S]
        tokens = encoder.tokenizer(self._inputs(batch), mask)  # [B, C, S, D]
        sizes = self._sizes
        member = np.repeat(np.eye(len(sizes), dtype=bool), sizes, axis=1)  # [M, C]
        weight = (mask[:, None] & member[..., None]).astype(tokens.dtype)  # [B, M, C, S]
        total = jnp.einsum("bmcs,bcsd->bmsd", weight, tokens, precision=jax.lax.Precision.HIGHEST)
        return total / jnp.maximum(weight.sum(2), 1)[..., None]

    @property
    def normalisers(self) -> int:
        """How many stages keep batch statistics, each reading what those before it made."""
        return len(self._pure.shapes()[1]["tokenizer"]["stages"])

    def moments(
        self, params, stats, batch: Mapping[str, jax.Array], stage: int
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """What a stage normalises in a batch, the stages before it using `stats`.

        No dropout comes before these stages, in training either. Rows that only fill the batch up
        (index -1) are left out. Modalities enter alike also with
        `batch_statistics="per_modality"`, since evaluation has one set of statistics for all.

        Returns:
          number of values a channel, their mean [F] and biased variance [F].
        """
        encoder = self._pure.module(params, stats)
        mask = batch["mask"]
        if self.encoder.padding_in_statistics:
            mask = jnp.ones_like(mask)
        mask = mask & (batch["index"] >= 0)[:, None, None]
        return encoder.tokenizer.moments(self._inputs(batch), mask, stage)

    def with_moments(self, stats, stage: int, mean: np.ndarray, var: np.ndarray) -> dict:
        """The statistics with those of one stage replaced by mean [F] and variance [F]."""
        stages = dict(stats["tokenizer"]["stages"])
        stages[stage] = {"mean": jnp.asarray(mean), "var": jnp.asarray(var)}
        return {**stats, "tokenizer": {**stats["tokenizer"], "stages": stages}}

    def _inputs(self, batch) -> jax.Array:
        """Stored samples → the encoder's input, float32 [B, C, T]."""
        x = batch["signals"].astype(jnp.float32) * batch["scale"][..., None]
        if self.input_scaling == "published_uv":
            limit = PUBLISHED_LIMIT / PUBLISHED_UNIT
            x = jnp.clip(x + batch["offset"][..., None], -limit, limit)
        return x


def make(config: Mapping[str, Any], slots: tuple[tuple[str, int], ...]) -> SleepFM:
    """The model of a checked configuration."""
    own = ("batch_statistics", "sequences")
    sizes = {k: v for k, v in config["model"].items() if k not in ("kind", *own)}
    return SleepFM(
        encoder=EncoderConfig(**sizes),
        slots=slots,
        input_scaling=config["data"]["input_scaling"],
        **{name: config["model"][name] for name in own},
    )
