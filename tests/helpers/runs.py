"""Small runs, and what they leave."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import jax

from configs import pretrain_simulated
from sleepfm_jax import experiment
from sleepfm_jax.training import checkpoint, optim
from sleepfm_jax.training import state as train_state
from sleepfm_jax.training.paths import path_string

LINE, WATCHER = "tests.helpers.line_objective", "tests.helpers.watcher_evaluator"


def smoke(**changes) -> dict[str, Any]:
    """The smoke variant as a dictionary, with some keys changed ("model.width": 16, …)."""
    config = pretrain_simulated.get_config("smoke").to_dict()
    for name, value in changes.items():
        *sections, key = name.split(".")
        part = functools.reduce(dict.__getitem__, sections, config)
        assert key in part
        part[key] = value
    return config


def watched(rows, **changes) -> dict[str, Any]:
    """The same run with an objective of one number, looked at by watchers; it compiles at once.

    Args:
      rows: of `evaluators`: name → what differs from all rows of "validation" every two steps.
    """
    usual = {"kind": WATCHER, "datasets": (), "split": "validation", "every": 2}
    usual |= {"examples": 1000, "figures": ()}
    rows = {name: usual | row for name, row in rows.items()}
    return smoke(**{"objective": {"kind": LINE}, "evaluators": rows} | changes)


def saved_state(folder, step, config=None):
    """Every leaf of a checkpoint, as numpy, by path; and what was said about it."""
    config = config or smoke()
    objective = experiment.make_objective(config)
    tx = optim.optimiser(config["optimiser"], config["steps"], objective.frozen)
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    like = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here),
        jax.eval_shape(lambda: train_state.create(objective, tx, config["seed"])),
    )
    checkpoints = checkpoint.open_existing(folder)
    state, about = checkpoints.restore(step, like)
    checkpoints.close()
    return leaves_by_path(state), about


def leaves_by_path(tree) -> dict[str, Any]:
    """{"params/encoder/…": leaf as numpy}."""
    leaves = jax.tree_util.tree_leaves_with_path(jax.device_get(tree))
    return {path_string(path): leaf for path, leaf in leaves}


def logged(workdir: Path, prefix: str = "train/") -> dict[int, dict[str, Any]]:
    """{step: {name: value}} of the lines of metrics.jsonl, but speeds; a step may be written only
    once."""
    found: dict[int, dict[str, Any]] = {}
    for text in (workdir / "metrics.jsonl").read_text().splitlines():
        line = json.loads(text)
        step = line.pop("step")
        mine = {k: v for k, v in line.items() if k.startswith(prefix) and "per_second" not in k}
        if mine:
            assert step not in found, f"step {step} twice"
            found[step] = mine
    return found


def fingerprint(folder: Path) -> dict[str, str]:
    """Every path under a folder with the hash of its content."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        if p.is_file()
        else ""
        for p in sorted(folder.rglob("*"))
    }
