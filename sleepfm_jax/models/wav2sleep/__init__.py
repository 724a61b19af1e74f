"""The model family `wav2sleep`: sleep stages from whatever signals a night has.

Source: arXiv 2411.04644 and its released code; docs/field.md §1.C.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from sleepfm_jax.models.dropout import DropoutStream
from sleepfm_jax.models.pure import Pure, statistics
from sleepfm_jax.models.wav2sleep.keys import CLASS_NAMES, KEYS, VARIANTS, Sizes, sizes
from sleepfm_jax.models.wav2sleep.network import Network
from sleepfm_jax.signals import night_layout
from sleepfm_jax.signals.night_layout import NightLayout

__all__ = ["KEYS", "VARIANTS", "Sizes", "Wav2Sleep", "make"]


@dataclasses.dataclass(frozen=True)
class Wav2Sleep:
    """Parameters and outputs of the network; all methods are pure.

    Attributes:
      sizes: of the network.
      layout: what a row must hold (`signals.night_layout`).
    """

    sizes: Sizes
    layout: NightLayout

    @property
    def width(self) -> int:
        """D."""
        return self.sizes.width

    @functools.cached_property
    def _pure(self) -> Pure:
        return Pure(lambda rngs: Network(self.sizes, rngs=rngs))

    def init(self, key: jax.Array) -> tuple[dict, dict]:
        """Fresh (params, statistics): nested dictionaries of arrays."""
        return self._pure.init(key)

    def shapes(self) -> tuple[dict, dict]:
        """(params, statistics) as nested dictionaries of shapes and dtypes."""
        return self._pure.shapes()

    def module(self, params, stats, is_frozen: Callable[[str], bool] | None = None) -> Network:
        """The network with these arrays."""
        return self._pure.module(params, stats, is_frozen)

    def apply(
        self,
        params,
        stats,
        batch: Mapping[str, jax.Array],
        key: jax.Array | None = None,
        is_frozen: Callable[[str], bool] | None = None,
    ) -> tuple[dict[str, Any], dict]:
        """Outputs of a batch of nights, and the statistics after it.

        Args:
          batch: `signal/ABD` … float32 [B, E * samples], `present` bool [B, N], `epoch_mask` bool
            [B, E]; what else it holds is not read.
          key: of dropout. Given: training mode. None: evaluation mode.
          is_frozen: see `Pure.module`.

        Returns:
          {logits float32 [B, E, K], features [B, E, D]}, statistics. Outside the night both are
          there, finite, and mean nothing.
        """
        network = self.module(params, stats, is_frozen)
        logits, features, _ = network(
            self.signals(batch),
            batch["present"],
            batch["epoch_mask"],
            dropout=None if key is None else DropoutStream(key),
        )
        outputs = {"logits": logits.astype(jnp.float32), "features": features}
        return outputs, statistics(network)

    def signals(self, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """The samples of a batch, by the names of their signals."""
        return {name: batch[f"signal/{name}"] for name in self.layout.names}


def make(config: Mapping[str, Any], slots: tuple[tuple[str, int], ...]) -> Wav2Sleep:
    """The model of a checked configuration; `slots` are of clips, and not read.

    Raises:
      ConfigError: an unknown signal. ValueError: sizes that cannot be.
    """
    section = config["model"]
    layout = night_layout.from_config(
        config["data"], section["signals"], CLASS_NAMES[section["classes"]]
    )
    return Wav2Sleep(sizes(section), layout)
