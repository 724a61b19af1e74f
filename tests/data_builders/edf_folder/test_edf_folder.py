"""The edf_folder builder: plan, engine, the dataset on disk and its report."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_builders.edf_folder import edf_folder_dataset_builder
from data_builders.edf_folder.edf_folder_dataset_builder import Builder
from data_builders.engine import builder as engine
from data_builders.engine import record_features, work_unit
from data_builders.engine import report as build_report
from data_builders.engine.splits import by_subject
from sleepfm_jax.data import clips
from sleepfm_jax.data.record import decode
from sleepfm_jax.errors import BuildError, LeakError

SMALL = {"sfreq": 64, "clip_seconds": 30}


def build(source, data_dir, **kwargs):
    builder = Builder(source=source, data_dir=data_dir, **(SMALL | kwargs))
    builder.download_and_prepare()
    return builder


def read_split(builder, split):
    source = tfds.builder_from_directory(builder.data_dir).as_data_source(split)
    return [decode(source[i]) for i in range(len(source))]


@pytest.fixture
def folder(tmp_path, write_edf):
    """Four subjects' recordings of 70 s, one of them in a subfolder and in upper case."""
    root = tmp_path / "recordings"
    for i, name in enumerate(["a.edf", "b.edf", "c.edf", "deeper/D.EDF"]):
        write_edf(root / name, seed=i)
    return root


def test_a_folder_becomes_a_dataset_that_tfds_reads(folder, tmp_path, write_edf):
    written = write_edf(folder / "a.edf", seed=0)
    builder = build(folder, tmp_path / "records")
    assert builder.data_dir == str(tmp_path / "records" / "edf_folder" / "1.0.0")
    read = tfds.builder_from_directory(builder.data_dir)
    assert dict(read.info.metadata.items()) == {
        "sfreq": 64.0,
        "clip_seconds": 30.0,
        "label_kind": "none",
        "classes": [],
        "preprocessing": clips.PREPROCESSING,
        "seed": 0,
    }
    found = {s: read_split(builder, s) for s in read.info.splits}
    assert list(found) == ["train", "validation", "test"]
    assert {len(v) for v in found.values()} == {3, 6}
    subjects = {s: {r.subject for r in v} for s, v in found.items()}
    assert sorted(x for v in subjects.values() for x in v) == ["D", "a", "b", "c"]

    a = [r for v in found.values() for r in v if r.recording == "a"]
    assert [r.clip for r in a] == [0, 1, 2]
    assert [r.start for r in a] == [0.0, 30.0, 60.0]
    assert a[0].channel_labels == ["EEG C3-M2", "ECG", "Chin EMG", "Thorax"]
    assert a[0].modalities == ["bas", "ecg", "emg", "resp"]
    assert a[0].units[:3] == ["uV", "uV", "uV"]  # mV in the file
    assert a[0].labels.shape == (0,)
    assert a[0].gaps.shape == (0, 3)
    assert a[2].num_samples == 10 * 64
    assert a[2].gaps.tolist() == [[c, 640, 1920] for c in range(4)]
    for r in a:
        lo = round(r.start * 64)
        wanted = written["EEG C3-M2"][lo : lo + r.num_samples]
        step = 0.51 * r.scale[0] * r.sd[0] + 400 / 65535  # of the record, and of the EDF file
        np.testing.assert_allclose(r.physical()[0, : r.num_samples], wanted, atol=step)


def test_a_late_start_keeps_its_fraction(folder, tmp_path):
    (folder / "b.edf").unlink()
    builder = build(folder, tmp_path, clip_seconds=10.109375)
    starts = [r.start for s in builder.info.splits for r in read_split(builder, s)]
    assert 6 * 10.109375 in starts


def test_the_report_lies_beside_the_records(folder, tmp_path):
    builder = build(folder, tmp_path)
    report = json.loads((builder.data_path / "build_report.json").read_text(encoding="utf-8"))
    assert set(report) == {"recordings", "channel_lists", "totals", "shards", "spec"}
    assert {r["channels"] for r in report["recordings"]} == {0}  # all four have the same
    report = build_report.load(builder.data_dir)
    assert set(report) == {"recordings", "totals", "shards", "spec"}
    assert [r["path"] for r in report["recordings"]] == [
        "a.edf",
        "b.edf",
        "c.edf",
        "deeper/D.EDF",
    ]
    first = report["recordings"][0]
    assert set(first) == {
        "path",
        "status",
        "reason",
        "subject",
        "age",
        "sex",
        "split",
        "channels",
        "clips",
        "hours",
        "notes",
        "stages",
    }
    assert first["status"] == "built"
    assert first["clips"] == 3
    keys = {"label", "name", "modality", "sfreq", "unit", "valid", "notes"}
    assert set(first["channels"][0]) == keys
    totals = report["totals"]
    assert totals["recordings"] == totals["built"] == totals["subjects"] == 4
    assert totals["clips"] == 12
    assert totals["hours"] == pytest.approx(4 * 70 / 3600, abs=1e-4)
    assert totals["channels_by_modality"] == {"bas": 4, "resp": 4, "ecg": 4, "emg": 4}
    assert sum(s["subjects"] for s in totals["splits"].values()) == 4
    assert report["spec"]["clip_seconds"] == 30.0
    assert {c["valid"] for c in first["channels"]} == {1.0}  # padding is no missing sample
    written = sorted(builder.data_path.glob("*.array_record*"))
    hashes = {hashlib.sha256(path.read_bytes()).hexdigest() for path in written}
    assert {s["sha256"] for s in report["shards"]} == hashes
    assert sum(s["clips"] for s in report["shards"]) == 12


def shard_bytes(builder):
    return {p.name: p.read_bytes() for p in builder.data_path.glob("*.array_record*")}


def test_the_same_folder_gives_the_same_bytes(folder, tmp_path):
    one, two = (build(folder, tmp_path / d) for d in "12")
    assert shard_bytes(one)
    assert shard_bytes(one) == shard_bytes(two)


def test_an_interrupted_build_keeps_its_finished_shards(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(Builder, "UNIT_RECORDINGS", 1)
    whole = build(folder, tmp_path / "whole")
    assert len(shard_bytes(whole)) == 4

    calls = []
    real = edf_folder_dataset_builder.read_recording

    def failing(path, **kwargs):
        calls.append(path.name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(path, **kwargs)

    monkeypatch.setattr(edf_folder_dataset_builder, "read_recording", failing)
    with pytest.raises(KeyboardInterrupt):
        build(folder, tmp_path / "again")
    final = tmp_path / "again" / "edf_folder" / "1.0.0"
    assert not final.exists()
    lines = []
    builder = Builder(source=folder, data_dir=tmp_path / "again", **SMALL)
    builder.download_and_prepare(progress=lines.append)
    assert len(calls) == 3 + 2  # the two finished ones are not read again
    assert "2 of 4 shards kept from an earlier run" in lines
    assert shard_bytes(builder) == shard_bytes(whole)
    assert sorted(p.name for p in final.parent.iterdir()) == ["1.0.0"]


def test_what_could_not_be_read_is_tried_again(folder, tmp_path, monkeypatch):
    """A shard with a quarantined recording, left by an interrupted build, is built anew."""
    real, broken = edf_folder_dataset_builder.read_recording, {"a.edf"}

    def failing(path, **kwargs):
        if path.name in broken:
            raise OSError("the disk is gone")
        if path.name == "c.edf" and broken:
            raise KeyboardInterrupt
        return real(path, **kwargs)

    monkeypatch.setattr(Builder, "UNIT_RECORDINGS", 1)
    monkeypatch.setattr(edf_folder_dataset_builder, "read_recording", failing)
    with pytest.raises(KeyboardInterrupt):
        build(folder, tmp_path)
    broken.clear()
    report = build_report.load(build(folder, tmp_path).data_dir)
    assert report["totals"]["built"] == 4


def test_an_unfinished_shard_is_rebuilt_when_its_recording_changed(
    folder, tmp_path, write_edf, monkeypatch
):
    monkeypatch.setattr(Builder, "UNIT_RECORDINGS", 1)
    builder = Builder(source=folder, data_dir=tmp_path, **SMALL)
    plan = builder.plan()

    def keys():
        return {u.sources[0].path: u.key for u in builder._units(folder, plan, builder.spec)}

    before = keys()
    write_edf(folder / "b.edf", seed=9, seconds=100)
    after = keys()
    assert [path for path in before if before[path] != after[path]] == ["b.edf"]


def test_an_edited_hypnogram_rebuilds_what_an_interrupted_build_left(
    folder, tmp_path, write_hypnogram, monkeypatch
):
    monkeypatch.setattr(Builder, "UNIT_RECORDINGS", 1)
    for name in "ab":
        write_hypnogram(folder / f"{name}-Hypnogram.edf", ["W", "N1"])

    def stopped(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Builder, "_finish", stopped)
        with pytest.raises(KeyboardInterrupt):
            build(folder, tmp_path)
    write_hypnogram(folder / "b-Hypnogram.edf", ["W", "N2"])
    builder = Builder(source=folder, data_dir=tmp_path, **SMALL)
    builder.download_and_prepare(progress=(lines := []).append)
    assert "3 of 4 shards kept from an earlier run" in lines
    clips = [r for split in builder.info.splits for r in read_split(builder, split)]
    stages = {(r.subject, r.clip): r.stages.tolist() for r in clips}
    assert [stages["a", 0], stages["a", 1]] == [[0], [1]]
    assert [stages["b", 0], stages["b", 1]] == [[0], [2]]


def test_records_are_reused_or_kept_or_replaced_only_as_told(folder, tmp_path):
    first = build(folder, tmp_path)
    stamp = os.stat(first.data_dir).st_mtime_ns
    lines = []
    Builder(source=folder, data_dir=tmp_path, **SMALL).download_and_prepare(progress=lines.append)
    assert "nothing to do" in lines[0]
    assert os.stat(first.data_dir).st_mtime_ns == stamp
    other = Builder(source=folder, data_dir=tmp_path, sfreq=64, clip_seconds=60)
    with pytest.raises(BuildError, match="--overwrite"):
        other.download_and_prepare()
    other.download_and_prepare(overwrite=True)
    read = tfds.builder_from_directory(other.data_dir)
    assert read.info.metadata["clip_seconds"] == 60
    assert len(other.as_data_source("train")) == 4
    assert {r.signals.shape for r in read_split(other, "train")} == {(4, 3840)}


def test_a_builder_without_a_source_reads_what_is_there(folder, tmp_path):
    build(folder, tmp_path)
    builder = Builder(data_dir=tmp_path)
    builder.download_and_prepare()
    assert len(builder.as_data_source("train")) == 6
    with pytest.raises(BuildError, match="--source"):
        Builder(data_dir=tmp_path / "elsewhere").download_and_prepare()


def test_a_builder_pickles_as_its_arguments(folder, tmp_path):
    builder = Builder(source=folder, data_dir=tmp_path, seed=3, split_fractions=(0.5, 0.2, 0.3))
    again = pickle.loads(pickle.dumps(builder))
    assert again.plan() == builder.plan()
    assert again.spec == builder.spec
    unit = builder._units(folder, builder.plan(), builder.spec)[0]
    assert pickle.loads(pickle.dumps(unit)) == unit  # a pool of processes can be given it


def test_units_are_cut_by_size_and_stay_within_a_split(folder, tmp_path, monkeypatch):
    builder = Builder(source=folder, data_dir=tmp_path, **SMALL)
    plan = builder.plan()
    assert len(builder._units(folder, plan, builder.spec)) == 3  # one a split
    monkeypatch.setattr(Builder, "UNIT_BYTES", 1)
    units = builder._units(folder, plan, builder.spec)
    assert [len(u.sources) for u in units] == [1, 1, 1, 1]
    for unit in units:
        assert {s.split for s in unit.sources} == {unit.split}


# --- hypnograms, tables and splits ----------------------------------------------------------------


def test_a_hypnogram_next_to_the_recording_makes_it_a_staging_dataset(
    folder, tmp_path, write_hypnogram
):
    write_hypnogram(folder / "a-Hypnogram.edf", ["W", "N1"])
    (folder / "Hypnogram_b.txt").write_text("N2\nN3\n", encoding="utf-8")
    write_hypnogram(folder / "lonely-Hypnogram.edf", ["W"])
    builder = build(folder, tmp_path)
    assert builder.info.metadata["label_kind"] == "staging"
    assert builder.info.metadata["classes"] == ["W", "N1", "N2", "N3", "REM"]
    report = build_report.load(builder.data_dir)
    assert [r["path"] for r in report["recordings"]] == ["a.edf", "b.edf", "c.edf", "deeper/D.EDF"]
    assert report["totals"]["labels"] == {"W": 1, "N1": 1, "N2": 1, "N3": 1}
    assert "lonely-Hypnogram.edf" in report["spec"]["notes"][-1]
    stages = {
        (r.recording, r.clip): r.stages.tolist()
        for s in builder.info.splits
        for r in read_split(builder, s)
    }
    assert [stages["a", i] for i in range(3)] == [[0], [1], [-1]]
    assert [stages["b", i] for i in range(3)] == [[2], [3], [-1]]
    assert stages["c", 0] == [-1]


def write_table(path, *rows):
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_hypnograms_that_archives_and_clinics_name_otherwise(tmp_path, write_edf):
    for name in ("ucddb/ucddb002", "ucddb/ucddb002_lifecard", "clinic/1/night", "clinic/2/night"):
        write_edf(tmp_path / f"{name}.edf", seed=len(name))
    write_edf(tmp_path / "clinic" / "2" / "nap.edf", seed=3)
    (tmp_path / "ucddb" / "ucddb002_stage.txt").write_text("1\n3\n")
    rows = "23:00:00,000; Wach\n23:00:30,000; N3\n"
    for clinic in ("1", "2"):
        profile = tmp_path / "clinic" / clinic / "Schlafprofil.txt"
        profile.write_text(f"Signal ID: SchlafProfil\\profil\nRate: 30 s\n\n{rows}")
    builder = Builder(source=tmp_path, data_dir=tmp_path / "records")
    sources = {s.path.removesuffix(".edf"): s for s in builder.plan().sources}
    assert {name: s.hypnogram for name, s in sources.items() if s.hypnogram} == {
        "ucddb/ucddb002": "ucddb/ucddb002_stage.txt",
        "clinic/1/night": "clinic/1/Schlafprofil.txt",  # in 2 it could be either recording's
    }
    night = builder.read(tmp_path, sources["ucddb/ucddb002"])
    assert night.stages.tolist() == [4, 2, -1]
    assert any("UCDDB's numbers" in note for note in night.notes)
    night = builder.read(tmp_path, sources["clinic/1/night"])
    assert night.stages.tolist() == [0, 3, -1]


def test_a_table_says_subject_split_label_and_hypnogram(folder, tmp_path):
    write_table(
        folder / "table.csv",
        "path,subject,split,label,remark",
        "a.edf,anna,train,ill,x",
        "b.edf,anna,train,well,",
        "c.edf,carl,val,well,",
        "lost.edf,lou,test,ill,",
    )
    builder = build(folder, tmp_path)
    assert builder.info.metadata["label_kind"] == "classification"
    assert builder.info.metadata["classes"] == ["ill", "well"]
    train = read_split(builder, "train")
    assert {r.subject for r in train} == {"anna"}
    assert {(r.recording, *r.labels.tolist()) for r in train} == {("a", 1, 0), ("b", 0, 1)}
    assert {r.subject for r in read_split(builder, "validation")} == {"carl"}
    report = build_report.load(builder.data_dir)
    bad = {r["path"]: r["reason"] for r in report["recordings"] if r["status"] == "quarantined"}
    assert set(bad) == {"lost.edf", "deeper/D.EDF"}
    assert "no such file" in bad["lost.edf"]
    assert "not listed in table.csv" in bad["deeper/D.EDF"]
    assert report["totals"]["labels"] == {"ill": 3, "well": 6}
    assert any("remark" in note for note in report["spec"]["notes"])


def test_several_labels_or_none_make_a_multilabel_dataset(folder, tmp_path):
    table = write_table(
        tmp_path / "labels.tsv",
        "path\tlabel",
        "a.edf\tAF|RBBB",
        "b.edf\tnone",
        "c.edf\t",
        "deeper/D.EDF\tRBBB",
    )
    builder = build(folder, tmp_path / "records", table=table)
    assert builder.info.metadata["label_kind"] == "multilabel"
    assert builder.info.metadata["classes"] == ["AF", "RBBB"]
    labels = {r.recording: r.labels for s in builder.info.splits for r in read_split(builder, s)}
    np.testing.assert_array_equal(labels["a"], [1, 1])
    np.testing.assert_array_equal(labels["b"], [0, 0])
    np.testing.assert_array_equal(labels["c"], [np.nan, np.nan])
    np.testing.assert_array_equal(labels["deeper/D"], [0, 1])


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["path,subject,split", "a.edf,x,train", "b.edf,x,test"], "x in test and train"),
        (["path,split", "a.edf,train", "b.edf,"], "no split while others do"),
        (["path,split", "a.edf,holdout"], "line 2: split 'holdout'"),
        (["path", "a.edf", "a.edf"], "listed twice"),
        (["file,subject", "a.edf,x"], "no column named path; its columns are file, subject"),
        (["path,subject", ",x"], "line 2: no path"),
        (["path"], "no rows"),
        (["path", "nowhere.edf"], "none of the 1 paths"),
    ],
)
def test_a_wrong_table_is_an_error_that_says_where(folder, tmp_path, rows, words):
    write_table(folder / "table.csv", *rows)
    with pytest.raises((BuildError, LeakError), match=words):
        Builder(source=folder, data_dir=tmp_path).plan()


def test_label_kind_can_be_told(folder, tmp_path, write_hypnogram):
    write_hypnogram(folder / "a-Hypnogram.edf", ["W"])
    write_table(folder / "table.csv", "path,label", "a.edf,x", "b.edf,y")
    assert Builder(source=folder, data_dir=tmp_path).plan().label_kind == "staging"
    for label_kind in ("none", "classification", "multilabel"):
        assert (
            Builder(source=folder, data_dir=tmp_path, label_kind=label_kind).plan().label_kind
            == label_kind
        )
    (folder / "table.csv").unlink()
    with pytest.raises(BuildError, match="needs labels"):
        Builder(source=folder, data_dir=tmp_path, label_kind="multilabel").plan()
    with pytest.raises(BuildError, match="label_kind must be one of"):
        Builder(source=folder, data_dir=tmp_path, label_kind="regression")


def test_splits_are_by_subject_and_depend_on_names_alone():
    names = [f"s{i}" for i in range(50)]
    splits = by_subject(names)
    counts = {s: list(splits.values()).count(s) for s in ("train", "validation", "test")}
    assert counts == {"train": 35, "validation": 5, "test": 10}
    assert by_subject(reversed(names * 2)) == splits
    assert by_subject(names, seed=1) != splits
    assert by_subject(["one", "two"]) == {"one": "train", "two": "train"}
    assert sorted(by_subject("abc").values()) == ["test", "train", "validation"]
    assert set(by_subject(names, fractions=(0.8, 0, 0.2)).values()) == {"train", "test"}
    assert sorted(by_subject("abc", fractions=(0.1, 0.1, 0.8)).values()).count("train") == 1
    for wrong in [(0.7, 0.1, 0.1), (0.9, 0.2, -0.1), (0, 0.5, 0.5), (1.0,)]:
        with pytest.raises(ValueError, match="fraction"):
            by_subject(names, fractions=wrong)


def test_the_serialised_record_is_small_beside_its_signals(folder, tmp_path):
    recording = edf_folder_dataset_builder.read(
        folder, work_unit.Source("a.edf", "a", "a", "train")
    )
    record = next(clips.clips(recording, clips.ClipSpec(64, 30)))
    assert len(record_features.serialise(record)) < record.signals.nbytes + 1000


# --- the program ----------------------------------------------------------------------------------


def test_launch_build_prints_what_it_did(program, folder, tmp_path):
    (folder / "broken.edf").write_text("this is no EDF", encoding="utf-8")
    done = program(
        "launch.build",
        "--dataset=edf_folder",
        f"--source={folder}",
        f"--data_dir={tmp_path / 'records'}",
        "--clip_seconds=30",
        "--split_fractions=0.5,0.25,0.25",
    )
    assert done.returncode == 0, done.stderr
    assert "broken.edf" in done.stdout
    assert "4 of 5 recordings built" in done.stdout
    assert "build_report.json" in done.stdout
    assert (tmp_path / "records" / "edf_folder" / "1.0.0" / "build_report.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--dataset, --source, --data_dir not given"),
        (
            ["--dataset=nope", "--source=.", "--data_dir=x"],
            "no such dataset. Known: braincapture, ",
        ),
        (
            ["--dataset=edf_foldr", "--source=.", "--data_dir=x"],
            "no such dataset: did you mean edf_folder? Known: braincapture, ",
        ),
        (["--dataset=edf_folder", "--source=nowhere", "--data_dir=x"], "no such folder"),
        (["--dataset=no/such.py", "--source=.", "--data_dir=x"], "there is no such file"),
        (["--dataset=no_such:B", "--source=.", "--data_dir=x"], "there is no module no_such"),
        (["--dataset=pathlib:Path", "--source=.", "--data_dir=x"], "has no class Path made from"),
        (
            ["--dataset=edf_folder", "--source=.", "--data_dir=x", "--split_fractions=a,b"],
            "--split_fractions=a,b: could not convert",
        ),
        (["--datasets=edf_folder"], "--datasets: there is no such flag: did you mean --dataset?"),
    ],
)
def test_launch_build_says_what_was_wrong(program, arguments, words):
    done = program("launch.build", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.startswith("UsageError: ") and len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_launch_build_refuses_a_flag_of_another_dataset_and_an_empty_folder(program, tmp_path):
    (tmp_path / "empty").mkdir()
    common = [f"--source={tmp_path / 'empty'}", f"--data_dir={tmp_path}"]
    done = program("launch.build", "--dataset=eegmat", "--table=x.csv", *common)
    assert done.returncode == 2
    assert "--table: there is no such flag" in done.stderr
    assert "(flags of --dataset=eegmat itself: none)" in done.stderr
    for flag in ("label_kind", "task"):  # its name of before
        done = program("launch.build", "--dataset=eegmat", f"--{flag}=staging", *common)
        assert done.returncode == 8
        assert "--label_kind=staging: eegmat is for classification" in done.stderr
    for zero in ("--sfreq=0", "--clip_seconds=0"):
        done = program("launch.build", "--dataset=edf_folder", zero, *common)
        assert done.returncode == 8
        assert done.stderr.startswith(f"BuildError: {zero[2:-2]} must be ")
    done = program("launch.build", "--dataset=edf_folder", *common)
    assert done.returncode == 8
    assert "no .edf, .bdf, .gdf, .vhdr or .set file" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("how", ["file", pytest.param("module", marks=pytest.mark.slow)])
def test_launch_build_takes_a_builder_from_outside_with_its_flags(folder, tmp_path, root, how):
    """FILE.py or package.module:CLASS; workers find it too."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine_dataset_builder.py").write_text(
        "from data_builders.edf_folder import edf_folder_dataset_builder as base\n"
        "from data_builders.engine.options import Option\n"
        "def read(root, source):\n"
        "    return base.read(root, source)\n"
        "class Builder(base.Builder):\n"
        "    OPTIONS = {'night': Option('Which night.', int, (1, 2))}\n"
        "    read = staticmethod(read)\n"
        "    def __init__(self, *, night=None, **kwargs):\n"
        "        assert night in (None, 2)\n"
        "        super().__init__(**kwargs)\n"
    )
    dataset = (
        outside / "mine_dataset_builder.py" if how == "file" else "mine_dataset_builder:Builder"
    )
    command = [sys.executable, "-m", "launch.build", f"--dataset={dataset}"]
    options = {"cwd": root, "capture_output": True, "text": True, "check": False}
    options["env"] = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), str(outside)])}
    if how == "file":
        options["env"]["PYTHONPATH"] = str(root)
        shown = subprocess.run([*command, "--help"], **options)
        assert shown.returncode == 0
        assert all(f"--{name}:" in shown.stdout for name in ("night", "table", "split_fractions"))
    command += [f"--source={folder}", f"--data_dir={tmp_path / 'records'}", "--night=2"]
    done = subprocess.run([*command, "--num_workers=1", "--clip_seconds=30"], **options)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "records" / "mine" / "1.0.0" / "build_report.json").is_file()


def test_every_dataset_is_described(root):
    names = sorted(p.parent.name for p in (root / "data_builders").glob("*/*_dataset_builder.py"))
    assert {"edf_folder", "eegmat", "ptbxl", "simulated_psg"} <= set(names)
    for name in names:
        module = __import__(f"data_builders.{name}.{name}_dataset_builder", fromlist=["Builder"])
        assert issubclass(module.Builder, engine.RecordsBuilder)
        assert module.Builder.name == name
        metadata = module.Builder.get_metadata()
        assert f"--dataset={name}" in metadata.description
        assert set(metadata.tags) <= set(tfds.core.dataset_metadata.valid_tags())
