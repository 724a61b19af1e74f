"""Optimisers and schedules from configuration."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from sleepfm_jax.errors import ConfigError
from sleepfm_jax.training import freezing, plateau
from sleepfm_jax.training.paths import path_string

NO_DECAY = ("bias", "scale", "log_scale", "length", "mask_vector")
"""Parameters of these names are not decayed: shifts, norms' scales (the length of a normalised
kernel is one), the logit scale, and the token that stands for masked ones."""

BELOW_THE_LAYERS = ("tokenizer", "electrodes", "channel_pooling", "norm")
"""Parts of an encoder that its first layer reads. The rest (its pooling over time) is above all."""

_ENCODER = re.compile(r"(?:^|/)encoder/")
_LAYER = re.compile(r"layers/(\d+)/")


def schedule(config: Mapping[str, Any], steps: int) -> optax.Schedule:
    """Learning rate by step.

    Args:
      config: `schedule` ("cosine", "constant", "step", "exponential" or "plateau", which is
        constant here: see `plateau`), `learning_rate`, `warmup_steps`; for "step" also
        `decay_every` (steps) and `decay_factor`, for "exponential" `decay_time` (steps in which
        the rate falls to 1/e).
      steps: length of the run, where the cosine ends.
    """
    peak, warmup = config["learning_rate"], config["warmup_steps"]
    kind = config["schedule"]
    if kind in ("constant", "plateau"):
        main = optax.constant_schedule(peak)
    elif kind == "cosine":
        main = optax.cosine_decay_schedule(peak, max(steps - warmup, 1))
    elif kind == "step":
        main = optax.exponential_decay(
            peak, config["decay_every"], config["decay_factor"], staircase=True
        )
    elif kind == "exponential":
        main = optax.exponential_decay(peak, config["decay_time"], math.exp(-1))
    else:
        kinds = "cosine, constant, step, exponential, plateau"
        raise ConfigError(f"schedule {kind!r} is not one of {kinds}")
    if warmup:
        main = optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), main], [warmup])
    if kind == "exponential":  # wav2sleep's counts from 1: its first step has a rate already
        return lambda step: main(step + 1.0)
    return main


def optimiser(
    config: Mapping[str, Any], steps: int, frozen: Sequence[str] = ()
) -> optax.GradientTransformation:
    """The optimiser of a run.

    Where nothing is frozen and all parameters learn at one rate its state has no further parts, so
    that checkpoints from before there were groups fit.

    Args:
      config: `name` ("adamw", "adam" or "sgd"), `weight_decay` and `decay_all` (adamw: of all
        parameters, or of those that `NO_DECAY` does not name), `momentum` (sgd),
        `clip_norm` (0 = none; over what is not frozen), `clip_form` (see `clip`), `groups`,
        `layer_decay` (see `rate_factors`), and what `schedule` reads.
      frozen: patterns of paths (see `freezing`): no update, no decay, no moments.

    Raises:
      ConfigError: an unknown name or schedule; from `init`, a pattern that matches nothing, or
        nothing left to train.
    """
    rate = schedule(config, steps)
    name = config["name"]
    if name == "adamw":
        mask = None if config.get("decay_all") else _decayed
        main = optax.adamw(rate, weight_decay=config["weight_decay"], mask=mask)
    elif name == "adam":
        main = optax.adam(rate)
    elif name == "sgd":
        main = optax.sgd(rate, momentum=config["momentum"])
    else:
        raise ConfigError(f"optimiser {name!r} is not one of adamw, adam, sgd")
    if config["clip_norm"]:
        main = optax.chain(clip(config["clip_norm"], config["clip_form"]), main)
    parts, frozen, groups = [main], tuple(frozen), tuple(config["groups"])
    if frozen:
        parts = [optax.masked(main, lambda tree: _trained(tree, frozen))]
    if groups or config["layer_decay"] != 1:
        parts.append(_each(lambda tree: rate_factors(tree, groups, config["layer_decay"])))
    if config["schedule"] == "plateau":
        parts.append(plateau.plateau())
    if frozen:  # what is masked came through as it was
        parts.append(_each(lambda tree: jax.tree.map(float, _trained(tree, frozen))))
    return optax.chain(*parts) if len(parts) > 1 else main


def clip(norm: float, form: str = "exact") -> optax.GradientTransformation:
    """Gradients no longer than `norm`, over all of them together.

    Args:
      form: "exact", or "torch": PyTorch's `clip_grad_norm_`, whose factor is
        min(1, norm / (length + 1e-6)). Neither has a state with parts.
    """
    exact = optax.clip_by_global_norm(norm)
    if form == "exact":
        return exact

    def update(updates, state, params=None):
        factor = jnp.minimum(1.0, norm / (optax.tree.norm(updates) + 1e-6))
        return jax.tree.map(lambda u: u * factor.astype(u.dtype), updates), state

    return optax.GradientTransformation(exact.init, update)


def rate_factors(
    tree: Any, groups: Sequence[tuple[str, float]] = (), layer_decay: float = 1.0
) -> Any:
    """The factor of each parameter's learning rate (and so of its decay).

    Args:
      tree: parameters, or anything of their structure.
      groups: rows (pattern, factor); a parameter has that of the first row whose pattern is found
        in its path, 1 where none is.
      layer_decay: times this once for each layer that lies above: heads and the pooling over time
        have 1, the last of the encoder's layers `layer_decay`, what is before its first layer
        (tokenizer, positions, channel pooling, the norm) the least (Clark et al. 2020; BEiT).

    Raises:
      ConfigError: a group that matches nothing, or layers asked for where there are none.
    """
    freezing.check_patterns(tree, [pattern for pattern, _ in groups], "config.optimiser.groups")
    depth = _depths(tree) if layer_decay != 1 else {}

    def factor(path, _):
        name = path_string(path)
        own = next((f for pattern, f in groups if re.search(pattern, name)), 1.0)
        return own * layer_decay ** depth.get(name, 0)

    return jax.tree_util.tree_map_with_path(factor, tree)


def _depths(tree: Any) -> dict[str, int]:
    """Path → how many layers lie above it."""
    names = [path_string(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
    # A tree is an encoder, or has one.
    has_one = any(_ENCODER.search(name) for name in names)
    inside = {
        name: _ENCODER.split(name, maxsplit=1)[-1]
        for name in names
        if not has_one or _ENCODER.search(name)
    }
    layer = {n: int(found[1]) for n, part in inside.items() if (found := _LAYER.match(part))}
    if not layer:
        raise ConfigError("config.optimiser.layer_decay: the model has no layers/0, layers/1, …")
    count = max(layer.values()) + 1
    below = {n: count + 1 for n, part in inside.items() if part.split("/")[0] in BELOW_THE_LAYERS}
    return {n: count - i for n, i in layer.items()} | below


def _each(factors: Callable[[Any], Any]) -> optax.GradientTransformation:
    """Updates times the factors of their tree; no state."""

    def init(params):
        factors(params)  # what cannot be is said before the first step
        return optax.EmptyState()

    def update(updates, state, params=None):
        def scale(factor, u):
            return u * factor if factor else jnp.zeros_like(u)  # of a NaN, too

        return jax.tree.map(scale, factors(updates), updates), state

    return optax.GradientTransformation(init, update)


def _trained(tree: Any, frozen: Sequence[str]) -> Any:
    """A bool for each leaf: is it not frozen?"""
    mask = jax.tree.map(lambda is_frozen: not is_frozen, freezing.frozen_mask(tree, frozen))
    if not any(jax.tree.leaves(mask)):
        raise ConfigError(f"config.frozen: {', '.join(frozen)} leave nothing to train")
    return mask


def _decayed(params: Any) -> Any:
    def decays(path, _):
        last = path_string(path).rsplit("/", 1)[-1]
        return not (last in NO_DECAY or last.endswith(("_bias", "_scale")))

    return jax.tree_util.tree_map_with_path(decays, params)
