"""A plan, worked off: its tables, killed and shared workers, planted leaks."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import fcntl
import json
import shutil
import signal
import sys

import jax
import numpy as np
import pytest

from sleepfm_jax import ablation, experiment, finetuned, labelled, row_models
from sleepfm_jax import train as loop
from sleepfm_jax.data import datasets, people
from sleepfm_jax.data.examples import View
from sleepfm_jax.errors import (
    CheckpointError,
    ConfigError,
    DatasetError,
    LeakError,
    TrainingStopped,
)
from sleepfm_jax.metrics import predictions as files
from sleepfm_jax.transfer import cells, transfer
from sleepfm_jax.transfer.conditions import Encoders, Options
from tests.helpers import programs, transfer_plans

TABLES = ("transfer.csv", "gains.csv", "label_efficiency.csv")


@pytest.fixture(scope="module", autouse=True)
def one_device():
    """As the killed workers have; sharding is tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "device_count", lambda: 1)
        patch.setattr(labelled, "BATCH_SIZE", 8)  # a split has few clips; the rest is padding
        yield


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return transfer_plans.build(tmp_path_factory.mktemp("wake"))


@pytest.fixture(scope="module")
def checkpoint(data_dir, tmp_path_factory):
    return transfer_plans.pretrained(tmp_path_factory.mktemp("encoder"), data_dir)


@pytest.fixture(scope="module")
def done(data_dir, checkpoint, tmp_path_factory):
    """A workdir whose plan is worked off, and what was printed."""
    workdir = tmp_path_factory.mktemp("run")
    plan = transfer_plans.plan(data_dir, workdir, checkpoint, baselines=True, command="typed")
    return workdir, transfer(plan)


@contextlib.contextmanager
def held(path):
    """Somebody else at work on a cell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def tables(workdir):
    return {name: (workdir / name).read_text() for name in TABLES}


def test_the_tables_say_every_row_its_metric_first(done, data_dir):
    workdir, printed = done
    lines = table(workdir / "transfer.csv")
    assert list(lines[0]) == [
        *("task", "condition", "mode", "metric", "value", "low", "high", "people", "seeds"),
        "predicted_sign",
    ]
    first = {(line["condition"], line["mode"]): line for line in reversed(lines)}
    assert set(first) == {
        *(("scratch", "finetune"), ("pretrained", "finetune"), ("random", "probe")),
        *(("tokens", "probe"), ("features", "probe"), ("pretrained", "probe")),
    }
    for line in first.values():
        assert line["metric"] == "balanced_accuracy" and 0 <= float(line["value"]) <= 1
        assert float(line["low"]) <= float(line["value"]) <= float(line["high"])
        assert (line["task"], line["people"], line["seeds"]) == ("sides:twin", "15", "1")
    assert first["pretrained", "finetune"]["predicted_sign"] == "+"
    assert first["scratch", "finetune"]["predicted_sign"] == ""
    assert "sides:twin" in printed and "gain of" in printed and "simulated" in printed


def test_a_row_is_of_everybody_and_says_how_it_was_made(done):
    workdir, _ = done
    found = files.load(workdir / "predictions/sides:twin/pretrained.finetune.npz")
    assert found.probabilities.shape == (1, 30, 2) and found.thresholds.shape == (1, 30, 1)
    assert sorted(np.unique(found.fold)) == [0, 1, 2]
    whose = {p: set(found.fold[0, found.person == p]) for p in np.unique(found.person)}
    assert len(whose) == 15 and all(len(folds) == 1 for folds in whose.values())
    assert found.about["command"] == "typed" and found.about["split"] == "cross-validation"
    other = files.load(workdir / "predictions/sides:twin/features.probe.npz")
    for a, b in zip(found.examples(), other.examples()):
        np.testing.assert_array_equal(a, b)  # probes and trainings are paired


def test_gains_are_paired_and_stand_beside_what_was_predicted(done):
    workdir, _ = done
    lines = {(g["condition"], g["against"], g["mode"]): g for g in table(workdir / "gains.csv")}
    gain = lines["pretrained", "scratch", "finetune"]
    scores = {
        line["condition"]: float(line["value"])
        for line in reversed(table(workdir / "transfer.csv"))
        if line["mode"] == "finetune"
    }
    expected = scores["pretrained"] - scores["scratch"]
    np.testing.assert_allclose(float(gain["gain"]), expected, atol=1e-5)
    assert gain["predicted_sign"] == "+" and gain["as_predicted"] in ("yes", "no")
    assert gain["claim"] == "no"  # one seed says nothing of the next
    assert ("pretrained", "features probe", "finetune") in lines
    section = json.loads((workdir / "results.json").read_text())["transfer"]["sides:twin"]
    assert section["differences"]["pretrained.finetune-scratch.finetune"]["metric"]


def test_of_a_finished_cell_the_best_weights_are_left(done):
    workdir, _ = done
    trained = [p for p in (workdir / "cells").iterdir() if (p / "best").is_dir()]
    assert len(trained) == 6
    for folder in trained:
        assert (folder / "done.json").is_file() and not (folder / "checkpoints").exists()


def test_the_cells_models_are_asked_again_with_fewer_channels(done, data_dir):
    workdir, _ = done
    row = "pretrained.finetune"
    parts = row_models.parts_of(workdir, "sides:twin", row, finetuned.load)
    assert len(parts) == 3  # folds
    whole = files.load(workdir / "predictions" / "sides:twin" / f"{row}.npz")
    records = datasets.open_records(data_dir, [transfer_plans.DATASET], datasets.ALL)
    examples = experiment.make_examples(records, parts[0].model.objective.layout)
    index = ablation._indices(records, whole)
    for part in parts:  # the weights are those that said it
        said = part.model.predict(View(examples, index[part.rows]))
        wanted = whole.probabilities[part.r, part.rows]
        np.testing.assert_allclose([p for _, p in said], wanted, atol=1e-5)
    options = {"counts": [1], "combinations": 2}
    ablation.ablate(workdir, data_dir, "sides:twin", row, "balanced_accuracy", parts, **options)
    one, other = (files.load(p) for p in (workdir / "channels").rglob("*.npz"))
    for a, b in ((one, other), (one, whole)):  # each says something else
        assert np.abs(a.probabilities - b.probabilities).max() > 1e-4


def test_nothing_is_trained_twice(done, data_dir, checkpoint, monkeypatch):
    workdir, printed = done
    before = tables(workdir)
    monkeypatch.setattr(loop, "train", None)
    plan = transfer_plans.plan(data_dir, workdir, checkpoint, baselines=True)
    assert transfer(plan) == printed and tables(workdir) == before


def test_two_workers_share_the_cells_and_the_last_writes_the_tables(
    done, data_dir, checkpoint, tmp_path
):
    workdir, _ = done
    plan = transfer_plans.plan(data_dir, tmp_path, checkpoint, baselines=True)
    theirs = plan.cells[1].key
    for cell in plan.cells:  # all but two were made before
        if cell.key not in (plan.cells[0].key, theirs):
            shutil.copytree(workdir / "cells" / cell.key, tmp_path / "cells" / cell.key)
    with held(tmp_path / "cells" / theirs / ".cell"):
        assert transfer(plan) is None  # waits for nobody
        assert not (tmp_path / "transfer.csv").exists()
    assert transfer(plan)  # whoever had it is gone: taken over
    assert tables(tmp_path) == tables(workdir)


@pytest.mark.slow
def test_killed_at_any_moment_the_table_is_the_same(done, data_dir, checkpoint, tmp_path):
    workdir, _ = done
    seconds = np.random.default_rng().uniform(1, 6)  # of some ten or more that the plan takes
    module = [sys.executable, "-m", "tests.helpers.transfer_plans"]
    process = programs.start(*module, data_dir, tmp_path, checkpoint, seconds)
    _, err = process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL, f"after {seconds} s: {err[-3000:]}"
    assert not (tmp_path / "transfer.csv").exists()
    assert transfer(transfer_plans.plan(data_dir, tmp_path, checkpoint, baselines=True))
    assert tables(tmp_path) == tables(workdir)


def test_a_cell_goes_on_from_its_last_checkpoint(done, data_dir, checkpoint, tmp_path, monkeypatch):
    workdir, _ = done
    plan = transfer_plans.plan(data_dir, tmp_path, checkpoint)
    cell, train = plan.cells[0], loop.train

    def stops(config, *arguments):
        config = json.loads(json.dumps(config)) | {"steps": 2}
        config["optimiser"]["schedule"] = "constant"
        train(config, *arguments)
        raise TrainingStopped("killed")

    monkeypatch.setattr(loop, "train", stops)
    with pytest.raises(TrainingStopped):
        cells.work(tmp_path, cell)
    assert not cells.finished(tmp_path / "cells" / cell.key, cell)
    monkeypatch.setattr(loop, "train", train)
    assert cells.work(tmp_path, cell) is True and cells.work(tmp_path, cell) is False
    one, other = (cells.load(folder, cell, "test") for folder in (workdir, tmp_path))
    np.testing.assert_array_equal(one.probabilities, other.probabilities)


def others(data_dir, folder, *names):
    """A copy of the data_dir, and in it datasets that are of other people; a task for each that is
    trained on the first one's."""
    shutil.copytree(data_dir, folder)
    for name in names:
        shutil.copytree(folder / transfer_plans.DATASET, folder / name)
        path = datasets.find_dataset(folder, name) / people.FILENAME
        said = json.loads(path.read_text())
        path.write_text(json.dumps(said | {"cohort": name, "subjects": {"train": [name]}}))
    own = transfer_plans.task(in_folds=False)
    own.config["data"]["folds"] = 0
    return {name: dataclasses.replace(own, name=name, dataset=name) for name in names}


def test_a_training_is_asked_for_another_task_without_being_trained_again(
    data_dir, checkpoint, tmp_path
):
    tasks = others(data_dir, tmp_path / "data", "one", "two")
    kept = {}
    for name, task in tasks.items():
        given = {"tasks": [task], "conditions": ("scratch",), "options": Options()}
        plan = transfer_plans.plan(tmp_path / "data", tmp_path / "run", checkpoint, **given)
        transfer(plan)
        (cell,) = (tmp_path / "run" / "cells").iterdir()
        kept[name] = (cell / "metrics.jsonl").read_text()
        assert set(json.loads((cell / "done.json").read_text())["rows"]) >= {"thresholds", name}
    assert kept["one"] == kept["two"]
    assert sorted(p.name for p in (cell / "predictions").iterdir()) == [
        *("one.npz", "thresholds.npz", "two.npz"),
    ]
    again = dataclasses.replace(plan, tasks=[tasks["one"]])
    assert cells.finished(cell, again.cells[0])
    (cell / "predictions" / "one.npz").unlink()  # done.json is no proof of it
    assert not cells.finished(cell, again.cells[0])
    assert transfer(again)


def test_a_split_that_a_task_needs_is_missed_before_anything_is_trained(
    data_dir, checkpoint, tmp_path, monkeypatch
):
    there = datasets.has_split
    monkeypatch.setattr(datasets, "has_split", lambda *at: at[2] != "test" and there(*at))
    own = transfer_plans.task(in_folds=False)
    own.config["data"]["folds"] = 0
    plan = transfer_plans.plan(data_dir, tmp_path / "run", checkpoint, tasks=[own])
    with pytest.raises(DatasetError, match="sides:twin: nobody in split 'test'"):
        transfer(plan)
    assert not (tmp_path / "run" / "cells").exists()


def test_an_encoder_that_is_trained_further_meanwhile_is_refused(data_dir, tmp_path):
    folder = transfer_plans.pretrained(tmp_path / "encoder", data_dir)
    plan = transfer_plans.plan(data_dir, tmp_path, folder, conditions=("pretrained",))
    step = plan.cells[0].encoder.step
    saved = tmp_path / "encoder" / "checkpoints" / str(step)
    saved.rename(saved.with_name(str(step + 1)))
    with pytest.raises(CheckpointError, match=f"at step {step + 1} now, and was at {step}"):
        changed = dataclasses.replace(plan.cells[0].encoder, stats={})
        cells.work(tmp_path, dataclasses.replace(plan.cells[0], encoder=changed))
    # Of the same weights it does not matter what their step is called.
    cells._check_unchanged(plan.cells[0].encoder)


def planted(data_dir, folder, split, somebody):
    """A copy of the dataset in which somebody is in one split more."""
    shutil.copytree(data_dir, folder)
    path = datasets.find_dataset(folder, transfer_plans.DATASET) / people.FILENAME
    said = json.loads(path.read_text())
    said["subjects"][split].append(somebody)
    path.write_text(json.dumps(said))
    return folder


def test_a_test_person_in_training_stops_everything(data_dir, checkpoint, tmp_path):
    splits = people.read(datasets.find_dataset(data_dir, transfer_plans.DATASET)).splits
    somebody = sorted(splits["test"])[0]
    leaky = planted(data_dir, tmp_path / "data", "train", somebody)
    own = transfer_plans.task(in_folds=False)
    own.config["data"]["folds"] = 0
    plan = transfer_plans.plan(leaky, tmp_path / "run", checkpoint, tasks=[own])
    with pytest.raises(LeakError, match=f"1 of the .* subjects.*{somebody}"):
        transfer(plan)
    assert not (tmp_path / "run" / "cells").exists()


def test_a_pretraining_person_in_test_stops_everything(data_dir, tmp_path):
    splits = people.read(datasets.find_dataset(data_dir, transfer_plans.DATASET)).splits
    leaked = sorted(splits["train"])[:2]  # in folds everybody is tested
    checkpoint = transfer_plans.pretrained(tmp_path / "encoder", data_dir, leaked)
    plan = transfer_plans.plan(data_dir, tmp_path / "run", checkpoint)
    with pytest.raises(LeakError, match=f"{leaked[0]}|{leaked[1]}"):
        transfer(plan)
    assert not (tmp_path / "run" / "cells").exists()


def test_label_fractions_are_rows_of_their_own(data_dir, checkpoint, tmp_path):
    own = transfer_plans.task(in_folds=False)
    own.config["data"]["folds"] = 0
    plan = transfer_plans.plan(
        data_dir,
        tmp_path,
        checkpoint,
        tasks=[own],
        mode="probe",
        fractions=(0.5, 1.0),
        seeds=2,
    )
    transfer(plan)
    lines = table(tmp_path / "label_efficiency.csv")
    assert {line["label_fraction"] for line in lines} == {"0.5", "1"}
    assert {line["label_fraction"] for line in lines} and all(
        line["seeds"] == "2" for line in lines
    )
    assert {line["condition"] for line in table(tmp_path / "transfer.csv")} == {
        "scratch",
        "pretrained",
    }
    assert (tmp_path / "predictions/sides:twin/pretrained.probe.f0.5.npz").is_file()


def test_encoders_are_what_they_are_called(data_dir, checkpoint, tmp_path):
    with pytest.raises(CheckpointError, match=r"config\.data\.mispaired is False"):
        Encoders.load({"mispaired": [checkpoint]})
    with pytest.raises(CheckpointError, match="expected positions"):
        Encoders.load({"checkpoint_pe": [checkpoint]})
    with pytest.raises(CheckpointError, match="no two seeds"):
        Encoders.load({"checkpoint": [checkpoint, checkpoint]})
    other = transfer_plans.pretrained(tmp_path / "wide", data_dir, model={"mlp_dim": 32})
    with pytest.raises(CheckpointError, match="mlp_dim 32 and 16"):
        Encoders.load({"checkpoint": [checkpoint, other]})
    plan = transfer_plans.plan(data_dir, tmp_path, checkpoint, conditions=("mispaired",))
    with pytest.raises(ConfigError, match="--mispaired is not given"):
        _ = plan.cells
