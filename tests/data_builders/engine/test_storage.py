"""Input and output in a bucket: here an in-memory file system that answers to s3://."""

from __future__ import annotations

import sys

import fsspec
import numpy as np
import pytest
import tensorflow_datasets as tfds
from etils.epath import backend
from fsspec.implementations.memory import MemoryFileSystem

from data_builders.engine import dataset_folder, leak_check, storage
from data_builders.engine import report as build_report
from sleepfm_jax.errors import BuildError
from tests.helpers.builders import EdfFolder, build, hashes
from tests.helpers.mne_files import write_brainvision


class FakeS3(MemoryFileSystem):
    """Objects in memory, under s3://."""

    protocol = "s3"
    store = {}  # noqa: RUF012 — of the class, as the memory file system's own
    pseudo_dirs = [""]  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(str(path).removeprefix("s3://"))


@pytest.fixture
def bucket(monkeypatch):
    """An empty s3://bucket."""
    monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, "s3", FakeS3)
    FakeS3.store.clear()
    FakeS3.pseudo_dirs[:] = ["", "/bucket"]
    FakeS3.clear_instance_cache()
    backend.fsspec_backend._get_filesystem.cache_clear()
    yield fsspec.filesystem("s3")
    backend.fsspec_backend._get_filesystem.cache_clear()


@pytest.fixture
def folder(tmp_path, write_edf):
    root = tmp_path / "recordings"
    for i, name in enumerate(["a", "b", "c", "deeper/d"]):
        write_edf(root / f"{name}.edf", seed=i, seconds=40)
    (root / "broken.edf").write_text("this is no EDF")
    (root / "a.hypnogram.txt").write_text("W\nN2\n")
    return root


@pytest.fixture
def uploaded(bucket, folder):
    bucket.put(str(folder), "s3://bucket/recordings", recursive=True)
    return "s3://bucket/recordings"


def download(bucket, tmp_path):
    bucket.get("s3://bucket/records", str(tmp_path / "downloaded"), recursive=True)
    return tmp_path / "downloaded"


def data_files(folder):
    """Hashes of all but the report, whose fingerprint knows the time of each input file."""
    return {name: h for name, h in hashes(folder).items() if "build_report" not in name}


def test_from_a_bucket_to_a_bucket(uploaded, bucket, folder, tmp_path):
    here = build(EdfFolder, folder, tmp_path / "here")
    there = build(EdfFolder, uploaded, "s3://bucket/records")
    assert str(there.data_dir) == "s3://bucket/records/edf_folder/1.0.0"
    counts = leak_check.check_dataset("s3://bucket/records/edf_folder/1.0.0")
    assert sum(counts.values()) == 4
    assert bucket.ls("s3://bucket/records/edf_folder", detail=False) == [
        "/bucket/records/edf_folder/1.0.0"
    ]
    copy = download(bucket, tmp_path) / "edf_folder" / "1.0.0"
    assert data_files(copy) == data_files(here.data_dir)
    assert len(tfds.builder_from_directory(copy).as_data_source("train")) > 0
    # What is said of the broken file names no temporary folder.
    report = (copy / "build_report.json").read_text()
    assert "sleepfm_input_" not in report
    assert "broken.edf" in report


def test_one_side_in_a_bucket(uploaded, bucket, folder, tmp_path):
    here = data_files(build(EdfFolder, folder, tmp_path / "here").data_dir)
    build(EdfFolder, folder, "s3://bucket/records")
    assert data_files(download(bucket, tmp_path) / "edf_folder" / "1.0.0") == here
    assert data_files(build(EdfFolder, uploaded, tmp_path / "from").data_dir) == here


def test_a_bids_folder_in_a_bucket(bucket, write_edf, tmp_path):
    """Its tables and the files of a recording's other parts are fetched with the recording."""
    root = tmp_path / "bids"
    for i in (1, 2):
        folder = root / f"sub-0{i}" / "eeg"
        write_edf(folder / f"sub-0{i}_task-a_eeg.edf", labels={"C3": "uV", "box": "uV"}, seconds=60)
        signals = {"C3": ("µV", np.arange(3840.0)), "box": ("µV", np.arange(3840.0))}
        write_brainvision(folder / f"sub-0{i}_task-b_eeg.vhdr", signals, 64)
    (root / "dataset_description.json").write_text('{"BIDSVersion": "1.9.0"}')
    (root / "participants.tsv").write_text("participant_id\tgroup\nsub-01\tx\nsub-02\ty\n")
    (root / "channels.tsv").write_text("name\ttype\nC3\tEEG\nbox\tEMG\n")
    (root / "events.tsv").write_text("onset\tduration\tsleep_stage\n0\t30\tN2\n30\t30\tR\n")
    bucket.put(str(root), "s3://bucket/bids", recursive=True)
    here = build(EdfFolder, root, tmp_path / "here")
    there = build(EdfFolder, "s3://bucket/bids", tmp_path / "there")
    assert data_files(there.data_dir) == data_files(here.data_dir)
    totals = build_report.load(there.data_dir)["totals"]
    assert totals["built"] == 4
    assert totals["channels_by_modality"] == {"bas": 4, "emg": 4}
    assert totals["labels"] == {"N2": 4, "REM": 4}
    labelled = build(EdfFolder, "s3://bucket/bids", tmp_path / "labelled", label_column="group")
    assert labelled.info.metadata["classes"] == ["x", "y"]


def test_records_in_a_bucket_are_kept_or_replaced_only_as_told(uploaded, folder):
    lines = []
    build(EdfFolder, uploaded, "s3://bucket/records")
    build(EdfFolder, uploaded, "s3://bucket/records", lines=lines)
    assert "nothing to do" in lines[0]
    with pytest.raises(BuildError, match="--overwrite"):
        build(EdfFolder, uploaded, "s3://bucket/records", seed=1)
    other = EdfFolder(source=uploaded, data_dir="s3://bucket/records", sfreq=64, clip_seconds=20)
    other.download_and_prepare(overwrite=True)
    read = tfds.builder_from_directory("s3://bucket/records/edf_folder/1.0.0")
    assert read.info.metadata["clip_seconds"] == 20


class Killed(BaseException):
    """As good as SIGKILL."""


def test_a_bucket_build_killed_at_each_step_of_the_end(uploaded, bucket, tmp_path, monkeypatch):
    build(EdfFolder, uploaded, "s3://bucket/records")
    whole = hashes(download(bucket, tmp_path))
    publish = dataset_folder.publish
    steps, fatal, moments = 0, None, 0

    def deadly(function):
        def wrapped(*args, **kwargs):
            nonlocal steps
            steps += 1
            if steps == fatal:
                raise Killed
            return function(*args, **kwargs)

        return wrapped

    def in_danger(*args):
        with pytest.MonkeyPatch.context() as patch:
            for name in ("move", "write_text", "remove_tree"):
                patch.setattr(storage, name, deadly(getattr(storage, name)))
            publish(*args)

    while True:
        bucket.rm("s3://bucket/records", recursive=True)
        monkeypatch.setattr(dataset_folder, "publish", in_danger)
        steps, fatal = 0, moments + 1
        try:
            build(EdfFolder, uploaded, "s3://bucket/records")
        except Killed:
            moments += 1
        else:
            break
        monkeypatch.setattr(dataset_folder, "publish", publish)
        build(EdfFolder, uploaded, "s3://bucket/records")
        assert hashes(download(bucket, tmp_path / str(moments))) == whole
    assert moments >= 3 + 3 + 3


def test_a_path_that_cannot_be_reached_is_an_error(tmp_path, monkeypatch):
    with pytest.raises(BuildError, match="not a folder or one of gs://"):
        EdfFolder(source="ftp://somewhere", data_dir=tmp_path)

    def not_installed(scheme):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "get_filesystem_class", not_installed)
    with pytest.raises(BuildError, match="s3:// cannot be reached: Install s3fs"):
        build(EdfFolder, "s3://bucket/recordings", tmp_path)
    assert storage.as_path("file:///recordings") == storage.as_path("/recordings")


def test_a_file_is_whole_or_not_there(tmp_path):
    target = tmp_path / "file"
    with pytest.raises(Killed), storage.written(target) as temporary:
        temporary.write_text("half")
        raise Killed
    assert list(tmp_path.iterdir()) == []
    with storage.written(target) as one, storage.written(target) as two:
        assert one != two  # an orphan of a killed build may write the same shard
        one.write_text("whole")
        two.write_text("whole")
    assert target.read_text() == "whole"
    with storage.written(tmp_path / "never"):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
