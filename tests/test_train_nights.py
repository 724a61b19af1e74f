"""The loop, whose rows are nights: trains, resumes bit for bit, divides by people, refuses."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from sleepfm_jax import config as configuration
from sleepfm_jax import experiment
from sleepfm_jax.data.division import Division
from sleepfm_jax.errors import ConfigError, DatasetError
from sleepfm_jax.train import train
from tests.helpers.night_objective import SAMPLES
from tests.helpers.night_objective import make as objective_of
from tests.helpers.runs import logged, saved_state, smoke

KIND = "tests.helpers.night_objective"


def config_of(**changes):
    """Four steps on nights of 6 min (12 sleep_epochs); training rows have 10 of these."""
    row = configuration.section_defaults("evaluator", "metrics")
    rows = {
        "validation": row | {"every": 2},
        "test": row | {"split": "test", "every": 0},
    }
    given = {
        "objective": {"kind": KIND},
        "evaluators": rows,
        "batch_size": 4,
        "data.night_hours": 10 / 120,
        "data.night_hours_longest": 0.2,
        "data.nights_left_out": (),
        "optimiser.schedule": "constant",  # a longer run is the same run
    }
    return smoke(**given | changes)


def division(data_dir, **data):
    config = config_of(**{f"data.{key}": value for key, value in data.items()})
    return Division(data_dir, config, objective_of(config, None).layout, experiment.make_examples)


# --- the loop -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def uninterrupted(tiny_data_dir, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("nights")
    return workdir, train(config_of(), tiny_data_dir, workdir)


def test_a_run_on_nights_learns_and_is_evaluated(uninterrupted):
    workdir, update = uninterrupted
    losses = [line["train/loss"] for line in logged(workdir).values()]
    assert losses[0] == pytest.approx(np.log(2)) and losses[-1] < losses[0]
    assert sorted(logged(workdir, "validation/")) == [0, 2, 4]
    assert 0 < update["evaluations"]["test"]["loss"] < 1
    assert "train/nights_per_second" in (workdir / "metrics.jsonl").read_text()


def test_interrupted_equals_uninterrupted(uninterrupted, tiny_data_dir, tmp_path):
    whole, _ = uninterrupted
    train(config_of(steps=2), tiny_data_dir, tmp_path)
    train(config_of(), tiny_data_dir, tmp_path)
    one, _ = saved_state(whole / "checkpoints", 4, config_of())
    other, _ = saved_state(tmp_path / "checkpoints", 4, config_of())
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


# --- which nights ---------------------------------------------------------------------------------


def test_each_night_is_a_row_of_its_split(tiny_data_dir):
    parts = division(tiny_data_dir)
    training = parts.training()
    assert [parts.clips(split) for split in ("train", "validation", "test")] == [3, 2, 1]
    assert len(training) == 3 and training.people() == parts.records.subjects()
    names = {training.recording_of(i) for i in range(3)}
    assert len(names) == 3
    assert parts.training() is training  # found, and kept in memory, once
    batch = training.batch(np.arange(3), [(0, 0, i) for i in range(3)])
    assert batch["epoch_mask"].shape == (3, 10) and batch["epoch_mask"].all()
    assert batch["signal/ECG"].shape == (3, 10 * SAMPLES["ECG"])
    assert (batch["stages"] >= 0).any()
    whole = parts.rows("validation").batch(np.arange(2))
    np.testing.assert_array_equal(whole["epoch_mask"].sum(axis=1), [12, 12])


def test_what_the_build_report_says_of_nights_is_what_the_records_say(tiny_data_dir, monkeypatch):
    from sleepfm_jax.data import datasets
    from sleepfm_jax.data.nights.index import nights_of

    told = nights_of(division(tiny_data_dir).records)
    monkeypatch.setattr(datasets.Records, "told_of_recordings", None)
    read = nights_of(division(tiny_data_dir).records)
    assert told == read and len(told) == 3
    assert {len(night.signals) for night in told} <= {3, 4, 5, 6}
    assert all(sum(night.stages.values()) <= night.sleep_epochs == 12 for night in told)


def test_folds_and_shares_are_of_people(tiny_data_dir):
    folds = [division(tiny_data_dir, folds=3, fold=k) for k in range(3)]
    tested = [folds[k].rows("test").people() for k in range(3)]
    assert all(len(people) == 2 for people in tested) and len(set().union(*tested)) == 6
    for k in range(3):
        assert not folds[k].training().people() & tested[k]
        assert folds[k].clips("train") == 2
    assert len(division(tiny_data_dir, label_fraction=0.34).training()) == 1


def test_cohorts_are_mixed_by_weights(tiny_data_dir, tmp_path):
    """Two cohorts of three and three nights, 1 : 3."""
    for name in ("simulated_psg", "other_psg"):
        shutil.copytree(tiny_data_dir / "simulated_psg", tmp_path / name)
    training = division(
        tmp_path, datasets=("simulated_psg", "other_psg"), weights=(1.0, 3.0)
    ).training()
    cohort = [training.dataset_of(i) for i in range(len(training))]
    assert np.bincount(cohort).tolist() == [3, 9]
    people = [training.recording_of(i) for i in range(len(training))]
    assert all(people.count(one) in (1, 3) for one in people)


@pytest.mark.parametrize(
    "key,value", [("mispaired", True), ("balanced", True), ("channel_dropout", 0.1)]
)
def test_what_is_of_clips_is_refused(tiny_data_dir, key, value):
    with pytest.raises(ConfigError, match=rf"config\.data\.{key} .* nights"):
        division(tiny_data_dir, **{key: value})


def test_too_few_nights_for_a_batch_of_distinct_ones_is_no_matter(tiny_data_dir, tmp_path):
    """Nights are not each other's negatives: a batch may be larger than a pass."""
    assert train(config_of(steps=1, batch_size=8), tiny_data_dir, tmp_path)["step"] == 1
    with pytest.raises(DatasetError, match="no dataset"):
        train(config_of(**{"data.datasets": ("none",)}), tiny_data_dir, tmp_path / "other")
