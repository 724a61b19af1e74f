"""Workdirs of runs of which nothing was trained: what a checkpoint holds, without the minutes."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from configs import pretrain_simulated
from sleepfm_jax import experiment
from sleepfm_jax.training import optim
from sleepfm_jax.training import state as train_state
from sleepfm_jax.training.checkpoint import Checkpoints
from sleepfm_jax.training.paths import path_string


def smoke(**changes) -> dict[str, Any]:
    """The smoke variant as it comes from a file, with keys changed ({"model.width": 16, …})."""
    config = pretrain_simulated.get_config("smoke").to_dict()
    for name, value in changes.items():
        *sections, key = name.split(".")
        part = functools.reduce(dict.__getitem__, sections, config)
        assert key in part
        part[key] = value
    return json.loads(json.dumps(config))


def save_run(
    workdir: Path,
    config: Mapping[str, Any],
    steps: tuple[int, ...] = (4,),
    about: Mapping[str, Any] | None = None,
) -> dict[int, dict[str, np.ndarray]]:
    """Writes workdir/checkpoints/STEP with random arrays, statistics included.

    Args:
      config: in today's layout.
      about: what is said beside the arrays; given keys replace those of a run.

    Returns:
      {step: {path: array}} of the state.
    """
    objective = experiment.make_objective(config)
    tx = optim.optimiser(config["optimiser"], config["steps"])
    shapes = jax.eval_shape(lambda: train_state.create(objective, tx, config["seed"]))
    saved = {}
    checkpoints = Checkpoints(workdir / "checkpoints", keep=len(steps))
    for step in steps:
        rng = np.random.default_rng(step)
        state = jax.tree_util.tree_map_with_path(functools.partial(_draw, rng), shapes)
        state = state.replace(step=np.int32(step), seed=np.uint32(config["seed"]))
        said = {"config": dict(config), "data_position": {"next_index": step}}
        checkpoints.save(step, jax.device_put(state), said | dict(about or {}))
        leaves = jax.tree_util.tree_leaves_with_path(state)
        saved[step] = {path_string(path): leaf for path, leaf in leaves}
    checkpoints.close()
    return saved


def _draw(rng, path, x):
    """As a model might have learned: what it says of different clips differs."""
    name = path_string(path)
    if not np.issubdtype(x.dtype, np.floating):
        return np.zeros(x.shape, x.dtype)
    if name.endswith("/var"):
        return rng.uniform(0.5, 2, x.shape).astype(x.dtype)
    if len(x.shape) < 2:
        centre = 1.0 if name.endswith("scale") else 0.0
        return (centre + 0.1 * rng.standard_normal(x.shape)).astype(x.dtype)
    return (1.5 * rng.standard_normal(x.shape) / np.prod(x.shape[:-1]) ** 0.5).astype(x.dtype)
