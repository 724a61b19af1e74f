"""SleepPPG-Net on tiny sizes: shapes, padding, a step of training through the loop's own step."""

from __future__ import annotations

import jax
import numpy as np

from configs.staging import sleepppg_net as recipe
from sleepfm_jax import config as configuration
from sleepfm_jax import experiment
from sleepfm_jax.models import sleepppg_net
from sleepfm_jax.models.sleepppg_net import SleepPPGNet
from sleepfm_jax.signals.night_layout import NightLayout
from sleepfm_jax.training import optim, step
from sleepfm_jax.training import state as train_state
from tests.helpers.tiny_nights import night, weights

SMALL = {"width": 16, "initial_channels": 4, "max_channels": 16, "sequence_blocks": 1}


def tiny(samples=32, **options):
    section = configuration.section_defaults("model", "sleepppg_net")
    section |= SMALL | {"dilations": 2} | options
    layout = NightLayout((("PPG", samples),), sleep_epochs=8, longest=16)
    return SleepPPGNet(sleepppg_net.sizes(section, samples), layout)


def test_the_published_sizes():
    config = recipe.get_config().to_dict()
    configuration.check(config)
    model = experiment.make_model(config)
    assert model.sizes.channels(1024) == (16, 16, 32, 32, 64, 64, 128, 256)
    assert model.layout.signals == (("PPG", 1024),) and model.layout.sleep_epochs == 1200
    params, _ = model.shapes()
    assert params["encoder"]["dense"]["kernel"].shape == (4 * 256, 128)
    kernels = [b["convs"][i]["conv"]["kernel"].shape
               for b in params["sequence"]["blocks"].values() for i in range(6)]  # fmt: skip
    assert kernels == [(7, 128, 128)] * 12
    out, _ = jax.eval_shape(model.apply, *model.shapes(), night(model, 1, 1200))
    assert out["logits"].shape == (1, 1200, 4)


def test_padding_changes_no_logit_and_no_statistic():
    model = tiny()
    params, stats = weights(model)
    apply = jax.jit(model.apply)
    short, long = night(model, 2, 6), night(model, 2, 11, lengths=[6, 6])
    x = np.full((2, 11 * 32), 7.0, np.float32)  # what lies beyond may be anything
    x[:, : 6 * 32] = short["signal/PPG"]
    long["signal/PPG"] = x
    for key in (None, jax.random.key(0)):
        a, moved = apply(params, stats, short, key)
        b, again = apply(params, stats, long, key)
        if key is None:
            np.testing.assert_allclose(b["logits"][:, :6], a["logits"], rtol=1e-5, atol=1e-5)
        for ours, theirs in zip(
            jax.tree.leaves(moved["encoder"]), jax.tree.leaves(again["encoder"])
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_night_without_the_signal_is_finite():
    model = tiny()
    batch = night(model, present=[[True], [False]])
    logits = model.apply(*weights(model), batch)[0]["logits"]
    assert logits.shape == (2, 8, 4) and np.isfinite(logits).all()


def test_the_loop_trains_it():
    config = recipe.get_config("smoke").to_dict()
    configuration.check(config)
    config["data"].update(night_hours=0.05, night_hours_longest=0.05)
    objective = experiment.make_objective(config)
    tx = optim.optimiser(config["optimiser"], 20, objective.frozen)
    batch = night(objective, 2, objective.layout.sleep_epochs)
    state = train_state.create(objective, tx, seed=0)
    move = jax.jit(step.step_function(objective, tx))
    losses = []
    for _ in range(8):
        state, metrics = move(state, batch)
        assert not int(metrics["skipped"][0])
        losses.append(float(metrics["loss"][0]))
    assert losses[-1] < losses[0]
    before = train_state.create(objective, tx, seed=0)
    changed = jax.tree.map(
        lambda a, b: bool(np.any(np.asarray(a) != np.asarray(b))), state.params, before.params
    )
    assert all(jax.tree.leaves(changed))
