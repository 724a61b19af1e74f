"""SleepPPG-Net on tiny sizes: shapes, padding, a step of training through the loop's own step."""

from __future__ import annotations

import jax
import numpy as np

from configs.staging import sleepppg_net as recipe
from sleepfm_jax import config as configuration
from sleepfm_jax import experiment
from sleepfm_jax.models import sleepppg_net
from sleepfm_jax.models.sleepppg_net import SleepPPGNet
from sleepfm_jax.objectives.staging import Staging
from sleepfm_jax.signals.night_layout import NightLayout
from sleepfm_jax.training import optim, step
from sleepfm_jax.training import state as train_state
from tests.helpers.tiny_nights import night, weights

SMALL = {"width": 16, "initial_channels": 4, "max_channels": 16, "sequence_blocks": 1}


def tiny(samples=16, **options):
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
    model = tiny(dropout=0.0)
    params, stats = weights(model)

    @jax.jit
    def both(batch):
        """In evaluation and in training."""
        trained, moved = model.apply(params, stats, batch, jax.random.key(0))
        return model.apply(params, stats, batch)[0]["logits"], trained["logits"], moved

    short, long = night(model, 2, 6), night(model, 2, 11, lengths=[6, 6])
    x = np.full((2, 11 * 16), 7.0, np.float32)  # what lies beyond may be anything
    x[:, : 6 * 16] = short["signal/PPG"]
    *ours, moved = both(short)
    *theirs, again = both(long | {"signal/PPG": x})
    for a, b in zip(ours, theirs):
        assert a.shape == (2, 6, 4)
        np.testing.assert_allclose(b[:, :6], a, rtol=1e-5, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), moved, again)


def test_the_loop_trains_it_also_where_a_night_lacks_the_signal():
    objective = Staging(tiny(), masking=(("PPG", 0.0),))
    optimiser = recipe.get_config("smoke").optimiser.to_dict()
    tx = optim.optimiser(optimiser, 20, objective.frozen)
    batch = night(objective, 3, present=[[True], [True], [False]])
    state = begun = train_state.create(objective, tx, seed=0)
    move = jax.jit(step.step_function(objective, tx))
    losses = []
    for _ in range(10):
        state, metrics = move(state, batch)
        assert not int(metrics["skipped"][0])
        losses.append(float(metrics["loss"][0]))
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    for after, before in zip(jax.tree.leaves(state.params), jax.tree.leaves(begun.params)):
        assert np.any(np.asarray(after) != np.asarray(before))


def test_its_recipes_are_whole():
    for variant in ("twin", "smoke"):
        config = recipe.get_config(variant).to_dict()
        configuration.check(config)
        assert experiment.make_objective(config).layout.names == ("PPG",)
