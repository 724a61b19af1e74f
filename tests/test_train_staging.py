"""The loop that stages: nights of a simulated cohort → wav2sleep; a break changes nothing."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from configs.staging import wav2sleep
from sleepfm_jax import train
from tests.helpers.runs import logged, saved_state


def smoke(**changes):
    """The smoke variant, its weights averaged, with some keys changed."""
    config = wav2sleep.get_config("smoke").to_dict()
    changes = {"objective.average_decay": 0.5, "objective.average_from": 2} | changes
    for name, value in changes.items():
        *sections, key = name.split(".")
        part = functools.reduce(dict.__getitem__, sections, config)
        assert key in part
        part[key] = value
    return config


@pytest.fixture(scope="module")
def uninterrupted(tiny_data_dir, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("staging")
    return workdir, train.train(smoke(), tiny_data_dir, workdir)


def test_nights_are_staged(uninterrupted):
    workdir, results = uninterrupted
    lines = logged(workdir)
    assert set(lines) == {1, 2, 3, 4}
    for line in lines.values():
        assert np.isfinite(line["train/loss"]) and line["train/skipped"] == 0
        assert 0 <= line["train/accuracy"] <= 1 and line["train/grad_norm"] > 0
    looks = logged(workdir, "validation/")
    assert set(looks) == {0, 2, 4}
    assert all(np.isfinite(look["validation/loss"]) for look in looks.values())
    assert np.isfinite(results["evaluations"]["test"]["loss"])
    state, _ = saved_state(workdir, 4, smoke())
    assert any(name.startswith("batch_stats/average/params/encoder/") for name in state)
    assert state["batch_stats/average/updates"] == 4


def test_a_break_changes_nothing(uninterrupted, tiny_data_dir, tmp_path):
    """Signals are left out, turned over and averaged as if there had been none."""
    train.train(smoke(steps=2), tiny_data_dir, tmp_path)
    train.train(smoke(), tiny_data_dir, tmp_path)
    found, wanted = (saved_state(where, 4, smoke())[0] for where in (tmp_path, uninterrupted[0]))
    assert found.keys() == wanted.keys()
    for name, leaf in wanted.items():
        np.testing.assert_array_equal(found[name], leaf, err_msg=name)
    for prefix in ("train/", "validation/"):
        one, other = (logged(where, prefix) for where in (tmp_path, uninterrupted[0]))
        assert one == other
