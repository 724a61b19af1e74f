"""What the models of nights of frozen tokens share (`signals.token_layout`): kinds `token_linear`,
`token_lstm` and `token_mixer` differ in their network only."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from sleepfm_jax.config.keys import Key
from sleepfm_jax.models.dropout import DropoutStream
from sleepfm_jax.models.pure import Pure, statistics
from sleepfm_jax.models.wav2sleep.keys import CLASS_NAMES
from sleepfm_jax.signals import token_layout
from sleepfm_jax.signals.token_layout import TokenLayout

KEYS = {
    "signals": Key(
        (),
        "that it knows, each channel embedded by itself; (): the modalities of data.slots",
        form="names_or_none",
    ),
    "token_width": Key(128, "numbers of the encoder's tokens", low=1),
    "tokens": Key(6, "of the encoder, in a sleep_epoch", low=1),
    "classes": Key(4, "4: W, N1+N2, N3, REM; 5: W, N1, N2, N3, REM", low=4, high=5),
}
"""Of every kind."""


def valid_tokens(batch: Mapping[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Tokens [B, E, N, P, D] of a batch (`signals.token_layout`), 0 where they are not valid: not
    recorded, of a sequence that is not there, or outside the night; and which are, [B, E, N, P]."""
    present, inside = batch["present"], batch["epoch_mask"]
    mask = batch["token_mask"] & present[:, None, :, None] & inside[:, :, None, None]
    return jnp.where(mask[..., None], batch["tokens"], 0), mask  # padding may hold anything


@dataclasses.dataclass(frozen=True)
class TokenModel:
    """Parameters and outputs of a network on frozen tokens; all methods are pure.

    Attributes:
      layout: what a row must hold.
      network: (layout, rngs=…, **options) → a module that is called with tokens [B, E, N, P, D], 0
        where mask bool [B, E, N, P] is not, present bool [B, N], inside bool [B, E] and a dropout
        stream, and gives logits [B, E, K].
      options: of the network, (name, value).
    """

    layout: TokenLayout
    network: Callable[..., nnx.Module]
    options: tuple[tuple[str, Any], ...] = ()

    @functools.cached_property
    def _pure(self) -> Pure:
        return Pure(lambda rngs: self.network(self.layout, **dict(self.options), rngs=rngs))

    def init(self, key: jax.Array) -> tuple[dict, dict]:
        """Fresh (params, statistics): nested dictionaries of arrays."""
        return self._pure.init(key)

    def shapes(self) -> tuple[dict, dict]:
        """(params, statistics) as nested dictionaries of shapes and dtypes."""
        return self._pure.shapes()

    def apply(
        self,
        params,
        stats,
        batch: Mapping[str, jax.Array],
        key: jax.Array | None = None,
        is_frozen: Callable[[str], bool] | None = None,
    ) -> tuple[dict[str, Any], dict]:
        """Outputs of a batch (`signals.token_layout`), and the statistics after it.

        Args:
          key: of dropout. Given: training mode. None: evaluation mode.
          is_frozen: see `Pure.module`.

        Returns:
          {logits float32 [B, E, K]}, statistics. Outside the night they are finite, and mean
          nothing.
        """
        network = self._pure.module(params, stats, is_frozen)
        present, inside = batch["present"], batch["epoch_mask"]
        tokens, mask = valid_tokens(batch)
        dropout = None if key is None else DropoutStream(key)
        logits = network(tokens, mask, present, inside, dropout)
        return {"logits": logits.astype(jnp.float32)}, statistics(network)


def model(
    network: Callable[..., nnx.Module],
    config: Mapping[str, Any],
    slots: tuple[tuple[str, int], ...],
) -> TokenModel:
    """The model of a checked configuration.

    Raises:
      ConfigError: an unknown signal. ValueError: sizes that cannot be.
    """
    section = config["model"]
    layout = token_layout.from_config(
        config["data"],
        section["signals"],
        slots,
        width=section["token_width"],
        tokens=section["tokens"],
        classes=CLASS_NAMES[section["classes"]],
    )
    options = tuple((k, v) for k, v in section.items() if k != "kind" and k not in KEYS)
    found = TokenModel(layout, network, options)
    found.shapes()  # what cannot be is said now
    return found
