"""What is frozen: the paths in which one of the patterns is found.

Frozen means no update, statistics kept and that subtree in evaluation mode. The optimiser reads
these masks for the first; whoever calls the model, for the two others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import jax

from sleepfm_jax.errors import ConfigError
from sleepfm_jax.training.paths import path_string


def is_frozen(path: str, patterns: Sequence[str]) -> bool:
    """Is a parameter, statistic or subtree, as "encoder/layers/0/up/kernel", frozen?

    Patterns are regular expressions, searched for in the path as those of the sharding rules are:
    "^encoder/" is the encoder, "bias$" every bias.
    """
    return any(re.search(pattern, path) for pattern in patterns)


def frozen_mask(tree: Any, patterns: Sequence[str], *, all_must_match: bool = True) -> Any:
    """A bool for each leaf: True where it is frozen.

    Args:
      all_must_match: False for statistics, where what names parameters only matches nothing.

    Raises:
      ConfigError: a pattern matches nothing, and `all_must_match`.
    """
    if all_must_match:
        check_patterns(tree, patterns, "config.frozen")
    return jax.tree_util.tree_map_with_path(
        lambda path, _: is_frozen(path_string(path), patterns), tree
    )


def check_patterns(tree: Any, patterns: Sequence[str], key: str) -> None:
    """A pattern that matches nothing is a mistake, not a wish.

    Args:
      key: of the configuration, for the message.

    Raises:
      ConfigError: names the pattern, and some of the paths that there are.
    """
    paths = [path_string(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
    for pattern in patterns:
        if not any(re.search(pattern, path) for path in paths):
            there = ", ".join(paths[:3])
            raise ConfigError(
                f"{key}: {pattern!r} matches none of {len(paths)} parameters ({there}, …)"
            )


def below(prefix: str, patterns: Sequence[str]) -> Callable[[str], bool] | None:
    """`is_frozen` for paths inside of a subtree, such as the model under "encoder"; None where
    nothing is frozen."""
    if not patterns:
        return None
    return lambda path: is_frozen(f"{prefix}/{path}", patterns)


def stop_gradients(params: Any, patterns: Sequence[str]) -> Any:
    """The same parameters, without a gradient of those that are frozen."""
    if not patterns:
        return params
    return jax.tree_util.tree_map_with_path(
        lambda path, x: jax.lax.stop_gradient(x) if is_frozen(path_string(path), patterns) else x,
        params,
    )


def keep(before: Any, after: Any, patterns: Sequence[str]) -> Any:
    """`after`, but for the leaves that are frozen: whatever an objective did to them."""
    if not patterns:
        return after
    return jax.tree_util.tree_map_with_path(
        lambda path, old, new: old if is_frozen(path_string(path), patterns) else new,
        before,
        after,
    )
