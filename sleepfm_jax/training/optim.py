"""Optimisers and schedules from configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import optax

from sleepfm_jax.training.sharding import path_string

NO_DECAY = ("bias", "scale", "log_scale")
"""Parameters of these names are not decayed: shifts, norms' scales and the logit scale."""


def schedule(config: Mapping[str, Any], steps: int) -> optax.Schedule:
    """Learning rate by step.

    Args:
      config: `schedule` ("cosine", "constant" or "step"), `learning_rate`, `warmup_steps`; for
        "step" also `decay_every` (steps) and `decay_factor`.
      steps: length of the run, where the cosine ends.
    """
    peak, warmup = config["learning_rate"], config["warmup_steps"]
    kind = config["schedule"]
    if kind == "constant":
        main = optax.constant_schedule(peak)
    elif kind == "cosine":
        main = optax.cosine_decay_schedule(peak, max(steps - warmup, 1))
    elif kind == "step":
        main = optax.exponential_decay(
            peak, config["decay_every"], config["decay_factor"], staircase=True
        )
    else:
        raise ValueError(f"schedule {kind!r} is not one of cosine, constant, step")
    if not warmup:
        return main
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), main], [warmup])


def optimiser(config: Mapping[str, Any], steps: int) -> optax.GradientTransformation:
    """The optimiser of a run.

    Args:
      config: `name` ("adamw", "adam" or "sgd"), `weight_decay` (adamw), `momentum` (sgd),
        `clip_norm` (0 = none), and what `schedule` reads.
    """
    rate = schedule(config, steps)
    name = config["name"]
    if name == "adamw":
        main = optax.adamw(rate, weight_decay=config["weight_decay"], mask=_decayed)
    elif name == "adam":
        main = optax.adam(rate)
    elif name == "sgd":
        main = optax.sgd(rate, momentum=config["momentum"])
    else:
        raise ValueError(f"optimiser {name!r} is not one of adamw, adam, sgd")
    if config["clip_norm"]:
        return optax.chain(optax.clip_by_global_norm(config["clip_norm"]), main)
    return main


def _decayed(params: Any) -> Any:
    def decays(path, _):
        last = path_string(path).rsplit("/", 1)[-1]
        return not (last in NO_DECAY or last.endswith(("_bias", "_scale")))

    return jax.tree_util.tree_map_with_path(decays, params)
