"""How a run begins, in this order: resume → initialise from a checkpoint → fresh."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from absl import logging

from sleepfm_jax import config as configuration
from sleepfm_jax.errors import CheckpointError
from sleepfm_jax.training.checkpoint import Checkpoints, open_existing
from sleepfm_jax.training.paths import path_string
from sleepfm_jax.training.same_data import check_alike, check_same_data
from sleepfm_jax.training.state import TrainState


@dataclasses.dataclass
class Start:
    """Where a run begins.

    Attributes:
      step: 0, or that of the checkpoint that it goes on from.
      state: on the mesh.
      about: what the checkpoint says; {} of a run that did not go on.
      earlier: pseudonyms of whom the weights were trained on before this run saw its own people;
        None: where they are from does not say.
      source: what the checkpoint says that the run was initialised from; {} where there is none.
    """

    step: int
    state: TrainState
    about: Mapping[str, Any]
    earlier: frozenset[str] | None = frozenset()
    source: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def start(
    checkpoints: Checkpoints,
    config: Mapping[str, Any],
    create: Callable[[], TrainState],
    shardings: Any,
    data: Mapping[str, Any],
) -> Start:
    """The newest checkpoint of the run; else a fresh state with what `config.initialise_from` has
    for it; else a fresh one.

    Args:
      create: the fresh state, on the mesh; traceable. shardings: of its leaves.
      data: `data.datasets.identities` of the datasets.

    Raises:
      CheckpointError: made with another configuration or other data, or converted weights, all
        damaged, or what to initialise from has nothing that fits.
      ConfigError: the processes of the run are not about to do the same.
    """
    check_alike(**{"newest step": checkpoints.latest(), "configuration": config, "data": data})
    if checkpoints.latest() == 0:  # no run saves before its first step
        raise CheckpointError(
            f"{checkpoints.folder}: holds converted weights, which a run would push out: give "
            "another workdir, and this one as --config.initialise_from"
        )
    if checkpoints.latest() is not None:
        like = jax.tree.map(
            lambda x, placed: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=placed),
            jax.eval_shape(create),
            shardings,
        )

        def read(step):
            about = checkpoints.about(step)
            check_same_run(about["config"], config, checkpoints)
            check_same_data(about.get("data", {}), data, checkpoints.folder)
            if step > config["steps"]:
                raise CheckpointError(
                    f"{checkpoints.folder}: at step {step} already, beyond config.steps="
                    f"{config['steps']}: give more steps, or another workdir"
                )
            return checkpoints.restore(step, like)

        step, (state, about) = checkpoints.newest(read)
        logging.info("going on from step %d of %d", step, config["steps"])
        earlier = _people(about) if config["initialise_from"] else frozenset()
        return Start(step, state, about, earlier)
    state = create()
    if config["initialise_from"]:
        state, about = initialise(state, config["initialise_from"])
        return Start(0, state, {}, _people(about), about)
    return Start(0, state, {})


def check_same_run(
    saved: Mapping[str, Any], config: Mapping[str, Any], checkpoints: Checkpoints
) -> None:
    """A checkpoint goes on only with the configuration it was made with.

    Raises:
      CheckpointError: names each key that differs and both its values.
    """
    if found := configuration.same_run(configuration.upgrade(saved), config):
        raise CheckpointError(
            f"{checkpoints.folder}: made with another configuration ({'; '.join(found)}): give "
            "another workdir, or the same configuration"
        )


def _people(about: Mapping[str, Any]) -> frozenset[str] | None:
    return frozenset(about["subjects"]) if "subjects" in about else None


def initialise(state: TrainState, folder: str) -> tuple[TrainState, dict[str, Any]]:
    """Parameters and statistics from a checkpoint, where path and shape are the same; says what was
    taken, what stayed fresh, and what of the checkpoint has no place.

    Returns:
      The state, and what the checkpoint says of itself.

    Args:
      folder: a run's workdir or its checkpoints folder; the newest checkpoint is taken.

    Raises:
      CheckpointError: no checkpoint there, or nothing in it fits.
    """
    source = open_existing(folder)
    fields = {"params": state.params, "batch_stats": state.batch_stats}
    fresh = _by_path(fields)

    def read(step):
        stored = _by_path({name: source.shapes(step).get(name, {}) for name in fields})
        taken = {
            path
            for path, leaf in fresh.items()
            if path in stored and tuple(stored[path].shape) == tuple(leaf.shape)
        }
        if not any(path.startswith("params/") for path in taken):
            raise CheckpointError(
                f"{folder}: nothing in it fits: this run has parameters like "
                f"{_some(fresh)}; the checkpoint has {_some(stored)}"
            )
        like = {
            path: jax.ShapeDtypeStruct(fresh[path].shape, fresh[path].dtype, sharding=placed)
            for path, placed in ((p, fresh[p].sharding) for p in sorted(taken))
        }
        values = _by_path(source.restore_parts(step, _nested(like)))
        return stored, taken, values, source.about(step)

    step, (stored, taken, values, about) = source.newest(read)
    source.close()
    logging.info("%d arrays from step %d of %s", len(taken), step, folder)
    for what, paths in (
        ("stay fresh", set(fresh) - taken),
        ("of the checkpoint have no place or another shape here", set(stored) - taken),
    ):
        if paths:
            logging.info("%d arrays %s: %s", len(paths), what, _some(paths, 12))

    def replaced(path, leaf):
        return values.get(path_string(path), leaf)

    new = jax.tree_util.tree_map_with_path(replaced, fields)
    return state.replace(**new), about


def _by_path(tree: Any) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda x: hasattr(x, "shape"))
    return {path_string(path): leaf for path, leaf in leaves}


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, leaf in flat.items():
        *parents, name = path.split("/")
        inner = tree
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[name] = leaf
    return tree


def _some(paths, most: int = 3) -> str:
    shown = sorted(path.partition("/")[2] for path in paths)
    return ", ".join(shown[:most]) + (", …" if len(shown) > most else "")


def parameter_count(params: Any) -> int:
    """Numbers that are learned."""
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params))
