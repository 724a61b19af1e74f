"""Cox's model on tokens: who counts, and what it makes of a batch."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest

from sleepfm_jax import config as configuration
from sleepfm_jax import experiment
from sleepfm_jax.errors import ConfigError
from sleepfm_jax.losses.survival import cox_ph
from tests.helpers.followed_nights import B, E, objective
from tests.helpers.followed_nights import batch as nights


@functools.cache
def made(**changes):
    chosen = objective(**changes)
    params, stats = jax.jit(chosen.init)(jax.random.key(0))
    loss = jax.jit(jax.value_and_grad(lambda p, b: chosen.loss(p, stats, b, None), has_aux=True))
    predict = jax.jit(lambda p, b: chosen.predict(p, stats, b)["log_hazards"])
    return params, loss, predict


def test_the_loss_is_coxs_of_what_is_predicted():
    batch = nights()
    params, loss, predict = made()
    hazards = np.asarray(predict(params, batch))
    assert hazards.shape == (B, 2) and hazards.dtype == np.float32
    known = np.isfinite(batch["events"])
    (found, (_, metrics)), _ = loss(params, batch)
    wanted = cox_ph(hazards, batch["times"], np.nan_to_num(batch["events"]), "breslow", known)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    count = np.nansum(batch["events"])
    assert metrics["events"][0] == metrics["loss"][1] == count
    np.testing.assert_allclose(metrics["loss"][0], found * count, rtol=1e-6)


def test_filling_padding_and_the_unknown_change_nothing():
    batch = nights()
    batch["epoch_mask"][1, 2:] = False
    params, loss, predict = made()
    (before, _), gradient = loss(params, batch)
    filled = {name: np.concatenate([x, x[:1]]) for name, x in batch.items()}
    filled["index"][-1] = -1
    filled["events"][-1] = 1
    filled["tokens"][1, 2:] = np.nan
    filled["tokens"][2, :, 1] = 1e30  # of a sequence that the night does not have
    filled["times"][-2, 1] = 0.01  # of an event of which nothing is known
    (after, _), moved = loss(params, filled)
    np.testing.assert_allclose(after, before, rtol=1e-5)
    for x, y in zip(jax.tree.leaves(moved), jax.tree.leaves(gradient)):
        np.testing.assert_allclose(x, y, atol=1e-6)
    said = np.asarray(predict(params, filled))
    assert np.isnan(said[-1]).all(), "of a row of which nothing was recorded"
    assert np.isfinite(said[:-1]).all()


def test_nobody_falls_ill():
    batch = nights()
    batch["events"] = np.zeros_like(batch["events"])
    params, loss, _ = made()
    (found, (_, metrics)), gradient = loss(params, batch)
    assert found == 0 and metrics["loss"][1] == 0
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(gradient))


def test_age_and_sex_are_optional():
    batch = nights()
    params, _, predict = made()
    with_age = np.asarray(predict(params, batch))
    unknown = batch | {"demographics": np.full((B, 2), np.nan, np.float32)}
    middle = batch | {"demographics": np.tile(np.float32([50, 0.5]), (B, 1))}
    without = np.asarray(predict(params, unknown))
    np.testing.assert_array_equal(without, predict(params, middle))
    assert np.abs(with_age - without).max() > 1e-3
    params, _, predict = made(demographics=0)
    assert "demographics" not in params["head"]
    np.testing.assert_array_equal(predict(params, unknown), predict(params, batch))


def test_training_draws():
    batch = nights()
    chosen = objective(head_dropout=0.5)
    params, stats = chosen.init(jax.random.key(0))
    loss = jax.jit(lambda key: chosen.loss(params, stats, batch, key)[0])
    one, again, other = (loss(jax.random.key(i)) for i in (1, 1, 2))
    assert one == again != other


def test_what_it_asks_of_rows_and_of_the_model():
    layout = objective().layout
    assert layout.follow_up.labels == ("death", "stroke") and layout.names == ("BAS", "ECG")
    with pytest.raises(ConfigError, match="not divisible by head_pooling_heads=3"):
        objective(head_pooling_heads=3)
    config = configuration.defaults(model="wav2sleep", objective="survival")
    with pytest.raises(ConfigError, match="'wav2sleep' gives no tokens"):
        experiment.make_objective(config)
    plain = configuration.defaults()
    row = configuration.section_defaults("evaluator", "survival")
    plain["evaluators"] = {"test": row}
    with pytest.raises(ConfigError, match="needs an objective with times to events"):
        experiment.make_evaluators(plain, experiment.make_objective(plain))


@pytest.mark.real
def test_published_weights_in_this_objective(shared):
    """The recorded log hazards of the published model, of the batch that nights of tokens make."""
    from sleepfm_jax.interop import from_torch

    file = np.load(shared / "golden" / "g_cox_lstm_demo.npz")
    sd = {k.removeprefix("sd/"): file[k] for k in file.files if k.startswith("sd/")}
    head = from_torch("cox_lstm", sd)
    chosen = objective(
        width=128,
        tokens=5,
        slots={"bas": 1, "resp": 1, "ecg": 1, "emg": 1},
        labels=tuple(f"d{i}" for i in range(12)),
        head_layers=2,
        head_pooling_heads=8,
        head_mlp_dim=2048,
        demographics=32,
    )
    x, valid, demo = file["in/x"], file["in/mask"] == 0, file["in/demo"]
    b, c, s, d = x.shape
    e = s // 5
    batch = {
        "tokens": x.reshape(b, c, e, 5, d).swapaxes(1, 2),  # [B, E, N, P, D]
        "token_mask": valid.reshape(b, c, e, 5).swapaxes(1, 2),
        "present": np.ones((b, c), bool),
        "epoch_mask": np.ones((b, e), bool),
        "demographics": np.stack([50 + 20 * demo[:, 0], (demo[:, 1] + 1) / 2], 1),
        "index": np.arange(b),
    }
    params = {"encoder": {}, "head": head.params}
    with jax.default_matmul_precision("highest"):
        found = chosen.predict(params, {"encoder": {}, "head": {}}, batch)["log_hazards"]
    assert np.abs(np.asarray(found, np.float64) - file["out64/hazards"]).max() < 5e-6


def test_the_night_is_read_in_time():
    """A sleep_epoch's tokens stay together: those of another night change nothing."""
    batch = nights()
    params, _, predict = made()
    before = np.asarray(predict(params, batch))
    turned = batch | {"tokens": batch["tokens"][:, ::-1]}
    assert np.abs(np.asarray(predict(params, turned)) - before).max() > 1e-4, "order matters"
    batch["tokens"] = batch["tokens"].copy()
    batch["tokens"][0, E - 1] += 1
    after = np.asarray(predict(params, batch))
    np.testing.assert_array_equal(after[1:], before[1:])
    assert np.abs(after[0] - before[0]).max() > 1e-4
