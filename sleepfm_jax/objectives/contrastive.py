"""Contrastive pretraining: the modalities of a clip find each other among the clips of a batch."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from sleepfm_jax.losses import contrastive
from sleepfm_jax.models.dropout import DropoutStream
from sleepfm_jax.models.encoder import Encoder, EncoderConfig

LOSSES = {"leave_one_out": contrastive.leave_one_out, "pairwise": contrastive.pairwise}
BATCH_STATISTICS = ("joint", "per_modality")


class ContrastiveModel(nnx.Module):
    """One encoder for all modalities and the learned log of the logit scale."""

    def __init__(self, config: EncoderConfig, log_scale: float, *, rngs: nnx.Rngs):
        self.encoder = Encoder(config, rngs=rngs)
        self.log_scale = nnx.Param(jnp.float32(log_scale))


@dataclasses.dataclass(frozen=True)
class ContrastiveTask:
    """Parameters, loss and predictions of contrastive pretraining; all methods are pure.

    Attributes:
      encoder: sizes of the encoder.
      slots: channels of each modality in a batch, in the batch's order.
      loss: "leave_one_out" or "pairwise".
      log_scale: where the learned log logit scale starts (published: 0).
      max_log_scale: it is kept between 0 and this (4.6052: a logit scale of 100, as in CLIP;
        published: no limit above).
      batch_statistics: "joint": one call of the tokenizer for all channels, so that training
        normalises as evaluation will; "per_modality": a call for each modality, as published,
        normalised by its own statistics, while evaluation uses a blend of all four.
    """

    encoder: EncoderConfig
    slots: tuple[tuple[str, int], ...]
    loss: str = "leave_one_out"
    log_scale: float = 0.0
    max_log_scale: float = 4.6052
    batch_statistics: str = "joint"

    def __post_init__(self):
        if self.batch_statistics not in BATCH_STATISTICS:
            raise ValueError(
                f"batch_statistics {self.batch_statistics!r} is not one of {BATCH_STATISTICS}"
            )
        if self.loss not in LOSSES:
            raise ValueError(f"loss {self.loss!r} is not one of {sorted(LOSSES)}")
        if len(self.slots) < 2:
            raise ValueError(f"contrastive pretraining needs two modalities or more: {self.slots}")

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names along the axis M."""
        return tuple(name for name, _ in self.slots)

    @functools.cached_property
    def _graph(self):
        model = nnx.eval_shape(self._build, jax.random.key(0))
        return nnx.split(model, nnx.Param, nnx.BatchStat)[0]

    def _build(self, key: jax.Array) -> ContrastiveModel:
        return ContrastiveModel(self.encoder, self.log_scale, rngs=nnx.Rngs(params=key))

    def init(self, key: jax.Array) -> tuple[dict, dict]:
        """Fresh (params, batch_stats): nested dictionaries of arrays."""
        _, params, batch_stats = nnx.split(self._build(key), nnx.Param, nnx.BatchStat)
        return nnx.to_pure_dict(params), nnx.to_pure_dict(batch_stats)

    def loss_fn(
        self, params, batch_stats, batch: Mapping[str, jax.Array], key: jax.Array | None
    ) -> tuple[jax.Array, tuple[dict, dict]]:
        """→ loss, (new batch statistics, metrics). `key` given: training mode; None: evaluation."""
        model = self._merge(params, batch_stats)
        clip, _, presence, _ = self._encode(model, batch, key)
        unit = contrastive.unit_vectors(clip.astype(jnp.float32))
        result = LOSSES[self.loss](unit, params["log_scale"], presence)
        metrics = {
            "loss": result.loss,
            "top1": (result.accuracy * result.count).sum() / jnp.maximum(result.count.sum(), 1),
            "logit_scale": jnp.exp(params["log_scale"]),
            "presence": presence.mean(),
        }
        return result.loss, (nnx.to_pure_dict(nnx.state(model, nnx.BatchStat)), metrics)

    def embed(self, params, batch_stats, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """Embeddings in evaluation mode.

        Returns:
          clip [M, B, D], tokens [M, B, S, D], presence bool [M, B], token_mask bool [M, B, S].
        """
        model = self._merge(params, batch_stats)
        clip, tokens, presence, token_mask = self._encode(model, batch, None)
        return {"clip": clip, "tokens": tokens, "presence": presence, "token_mask": token_mask}

    def project(self, params: dict) -> dict:
        """After each update: the log logit scale stays between 0 and its limit."""
        return params | {"log_scale": jnp.clip(params["log_scale"], 0.0, self.max_log_scale)}

    def _merge(self, params, batch_stats) -> ContrastiveModel:
        return nnx.merge(self._graph, nnx.State(params), nnx.State(batch_stats))

    def _encode(self, model: ContrastiveModel, batch, key):
        dropout = None if key is None else DropoutStream(key)
        encoder, mask = model.encoder, batch["mask"]  # [B, C, S]
        x = batch["signals"].astype(jnp.float32) * batch["scale"][..., None]  # [B, C, T]
        sizes = tuple(count for _, count in self.slots)
        train = dropout is not None
        if self.batch_statistics == "joint" or not train:
            tokens = encoder.tokenize(x, mask, batch["positions"], train=train)
        else:
            ends = np.cumsum(sizes)
            parts = [slice(end - size, end) for end, size in zip(ends, sizes)]
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
        clip = clip.reshape(b, m, -1).swapaxes(0, 1)  # [M, B, D]
        tokens = tokens.reshape(b, m, s, -1).swapaxes(0, 1)  # [M, B, S, D]
        token_mask = token_mask.swapaxes(0, 1)  # [M, B, S]
        return clip, tokens, token_mask.any(-1), token_mask
