"""Nobody is in two splits, and the records can be held to it."""

from __future__ import annotations

import json

import pytest
import tensorflow_datasets as tfds

from data_builders.engine import report as build_report
from data_builders.engine.builder import Plan
from data_builders.engine.leak_check import check_dataset
from data_builders.engine.work_unit import Source
from sleepfm_jax.data import datasets, people
from sleepfm_jax.data.people import subject_hash
from sleepfm_jax.errors import LeakError
from tests.helpers.builders import SMALL, EdfFolder, build


@pytest.fixture
def folder(tmp_path, write_edf):
    """Four nights of three people; one night is broken, and with it a fourth person."""
    root = tmp_path / "recordings"
    for i, name in enumerate(["night1", "night2", "night3", "night4"]):
        write_edf(root / f"{name}.edf", seed=i, seconds=40)
    (root / "night5.edf").write_text("this is no EDF")
    rows = ["night1.edf,anna,train", "night2.edf,anna,train", "night3.edf,bert,validation"]
    rows += ["night4.edf,cleo,test", "night5.edf,dora,train"]
    (root / "table.csv").write_text("\n".join(["path,subject,split", *rows]) + "\n")
    return root


def test_the_manifest_says_who_is_in_the_records_without_names(folder, tmp_path):
    builder = build(EdfFolder, folder, tmp_path)
    text = (builder.data_path / "splits.json").read_text()
    assert not any(name in text for name in ("anna", "bert", "cleo", "dora"))
    found = json.loads(text)
    assert found["cohort"] == "edf_folder"
    assert found["subjects"] == {
        "train": [subject_hash("edf_folder", "anna")],
        "validation": [subject_hash("edf_folder", "bert")],
        "test": [subject_hash("edf_folder", "cleo")],
    }
    records = datasets.open_records(tmp_path, ["edf_folder"], "train")
    assert records.subjects() == {subject_hash("edf_folder", "anna")}
    expected = {"train": 1, "validation": 1, "test": 1}
    assert check_dataset(builder.data_dir) == expected
    assert check_dataset(builder.data_dir, every_record=True) == expected


def test_people_are_compared_within_a_cohort(folder, tmp_path):
    """By the rule that splits.json states, worked out with sha256sum."""
    one = build(EdfFolder, folder, tmp_path / "1", cohort="clinic").data_path
    two = build(EdfFolder, folder, tmp_path / "2", cohort="other clinic").data_path
    by_hand = ["c4ab9e92bab2ad3d"]  # printf 'clinic:anna' | sha256sum | cut -c-16
    found = [people.read(path).splits for path in (one, two)]
    assert found[0]["train"] == set(by_hand)
    assert found[1]["train"] != set(by_hand)
    assert json.loads((one / "build_report.json").read_text())["recordings"][0]["subject"] == "anna"


def damage(folder, change):
    path = folder / "splits.json"
    found = json.loads(path.read_text())
    change(found["subjects"])
    path.write_text(json.dumps(found))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s["test"].extend(s["train"]), "1 subjects are in two splits"),
        (lambda s: s.update(test=s["train"], train=s["test"]), "of subject anna is in train, but"),
        (lambda s: s["test"].clear(), "in no split"),
        (lambda s: s["test"].append("0123456789abcdef"), "1 subjects have no record"),
    ],
)
def test_the_checker_sees(folder, tmp_path, change, words):
    path = build(EdfFolder, folder, tmp_path).data_path
    damage(path, change)
    with pytest.raises(LeakError, match=words):
        check_dataset(path)


def test_the_checker_reads_the_records_when_asked(folder, tmp_path):
    """A report and a manifest that agree with each other, but not with the records."""
    path = build(EdfFolder, folder, tmp_path).data_path
    report = path / "build_report.json"
    report.write_text(report.read_text().replace('"cleo"', '"zoe"'))
    damage(path, lambda s: s.update(test=[subject_hash("edf_folder", "zoe")]))
    check_dataset(path)
    with pytest.raises(LeakError, match="record 0 of test of subject cleo"):
        check_dataset(path, every_record=True)


def test_a_plan_with_a_person_in_two_splits_is_refused(folder, tmp_path):
    class Leaky(EdfFolder, skip_registration=True):
        VERSION = EdfFolder.VERSION

        def plan(self):
            pairs = [("night1.edf", "train"), ("night2.edf", "test")]
            return Plan(tuple(Source(path, "anna", path, split) for path, split in pairs))

    with pytest.raises(LeakError, match=r"two splits \(anna in test and train\).* one split$"):
        build(Leaky, folder, tmp_path)


def test_a_reader_that_names_another_person_is_quarantined(folder, tmp_path, monkeypatch):
    from data_builders.edf_folder import edf_folder_dataset_builder

    real = edf_folder_dataset_builder.read_recording

    def confused(path, **kwargs):
        return real(path, **(kwargs | {"subject": "cleo"}))

    monkeypatch.setattr(edf_folder_dataset_builder, "read_recording", confused)
    path = build(EdfFolder, folder, tmp_path).data_path
    entries = json.loads((path / "build_report.json").read_text())["recordings"]
    assert [e["status"] for e in entries[:4]] == ["quarantined"] * 3 + ["built"]
    assert entries[0]["reason"] == "read as subject 'cleo', planned as 'anna'"


def notes_of(folder, data_dir):
    return build_report.load(build(EdfFolder, folder, data_dir).data_path)["spec"]["notes"]


def test_one_recording_under_two_names_is_noted(folder, tmp_path):
    """A copy of anna's night in the test set; its header has another name and start."""
    assert notes_of(folder, tmp_path / "before") == []
    raw = (folder / "night1.edf").read_bytes()
    copied = raw[:8] + b"X someone_else".ljust(80) + raw[88:168] + b"01.02.0304.05.06" + raw[184:]
    (folder / "copied.edf").write_bytes(copied)
    with (folder / "table.csv").open("a") as file:
        file.write("copied.edf,emma,test\n")
    assert notes_of(folder, tmp_path / "after") == [
        "the same signals under 2 names, leave only one: night1.edf (subject anna, train), "
        "copied.edf (subject emma, test)"
    ]


def test_a_split_that_lost_all_its_recordings_is_noted(folder, tmp_path):
    (folder / "night4.edf").write_bytes(b"")
    assert notes_of(folder, tmp_path) == ["no record in test: its 1 recordings could not be built"]


def test_a_dataset_that_does_not_say_is_an_error(folder, tmp_path):
    path = build(EdfFolder, folder, tmp_path).data_path
    records = datasets.open_records(tmp_path, ["edf_folder"], "train")
    for text in ("{}", "no JSON", '{"cohort": "x", "subjects": {"train": 3}}'):
        (path / "splits.json").write_text(text)
        with pytest.raises(datasets.DatasetError, match="does not say who is in its splits"):
            records.subjects()
    (path / "splits.json").unlink()
    with pytest.raises(datasets.DatasetError, match="does not say who is in its splits"):
        records.subjects()


def test_tfds_finds_the_dataset_by_name_and_builds_from_its_manual_folder(folder, tmp_path):
    """As `tfds build --manual_dir=FOLDER` does it; the command itself imports TensorFlow."""
    builder = EdfFolder(data_dir=tmp_path, **SMALL)
    config = tfds.download.DownloadConfig(manual_dir=folder)
    builder.download_and_prepare(download_dir=None, download_config=config)
    for read in (
        tfds.builder("edf_folder", data_dir=tmp_path),
        tfds.builder_from_directory(tmp_path / "edf_folder" / "1.0.0"),
    ):
        assert {name: s.num_examples for name, s in read.info.splits.items()} == {
            "train": 4,
            "validation": 2,
            "test": 2,
        }
        source = read.as_data_source("train")
        assert source[0]["subject"] in (b"anna", "anna")
        assert source[0]["signals"].dtype == "int16"
