"""Checkpoints: what comes back, what does not fit, and that a reader leaves a run alone."""

from __future__ import annotations

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sleepfm_jax.errors import CheckpointError
from sleepfm_jax.training import state as train_state
from sleepfm_jax.training.checkpoint import Checkpoints, open_existing
from tests.helpers.runs import fingerprint, leaves_by_path

HERE = jax.sharding.SingleDeviceSharding(jax.devices()[0])


def make_state(step=0):
    """Of a model with a list of layers; every number tells its step."""
    params = {
        "encoder": {"layers": {0: {"kernel": jnp.full((2, 3), 1.5 + step)}, 1: {"b": jnp.ones(2)}}},
        "log_scale": jnp.float32(step),
    }
    stats = {"encoder": {"mean": jnp.arange(4.0) + step}}
    state = train_state.of_parameters(params, stats, optax.adam(1e-3), seed=2**31 + 1)
    return state.replace(step=jnp.int32(step))


def shapes(tree):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=HERE), tree)


def same(found, wanted):
    found, wanted = leaves_by_path(found), leaves_by_path(wanted)
    assert found.keys() == wanted.keys()
    for path, leaf in wanted.items():
        np.testing.assert_array_equal(found[path], leaf, err_msg=path)
        assert found[path].dtype == leaf.dtype


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A workdir whose checkpoints are those of steps 4 and 6; 2 was too old."""
    workdir = tmp_path_factory.mktemp("run")
    checkpoints = Checkpoints(workdir / "checkpoints", keep=2)
    assert checkpoints.latest() is None
    for step in (2, 4, 6):
        checkpoints.save(step, make_state(step), {"config": {"seed": step}, "subjects": ["é", "b"]})
    checkpoints.wait()
    assert checkpoints.latest() == 6
    checkpoints.close()
    return workdir


def test_a_state_comes_back_bit_for_bit_with_what_was_said(run):
    for folder in (run, run / "checkpoints", str(run)):
        checkpoints = open_existing(folder)
        assert checkpoints.latest() == 6
        for step in (4, 6):
            state, about = checkpoints.restore(step, shapes(make_state()))
            same(state, make_state(step))
            assert about == checkpoints.about(step)
            assert about == {"config": {"seed": step}, "subjects": ["é", "b"]}
        checkpoints.close()


def test_parts_come_back_without_the_optimiser(run):
    wanted = {"params": make_state(4).params, "batch_stats": make_state(4).batch_stats}
    checkpoints = open_existing(run)
    same(checkpoints.restore_parts(4, shapes(wanted)), wanted)
    some = {"params": {"encoder": {"layers": {0: wanted["params"]["encoder"]["layers"][0]}}}}
    same(checkpoints.restore_parts(4, shapes(some)), some)
    checkpoints.close()


def test_shapes_say_what_there_is(run):
    checkpoints = open_existing(run)
    there = checkpoints.shapes(6)
    checkpoints.close()
    assert {"params", "batch_stats", "opt_state", "step", "seed"} <= there.keys()
    layers = there["params"]["encoder"]["layers"]
    assert tuple(layers["0"]["kernel"].shape) == (2, 3) and layers.keys() == {"0", "1"}


def test_a_step_that_is_not_there_is_named_with_those_that_are(run):
    checkpoints = open_existing(run)
    with pytest.raises(CheckpointError, match="no checkpoint of step 2; there are 4, 6"):
        checkpoints.about(2)
    checkpoints.close()


def test_a_checkpoint_of_another_model_does_not_fit(run):
    other = make_state()
    other.params["encoder"]["layers"][1]["b"] = jnp.ones(7)
    checkpoints = open_existing(run)
    told = (
        "step 4 does not fit this model: params/encoder/layers/1/b has shape .2,. there, .7,. here"
    )
    with pytest.raises(CheckpointError, match=told):
        checkpoints.restore_parts(4, shapes({"params": other.params}))
    with pytest.raises(CheckpointError, match="step 4 does not fit this model"):
        checkpoints.restore(4, shapes(other))
    checkpoints.close()


def test_a_reader_leaves_a_run_as_it_is_a_save_in_flight_too(run, tmp_path):
    run = shutil.copytree(run, tmp_path / "run")
    in_flight = run / "checkpoints" / "8.orbax-checkpoint-tmp"
    (in_flight / "state").mkdir(parents=True)
    (in_flight / "state" / "half").write_text("of a checkpoint")
    before = fingerprint(run)
    times = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    checkpoints = open_existing(run)
    assert checkpoints.latest() == 6
    checkpoints.about(6)
    checkpoints.shapes(6)
    checkpoints.restore(6, shapes(make_state()))
    checkpoints.restore_parts(6, shapes({"params": make_state().params}))
    checkpoints.close()
    assert fingerprint(run) == before
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == times
    # The run itself, started again, knows that nobody is writing it any more.
    checkpoints = Checkpoints(run / "checkpoints")
    checkpoints.save(8, make_state(8), {})
    checkpoints.close()
    assert not in_flight.exists() and open_existing(run).latest() == 8


def test_a_folder_that_holds_no_checkpoint_is_named_and_left_alone(tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint folder"):
        open_existing(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    empty, files, numbers = tmp_path / "empty", tmp_path / "files", tmp_path / "numbers"
    in_flight = tmp_path / "in_flight"
    for folder in (empty, files, numbers / "100", numbers / "checkpoints"):
        folder.mkdir(parents=True)
    (in_flight / "4.orbax-checkpoint-tmp" / "state").mkdir(parents=True)
    (files / "notes.txt").write_text("hello")
    (files / "7").write_text("a file named as a step")
    before = fingerprint(tmp_path)
    for folder, holds in (
        (empty, "nothing"),
        (files, "7, notes.txt"),
        (numbers, "nothing"),
        (in_flight, "4.orbax-checkpoint-tmp"),
    ):
        with pytest.raises(CheckpointError, match=f"not a checkpoint folder: it holds {holds}"):
            open_existing(folder)
    with pytest.raises(CheckpointError, match="no such checkpoint folder"):
        open_existing(files / "notes.txt")
    assert fingerprint(tmp_path) == before
