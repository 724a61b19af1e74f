"""Modules as pure functions; and what a frozen subtree does in training: nothing."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sleepfm_jax import experiment
from sleepfm_jax.models.dropout import Dropout, DropoutStream
from sleepfm_jax.models.pure import Pure, statistics
from sleepfm_jax.training import freezing, optim
from sleepfm_jax.training import state as train_state
from sleepfm_jax.training.step import means, step_function
from tests.helpers.arrays import random_tree
from tests.helpers.runs import leaves_by_path, smoke


class Part(nnx.Module):
    """A weight, a dropout and a statistic that counts."""

    def __init__(self, rngs):
        self.linear = nnx.Linear(2, 2, rngs=rngs)
        self.dropout = Dropout(0.5)
        self.frozen = False
        self.count = nnx.BatchStat(jnp.zeros(()))


class Whole(nnx.Module):
    def __init__(self, rngs, parts=2):
        self.parts = nnx.List(Part(rngs) for _ in range(parts))
        self.dropout = Dropout(0.5)
        self.head = nnx.Linear(2, 1, rngs=rngs)


def test_a_description_splits_and_merges_without_arrays_of_its_own():
    pure = Pure(Whole)
    params, stats = pure.init(jax.random.key(0))
    assert stats == {"parts": {0: {"count": 0}, 1: {"count": 0}}}
    like = jax.tree.map(lambda x: (x.shape, x.dtype), (params, stats))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), pure.shapes()) == like
    again, _ = pure.init(jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, params, again)
    other, _ = pure.init(jax.random.key(1))
    assert not np.array_equal(params["head"]["kernel"], other["head"]["kernel"])
    module = pure.module(params, {"parts": {0: {"count": 3.0}, 1: {"count": 4.0}}})
    assert statistics(module) == {"parts": {0: {"count": 3}, 1: {"count": 4}}}
    np.testing.assert_array_equal(module.head.kernel[...], params["head"]["kernel"])
    assert pure == Pure(Whole) and hash(pure) == hash(Pure(Whole))
    assert pure != Pure(lambda rngs: Whole(rngs, parts=3))


@pytest.mark.parametrize(
    ("pattern", "frozen"),
    [
        ("^parts/0/", {"parts/0", "parts/0/dropout"}),
        ("^parts/", {"parts/0", "parts/0/dropout", "parts/1", "parts/1/dropout"}),
        ("^head/", set()),  # the dropout beside it belongs to all
        ("bias$", set()),  # no whole part
        (".", {"parts/0", "parts/0/dropout", "parts/1", "parts/1/dropout", "dropout"}),
    ],
)
def test_a_part_is_frozen_when_all_its_parameters_are(pattern, frozen):
    pure = Pure(Whole)
    model = pure.module(
        *pure.init(jax.random.key(0)), lambda path: freezing.is_frozen(path, (pattern,))
    )
    found = {
        "/".join(map(str, place)): module.frozen
        for place, module in nnx.iter_modules(model)
        if hasattr(module, "frozen")
    }
    assert {place for place, is_frozen in found.items() if is_frozen} == frozen
    assert len(found) == 5
    x, stream = jnp.ones((8, 8)), DropoutStream(jax.random.key(1))
    assert (model.dropout(x, stream) is x) == found["dropout"]
    untouched = pure.module(*pure.init(jax.random.key(0)))
    assert not untouched.dropout.frozen


# --- a tiny SleepFM, trained -------------------------------------------------------------------

SIZES = {"model.patch_samples": 64, "model.dropout": 0.5, "optimiser.warmup_steps": 0}
B, S, C = 6, 3, 6


@functools.cache
def batch():
    rng = np.random.default_rng(0)
    mask = rng.random((B, C, S)) < 0.9
    return {
        "signals": rng.integers(-3000, 3000, (B, C, S * 64)).astype(np.int16),
        "scale": np.full((B, C), 1e-3, np.float32),
        "mask": mask,
        "positions": rng.uniform(-1, 1, (B, C, 3)).astype(np.float32),
        "index": np.arange(B, dtype=np.int32),
    }


@functools.cache
def trained(*frozen):
    """The objective, and its state before and after two steps of training."""
    config = smoke(**SIZES, frozen=frozen)
    objective = experiment.make_objective(config)
    tx = optim.optimiser(config["optimiser"], 10, objective.frozen)
    params, stats = random_tree(jax.eval_shape(objective.init, jax.random.key(0)))
    params["log_scale"] = np.float32(1.0)
    state = before = train_state.of_parameters(params, jax.tree.map(np.abs, stats), tx, seed=0)
    step = jax.jit(step_function(objective, tx))
    for _ in range(2):
        state, told = step(state, batch())
        assert means(told)["skipped"] == 0
    return objective, before, state


def moved(before, after, field):
    """Paths that changed by a single bit, and all paths."""
    a, b = (leaves_by_path(getattr(state, field)) for state in (before, after))
    return {path for path in a if not np.array_equal(a[path], b[path])}, set(a)


def outputs(objective, state, keys):
    """Of the model under the objective's patterns, for each key; None: evaluation mode."""
    is_frozen = freezing.below("encoder", objective.frozen)

    def run(key):
        params, stats = state.params["encoder"], state.batch_stats["encoder"]
        return objective.model.apply(params, stats, batch(), key, is_frozen)[0]

    training = jax.jit(run)
    return [
        jax.device_get(jax.jit(lambda: run(None))() if seed is None else training(key))
        for seed in keys
        for key in [None if seed is None else jax.random.key(seed)]
    ]


def differ(one, other):
    return {name for name in one if not np.array_equal(one[name], other[name])}


def test_a_frozen_encoder_stays_bit_for_bit_and_trains_in_evaluation_mode():
    objective, before, after = trained("^encoder/")
    assert moved(before, after, "params")[0] == {"log_scale"}
    still, every = moved(before, after, "batch_stats")
    assert not still and len(every) == 12
    evaluation, one, other = outputs(objective, after, (None, 1, 2))
    assert not differ(one, other), "dropout"
    for name, value in evaluation.items():
        np.testing.assert_allclose(one[name], value, rtol=1e-5, atol=1e-5, err_msg=name)


def test_a_part_of_an_encoder_freezes_its_own_statistics_and_nothing_else():
    first = "encoder/tokenizer/stages/0/"
    objective, before, after = trained(f"^{first}")
    found, every = moved(before, after, "params")
    # Batch statistics subtract a convolution's bias again: it has no gradient in training.
    biases = {f"encoder/tokenizer/stages/{i}/bias" for i in range(6)}
    assert found == {path for path in every - biases if not path.startswith(first)}
    assert len(every - biases - found) == 5
    found, every = moved(before, after, "batch_stats")
    assert found == {path for path in every if not path.startswith(first)} and len(found) == 10
    evaluation, one, other = outputs(objective, after, (None, 1, 2))
    assert {"clip", "tokens"} == differ(one, other) == differ(evaluation, one)


def test_a_frozen_tokenizer_keeps_its_statistics_while_dropout_goes_on_behind_it():
    objective, before, after = trained("encoder/tokenizer")
    found, every = moved(before, after, "params")
    assert found == {path for path in every if "tokenizer" not in path}
    assert not moved(before, after, "batch_stats")[0]
    _, one, other = outputs(objective, after, (None, 1, 2))
    assert differ(one, other) == {"clip", "tokens"}
