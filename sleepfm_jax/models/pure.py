"""NNX modules as pure functions of plain pytrees: the split and the merge, written once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx


class Pure:
    """A module's description, apart from its arrays.

    Args:
      make: nnx.Rngs → module. Called abstractly here, with arrays only by `init`.

    """

    def __init__(self, make: Callable[[nnx.Rngs], nnx.Module]):
        self._make = make
        model = nnx.eval_shape(lambda: make(nnx.Rngs(params=0)))
        self._graph, params, stats = nnx.split(model, nnx.Param, nnx.BatchStat)
        self._shapes = params, stats

    def shapes(self) -> tuple[dict, dict]:
        """(params, stats) as nested dictionaries of shapes and dtypes; new ones at each call."""
        params, stats = self._shapes
        return nnx.to_pure_dict(params), nnx.to_pure_dict(stats)

    def __eq__(self, other: object) -> bool:
        """Two of one structure run as one compiled program."""
        return isinstance(other, Pure) and self._graph == other._graph

    def __hash__(self) -> int:
        return hash(self._graph)

    def init(self, key: jax.Array) -> tuple[dict, dict]:
        """Fresh (params, stats)."""
        model = self._make(nnx.Rngs(params=key))
        _, params, stats = nnx.split(model, nnx.Param, nnx.BatchStat)
        return nnx.to_pure_dict(params), nnx.to_pure_dict(stats)

    def module(self, params: Any, stats: Any, is_frozen: Callable[[str], bool] | None = None):
        """The module with these arrays.

        Args:
          is_frozen: path of a parameter ("layers/0/up/kernel") → is it frozen? A subtree all of
            whose parameters are is in evaluation mode, also in training: no dropout, running
            statistics, which stay as they are.
        """
        model = nnx.merge(self._graph, nnx.State(params), nnx.State(stats))
        if is_frozen is not None:
            _freeze(model, params, is_frozen)
        return model


def statistics(module: nnx.Module) -> dict:
    """The batch statistics of a module, as a nested dictionary."""
    return nnx.to_pure_dict(nnx.state(module, nnx.BatchStat))


def _freeze(model: nnx.Module, params: Any, is_frozen: Callable[[str], bool]) -> None:
    paths = [
        jax.tree_util.keystr(path, simple=True, separator="/") + "/"
        for path, _ in jax.tree_util.tree_leaves_with_path(params)
    ]
    frozen = {path: is_frozen(path[:-1]) for path in paths}
    for place, module in nnx.iter_modules(model):
        if not hasattr(module, "frozen"):
            continue
        # A module without parameters, such as dropout, goes with the one that it is part of.
        names = [str(part) for part in place]
        inside: list[str] = []
        while not inside:
            prefix = "".join(f"{name}/" for name in names)
            inside = [path for path in paths if path.startswith(prefix)]
            names = names[:-1]
        module.frozen = all(frozen[path] for path in inside)
