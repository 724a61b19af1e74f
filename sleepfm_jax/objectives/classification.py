"""Classification of clips by labels: fine-tuning, from scratch, or of a frozen model.

A model's tokens → a head → logits of K named labels; one of them holds (softmax, cross-entropy) or
any number of them (sigmoids, binary cross-entropy).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from sleepfm_jax import config as configuration
from sleepfm_jax.losses import classification
from sleepfm_jax.models import heads
from sleepfm_jax.models.dropout import DropoutStream
from sleepfm_jax.models.pure import Pure, statistics
from sleepfm_jax.signals.layout import Layout
from sleepfm_jax.training import freezing

LABEL_KINDS = configuration.KINDS["objective"]["classification"]["label_kind"].choices


@dataclasses.dataclass(frozen=True)
class Classification:
    """A model and a head; see `objective.Objective`.

    A batch's `labels` [B, K] are 0, 1 or NaN (unknown). Of "classification", a row counts that has
    exactly one 1; of "multilabel", every label that is known. A row without one valid token, of
    which nothing was recorded, does not count.

    Attributes:
      model: gives tokens [B, N, S, D] and token_mask [B, N, S].
      labels: names of the K logits, in their order.
      label_kind: "classification" or "multilabel".
      head: what it is, but for width and number of classes.
      label_smoothing: the part of a target that is spread over all classes (multilabel: moved to
        1/2). In evaluation, too, so that both losses are one quantity.
    """

    model: Any
    labels: tuple[str, ...]
    label_kind: str
    head: heads.HeadConfig
    label_smoothing: float = 0.0
    frozen: tuple[str, ...] = ()
    distinct_rows = False

    def __post_init__(self):
        if self.label_kind not in LABEL_KINDS:
            raise ValueError(f"label_kind {self.label_kind!r} is not one of {LABEL_KINDS}")

    @property
    def layout(self) -> Layout:
        """The model's, with these labels."""
        return dataclasses.replace(self.model.layout, labels=self.labels)

    @functools.cached_property
    def _head(self) -> Pure:
        return Pure(lambda rngs: heads.make(self.head, rngs))

    def init(self, key: jax.Array) -> tuple[dict, dict]:
        """Fresh (params, stats)."""
        encoder, encoder_stats = self.model.init(key)
        head, head_stats = self._head.init(jax.random.fold_in(key, 1))
        return {"encoder": encoder, "head": head}, {"encoder": encoder_stats, "head": head_stats}

    def loss(
        self, params, stats, batch: Mapping[str, jax.Array], key: jax.Array | None
    ) -> tuple[jax.Array, tuple[dict, dict]]:
        """→ loss, (stats, metrics); see `objective.Objective`."""
        logits, recorded, stats = self._forward(params, stats, batch, key)
        labels = batch["labels"]  # [B, K]
        if self.label_kind == "classification":
            holds = labels > 0.5  # of NaN: no
            known = recorded & (holds.sum(-1) == 1)  # [B]
            target = jnp.argmax(holds, -1)
            loss = classification.cross_entropy(
                logits, target, known, label_smoothing=self.label_smoothing
            )
            right = logits.argmax(-1) == target
        else:
            known = recorded[:, None] & jnp.isfinite(labels)  # [B, K]
            loss = classification.binary_cross_entropy(
                logits, labels, known, label_smoothing=self.label_smoothing
            )
            right = (logits > 0) == (labels > 0.5)
        count = known.sum()
        metrics = {"loss": (loss * count, count), "accuracy": ((right & known).sum(), count)}
        return loss, (stats, metrics)

    def predict(self, params, stats, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """Evaluation mode: probabilities float32 [B, K]; of one-of-K they sum to 1."""
        logits, _, _ = self._forward(params, stats, batch, None)
        of_logits = jax.nn.softmax if self.label_kind == "classification" else jax.nn.sigmoid
        return {"probabilities": of_logits(logits)}

    def after_update(self, params, stats, step: jax.Array) -> tuple[dict, dict]:
        """Both as they are."""
        return params, stats

    def _forward(self, params, stats, batch, key):
        """Logits [B, K]; bool [B], was anything recorded; statistics."""
        frozen = freezing.below("encoder", self.frozen)
        out, encoder = self.model.apply(params["encoder"], stats["encoder"], batch, key, frozen)
        # What only fills the batch up enters no statistics of the head either.
        mask = out["token_mask"] & (batch["index"] >= 0)[:, None, None]  # [B, N, S]
        frozen = freezing.below("head", self.frozen)
        head = self._head.module(params["head"], stats["head"], frozen)
        dropout = None if key is None else DropoutStream(jax.random.fold_in(key, 1))
        logits = heads.logits(self.head, head, out["tokens"], mask, dropout)
        return logits, mask.any((1, 2)), {"encoder": encoder, "head": statistics(head)}


def make(config: Mapping[str, Any], model: Any) -> Classification:
    """The objective of a checked configuration."""
    section = config["objective"]
    same = ("pool_length", "time_mask", "time_mask_span", "feature_mask", "feature_mask_span")
    head = heads.HeadConfig(
        kind=section["head"],
        width=model.width,
        classes=len(section["labels"]),
        dropout=section["head_dropout"],
        **{name: section[name] for name in same},
    )
    return Classification(
        model=model,
        labels=tuple(section["labels"]),
        label_kind=section["label_kind"],
        head=head,
        label_smoothing=section["label_smoothing"],
        frozen=tuple(config["frozen"]),
    )
