"""Patterns of what is frozen: whose gradient stops, and what they are below a prefix."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from sleepfm_jax.errors import ConfigError
from sleepfm_jax.training import freezing


def test_a_pattern_is_searched_for_in_the_whole_path():
    path = "encoder/layers/0/up/kernel"
    for pattern in ("^encoder/", "layers/0/", "kernel$", "up"):
        assert freezing.is_frozen(path, ("nothing", pattern))
    assert not freezing.is_frozen(path, ("^layers", "bias$"))
    assert not freezing.is_frozen(path, ())


def test_below_a_prefix_paths_are_those_of_the_whole_tree():
    is_frozen = freezing.below("encoder", ("^encoder/layers/0/", "^head/", "norm"))
    assert is_frozen("layers/0/up/kernel") and is_frozen("norm/scale")
    assert not is_frozen("layers/1/up/kernel") and not is_frozen("head/kernel")
    assert freezing.below("encoder", ()) is None


def test_what_is_frozen_has_a_gradient_of_zero_and_the_same_value():
    params = {"encoder": {"w": jnp.float32(2.0)}, "head": jnp.float32(3.0)}

    def product(params, patterns):
        params = freezing.stop_gradients(params, patterns)
        return params["encoder"]["w"] * params["head"]

    value, grads = jax.value_and_grad(product)(params, ("^encoder/",))
    assert value == 6 and grads == {"encoder": {"w": 0}, "head": 2}
    assert jax.grad(product)(params, ()) == {"encoder": {"w": 3}, "head": 2}
    assert freezing.stop_gradients(params, ()) is params


def test_masks_of_statistics_need_not_match():
    stats = {"encoder": {"tokenizer": {"mean": 0.0}}, "head": {"mean": 0.0}}
    mask = freezing.frozen_mask(stats, ("^encoder/", "log_scale"), all_must_match=False)
    assert mask == {"encoder": {"tokenizer": {"mean": True}}, "head": {"mean": False}}
    assert freezing.frozen_mask(stats, ()) == jax.tree.map(lambda _: False, stats)
    with pytest.raises(ConfigError, match="'log_scale' matches none of 2"):
        freezing.frozen_mask(stats, ("^encoder/", "log_scale"))


def test_a_pattern_that_matches_nothing_names_its_key_and_what_there_is():
    tree = {"a": {"b": 0, "c": 0}, "d": 0, "e": 0}
    freezing.check_patterns(tree, ("a/", "^d$"), "config.frozen")
    with pytest.raises(
        ConfigError, match=r"^config\.here: 'A/' matches none of 4 parameters \(a/b, a/c, d, …\)$"
    ):
        freezing.check_patterns(tree, ("a/", "A/"), "config.here")


def test_what_is_frozen_is_kept_whatever_became_of_it():
    before = {"encoder": {"mean": jnp.float32(1), "w": jnp.float32(2)}, "log_scale": jnp.float32(3)}
    after = jax.tree.map(lambda x: x + 10, before)
    kept = freezing.keep(before, after, ("^encoder/mean$", "log_scale"))
    assert kept == {"encoder": {"mean": 1, "w": 12}, "log_scale": 3}
    assert freezing.keep(before, after, ()) is after
