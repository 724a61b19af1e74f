"""Paths of leaves as text: what patterns of sharding, freezing and groups are matched with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax


def path_string(path: Sequence[Any]) -> str:
    """A pytree path as "encoder/layers/0/up/kernel"."""
    return jax.tree_util.keystr(path, simple=True, separator="/")
