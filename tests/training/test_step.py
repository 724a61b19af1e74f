"""One update, with an objective of one number: what it changes, refuses and tells."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sleepfm_jax.training import optim, step
from sleepfm_jax.training import state as train_state
from tests.helpers.line_objective import Line
from tests.helpers.runs import smoke


def make(objective, tx=None):
    """(fresh state, run(state, x …) → (state, means of the metrics))."""
    tx = tx or optax.sgd(1.0, momentum=0.9)
    state = train_state.create(objective, tx, seed=0)
    compiled = jax.jit(step.step_function(objective, tx))

    def run(state, *values, index=None):
        index = np.arange(len(values)) if index is None else index
        x = jnp.array(values, jnp.float32)
        new, told = compiled(state, {"x": x, "index": jnp.array(index, jnp.int32)})
        return new, step.means(told)

    return state, run


@pytest.fixture(scope="module")
def line():
    return make(Line())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_refused_update_leaves_everything_but_the_count(line, bad):
    state, run = line
    state, told = run(state, 1.0, 1.0)
    assert state.params["w"] == 1 and told["skipped"] == 0 and told["grad_norm"] == 1
    for n in (1, 2):
        after, told = run(state, 1.0, bad)
        for part in ("params", "batch_stats", "opt_state", "seed"):
            jax.tree.map(np.testing.assert_array_equal, getattr(after, part), getattr(state, part))
        assert after.step == state.step + 1
        assert after.skipped == after.skipped_in_a_row == n
        assert told["skipped"] == told["skipped_in_a_row"] == n
        state = after
    state, told = run(state, 1.0, 1.0)
    assert (state.skipped, state.skipped_in_a_row, state.step) == (2, 0, 4)
    assert (told["skipped"], told["skipped_in_a_row"]) == (2, 0)
    assert np.float32(state.params["w"]) == np.float32(1 - 1.9)
    assert state.batch_stats["calls"] == 2


def test_metrics_are_sums_and_counts_of_what_is_real(line):
    state, run = line
    _, told = run(state, 1.0, 4.0, 100.0, index=[7, 3, -1])
    assert told["loss"] == 2 * (1 + 4) / 2 and told["grad_norm"] == 2.5
    assert told["example_order"] == int(step.order_checksum(jnp.array([7, 3, -1])))
    assert all(type(told[name]) is int for name in ("skipped", "example_order"))


@dataclasses.dataclass(frozen=True)
class Teacher(Line):
    """Limits a parameter, and lets a statistic follow it, by the step that is done."""

    def init(self, key):
        params, stats = super().init(key)
        return params, stats | {"teacher": jnp.float32(0), "at": jnp.int32(0)}

    def loss(self, params, stats, batch, key):
        assert key is not None
        value, (moved, metrics) = super().loss(params, stats, batch, key)
        noise = jax.random.uniform(key)
        return value, (stats | moved, metrics | {"noise": (noise, jnp.int32(1))})

    def after_update(self, params, stats, step):
        params, stats = super().after_update(params, stats, step)
        return params, stats | {"teacher": 0.5 * (stats["teacher"] + params["w"]), "at": step}


def test_after_an_update_parameters_are_limited_and_statistics_follow():
    state, run = make(Teacher())
    assert run(state, np.nan)[0].batch_stats == state.batch_stats  # not after a refused one
    state, _ = run(state, -100.0)
    assert state.params["w"] == 5
    assert (state.batch_stats["teacher"], state.batch_stats["at"]) == (2.5, 1)
    state, _ = run(state, 0.0)
    assert state.batch_stats["at"] == 2 and state.batch_stats["calls"] == 2


def test_the_key_of_a_step_is_of_the_seed_and_the_step_alone():
    state, run = make(Teacher())
    other, told = run(state, 1.0)
    again = run(state, 5.0)[1]["noise"]
    assert told["noise"] == again != run(other, 1.0)[1]["noise"]
    assert told["noise"] != run(state.replace(seed=jnp.uint32(1)), 1.0)[1]["noise"]


@dataclasses.dataclass(frozen=True)
class Two(Line):
    """A second number beside the first."""

    def init(self, key):
        return {"w": jnp.float32(2.0), "still": jnp.float32(3.0)}, {"calls": jnp.float32(0)}

    def loss(self, params, stats, batch, key):
        value, aux = super().loss(params, stats, batch, key)
        return value + jnp.sqrt(params["still"] - 3), aux  # a gradient that is infinite

    def after_update(self, params, stats, step):
        return params, stats


def test_what_is_frozen_has_no_gradient_not_even_an_infinite_one():
    tx = optim.optimiser(smoke()["optimiser"] | {"warmup_steps": 0}, 10, ("still",))
    state, run = make(Two(frozen=("still",)), tx)
    state, told = run(state, 3.0, 3.0)
    assert (told["grad_norm"], told["skipped"]) == (3, 0)
    assert state.params["still"] == 3 and state.params["w"] < 2
    fresh, run = make(Two())
    assert run(fresh, 1.0)[1]["skipped"] == 1  # as it would be


def test_means_are_over_what_counted():
    found = step.means(
        {
            "loss": (jnp.float32(6), jnp.int32(4)),
            "whole": (jnp.uint32(4_000_000_001), jnp.int32(1)),
            "one": (jnp.float32(0.5), jnp.int32(1)),
            "nothing": (jnp.float32(0), jnp.int32(0)),
        }
    )
    assert found["loss"] == 1.5 and found["one"] == 0.5
    assert found["whole"] == 4_000_000_001 and type(found["whole"]) is int
    assert np.isnan(found["nothing"])


def test_the_order_checksum_sees_rows_places_and_one_changed_row():
    checksum = lambda *rows: int(step.order_checksum(jnp.array(rows, jnp.int32)))  # noqa: E731
    base = checksum(3, 1, 4, 15)
    assert base == checksum(3, 1, 4, 15)
    others = [checksum(*r) for r in ((1, 3, 4, 15), (3, 1, 15, 4), (3, 1, 4, 16), (0, 1, 4, 15))]
    assert len({base, *others}) == 5
    assert checksum(0, 0) != checksum(0) and checksum(0) != 0
    many = [checksum(*np.random.default_rng(seed).permutation(8)) for seed in range(50)]
    assert len(set(many)) > 45
    assert step.order_checksum(jnp.arange(3)).dtype == jnp.uint32
