"""Configurations of checkpoints: brought to today's layout, and compared with the one at hand."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from sleepfm_jax.config.keys import (
    KEYS,
    MAY_LACK_KEYS,
    Key,
    Keys,
    Kinded,
    Rows,
    evaluator_rows,
    find_kind,
    key_defaults,
    leaves,
)

MOVED = {  # key of the flat layout → where it is now
    "encoder": [("model",)],
    "loss": [("objective", "loss")],
    "log_scale": [("objective", "log_scale")],
    "max_log_scale": [("objective", "max_log_scale")],
    "batch_statistics": [("model", "batch_statistics")],
    "eval_every": [("evaluators", "validation", "every")],
    "eval_clips": [("evaluators", "validation", "examples")],
    "test_clips": [("evaluators", "test", "examples")],
    "candidates": [("evaluators", row, "candidates") for row in ("validation", "test")],
}

ANY_LENGTH = ("constant", "step", "exponential", "plateau")
"""Schedules of the learning rate that `config.steps` has no part in."""


def upgrade(saved: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a checkpoint in today's layout; one that has it comes back unchanged.

    Keys that are newer than the checkpoint get their defaults. What is unknown stays, for `check`
    to name it.
    """
    config = copy.deepcopy(dict(saved))
    if "model" not in config and "encoder" in config:
        config["model"] = {"kind": "sleepfm"} | config.pop("encoder")
        config.setdefault("objective", {"kind": "contrastive"})
        config.setdefault("evaluators", evaluator_rows("contrastive"))
        for old, paths in MOVED.items():
            if old not in config:
                continue
            value = config.pop(old)
            for *sections, name in paths:
                part = config
                for section in sections:
                    part = part[section]
                part[name] = value
    objective = config.get("objective")
    kind = objective.get("kind") if isinstance(objective, Mapping) else None
    config.setdefault("evaluators", evaluator_rows(kind or "contrastive"))
    config.setdefault("model", {"kind": "sleepfm"})
    config.setdefault("objective", {"kind": "contrastive"})
    return _filled("config", config, KEYS)


def _filled(where: str, part: Any, keys: Keys) -> Any:
    """A section with defaults for the keys that it lacks; what cannot be is left for `check`."""
    if not isinstance(part, Mapping):
        return part
    filled = dict(part)
    for name, key in keys.items():
        path = f"{where}.{name}"
        if isinstance(key, Key):
            if where not in MAY_LACK_KEYS:
                filled.setdefault(name, copy.deepcopy(key.default))
        elif isinstance(key, Kinded):
            filled[name] = _filled_by_kind(path, filled[name], key.section)
        elif isinstance(key, Rows) and isinstance(filled[name], Mapping):
            filled[name] = {
                row: _filled_by_kind(f"{path}.{row}", options, key.section)
                for row, options in filled[name].items()
            }
        elif not isinstance(key, Rows):
            filled[name] = _filled(path, filled.get(name, key_defaults(key)), key)
    return filled


def _filled_by_kind(where: str, part: Any, section: str) -> Any:
    kind = part.get("kind") if isinstance(part, Mapping) else None
    keys = find_kind(section, kind)
    return part if keys is None else _filled(where, part, keys)


def same_run(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Why the run of one configuration is not that of another: keys that change numbers and differ.

    Another `steps` makes a run longer or shorter, and changes no number before its end, unless the
    schedule of the learning rate ends there.

    Args:
      saved: of a checkpoint, in any layout.
      now: checked.

    Returns:
      Lines such as "config.optimiser.learning_rate: 0.1 in the checkpoint, 0.2 now".
    """
    here = {path: value for path, key, value in leaves(now) if key is None or key.changes_numbers}
    saved = upgrade(saved)
    there = {
        path: value for path, key, value in leaves(saved) if key is None or key.changes_numbers
    }
    if now["optimiser"]["schedule"] == "plateau":  # then what is looked at moves the rate
        here |= _looked_at(now)
        there |= _looked_at(saved)
    found = []
    for path in sorted(set(here) | set(there)):
        a, b = _plain(there.get(path)), _plain(here.get(path))
        if path.startswith("data.slots."):
            a, b = a or 0, b or 0  # left out, or without a channel: the same
        if a == b:
            continue
        said = f"config.{path}: {a!r} in the checkpoint, {b!r} now"
        if path == "steps":
            kind = now["optimiser"]["schedule"]
            if kind in ANY_LENGTH:
                continue
            said += (
                f", where schedule {kind} ends; to train on from what it learned, name its workdir "
                "in --config.initialise_from, and give another --workdir"
            )
        found.append(said)
    return found


def _looked_at(config: Mapping[str, Any]) -> dict[str, Any]:
    """What says when the rate falls, of schedule plateau."""
    figure, row = config["keep_best"]["figure"], config["keep_best"]["figure"].partition("/")[0]
    looked = {"figure": figure, "largest": config["keep_best"]["largest"]}
    return {f"keep_best.{key}": value for key, value in looked.items()} | {
        f"evaluators.{row}.{key}": value for key, value in config["evaluators"].get(row, {}).items()
    }


def _plain(value: Any) -> Any:
    """Tuples as the lists that they become in a file."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
