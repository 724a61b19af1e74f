"""Channel ablation: which models are asked, what they are shown, what is kept and written."""

from __future__ import annotations

import csv
import dataclasses
import json
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from sleepfm_jax import ablation, row_models
from sleepfm_jax.data import datasets
from sleepfm_jax.data.kept_channels import KeptChannels, keep
from sleepfm_jax.errors import ConfigError, DatasetError, StorageError
from sleepfm_jax.metrics import predictions as files
from sleepfm_jax.metrics.predictions import Predictions
from sleepfm_jax.signals.layout import Layout
from tests.helpers.records import NumberedRecords, numbered_record

PEOPLE, CHANNELS = 24, 5
CLASSES = ("no", "yes")
LAYOUT = Layout((("bas", CHANNELS),), patch_samples=10, labels=CLASSES)


class Labelled(NumberedRecords):
    """Two clips a person, of whom every second has the second class; one recording each."""

    metadata_of: ClassVar = {"made": {"classes": CLASSES}}

    def with_classes(self, index):
        return self[index], CLASSES

    def stored_recording_of(self, index):
        return f"r{index // 2}"

    def clip_number_of(self, index):
        return index


class Knows:
    """Surer of the class the more channels it is shown; `seen` are the masks of its rows."""

    objective = SimpleNamespace(layout=LAYOUT)

    def __init__(self, seed):
        self.seed, self.seen = seed, []

    def predict(self, examples):
        for i in range(len(examples)):
            batch = examples.batch(np.array([i]))
            index, shown = int(batch["index"][0]), int(batch["mask"][0].any(axis=1).sum())
            self.seen.append(batch["mask"][0].any(axis=1))
            yield index, self.say(index, shown)

    def say(self, index, shown):
        noise = np.random.default_rng([self.seed, index]).normal()
        logit = noise + (2 * (index // 2 % 2) - 1) * 0.6 * shown
        p = 1 / (1 + np.exp(-logit))
        return np.array([1 - p, p], np.float32)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Two seeds, each in two folds: four cells; a further cell that is of another condition."""
    records = Labelled(2 * PEOPLE, modalities=("bas",) * CHANNELS)
    monkeypatch.setattr(datasets, "open_records", lambda *_: records)
    rows = np.arange(2 * PEOPLE)
    fold = rows // 2 % 3 == 0

    def made(seeds, chosen, row):
        said = [[Knows(seed).say(i, CHANNELS) for i in chosen] for seed in seeds]
        return Predictions(
            person=np.array([f"p{i // 2}" for i in chosen]),
            recording=np.array([f"r{i // 2}" for i in chosen]),
            clip=np.array(chosen),
            sleep_epoch=np.full(len(chosen), -1),
            label=np.array([i // 2 % 2 for i in chosen]),
            probabilities=np.array(said, np.float32),
            seeds=np.array(seeds),
            fold=np.tile(fold[chosen].astype(int), (len(seeds), 1)),
            about={
                "row": row,
                "dataset": "made",
                "label_kind": "classification",
                "classes": list(CLASSES),
                "metric": "balanced_accuracy",
            },
        )

    order = rows[::-1].copy()
    files.save(files.path_of(tmp_path, "made:twin", "pretrained.finetune"), made([0, 1], order, ""))
    for seed, which in ((0, 0), (0, 1), (1, 0), (1, 1), (7, 0)):
        cell = tmp_path / "cells" / f"{seed}{which}"
        files.save(cell / "predictions" / "test.npz", made([seed], rows[fold == which], ""))
        (cell / "done.json").write_text("{}")
    return tmp_path, records


def _parts(folder):
    models = {}

    def load(cell):
        models[cell.name] = Knows(int(cell.name[0]))
        return models[cell.name]

    return row_models.parts_of(folder, "made:twin", "pretrained.finetune", load), models


def _ablate(folder, parts, **options):
    row = "pretrained.finetune"
    return ablation.ablate(folder, folder, "made:twin", row, "balanced_accuracy", parts, **options)


def test_models_are_those_whose_predictions_the_row_holds(run):
    parts, models = _parts(run[0])
    assert sorted(models) == ["00", "01", "10", "11"]
    asked = np.zeros((2, 2 * PEOPLE), int)
    for part in parts:
        asked[part.r, part.rows] += 1
    assert (asked == 1).all()


def test_a_cell_that_is_gone_is_said(run):
    (run[0] / "cells" / "11" / "done.json").unlink()
    with pytest.raises(StorageError, match=r"no cell said what .* \(seeds \[1\]\)"):
        _parts(run[0])


def test_with_all_channels_the_models_say_what_they_had_said(run):
    folder, _ = run
    said = _ablate(folder, _parts(folder)[0])
    assert said["counts"][-1]["value"] == pytest.approx(said["full"]["value"])
    assert [one["count"] for one in said["counts"]] == [1, 2, 3, 4, 5]
    assert [one["combinations"] for one in said["counts"]] == [5, 5, 5, 5, 1]
    values = [one["value"] for one in said["counts"]]
    assert values[0] < values[2] < values[4]
    for one in said["counts"]:
        names = [tuple(names) for names in one["names"]]
        assert len(set(names)) == len(names) and all(len(n) == one["count"] for n in names)
    assert said["people"] == PEOPLE and said["seeds"] == 2 and said["channels"] == CHANNELS


def test_the_models_see_these_channels_alone(run):
    folder, _ = run
    parts, models = _parts(folder)
    _ablate(folder, parts, counts=[2], combinations=3)
    seen = np.concatenate([model.seen for model in models.values()])
    assert len(seen) == 2 * 3 * 2 * PEOPLE and (seen.sum(axis=1) == 2).all()


def test_what_was_said_is_not_asked_again(run):
    folder, _ = run
    first = _ablate(folder, _parts(folder)[0], counts=[1, 3], combinations=3)
    parts, models = _parts(folder)
    assert _ablate(folder, parts, counts=[1, 3], combinations=3) == first
    assert not any(model.seen for model in models.values())
    more = _ablate(folder, parts, counts=[1, 3], combinations=4)
    assert sum(len(model.seen) for model in models.values()) == 2 * 2 * 2 * PEOPLE
    assert more["counts"][1]["values"][:3] == first["counts"][1]["values"]


def test_the_greedy_order_needs_places(run):
    folder, records = run
    said = _ablate(folder, _parts(folder)[0], counts=[1, 2], order="greedy")
    # The channels lie on a line: wherever one starts, the second is one of the two ends.
    ends = {"C0", f"C{CHANNELS - 1}"}
    assert all(set(names) & ends for names in said["counts"][1]["names"])
    for i, record in enumerate(records.items):
        nowhere = np.full((CHANNELS, 3), np.nan, np.float32)
        records.items[i] = dataclasses.replace(record, positions=nowhere)
    with pytest.raises(ConfigError, match="no place on the head"):
        _ablate(folder, _parts(folder)[0], order="greedy")
    with pytest.raises(ConfigError, match="--counts=6: expected 1 to 5"):
        _ablate(folder, _parts(folder)[0], counts=[6])


def test_recordings_without_a_channel_are_left_out_of_all_counts(run):
    folder, records = run
    for i in (0, 1):  # of one person
        records.items[i] = keep(records.items[i], {"C0", "C1"})
    said = _ablate(folder, _parts(folder)[0], counts=[1, 5], combinations=2)
    assert said["people"] == PEOPLE - 1
    assert said["left_out"] == {"recordings without some channel": 1}
    for i in range(len(records)):
        records.items[i] = keep(records.items[i], {f"C{i // 2 % CHANNELS}"})
    with pytest.raises(DatasetError, match="nothing to choose from"):
        _ablate(folder, _parts(folder)[0])


def test_tables_keep_other_tasks(run):
    folder, _ = run
    said = _ablate(folder, _parts(folder)[0], counts=[1, 5], combinations=2)
    ablation.write(folder, {"made:twin": said})
    ablation.write(folder, {"other": said})
    assert set(json.loads((folder / "channels.json").read_text())["tasks"]) == {
        "made:twin",
        "other",
    }
    with open(folder / "channels.csv", newline="") as source:
        lines = list(csv.DictReader(source))
    assert list(lines[0]) == ["task", "channels", "combination", "names", "metric", "value"]
    assert [(line["task"], line["channels"]) for line in lines] == [
        (task, count) for task in ("made:twin", "other") for count in ("1", "1", "5")
    ]


def test_kept_channels_take_their_gaps_along():
    record = numbered_record(3, gaps=[(0, 1, 2), (3, 5, 9), (2, 0, 4)])
    kept = keep(record, {"C1", "C3"})
    assert kept.channel_names == ["C1", "C3"] and kept.modalities == ["emg", "bas"]
    np.testing.assert_array_equal(kept.gaps, [(1, 5, 9)])
    np.testing.assert_array_equal(kept.valid(), record.valid()[[1, 3]])
    np.testing.assert_array_equal(kept.physical(), record.physical()[[1, 3]])
    assert keep(record, set()).signals.shape == (0, 40)
    view = KeptChannels(NumberedRecords(3), {"C0"})
    assert len(view) == 3 and view.person_of(2) == "p1" and view[2].channel_names == ["C0"]
