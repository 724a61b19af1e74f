"""Who falls ill, and when: Cox's model of times to events, on a model's tokens.

Tokens → attention over their sequences → LSTM → mean over time, age and sex beside it → a log
hazard of each event. SleepFM's disease prediction. Its rows are nights of a frozen encoder's tokens
(`models.tokens`). A row may be a clip as well, its encoder trained along or not: then somebody's
clips stand in a risk set as if they were so many people.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from sleepfm_jax.config import Key
from sleepfm_jax.losses import survival
from sleepfm_jax.models.dropout import DropoutStream
from sleepfm_jax.models.pure import Pure, statistics
from sleepfm_jax.models.recurrent import CoxLSTM
from sleepfm_jax.signals.layout import FollowUp
from sleepfm_jax.training import freezing

KEYS = {
    "table": Key("", "file of times to events (docs/survival.md)", changes_numbers=False),
    "labels": Key(
        ("death",), "events: columns NAME_time and NAME_event of the table", form="names"
    ),
    "ties": Key("breslow", "how events at one time share their risk set", choices=survival.TIES),
    "demographics": Key(32, "numbers that age and sex become; 0: they are not looked at", low=0),
    "head_layers": Key(2, "of the LSTM", low=1),
    "head_pooling_heads": Key(8, "of attention over the sequences; they divide the width", low=1),
    "head_mlp_dim": Key(2048, "hidden numbers of that attention's feed-forward", low=1),
    "head_dropout": Key(0.3, "probability, in training", low=0, below=1),
}

MIDDLE_AGE, AGE_SPREAD = 50.0, 20.0
"""Years: how an age becomes a number of about unit size."""


@dataclasses.dataclass(frozen=True)
class Head:
    """Sizes of `models.recurrent.CoxLSTM`."""

    width: int
    classes: int
    demographics: int
    layers: int
    pooling_heads: int
    mlp_dim: int
    dropout: float


@dataclasses.dataclass(frozen=True)
class Survival:
    """A model and a Cox head; see `objective.Objective`.

    A batch holds times, events [B, K] and demographics [B, 2] (`data.follow_up`). An event of a row
    counts where it is known whether it was seen; a row without one valid token, of which nothing
    was recorded, does not count. The risk set is the global batch.

    Attributes:
      model: gives tokens [B, N, S, D] and token_mask [B, N, S].
      follow_up: the table, and names of the K log hazards, in their order.
      head: sizes.
      ties: of `losses.survival.cox_ph`.
    """

    model: Any
    follow_up: FollowUp
    head: Head
    ties: str = "breslow"
    frozen: tuple[str, ...] = ()
    distinct_rows = True

    @property
    def layout(self) -> Any:
        """The model's, with what became of the people."""
        return dataclasses.replace(self.model.layout, follow_up=self.follow_up)

    @functools.cached_property
    def _head(self) -> Pure:
        return Pure(lambda rngs: CoxLSTM(**dataclasses.asdict(self.head), rngs=rngs))

    def init(self, key: jax.Array) -> tuple[dict, dict]:
        """Fresh (params, stats)."""
        encoder, encoder_stats = self.model.init(key)
        head, head_stats = self._head.init(jax.random.fold_in(key, 1))
        return {"encoder": encoder, "head": head}, {"encoder": encoder_stats, "head": head_stats}

    def loss(
        self, params, stats, batch: Mapping[str, jax.Array], key: jax.Array | None
    ) -> tuple[jax.Array, tuple[dict, dict]]:
        """→ loss, (stats, metrics); see `objective.Objective`. Metrics are means over events."""
        hazards, recorded, stats = self._forward(params, stats, batch, key)
        times, events = batch["times"], batch["events"]  # [B, K]
        valid = recorded[:, None] & jnp.isfinite(events)
        loss = survival.cox_ph(hazards, times, events, self.ties, valid)
        count = (valid & (events > 0)).sum()
        return loss, (stats, {"loss": (loss * count, count), "events": (count, jnp.ones(()))})

    def predict(self, params, stats, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """Evaluation mode: log_hazards float32 [B, K]; NaN of a row of which nothing was
        recorded."""
        hazards, recorded, _ = self._forward(params, stats, batch, None)
        return {"log_hazards": jnp.where(recorded[:, None], hazards, jnp.nan)}

    def after_update(self, params, stats, step: jax.Array) -> tuple[dict, dict]:
        """Both as they are."""
        return params, stats

    def _forward(self, params, stats, batch, key):
        """Log hazards [B, K]; bool [B], is it a row of which anything was recorded; statistics."""
        frozen = freezing.below("encoder", self.frozen)
        out, encoder = self.model.apply(params["encoder"], stats["encoder"], batch, key, frozen)
        mask = out["token_mask"] & (batch["index"] >= 0)[:, None, None]  # [B, N, S]
        head = self._head.module(params["head"], stats["head"], freezing.below("head", self.frozen))
        dropout = None if key is None else DropoutStream(jax.random.fold_in(key, 1))
        tokens = out["tokens"].astype(jnp.float32)
        hazards = head(tokens, mask, standardised(batch["demographics"]), dropout=dropout)
        return hazards, mask.any((1, 2)), {"encoder": encoder, "head": statistics(head)}


def standardised(demographics: jax.Array) -> jax.Array:
    """Age in years and sex (0 female, 1 male) [B, 2] → numbers of about unit size, 0 where unknown
    (NaN)."""
    age, sex = demographics[:, 0], demographics[:, 1]
    x = jnp.stack([(age - MIDDLE_AGE) / AGE_SPREAD, 2 * sex - 1], -1)
    return jnp.where(jnp.isfinite(x), x, 0)


def make(config: Mapping[str, Any], model: Any) -> Survival:
    """The objective of a checked configuration.

    Raises:
      ValueError: the model gives no tokens, or its width is not divisible by the head's.
    """
    section = config["objective"]
    heads = section["head_pooling_heads"]
    if not hasattr(model, "width") or model.layout.examples == "nights":  # of signals
        raise ValueError(f"model {config['model']['kind']!r} gives no tokens for a Cox head")
    if model.width % heads:
        raise ValueError(f"width {model.width} is not divisible by head_pooling_heads={heads}")
    head = Head(
        width=model.width,
        classes=len(section["labels"]),
        demographics=section["demographics"],
        layers=section["head_layers"],
        pooling_heads=heads,
        mlp_dim=section["head_mlp_dim"],
        dropout=section["head_dropout"],
    )
    return Survival(
        model=model,
        follow_up=FollowUp(section["table"], tuple(section["labels"])),
        head=head,
        ties=section["ties"],
        frozen=tuple(config["frozen"]),
    )
