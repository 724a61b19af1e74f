"""The loop that fine-tunes: early stopping, best weights, plateau, parts, labels, shared steps."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from sleepfm_jax import config as configuration
from sleepfm_jax import experiment, finetuned, pretrained, train
from sleepfm_jax.data import datasets
from sleepfm_jax.errors import CheckpointError, DatasetError, LeakError
from sleepfm_jax.metrics import predictions
from sleepfm_jax.report import page
from sleepfm_jax.training import checkpoint
from tests.helpers import label_objective
from tests.helpers.labelled_dataset import CLASSES
from tests.helpers.launched import launched
from tests.helpers.runs import logged, saved_state, smoke, watched

LABELS = "tests.helpers.label_objective"
TEST = {"split": "test", "every": 0}


def labelled(**changes):
    """A run of `label_objective`, looked at every two steps, its predictions kept."""
    row = configuration.section_defaults("evaluator", "classification") | {"examples": 1000}
    rows = {
        "curve": row | {"every": 2},
        "test": row | {"split": "test", "every": 0, "keep_predictions": True},
    }
    objective = {"kind": LABELS, "labels": CLASSES}
    return smoke(**{"objective": objective, "evaluators": rows} | changes)


class Killed(Exception):
    """In place of a process that is gone."""


# --- early stopping and the best weights ---------------------------------------------------


def stopping_early(**changes):
    """Looked at every two of 40 steps; best after 4; three looks more bring nothing better. The
    rate falls after the second of them."""
    figures = (("0", 5.0), ("2", 4.0), ("4", 1.0), ("6", 2.0), ("8", 3.0), ("10", 2.0))
    rows = {"curve": {"figures": figures}, "test": TEST}
    usual = {
        "steps": 40,
        "save_every": 3,
        "keep_best.figure": "curve/planted",
        "keep_best.patience": 3,
        "keep_best.restore": True,
        "optimiser.schedule": "plateau",
        "optimiser.plateau_patience": 1,
    }
    return watched(rows, **usual | changes)


@pytest.fixture(scope="module")
def stopped(tiny_data_dir, tmp_path_factory):
    """A run that nobody interrupted; its workdir and what it returned."""
    workdir = tmp_path_factory.mktemp("stopped")
    return workdir, train.train(stopping_early(), tiny_data_dir, workdir)


def assert_the_same(workdir, found, stopped):
    """As the uninterrupted run, bit for bit."""
    wanted_in, wanted = stopped
    assert found["evaluations"] == wanted["evaluations"] and found["step"] == wanted["step"]
    for prefix in ("train/", "curve/"):
        assert logged(workdir, prefix) == logged(wanted_in, prefix)
    for folder, step in (("checkpoints", 10), ("best", 4)):
        mine, theirs = (
            saved_state(w / folder, step, stopping_early()) for w in (workdir, wanted_in)
        )
        assert mine[1]["best"] == theirs[1]["best"] and mine[0].keys() == theirs[0].keys()
        for path, leaf in theirs[0].items():
            np.testing.assert_array_equal(mine[0][path], leaf, err_msg=path)


def test_a_run_ends_when_looks_bring_nothing_better(stopped):
    workdir, found = stopped
    assert max(logged(workdir)) == 10 and sorted(logged(workdir, "curve/")) == [0, 2, 4, 6, 8, 10]
    assert checkpoint.open_existing(workdir).latest() == 10
    # The statistic counts updates: the last evaluations are of the best weights.
    assert found["step"] == 4 and found["evaluations"]["test"]["trained"] == 4
    w = saved_state(workdir / "best", 4, stopping_early())[0]["params/w"]
    test = found["evaluations"]["test"]
    np.testing.assert_allclose(test["loss"], w * test["x"], rtol=1e-5)


def test_the_rate_fell_at_a_plateau(stopped):
    state = saved_state(stopped[0], 10, stopping_early())[0]
    (scale,) = (leaf for path, leaf in state.items() if path.endswith("scale"))
    (waited,) = (leaf for path, leaf in state.items() if path.endswith("waited"))
    assert scale == np.float32(0.1) and waited == 1


def test_a_finished_run_started_again_ends_at_once_and_says_the_same(
    stopped, tiny_data_dir, tmp_path
):
    shutil.copytree(stopped[0], tmp_path, dirs_exist_ok=True)
    assert_the_same(tmp_path, train.train(stopping_early(), tiny_data_dir, tmp_path), stopped)


@pytest.mark.parametrize("moment", ["best 4", "checkpoints 6", "checkpoints 9", "checkpoints 10"])
def test_killed_when_it_saves_it_ends_alike(stopped, tiny_data_dir, tmp_path, monkeypatch, moment):
    """ "best 4": as soon as it is on disk, so that the newest is older than the best."""
    save = checkpoint.Checkpoints.save

    def save_and_die(self, step, state, about):
        if f"{self.folder.name} {step}" != moment:
            return save(self, step, state, about)
        if self.folder.name == "best":
            save(self, step, state, about)
            self.wait()
        raise Killed

    monkeypatch.setattr(checkpoint.Checkpoints, "save", save_and_die)
    with pytest.raises(Killed):
        train.train(stopping_early(), tiny_data_dir, tmp_path)
    monkeypatch.undo()
    assert_the_same(tmp_path, train.train(stopping_early(), tiny_data_dir, tmp_path), stopped)


def test_without_restore_the_last_evaluations_are_of_the_last_step(tiny_data_dir, tmp_path):
    config = stopping_early(**{"keep_best.restore": False, "keep_best.patience": 1})
    found = train.train(config, tiny_data_dir, tmp_path)
    assert found["step"] == 6 == found["evaluations"]["test"]["trained"]


def test_without_anybody_to_look_at_nothing_can_stop_early(tiny_data_dir, tmp_path, monkeypatch):
    there = datasets.has_split
    monkeypatch.setattr(datasets, "has_split", lambda *at: at[2] != "validation" and there(*at))
    for alone in (
        {"keep_best.patience": 0, "keep_best.restore": False},
        {"keep_best.patience": 0, "optimiser.schedule": "constant"},
        {"keep_best.restore": False, "optimiser.schedule": "constant"},
    ):
        with pytest.raises(DatasetError, match="simulated_psg: nobody in split 'validation'"):
            train.train(stopping_early(**alone), tiny_data_dir, tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    none = {"keep_best.patience": 0, "keep_best.restore": False, "optimiser.schedule": "constant"}
    found = train.train(stopping_early(steps=4, **none), tiny_data_dir, tmp_path / "run")
    assert found["step"] == 4 and found["evaluations"]["test"]["trained"] == 4


# --- other datasets, all splits, leaks -------------------------------------------------------


def test_rows_look_at_other_datasets_and_at_all_of_them(tiny_data_dir, labelled_data_dir, tmp_path):
    shutil.copytree(tiny_data_dir / "simulated_psg", tmp_path / "data" / "simulated_psg")
    other = tmp_path / "data" / "other"
    shutil.copytree(labelled_data_dir / "simulated_psg", other)
    for path in other.rglob("splits.json"):  # as if of other people
        said = json.loads(path.read_text())
        path.write_text(json.dumps(said | {"subjects": {"train": ["f" * 16]}}))
    rows = {
        "other": {"datasets": ("other",), "split": "all", "every": 0},
        "others_test": {"datasets": ("other",), **TEST},
        "test": TEST,
    }
    config = watched(rows, steps=1)
    found = train.train(config, tmp_path / "data", tmp_path / "run")["evaluations"]
    seen = {name: figures["seen"]["rows"] for name, figures in found.items()}
    assert seen == {"other": 72, "others_test": 12, "test": 12}
    assert found["others_test"]["x"] == found["test"]["x"] != found["other"]["x"]
    for path in other.rglob("splits.json"):
        shutil.copy(next((tmp_path / "data" / "simulated_psg").rglob("splits.json")), path)
    with pytest.raises(LeakError, match=r"3 of the 6 subjects .* in all of other"):
        train.train(config, tmp_path / "data", tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_pretrained_person_in_a_fold_that_is_scored_stops_the_run(tiny_data_dir, tmp_path):
    curve = {"curve": {}}
    train.train(watched(curve, steps=1), tiny_data_dir, tmp_path / "before")
    pretrained_on = datasets.open_records(tiny_data_dir, ["simulated_psg"], "train").subjects()
    config = watched(curve, steps=1, **{"data.folds": 3, "data.fold": 1})
    train.train(config, tiny_data_dir, tmp_path / "scratch")
    about = checkpoint.open_existing(tmp_path / "scratch").about(1)
    assert len(about["subjects"]) == 2
    config["initialise_from"] = str(tmp_path / "before")
    with pytest.raises(LeakError) as error:
        train.train(config, tiny_data_dir, tmp_path / "leaking")
    scored = pretrained_on - set(about["subjects"])
    assert f"{len(scored)} of the 4 subjects to be scored" in str(error.value)
    assert all(who in str(error.value) for who in scored)
    assert not list((tmp_path / "leaking").glob("metrics.jsonl"))


# --- labels, and what is kept ------------------------------------------------------------


@pytest.fixture(scope="module")
def tuned(labelled_data_dir, tmp_path_factory):
    """Workdir of a run of launch.pretrain on labels, and what it added to results.json."""
    workdir = tmp_path_factory.mktemp("tuned")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "write_report", lambda workdir: None)
        update = launched("pretrain").pretrain(labelled(), str(labelled_data_dir), str(workdir))
    return workdir, update


def test_predictions_are_a_file_and_no_figure(tuned, labelled_data_dir):
    workdir, update = tuned
    assert "predictions" not in update["evaluations"]["test"]
    assert json.loads((workdir / "results.json").read_text())["step"] == 4
    said = predictions.load(predictions.path_of(workdir, "simulated_psg", "test"))
    records = datasets.open_records(labelled_data_dir, ["simulated_psg"], "test")
    assert said.label.tolist() == [0] * 12 and said.clip.tolist() == list(range(12))
    assert said.recording.tolist() == [records[i].recording for i in range(12)]
    assert said.person.tolist() == [records.person_of(i) for i in range(12)]
    wanted = {
        "row": "test",
        "dataset": "simulated_psg",
        "dataset_fingerprint": datasets.fingerprint(labelled_data_dir, "simulated_psg"),
        "split": "test",
        "classes": list(CLASSES),
        "label_kind": "classification",
        "steps": [4],
    }
    assert {key: said.about[key] for key in wanted} == wanted and said.seeds.tolist() == [0]
    curve = logged(workdir, "curve/")
    assert sorted(curve) == [0, 2, 4] and all("curve/auroc" in line for line in curve.values())


def test_a_tuned_model_is_loaded_and_says_the_same(tuned, labelled_data_dir):
    workdir, _ = tuned
    model = finetuned.load(workdir)
    assert model.classes == CLASSES and model.step == 4 and len(model.people) == 3
    records = datasets.open_records(labelled_data_dir, ["simulated_psg"], "test")
    model.check_made_alike(records.metadata, records.name)
    examples = experiment.make_examples(records, model.objective.layout)
    index, found = zip(*model.predict(examples, batch_size=5))
    said = predictions.load(predictions.path_of(workdir, "simulated_psg", "test"))
    assert list(index) == list(range(12))
    np.testing.assert_allclose(np.stack(found), said.probabilities[0], atol=1e-6)
    earlier = finetuned.load(workdir, 2)
    assert earlier.fingerprint != model.fingerprint == finetuned.load(workdir).fingerprint


def test_what_has_no_labels_is_no_tuned_model(stopped):
    with pytest.raises(CheckpointError, match="has no labels and no head"):
        finetuned.load(stopped[0])
    with pytest.raises(KeyError):  # nor is it an encoder
        pretrained.load(stopped[0])


# --- one program -------------------------------------------------------------------------


def test_runs_of_equal_objectives_are_traced_once(tuned, labelled_data_dir, tmp_path):
    """Other seeds, folds and shares are the same program; another rate is not."""
    label_objective.TRACED.clear()
    for number, changes in enumerate(
        ({"seed": 1}, {"data.folds": 3, "data.fold": 1, "seed": 2}, {"data.label_fraction": 0.5})
    ):
        train.train(labelled(**changes), labelled_data_dir, tmp_path / str(number))
    assert label_objective.TRACED == []
    states = [saved_state(tmp_path / str(n), 4, labelled())[0]["params/w"] for n in range(3)]
    assert len({float(w) for w in states}) == 3
    train.train(labelled(**{"optimiser.learning_rate": 0.1}), labelled_data_dir, tmp_path / "other")
    assert True in label_objective.TRACED and False not in label_objective.TRACED
