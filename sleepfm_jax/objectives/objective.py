"""What the loop asks of anything that it trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import jax

from sleepfm_jax.signals.layout import Layout

Metrics = Mapping[str, tuple[jax.Array, jax.Array]]
"""name → (sum, count), so that batches, hosts and padding add up to a mean over what counts."""


class Objective(Protocol):
    """Frozen, hashable and pure: a description, whose methods read nothing but their arguments.

    `params` holds the model's parameters under "encoder" and the objective's own beside it;
    `stats` likewise whatever moves without a gradient: batch statistics, a teacher.

    Attributes:
      layout: what a row of a batch must hold.
      frozen: patterns of paths in `params` that stay as they are (`training.freezing`): those of
        `config.frozen`, and perhaps its own.
      distinct_rows: may no example stand in a batch twice? True where rows are each other's
        negatives.
    """

    layout: Layout
    frozen: tuple[str, ...]
    distinct_rows: bool

    def init(self, key: jax.Array) -> tuple[Any, Any]:
        """Fresh (params, stats)."""

    def loss(
        self, params, stats, batch: Mapping[str, jax.Array], key: jax.Array | None
    ) -> tuple[jax.Array, tuple[Any, Metrics]]:
        """→ loss to descend, (stats after the batch, metrics). `key`: training mode; None:
        evaluation mode. A row with index -1 is filling and must not count. The step keeps what is
        frozen from an update; that its statistics stay, too, is for this method (`freezing.below`).
        """

    def predict(self, params, stats, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """Evaluation mode: name → array [B, …]; B always leads."""

    def after_update(self, params, stats, step: jax.Array) -> tuple[Any, Any]:
        """(params, stats) after an update: limits of parameters, a teacher's moving average."""
