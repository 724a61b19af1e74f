"""How a run begins: resume → initialise → fresh; and what initialising takes and leaves."""

from __future__ import annotations

import json
import logging

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sleepfm_jax import config as configuration
from sleepfm_jax.errors import CheckpointError
from sleepfm_jax.training import sharding
from sleepfm_jax.training import state as train_state
from sleepfm_jax.training.checkpoint import Checkpoints
from sleepfm_jax.training.start import initialise, parameter_count, start
from tests.config.test_config import FLAT
from tests.helpers.runs import leaves_by_path, smoke

TX = optax.adam(1e-3)


def encoder(value, width=3):
    """An encoder's parameters and statistics, with layers in a list as NNX gives them."""
    layer = {"up": {"kernel": jnp.full((2, width), value)}, "norm": {"scale": jnp.full(2, value)}}
    return {"layers": {0: layer, 1: layer}}, {"mean": jnp.full(4, value), "count": jnp.int32(value)}


def make_state(value=0.0, width=3, **others):
    params, stats = encoder(value, width)
    return train_state.of_parameters(
        {"encoder": params} | others, {"encoder": stats}, TX, seed=int(value)
    )


def save(folder, step, state, about=None):
    checkpoints = Checkpoints(folder)
    checkpoints.save(step, state.replace(step=jnp.int32(step)), about or {"config": {}})
    checkpoints.close()
    return folder


def begin(folder, config, create):
    """`start` on the mesh that all runs have; its checkpoints are closed."""
    mesh = sharding.make_mesh()
    shardings = sharding.tree_shardings(jax.eval_shape(create), mesh, sharding.REPLICATED)
    create = jax.jit(create, out_shardings=shardings)
    checkpoints = Checkpoints(folder)
    try:
        found = start(checkpoints, json.loads(json.dumps(config)), create, shardings, {})
    finally:
        checkpoints.close()
    for leaf in jax.tree.leaves(found.state):
        assert leaf.sharding == sharding.replicated(mesh)
    return found


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """The folder of another run, at step 9; all its numbers are 7; it learned a logit scale."""
    other = make_state(7.0, log_scale=jnp.float32(7))
    return str(save(tmp_path_factory.mktemp("elsewhere") / "checkpoints", 9, other))


def fresh():
    return make_state(1.0, head=jnp.ones(5))


def numbers(state):
    """{path: the number that fills it} of parameters and statistics."""
    leaves = leaves_by_path({"params": state.params, "batch_stats": state.batch_stats})
    assert all((leaf == leaf.flat[0]).all() for leaf in leaves.values())
    return {path: float(leaf.flat[0]) for path, leaf in leaves.items()}


def test_resume_comes_before_initialise_and_that_before_fresh(elsewhere, tmp_path):
    config = smoke(initialise_from=elsewhere)
    found = begin(tmp_path, smoke(), fresh)
    assert (found.step, found.about) == (0, {}) and set(numbers(found.state).values()) == {1}
    found = begin(tmp_path, config, fresh)
    assert (found.step, found.about, int(found.state.step)) == (0, {}, 0)
    wanted = dict.fromkeys(numbers(found.state), 7) | {"params/head": 1}
    assert numbers(found.state) == wanted
    assert int(found.state.seed) == 1  # its own, not that of the other run
    jax.tree.map(np.testing.assert_array_equal, found.state.opt_state, fresh().opt_state)
    about = {"config": json.loads(json.dumps(config)), "data_position": {"next_index": 3}}
    mine = make_state(3.0, head=jnp.full(5, 3.0))
    save(tmp_path, 3, mine, about)
    found = begin(tmp_path, config, fresh)
    assert (found.step, found.about, int(found.state.step)) == (3, about, 3)
    assert set(numbers(found.state).values()) == {3} and int(found.state.seed) == 3


def test_initialise_takes_what_has_the_same_path_and_shape_and_says_what_not(elsewhere, caplog):
    def state(width=3):
        made = make_state(1.0, width, head=jnp.ones(5))
        return jax.device_put(made, sharding.replicated(sharding.make_mesh()))

    with caplog.at_level(logging.INFO, logger="absl"):
        found = numbers(initialise(state(), elsewhere)[0])
    assert found.pop("params/head") == 1 and set(found.values()) == {7} and len(found) == 6
    assert f"6 arrays from step 9 of {elsewhere}" in caplog.text
    assert "1 arrays stay fresh: head" in caplog.text
    told = "1 arrays of the checkpoint have no place or another shape here: log_scale"
    assert told in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="absl"):
        wider = numbers(initialise(state(width=4), elsewhere)[0])
    kernels = {f"params/encoder/layers/{i}/up/kernel" for i in (0, 1)}
    assert {path for path, value in wider.items() if value == 1} == kernels | {"params/head"}
    assert "3 arrays stay fresh: encoder/layers/0/up/kernel, encoder/layers/1/up/ker" in caplog.text
    assert "3 arrays of the checkpoint have no place or another shape" in caplog.text


def test_whom_the_weights_were_trained_on_before_is_carried_on(tmp_path):
    """Otherwise a probe would score people that the encoder knows from its first run."""
    told = save(tmp_path / "told", 9, make_state(7.0), {"config": {}, "subjects": ["b", "a"]})
    silent = save(tmp_path / "silent", 9, make_state(7.0), {"config": {}})
    assert begin(tmp_path / "fresh", smoke(), make_state).earlier == frozenset()
    for source, wanted in ((told, {"a", "b"}), (silent, None)):
        run, config = tmp_path / f"from_{source.name}", smoke(initialise_from=str(source))
        assert begin(run, config, make_state).earlier == wanted
        said = {} if wanted is None else {"subjects": ["a", "b", "c"]}
        save(run, 2, make_state(3.0), {"config": config, **said})
        assert begin(run, config, make_state).earlier == (wanted and wanted | {"c"})
    # A run from fresh weights knows its people, though an earlier version did not write them down.
    save(tmp_path / "older", 2, make_state(3.0), {"config": smoke()})
    assert begin(tmp_path / "older", smoke(), make_state).earlier == frozenset()


def test_converted_weights_are_not_pushed_out(tmp_path):
    save(tmp_path, 0, make_state(7.0))
    with pytest.raises(CheckpointError, match=r"converted weights.* --config\.initialise_from"):
        begin(tmp_path, smoke(), make_state)


def test_a_checkpoint_of_which_nothing_fits_is_refused(elsewhere, tmp_path):
    """Statistics alone are nothing."""
    made = make_state(1.0)
    other = made.replace(params={"wav2sleep": jnp.ones(2)})
    with pytest.raises(CheckpointError) as error:
        initialise(other, elsewhere)
    message = str(error.value)
    assert message.startswith(f"{elsewhere}: nothing in it fits: this run has parameters like ")
    assert "wav2sleep" in message and "; the checkpoint has encoder/count, " in message
    with pytest.raises(CheckpointError, match="no such checkpoint folder"):
        initialise(made, str(tmp_path / "nowhere"))


def test_a_run_from_before_sections_had_kinds_goes_on(tmp_path):
    """Its configuration is flat, and it knew of no optimiser's groups and of no best step."""
    now = configuration.defaults()
    now |= {name: FLAT[name] for name in ("batch_size", "steps", "seed", "save_every", "log_every")}
    now["data"] |= FLAT["data"]
    now["data"]["slots"] = {"bas": 2, "resp": 2, "ecg": 0, "emg": 1}
    now["model"] |= FLAT["encoder"] | {"batch_statistics": "per_modality"}
    now["objective"] |= {"loss": "pairwise", "log_scale": 2.5}
    now["optimiser"] |= FLAT["optimiser"]
    configuration.check(now)
    save(tmp_path, 2, make_state(3.0), {"config": FLAT, "data_position": {"next_index": 2}})
    found = begin(tmp_path, now, make_state)
    assert found.step == 2 and found.about["config"] == FLAT
    assert set(numbers(found.state).values()) == {3}
    now["model"]["dropout"] = 0.3
    told = "config.model.dropout: 0.1 in the checkpoint, 0.3 now"
    with pytest.raises(CheckpointError, match=told):
        begin(tmp_path, now, make_state)


def test_what_changes_no_number_may_change(tmp_path):
    saved = json.loads(json.dumps(smoke()))
    save(tmp_path, 2, make_state(3.0), {"config": saved})
    free = {
        "mesh": {"data": 2, "model": -1},
        "save_every": 7,
        "data.num_threads": 9,
        "keep": 5,
        "keep_best.figure": "validation/loss",
        "evaluators.validation.every": 3,
    }
    assert begin(tmp_path, smoke(**free), make_state).step == 2
    for name, value in {
        "seed": 1,
        "steps": 5,
        "batch_size": 16,
        "data.slots": {"bas": 1},
        "frozen": ("^encoder/",),
        "initialise_from": "elsewhere",
    }.items():
        with pytest.raises(CheckpointError, match=f"config.{name}.* now") as error:
            begin(tmp_path, smoke(**{name: value}), make_state)
        assert str(error.value).startswith(f"{tmp_path}: made with another configuration (")
        assert "give another workdir, or the same configuration" in str(error.value)


def test_parameters_are_counted_by_their_numbers():
    assert parameter_count(make_state(head=jnp.ones(5)).params) == 2 * (6 + 2) + 5
