"""Staging of nights: what counts, what is left out, which weights are evaluated."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepfm_jax import config as configuration
from sleepfm_jax import experiment
from sleepfm_jax.errors import ConfigError
from sleepfm_jax.signals.stages import class_of_stage
from sleepfm_jax.training import optim
from sleepfm_jax.training import state as train_state
from sleepfm_jax.training.step import means, step_function

MODEL = "tests.helpers.night_means"
B, E, SAMPLES = 4, 8, 4
SIGNALS = ("ABD", "ECG", "THX")


def configured(**changes):
    config = configuration.defaults(model=MODEL, objective="staging")
    config["model"]["samples"] = SAMPLES
    for path, value in changes.items():
        *sections, key = path.split(".")
        functools.reduce(dict.__getitem__, sections, config)[key] = value
    configuration.check(config)
    return config


def objective(**changes):
    return experiment.make_objective(configured(**changes))


def nights(seed=0):
    rng = np.random.default_rng(seed)
    found = {
        f"signal/{name}": rng.normal(size=(B, E * SAMPLES)).astype(np.float32) for name in SIGNALS
    }
    return found | {
        "present": np.ones((B, len(SIGNALS)), bool),
        "epoch_mask": np.ones((B, E), bool),
        "stages": rng.integers(0, 5, (B, E)).astype(np.int32),
        "index": np.arange(B, dtype=np.int32),
    }


@functools.partial(jax.jit, static_argnums=0)
def evaluated(chosen, params, stats, batch, key=None):
    def loss(params):
        return chosen.loss(params, stats, batch, key)

    (value, (_, metrics)), slope = jax.value_and_grad(loss, has_aux=True)(params)
    return value, slope, metrics, chosen.predict(params, stats, batch)["probabilities"]


def start(chosen):
    return jax.jit(chosen.init)(jax.random.key(0))


def test_classes_of_stages():
    assert class_of_stage(("W", "N1+N2", "N3", "REM")) == (0, 1, 1, 2, 3)
    assert class_of_stage(("W", "N1", "N2", "N3", "REM")) == (0, 1, 2, 3, 4)
    assert class_of_stage(("N1+N2+N3", "REM")) == (-1, 0, 0, 0, 1)
    for classes in (("W", "N4"), ("W", "N1+N1"), ("W", "N1+N2", "N2")):
        with pytest.raises(ConfigError, match="is no stage, or there twice"):
            class_of_stage(classes)


@pytest.mark.parametrize("classes", [4, 5])
def test_the_loss_is_the_mean_over_the_scored(classes):
    names = ("W", "N1+N2", "N3", "REM") if classes == 4 else ("W", "N1", "N2", "N3", "REM")
    chosen = objective(**{"model.classes": names})
    assert chosen.layout.classes == names and not chosen.distinct_rows
    params, stats = start(chosen)
    batch = nights()
    batch["stages"][0, :3] = -1
    batch["epoch_mask"][1, 5:] = False
    batch["index"][2] = -1
    batch["present"][3] = [False, True, False]
    value, _, metrics, probabilities = evaluated(chosen, params, stats, batch)
    assert probabilities.shape == (B, E, classes)
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-6)
    table = np.array([0, 1, 1, 2, 3] if classes == 4 else range(5))
    terms, right = [], []
    for b, e in np.ndindex(B, E):
        if batch["stages"][b, e] >= 0 and batch["epoch_mask"][b, e] and b != 2:
            target = table[batch["stages"][b, e]]
            terms.append(-np.log(probabilities[b, e, target]))
            right.append(probabilities[b, e].argmax() == target)
    np.testing.assert_allclose(value, np.mean(terms), rtol=1e-5)
    total, count = metrics["loss"]
    assert count == len(terms) and metrics["accuracy"] == (sum(right), len(right))
    np.testing.assert_allclose(total / count, value, rtol=1e-6)


def unscored(batch):
    batch["stages"][:] = -1


def outside(batch):
    batch["epoch_mask"][:] = False


def filling(batch):
    batch["index"][:] = -1


def without_signals(batch):
    batch["present"][:] = False


@pytest.mark.parametrize("nothing", [unscored, outside, filling, without_signals])
@pytest.mark.parametrize("key", [None, jax.random.key(3)])
def test_a_batch_with_nothing_scored_teaches_nothing(nothing, key):
    """The published loss of it is NaN, with gradients of zero."""
    chosen = objective()
    params, stats = start(chosen)
    batch = nights()
    nothing(batch)
    value, slope, metrics, _ = evaluated(chosen, params, stats, batch, key)
    assert value == 0 and metrics["loss"] == (0, 0)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(slope))


def test_what_does_not_count_has_no_part():
    chosen = objective()
    params, stats = start(chosen)
    batch = nights()
    batch["index"][2] = -1
    batch["epoch_mask"][0, 6:] = False
    one = evaluated(chosen, params, stats, batch)
    batch["stages"][2] = 3
    batch["stages"][0, 6:] = 1
    batch["signal/ECG"][2] = 1e6
    two = evaluated(chosen, params, stats, batch)
    assert one[0] == two[0]
    jax.tree.map(np.testing.assert_array_equal, one[1], two[1])


def test_a_subset_is_evaluated_by_what_is_present():
    chosen = objective()
    params, stats = start(chosen)
    batch = nights()
    ecg = batch | {"present": batch["present"] & [False, True, False]}
    other = ecg | {"signal/THX": 5 * batch["signal/THX"]}
    predict = jax.jit(chosen.predict)
    np.testing.assert_array_equal(
        *(predict(params, stats, b)["probabilities"] for b in (ecg, other))
    )
    everything = predict(params, stats, batch)["probabilities"]
    assert np.abs(everything - predict(params, stats, ecg)["probabilities"]).max() > 0.01


def test_training_leaves_signals_out_and_turns_them_over_and_evaluation_does_not():
    batch = nights()
    key = jax.random.key(5)
    none = dict.fromkeys(configuration.section_defaults("objective", "staging")["masking"], 0.0)
    losses = {}
    for name, changes in {
        "both": {},
        "turned": {"objective.masking": none},
        "neither": {"objective.masking": none, "objective.turn_over": False},
    }.items():
        chosen = objective(**changes)
        params, stats = start(chosen)
        training = [float(evaluated(chosen, params, stats, batch, k)[0]) for k in (key, key)]
        assert training[0] == training[1], "the same key, the same coins"
        losses[name] = (training[0], float(evaluated(chosen, params, stats, batch)[0]))
    assert losses["neither"][0] == losses["neither"][1]
    assert len({training for training, _ in losses.values()}) == 3
    assert len({value for _, value in losses.values()}) == 1


def test_the_average_is_evaluated_and_moves_with_the_loop():
    chosen = objective(**{"objective.average_decay": 0.5, "objective.average_from": 2})
    tx = optim.optimiser(configured()["optimiser"] | {"warmup_steps": 0}, 10)
    step = jax.jit(step_function(chosen, tx))
    state = train_state.create(chosen, tx, seed=0)
    batch = nights()
    kernels = []
    for number in range(1, 4):
        broken = batch | {k: x * np.nan for k, x in batch.items() if k.startswith("signal/")}
        state, metrics = step(state, broken if number == 2 else batch)
        kernels.append(state.params["encoder"]["kernel"])
        assert np.isfinite(means(metrics)["loss"]) == (number != 2)
    assert state.batch_stats["average"]["updates"] == 2  # the refused one moved nothing
    found = state.batch_stats["average"]["params"]["encoder"]["kernel"]
    np.testing.assert_allclose(found, (kernels[0] + kernels[2]) / 2, rtol=1e-6)
    predicted = chosen.predict(state.params, state.batch_stats, batch)["probabilities"]
    plain = objective()
    averaged = {"encoder": state.batch_stats["average"]["params"]["encoder"]}
    wanted = plain.predict(averaged, state.batch_stats, batch)["probabilities"]
    np.testing.assert_allclose(predicted, wanted, rtol=1e-5)
    latest = plain.predict(state.params, state.batch_stats, batch)["probabilities"]
    assert np.abs(predicted - latest).max() > 0


def test_an_average_does_not_begin_with_what_a_run_does_not():
    for changes in ({"initialise_from": ""}, {"objective.average_from": 1}):
        objective(
            **{"objective.average_decay": 0.9, "objective.average_from": 0, "initialise_from": "A"}
            | changes
        )
    with pytest.raises(ConfigError, match="average_from is 0"):
        objective(
            **{"objective.average_decay": 0.9, "objective.average_from": 0, "initialise_from": "A"}
        )


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("objective.masking.ECG", 1.5, "objective.masking.ECG is 1.5"),
        ("objective.average_decay", 1.0, "objective.average_decay is 1.0"),
    ],
)
def test_keys_have_bounds(path, value, message):
    with pytest.raises(ConfigError, match=message):
        configured(**{path: value})


def test_an_unknown_signal_is_refused():
    config = configured()
    config["objective"]["masking"]["ECGG"] = 0.5
    with pytest.raises(ConfigError, match=r"config\.objective\.masking: unknown key ECGG"):
        configuration.check(config)


def test_what_is_frozen_stays():
    chosen = objective(frozen=("^encoder/kernel",))
    tx = optim.optimiser(configured()["optimiser"] | {"warmup_steps": 0}, 10, chosen.frozen)
    state = train_state.create(chosen, tx, seed=0)
    new, _ = jax.jit(step_function(chosen, tx))(state, nights())
    np.testing.assert_array_equal(*(s.params["encoder"]["kernel"] for s in (new, state)))
    assert jnp.any(new.params["encoder"]["bias"] != state.params["encoder"]["bias"])
