"""The loop that stages: nights of a simulated cohort → wav2sleep; a break changes nothing."""

from __future__ import annotations

import functools

import numpy as np

from configs.staging import wav2sleep
from sleepfm_jax import config as configuration
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


def of_means(**changes):
    """The same run of a model that compiles at once; longer nights give stretches of 8
    sleep_epochs, which coins draw."""
    model = configuration.section_defaults("model", "tests.helpers.night_means")
    return smoke(**{"model": model} | changes)


def test_wav2sleep_stages_nights(tiny_data_dir, tmp_path):
    results = train.train(smoke(), tiny_data_dir, tmp_path)
    lines = logged(tmp_path)
    assert set(lines) == {1, 2, 3, 4}
    for line in lines.values():
        assert np.isfinite(line["train/loss"]) and line["train/skipped"] == 0
        assert 0 <= line["train/accuracy"] <= 1 and line["train/grad_norm"] > 0
    looks = logged(tmp_path, "validation/")
    assert set(looks) == {0, 2, 4}
    assert all(np.isfinite(look["validation/loss"]) for look in looks.values())
    assert np.isfinite(results["evaluations"]["test"]["loss"])
    state, _ = saved_state(tmp_path, 4, smoke())
    assert any(name.startswith("batch_stats/average/params/encoder/") for name in state)
    assert state["batch_stats/average/updates"] == 4


def test_a_break_changes_nothing(tiny_data_dir, tmp_path):
    """Signals are left out, turned over and averaged as if there had been none."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train.train(of_means(), tiny_data_dir, whole)
    train.train(of_means(steps=2), tiny_data_dir, broken)
    train.train(of_means(), tiny_data_dir, broken)
    found, wanted = (saved_state(where, 4, of_means())[0] for where in (broken, whole))
    assert found.keys() == wanted.keys() and "batch_stats/average/updates" in wanted
    for name, leaf in wanted.items():
        np.testing.assert_array_equal(found[name], leaf, err_msg=name)
    for prefix in ("train/", "validation/"):
        assert logged(broken, prefix) == logged(whole, prefix)
