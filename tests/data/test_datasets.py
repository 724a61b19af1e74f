"""Built datasets: found, opened, refused where they were made unalike; whose records they are."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest

from data_builders.simulated_psg.simulated_psg_dataset_builder import Builder
from sleepfm_jax.data import clips, datasets, people, provenance, stream
from sleepfm_jax.data.clip_examples import ClipExamples
from sleepfm_jax.errors import DatasetError
from sleepfm_jax.pretrained import Pretrained
from sleepfm_jax.signals.layout import Layout


@pytest.fixture(scope="module")
def folder(tiny_data_dir):
    """Of the dataset that all tests share."""
    return datasets.find_dataset(tiny_data_dir, "simulated_psg")


@pytest.fixture(scope="module")
def labelled(tiny_data_dir, tmp_path_factory):
    """Folder of a dataset of the same recordings, of another cohort and with classes."""
    root, source = tmp_path_factory.mktemp("labelled"), tiny_data_dir.parent / "recordings"
    with (source / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    table = root / "table.csv"
    with table.open("w") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(row | {"label": "ab"[i % 2]} for i, row in enumerate(rows))
    builder = Builder(
        source=source,
        data_dir=root,
        table=table,
        label_kind="classification",
        clip_seconds=30,
        cohort="others",
    )
    builder.download_and_prepare()
    return datasets.find_dataset(root, "simulated_psg")


# --- found and opened -----------------------------------------------------------------------------


def test_records_of_a_split_and_what_is_said_of_them(tiny_data_dir, folder):
    train = datasets.open_records(tiny_data_dir, ["simulated_psg"], "train")
    assert len(train) == 36 and train.clip_samples == 30 * 128
    assert train.name == f"{folder}: split 'train'"
    assert train.metadata["label_kind"] == "staging"
    assert train.metadata_of == {folder: train.metadata}
    montages = [list(modalities) for modalities in train.modalities()]
    assert len(montages) == 6, "all splits"
    assert all(train[i].modalities in montages for i in range(len(train)))
    subjects = {}
    for split in ("train", "validation", "test"):
        opened = datasets.open_records(tiny_data_dir, ["simulated_psg"], split)
        assert len(opened) == datasets.count(tiny_data_dir, ["simulated_psg"], split)
        subjects[split] = {opened[i].subject for i in range(len(opened))}
    assert sorted(len(s) for s in subjects.values()) == [1, 2, 3]
    assert len(set.union(*subjects.values())) == 6
    assert datasets.count(tiny_data_dir, ["simulated_psg"], "dev") == 0
    assert datasets.count(tiny_data_dir, ["simulated_psg"] * 2, "test") == 24


def test_several_datasets_are_one_after_the_other(tiny_data_dir, tmp_path):
    folder = datasets.find_dataset(tiny_data_dir, "simulated_psg")
    shutil.copytree(folder, tmp_path / "simulated_psg" / "1.0.0")
    both = datasets.Records([folder, tmp_path / "simulated_psg" / "1.0.0"], "train")
    assert len(both) == 72
    for index in (0, 35):
        np.testing.assert_array_equal(both[index].signals, both[36 + index].signals)
    assert (both[35].subject, both[35].clip) != (both[36].subject, both[36].clip)


def test_a_dataset_of_before_that_says_task_is_read(tiny_data_dir, tmp_path):
    """The first datasets call their label_kind `task`, in their metadata and in their report."""
    folder = tmp_path / "simulated_psg" / "1.0.0"
    shutil.copytree(datasets.find_dataset(tiny_data_dir, "simulated_psg"), folder)
    for name in ("metadata.json", provenance.FILENAME):
        text = (folder / name).read_text()
        assert text.count('"label_kind":') == 1
        (folder / name).write_text(text.replace('"label_kind":', '"task":'))
    old = datasets.Records([folder], "train")
    assert old.metadata["label_kind"] == "staging"
    assert "task" not in old.metadata
    assert provenance.load(folder)["spec"]["label_kind"] == "staging"
    both = [datasets.find_dataset(tiny_data_dir, "simulated_psg"), folder]
    assert len(datasets.Records(both, "train")[71].labels) == len(old[35].labels)


def test_the_newest_version_is_found(tiny_data_dir, tmp_path):
    for version in ("1.0.0", "1.10.0", "1.9.0"):
        (tmp_path / "mine" / version).mkdir(parents=True)
        (tmp_path / "mine" / version / "dataset_info.json").write_text("{}")
    assert datasets.find_dataset(tmp_path, "mine").name == "1.10.0"


def test_what_is_missing_is_named(tiny_data_dir, tmp_path):
    with pytest.raises(
        DatasetError, match=r"no dataset 'mesa'.*there: simulated_psg.*launch.build"
    ):
        datasets.find_dataset(tiny_data_dir, "mesa")
    for nothing in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DatasetError, match=r"no dataset 'mesa'.*--dataset=mesa"):
            datasets.find_dataset(nothing, "mesa")
    with pytest.raises(
        DatasetError, match=r"no split 'dev'; it has \['test', 'train', 'validation'\]"
    ):
        datasets.open_records(tiny_data_dir, ["simulated_psg"], "dev")
    assert datasets.has_split(tiny_data_dir, "simulated_psg", "test")
    assert not datasets.has_split(tiny_data_dir, "simulated_psg", "dev")


def copy_with(folder, target, **changes):
    """A copy of a dataset whose metadata says something else."""
    shutil.copytree(folder, target)
    metadata = json.loads((target / "metadata.json").read_text())
    (target / "metadata.json").write_text(json.dumps(metadata | changes))
    return target


@pytest.mark.parametrize(
    ("key", "value", "with_a_checkpoint"),
    [
        ("sfreq", 64.0, True),
        ("preprocessing", clips.preprocessing("reference"), True),
        ("clip_seconds", 60.0, False),  # an encoder takes clips of any length
    ],
)
def test_what_was_made_unalike_is_not_used_together(
    folder, tmp_path, key, value, with_a_checkpoint
):
    """One rule, for datasets that share batches and for a dataset and a checkpoint."""
    other = copy_with(folder, tmp_path / "simulated_psg" / "1.0.0", **{key: value})
    wanted, found = (datasets.Records([f], "train").metadata for f in (folder, other))
    assert wanted[key] != found[key] == value
    told = (
        f"{key} is {value!r}, but {{}} has {wanted[key]!r}: build them alike to use them together"
    )
    for split in ("train", "test"):
        with pytest.raises(DatasetError) as error:
            datasets.Records([folder, other], split)
        assert str(error.value) == f"{other}: {told.format(folder)}"
        with pytest.raises(DatasetError, match=key):
            datasets.Records([other, folder], split)
    encoder = Pretrained(None, None, None, {}, preprocessing=wanted)
    encoder.check_made_alike(wanted, "itself")
    if with_a_checkpoint:
        with pytest.raises(DatasetError) as error:
            encoder.check_made_alike(found, "mine")
        assert str(error.value) == f"mine: {told.format('the checkpoint')}"
    else:
        encoder.check_made_alike(found, "mine")


def test_what_else_the_metadata_says_may_differ(folder, tmp_path):
    other = copy_with(folder, tmp_path / "simulated_psg" / "1.0.0", citation="another")
    assert len(datasets.Records([folder, other], "train")) == 72


def test_datasets_with_other_labels_train_together(folder, labelled):
    """Pretraining reads no label: one dataset may have classes and another none."""
    both = datasets.Records([folder, labelled], "train")
    assert datasets.Records([labelled], "train")[0].labels.shape == (2,)
    assert both[0].labels.shape == both[len(both) - 1].labels.shape == (0,)
    last, classes = both.with_classes(len(both) - 1)
    assert last.labels.shape == (2,) and list(classes) == ["a", "b"]
    examples = ClipExamples(both, Layout((("bas", 2), ("resp", 1)), 640))
    batch = next(stream.training(examples, batch_size=len(both), seed=0))
    np.testing.assert_array_equal(np.sort(batch["index"]), np.arange(len(both)))


# --- whose records --------------------------------------------------------------------------------


@pytest.mark.parametrize("reports", ["both", "one", "none", "another number"])
def test_the_person_of_a_record(folder, labelled, tmp_path, reports):
    """From the build reports; where they are missing or do not fit, from the records: the same."""
    folders = [folder, labelled]
    for place in {"both": [], "one": [1], "none": [0, 1], "another number": [1]}[reports]:
        copied = tmp_path / str(place)
        shutil.copytree(folders[place], copied)
        report = copied / provenance.FILENAME
        if reports == "another number":
            said = json.loads(report.read_text())
            for recording in said["recordings"]:
                recording["clips"] += 1
            report.write_text(json.dumps(said))
        else:
            report.unlink()
        folders[place] = copied
    both = datasets.Records(folders, "train")
    found = [both.person_of(i) for i in range(len(both))]
    cohorts = ["simulated_psg"] * 36 + ["others"] * (len(both) - 36)
    subjects = [both[i].subject for i in range(len(both))]
    assert found == [people.subject_hash(c, s) for c, s in zip(cohorts, subjects)]
    assert len(set(found)) == 6, "three people, in two cohorts"
    assert set(found) == both.subjects()
    # A recording is told from all others, those of the other dataset that are called alike too.
    places = [both.recording_of(i) for i in range(len(both))]
    stored = [(i >= 36, both[i].recording) for i in range(len(both))]
    assert len(set(places)) == len(set(stored)) == len(set(zip(places, stored))) == 6
