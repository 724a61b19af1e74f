"""Staging heads on frozen tokens: what is padded, absent or a gap changes nothing."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest

from sleepfm_jax import config as configuration
from sleepfm_jax import experiment
from sleepfm_jax.errors import ConfigError
from sleepfm_jax.objectives.staging import Staging
from tests.helpers.arrays import random_tree
from tests.helpers.token_nights import SMALL, night, tiny

every_kind = pytest.mark.parametrize("kind", SMALL)


@functools.cache
def held(kind):
    """A model, its weights, and it compiled."""
    model = tiny(kind)
    return model, random_tree(model.shapes()), jax.jit(model.apply)


def logits(kind, batch, **changed):
    _, weights, apply = held(kind)
    return np.asarray(apply(*weights, batch | changed)[0]["logits"])


@every_kind
def test_padding_changes_no_logit(kind):
    layout = held(kind)[0].layout
    batch = night(layout, lengths=[6, 4])
    longer = night(layout, sleep_epochs=9, lengths=[6, 4])
    longer["tokens"][:] = 7.0  # what lies beyond may be anything
    longer["token_mask"][:] = True
    for name in ("tokens", "token_mask"):
        longer[name][:, :6] = batch[name]
    longer["tokens"][1, 4:] = np.inf
    padded, plain = logits(kind, longer), logits(kind, batch)
    assert np.isfinite(padded).all()
    for row, length in enumerate((6, 4)):
        np.testing.assert_allclose(padded[row, :length], plain[row, :length], rtol=0, atol=1e-5)


@every_kind
def test_what_is_absent_changes_no_logit(kind):
    """Cleared columns of `present` are what the evaluator of subsets asks with."""
    batch = night(held(kind)[0].layout)
    present = batch["present"].copy()
    present[0, 1] = present[1] = False
    tokens = batch["tokens"].copy()
    tokens[0, :, 1] = 5.0
    asked = logits(kind, batch, present=present)
    np.testing.assert_array_equal(asked, logits(kind, batch, present=present, tokens=tokens))
    assert np.isfinite(asked).all()  # of a night without anything, too
    assert np.abs(asked[0] - logits(kind, batch)[0]).max() > 1e-3


@every_kind
def test_a_gap_changes_nothing_by_what_it_holds(kind):
    batch = night(held(kind)[0].layout)
    mask = batch["token_mask"].copy()
    mask[0, 2, 1, 0] = mask[0, 4] = False
    tokens = batch["tokens"].copy()
    tokens[0, 2, 1, 0] = tokens[0, 4] = np.nan
    asked = logits(kind, batch, token_mask=mask)
    assert np.isfinite(asked).all()
    np.testing.assert_array_equal(asked, logits(kind, batch, token_mask=mask, tokens=tokens))


@every_kind
def test_a_step_of_training_moves_every_parameter(kind):
    model, weights, _ = held(kind)
    objective = Staging(model, turn_over=False)
    params, stats = ({"encoder": tree} for tree in weights)

    def loss(params, batch, key):
        return objective.loss(params, stats, batch, key)[0]

    found = jax.jit(jax.grad(loss))(params, night(model.layout), jax.random.key(0))
    for path, leaf in jax.tree_util.tree_leaves_with_path(found):
        assert np.isfinite(leaf).all(), path
    assert sum(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(found)) > 0.7 * len(
        jax.tree.leaves(found)
    )


def test_with_all_there_linear_is_one_layer_on_the_means():
    model, (params, _), _ = held("token_linear")
    batch = night(model.layout)
    means = batch["tokens"].mean(3)  # [B, E, N, D]
    wanted = np.einsum("bend,ndk->bek", means, params["kernel"]) + params["bias"].sum(0)
    np.testing.assert_allclose(3 * logits("token_linear", batch), wanted, rtol=1e-4, atol=1e-5)


def test_layouts_and_refusals():
    model = tiny("token_linear", signals=())
    assert model.layout.names == ("BAS", "ECG", "EMG", "RESP")
    assert dict(model.layout.slots)["bas"] == 10
    assert tiny("token_linear").layout.slots == ()
    with pytest.raises(ConfigError, match="no signal BAS"):
        tiny("token_linear", signals=("BAS",))
    config = configuration.defaults(model="token_mixer", objective="staging")
    with pytest.raises(ConfigError, match="turn_over is True"):
        experiment.make_objective(config)
    config["objective"]["turn_over"], config["model"]["heads"] = False, 7
    with pytest.raises(ConfigError, match="not divisible by 7 heads"):
        experiment.make_objective(config)
