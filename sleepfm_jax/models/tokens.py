"""Kind `tokens`: a frozen encoder's tokens of nights, as they are, for an objective's own head."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax

from sleepfm_jax.models import night_tokens
from sleepfm_jax.signals import token_layout
from sleepfm_jax.signals.token_layout import TokenLayout

KEYS = {name: key for name, key in night_tokens.KEYS.items() if name != "classes"}


@dataclasses.dataclass(frozen=True)
class Tokens:
    """A model without parameters; all methods are pure.

    Attributes:
      layout: what a row must hold.
    """

    layout: TokenLayout

    @property
    def width(self) -> int:
        """D."""
        return self.layout.width

    def init(self, key: jax.Array) -> tuple[dict, dict]:
        """No parameters, no statistics."""
        return {}, {}

    def apply(
        self,
        params,
        stats,
        batch: Mapping[str, jax.Array],
        key: jax.Array | None = None,
        is_frozen: Callable[[str], bool] | None = None,
    ) -> tuple[dict[str, Any], dict]:
        """{tokens float32 [B, N, S, D], token_mask bool [B, N, S]} of a batch
        (`signals.token_layout`), statistics. S: the tokens of a night, one after the other."""
        tokens, mask = night_tokens.valid_tokens(batch)
        b, e, n, p, d = tokens.shape
        outputs = {
            "tokens": tokens.swapaxes(1, 2).reshape(b, n, e * p, d),  # [B, E, N, P, D]
            "token_mask": mask.swapaxes(1, 2).reshape(b, n, e * p),
        }
        return outputs, stats


def make(config: Mapping[str, Any], slots: tuple[tuple[str, int], ...]) -> Tokens:
    """The model of a checked configuration.

    Raises:
      ConfigError: an unknown signal.
    """
    section = config["model"]
    layout = token_layout.from_config(
        config["data"],
        section["signals"],
        slots,
        width=section["token_width"],
        tokens=section["tokens"],
    )
    return Tokens(layout)
