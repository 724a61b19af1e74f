"""Contrastive pretraining: the modalities of a clip find each other among the clips of a batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from sleepfm_jax import config as configuration
from sleepfm_jax.losses import contrastive
from sleepfm_jax.signals.layout import Layout
from sleepfm_jax.training import freezing

_DEFAULT = configuration.section_defaults("objective", "contrastive")
LOSSES = {"leave_one_out": contrastive.leave_one_out, "pairwise": contrastive.pairwise}


@dataclasses.dataclass(frozen=True)
class Contrastive:
    """A model of clips and the learned log of the logit scale; see `objective.Objective`.

    Attributes:
      model: gives `clip` [B, M, D] and `presence` [B, M].
      loss_kind: "leave_one_out" or "pairwise".
      log_scale: where the learned log logit scale starts (published: 0).
      max_log_scale: it is kept between 0 and this (4.6052: a logit scale of 100, as in CLIP;
        published: no limit above).
    """

    model: Any
    loss_kind: str = _DEFAULT["loss"]
    log_scale: float = _DEFAULT["log_scale"]
    max_log_scale: float = _DEFAULT["max_log_scale"]
    frozen: tuple[str, ...] = ()
    distinct_rows = True

    def __post_init__(self):
        if self.loss_kind not in LOSSES:
            raise ValueError(f"loss {self.loss_kind!r} is not one of {sorted(LOSSES)}")
        if getattr(self.model, "sequences", "modality") != "modality":
            raise ValueError(
                "contrastive pretraining compares modalities: config.model.sequences must be "
                "'modality'"
            )
        if len(self.layout.slots) < 2:
            raise ValueError(
                f"contrastive pretraining needs two modalities or more: {self.layout.slots}"
            )

    @property
    def layout(self) -> Layout:
        """The model's."""
        return self.model.layout

    def init(self, key: jax.Array) -> tuple[dict, dict]:
        """Fresh (params, stats)."""
        params, stats = self.model.init(key)
        return {"encoder": params, "log_scale": jnp.float32(self.log_scale)}, {"encoder": stats}

    def loss(
        self, params, stats, batch: Mapping[str, jax.Array], key: jax.Array | None
    ) -> tuple[jax.Array, tuple[dict, dict]]:
        """→ loss, (stats, metrics); see `objective.Objective`."""
        is_frozen = freezing.below("encoder", self.frozen)
        out, encoder = self.model.apply(params["encoder"], stats["encoder"], batch, key, is_frozen)
        # [M, B, D] and [M, B]
        clip, presence = out["clip"].swapaxes(0, 1), out["presence"].swapaxes(0, 1)
        unit = contrastive.unit_vectors(clip.astype(jnp.float32))
        result = LOSSES[self.loss_kind](unit, params["log_scale"], presence)
        rows = (batch["index"] >= 0).sum()
        metrics = {
            "loss": (result.total, result.terms),
            "top1": ((result.accuracy * result.count).sum(), result.count.sum()),
            "logit_scale": (jnp.exp(params["log_scale"]), jnp.int32(1)),
            "presence": (presence.sum(), rows * len(presence)),
        }
        return result.loss, ({"encoder": encoder}, metrics)

    def predict(self, params, stats, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """The model's outputs in evaluation mode: clip [B, M, D], tokens [B, M, S, D], presence
        bool [B, M], token_mask bool [B, M, S]."""
        return self.model.apply(params["encoder"], stats["encoder"], batch)[0]

    def after_update(self, params, stats, step: jax.Array) -> tuple[dict, dict]:
        """The log logit scale stays between 0 and its limit."""
        return params | {"log_scale": jnp.clip(params["log_scale"], 0.0, self.max_log_scale)}, stats


def make(config: Mapping[str, Any], model: Any) -> Contrastive:
    """The objective of a checked configuration."""
    section = config["objective"]
    return Contrastive(
        model=model,
        loss_kind=section["loss"],
        log_scale=section["log_scale"],
        max_log_scale=section["max_log_scale"],
        frozen=tuple(config["frozen"]),
    )
