"""Files whose content was not fetched (git-annex, git-LFS): listed, and told what to do."""

from __future__ import annotations

import importlib
import json
import os
import shutil
from pathlib import Path

import pytest

from data_builders.engine import report as build_report
from data_builders.engine import storage
from sleepfm_jax.errors import BuildError, RecordingError
from sleepfm_jax.recordings.files import unfetched
from sleepfm_jax.recordings.read import read_recording
from tests.helpers import broken_files
from tests.helpers.builders import EdfFolder, build

KEY = "MD5E-s1234--0123456789abcdef0123456789abcdef"
LFS = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 1234\n"


def as_link(path: Path) -> None:
    """As git-annex has it before `get`."""
    path.unlink(missing_ok=True)
    name = KEY + "".join(path.suffixes[-1:])
    path.symlink_to(f"../.git/annex/objects/aB/cD/{name}/{name}")


def as_annex_pointer(path: Path) -> None:
    """The same, unlocked."""
    path.unlink(missing_ok=True)
    path.write_text(f"/annex/objects/{KEY}.edf\n")


def as_text_of_a_link(path: Path) -> None:
    """The same, where links cannot be had."""
    path.unlink(missing_ok=True)
    path.write_text(f"../../.git/annex/objects/aB/cD/{KEY}/{KEY}")


def as_lfs_pointer(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.write_text(LFS)


def as_lost_link(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("nowhere.edf")


WAYS = {
    as_link: "is in git-annex and was not fetched: fetch it first (`datalad get {}`)",
    as_annex_pointer: "is in git-annex and was not fetched: fetch it first (`datalad get {}`)",
    as_text_of_a_link: "is in git-annex and was not fetched: fetch it first (`datalad get {}`)",
    as_lfs_pointer: "was not fetched: fetch it first (`git lfs pull --include={}`)",
    as_lost_link: "is a link to nowhere.edf, where nothing is",
}


def entries(builder) -> dict[str, dict]:
    return {entry["path"]: entry for entry in build_report.load(builder.data_dir)["recordings"]}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_recordings_and_hypnograms(tmp_path: Path, way):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("fine", "absent", "unscored"):
        broken_files.write_edf(source / f"{name}.edf")
    way(source / "absent.edf")
    way(source / "unscored.hypnogram.txt")
    assert storage.listing(source) == [
        "absent.edf",
        "fine.edf",
        "unscored.edf",
        "unscored.hypnogram.txt",
    ]
    found = entries(build(EdfFolder, source, tmp_path / "data"))
    assert {path: entry["status"] for path, entry in found.items()} == {
        "absent.edf": "quarantined",
        "fine.edf": "built",
        "unscored.edf": "quarantined",
    }
    assert WAYS[way].format("absent.edf") in found["absent.edf"]["reason"]
    assert WAYS[way].format("unscored.hypnogram.txt") in found["unscored.edf"]["reason"]
    assert str(tmp_path) not in found["unscored.edf"]["reason"]
    # Fetched in the meantime: built by the next run.
    for name in ("absent.edf", "unscored.hypnogram.txt"):
        (source / name).unlink()
    broken_files.write_edf(source / "absent.edf")
    found = entries(build(EdfFolder, source, tmp_path / "again"))
    assert {entry["status"] for entry in found.values()} == {"built"}


def test_nothing_fetched_at_all(tmp_path: Path):
    source = tmp_path / "source"
    (source / "sub-01" / "eeg").mkdir(parents=True)
    as_link(source / "sub-01" / "eeg" / "sub-01_task-sleep_eeg.edf")
    with pytest.raises(BuildError, match=r"none of the 1 recordings .*\n.*datalad get sub-01_task"):
        build(EdfFolder, source, tmp_path / "data")
    description = {"Name": "n", "BIDSVersion": "1.8.0"}
    (source / "dataset_description.json").write_text(json.dumps(description))
    with pytest.raises(BuildError, match=r"none of the 1 recordings .*\n.*datalad get sub-01_task"):
        build(EdfFolder, source, tmp_path / "data")
    shutil.rmtree(source / "sub-01")
    with pytest.raises(BuildError) as caught:
        build(EdfFolder, source, tmp_path / "data")
    assert "derivatives" not in str(caught.value)  # there are none to speak of


@pytest.mark.parametrize("name", ["table.csv", "participants.tsv", "dataset_description.json"])
@pytest.mark.parametrize("way", [as_link, as_lfs_pointer])
def test_tables(tmp_path: Path, name: str, way):
    source = tmp_path / "source"
    (source / "sub-01" / "eeg").mkdir(parents=True)
    broken_files.write_edf(source / "sub-01" / "eeg" / "sub-01_task-sleep_eeg.edf")
    description = {"Name": "n", "BIDSVersion": "1.8.0"}
    (source / "dataset_description.json").write_text(json.dumps(description))
    way(source / name)
    with pytest.raises(BuildError, match=f"{name}: .*was not fetched: fetch it first"):
        build(EdfFolder, source, tmp_path / "data")


@pytest.mark.parametrize("part", ["channels.tsv", "events.tsv"])
def test_tables_of_a_bids_recording(tmp_path: Path, part: str):
    source = tmp_path / "source"
    (source / "sub-01" / "eeg").mkdir(parents=True)
    for task in ("sleep", "rest"):
        broken_files.write_edf(source / "sub-01" / "eeg" / f"sub-01_task-{task}_eeg.edf")
    as_link(source / "sub-01" / "eeg" / f"sub-01_task-rest_{part}")
    description = {"Name": "n", "BIDSVersion": "1.8.0"}
    (source / "dataset_description.json").write_text(json.dumps(description))
    found = entries(build(EdfFolder, source, tmp_path / "data"))
    bad = found["sub-01/eeg/sub-01_task-rest_eeg.edf"]
    assert bad["status"] == "quarantined" and "datalad get" in bad["reason"]


def test_other_builders(tmp_path: Path):
    """One of each family: what they list is one function's to say."""

    def reasons(dataset: str, source: Path) -> list[str]:
        module = importlib.import_module(f"data_builders.{dataset}.{dataset}_dataset_builder")
        builder = build(module.Builder, source, tmp_path / f"data_{dataset}")
        return [e["reason"] for e in entries(builder).values() if e["status"] != "built"]

    sleep = tmp_path / "shhs"
    sleep.mkdir()
    for number in (200001, 200002):
        broken_files.write_edf(sleep / f"shhs1-{number}.edf")
        (sleep / f"shhs1-{number}-nsrr.xml").write_text(
            broken_files.nsrr_xml([("Wake|0", 0.0, 30.0)])
        )
    as_link(sleep / "shhs1-200002-nsrr.xml")
    assert "datalad get shhs1-200002-nsrr.xml" in "".join(reasons("shhs", sleep))

    wake = tmp_path / "tuab" / "train"
    for kind in ("normal", "abnormal"):
        (wake / kind).mkdir(parents=True)
        broken_files.write_edf(wake / kind / f"aaaaaa{kind[:2]}_s001_t000.edf")
    as_link(wake / "normal" / "aaaaaazz_s001_t000.edf")
    assert "datalad get aaaaaazz_s001_t000.edf" in "".join(reasons("tuab", tmp_path / "tuab"))

    exams = tmp_path / "g12ec"
    exams.mkdir()
    for name in ("E00001", "E00002"):
        header = broken_files.write_wfdb(exams, name)
        text = header.read_text().replace(".dat", ".mat").replace("RESP,", "I")
        header.write_text(text + "#Dx: 426177001\n")
        (exams / f"{name}.dat").rename(exams / f"{name}.mat")
    as_link(exams / "E00002.mat")
    assert "signal file E00002.mat: its content is in git-annex" in "".join(reasons("g12ec", exams))


def test_the_annex_itself_is_not_listed(tmp_path: Path):
    """Fetched content lies in a hidden folder under the name of its hash; links lead to it."""
    content = tmp_path / ".git" / "annex" / "objects" / "aB" / "cD" / KEY
    content.mkdir(parents=True)
    broken_files.write_edf(content / f"{KEY}.edf")
    (tmp_path / "night.edf").symlink_to(os.path.relpath(content / f"{KEY}.edf", tmp_path))
    assert storage.listing(tmp_path) == ["night.edf"]
    assert unfetched(tmp_path / "night.edf") is None
    assert read_recording(tmp_path / "night.edf", subject="s").channels


def test_parts_of_a_recording(tmp_path: Path):
    broken_files.write_wfdb(tmp_path, "a")
    as_lfs_pointer(tmp_path / "a.dat")
    with pytest.raises(RecordingError, match=r"signal file a\.dat: is a pointer of git-LFS"):
        read_recording(tmp_path / "a.hea", subject="s")
    broken_files.write_others(tmp_path)
    for part in ("v.eeg", "v.vmrk"):
        sound = (tmp_path / part).read_bytes()
        as_link(tmp_path / part)
        with pytest.raises(RecordingError, match=f"{part}.*git-annex"):
            read_recording(tmp_path / "v.vhdr", subject="s")
        (tmp_path / part).unlink()
        (tmp_path / part).write_bytes(sound)
    as_annex_pointer(tmp_path / "h.h5")
    with pytest.raises(RecordingError, match=r"datalad get h\.h5"):
        read_recording(tmp_path / "h.h5", subject="s")
