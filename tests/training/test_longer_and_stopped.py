"""Runs made longer, and runs that are asked to stop at an awkward moment: nothing said that is not
so, and what comes out is what one run without a break gives."""

from __future__ import annotations

import functools
import json
import os
import signal

import jax
import numpy as np
import pytest

from configs import pretrain_simulated
from sleepfm_jax import config as configuration
from sleepfm_jax import train
from sleepfm_jax.errors import CheckpointError, Preempted, WorkdirInUse
from sleepfm_jax.training import checkpoint
from sleepfm_jax.training.lock import only_training


def smoke(**changes):
    """The smoke variant with a rate that holds for any number of steps, and some keys changed."""
    config = pretrain_simulated.get_config("smoke").to_dict()
    config["mesh"] = {"data": 4}
    for name, value in {"optimiser.schedule": "constant", **changes}.items():
        *sections, key = name.split(".")
        functools.reduce(dict.__getitem__, sections, config)[key] = value
    return config


def lines(workdir):
    """(step, names and values) of metrics.jsonl, without those of speed."""
    return [
        {k: v for k, v in json.loads(line).items() if "per_second" not in k}
        for line in (workdir / "metrics.jsonl").read_text().splitlines()
    ]


def params(workdir, step):
    """Every parameter of a checkpoint, flat."""
    source = checkpoint.open_existing(workdir)
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    like = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here),
        source.shapes(step)["params"],
        is_leaf=lambda x: hasattr(x, "shape"),
    )
    tree = source.restore_parts(step, {"params": like})
    source.close()
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def ask_to_stop(*_):
    os.kill(os.getpid(), signal.SIGTERM)


def at_call(monkeypatch, number):
    """SIGTERM when `sharding.global_batch` is called for the nth time."""
    calls, real = [], train.sharding.global_batch

    def counted(*arguments):
        calls.append(None)
        if len(calls) == number:
            ask_to_stop()
        return real(*arguments)

    monkeypatch.setattr(train.sharding, "global_batch", counted)


@pytest.fixture(scope="module")
def whole(tiny_data_dir, tmp_path_factory):
    """The workdir of four steps without a break, with evaluations of two batches at 0, 2, 4."""
    workdir = tmp_path_factory.mktemp("whole")
    train.train(smoke(), tiny_data_dir, workdir)
    return workdir


def test_a_finished_run_goes_on_to_more_steps(whole, tiny_data_dir, tmp_path):
    train.train(smoke(steps=2), tiny_data_dir, tmp_path)
    train.train(smoke(), tiny_data_dir, tmp_path)
    assert lines(tmp_path) == lines(whole)
    np.testing.assert_array_equal(params(tmp_path, 4), params(whole, 4))
    with pytest.raises(CheckpointError, match=r"at step 4 already, beyond config\.steps=3"):
        train.train(smoke(steps=3), tiny_data_dir, tmp_path)


def test_a_run_whose_schedule_has_ended_says_how_to_start_from_it():
    for schedule in ("constant", "step"):
        now = smoke(steps=9) | {"optimiser": smoke()["optimiser"] | {"schedule": schedule}}
        assert configuration.same_run(now | {"steps": 4}, now) == []
    now = smoke(**{"optimiser.schedule": "cosine", "steps": 9})
    (said,) = configuration.same_run(now | {"steps": 4}, now)
    assert said.startswith("config.steps: 4 in the checkpoint, 9 now, where schedule cosine ends")
    assert "--config.initialise_from" in said and "another --workdir" in said


def test_two_trainings_in_one_workdir_are_refused_but_reading_is_not(whole, tiny_data_dir):
    before = (whole / "metrics.jsonl").read_bytes()
    with only_training(whole):
        with pytest.raises(WorkdirInUse, match=str(whole)):
            train.train(smoke(steps=6), tiny_data_dir, whole)
        assert len(params(whole, 4)) > 1000
    assert (whole / "metrics.jsonl").read_bytes() == before


def test_stopped_before_the_first_step_it_says_that_nothing_is_saved(tiny_data_dir, tmp_path):
    with pytest.raises(Preempted, match="at step 0, with nothing to save; run again to begin"):
        train.train(smoke(), tiny_data_dir, tmp_path, ask_to_stop)
    assert [p for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit()] == []
    assert lines(tmp_path) == []
    with only_training(tmp_path):
        pass  # released, though it ended with an error


def test_stopped_within_an_evaluation_it_saves_and_evaluates_when_it_goes_on(
    whole, tiny_data_dir, tmp_path, monkeypatch
):
    # Two batches of evaluation at step 0, two of training, and the first of two at step 2.
    with monkeypatch.context() as patched:
        at_call(patched, 5)
        with pytest.raises(Preempted, match="saved at step 2; run again to go on from there"):
            train.train(smoke(), tiny_data_dir, tmp_path)
    assert [line["step"] for line in lines(tmp_path)] == [0, 1, 2]
    # The same again, where it went on from: there is nothing new to save, and it says so.
    with pytest.raises(Preempted, match="still at step 2, which was saved before"):
        train.train(smoke(), tiny_data_dir, tmp_path, ask_to_stop)
    train.train(smoke(), tiny_data_dir, tmp_path)
    assert lines(tmp_path) == lines(whole)
    np.testing.assert_array_equal(params(tmp_path, 4), params(whole, 4))


def test_stopped_in_the_first_step_as_it_compiles_it_saves_that_step(
    whole, tiny_data_dir, tmp_path, monkeypatch
):
    with monkeypatch.context() as patched:
        at_call(patched, 3)
        with pytest.raises(Preempted, match="saved at step 1;"):
            train.train(smoke(), tiny_data_dir, tmp_path)
    assert (tmp_path / "checkpoints" / "1" / "state").is_dir()
    train.train(smoke(), tiny_data_dir, tmp_path)
    assert lines(tmp_path) == lines(whole)


def test_stopped_in_the_last_evaluations_they_are_what_is_left(
    whole, tiny_data_dir, tmp_path, monkeypatch
):
    with monkeypatch.context() as patched:
        at_call(patched, 11)  # 3 × 2 of evaluation, 4 of training, and the first of the test split
        with pytest.raises(Preempted, match="saved at step 4, the last; run again for its eval"):
            train.train(smoke(), tiny_data_dir, tmp_path)
    found = train.train(smoke(), tiny_data_dir, tmp_path)
    assert list(found["evaluations"]) == ["test"]
    assert lines(tmp_path) == lines(whole)
