"""Published lists of splits: taken as they are; who is in two of them is counted and refused."""

from __future__ import annotations

import json
import logging

import pytest

from data_builders.cfs.cfs_dataset_builder import NO_FAMILIES
from data_builders.cfs.cfs_dataset_builder import Builder as Cfs
from data_builders.engine import report as build_report
from data_builders.engine import split_lists
from data_builders.engine.leak_check import check_dataset
from data_builders.shhs.shhs_dataset_builder import Builder as Shhs
from sleepfm_jax import config as configuration
from sleepfm_jax import experiment
from sleepfm_jax.data import people
from sleepfm_jax.data.division import Division
from sleepfm_jax.errors import BuildError, LeakError
from sleepfm_jax.signals.layout import Layout
from tests.helpers.builders import SMALL, EdfFolder, build

NIGHTS = {  # visit 1 and 2 of three people, and one of a fourth whom the list leaves out
    **{f"shhs{visit}-20000{who}": f"20000{who}" for visit in (1, 2) for who in (1, 2, 3)},
    "shhs1-200004": "200004",
}
LEAKING = {
    "train.txt": "shhs1-200001\nshhs1-200002\nshhs2-200002\n\n",
    "val.txt": "shhs2-200001\n",  # whose first visit is trained on
    "test.txt": "SHHS1-200003.parquet\nshhs2-200003.issues.parquet\nshhs1-209999\n",
}


@pytest.fixture
def listed(tmp_path):
    """A published list as wav2sleep writes them, with one person in train and validation."""
    folder = tmp_path / "splits"
    folder.mkdir()
    for name, text in LEAKING.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def nights(tmp_path, write_edf):
    root = tmp_path / "recordings"
    for seed, name in enumerate(NIGHTS):
        write_edf(root / f"{name}.edf", seed=seed, seconds=40)
    return root


def test_every_form_says_the_same(listed, tmp_path):
    found = split_lists.read(listed)
    assert found["shhs2-200001"] == "validation" and found["shhs2-200003"] == "test"
    assert len(found) == 7
    table = tmp_path / "list.csv"
    rows = [f"edfs/../{name}.edf,{split}" for name, split in found.items()]
    table.write_text("\n".join(["File,Split", *(row.replace("edfs/../", "") for row in rows)]))
    assert split_lists.read(table) == found
    by_split = {s: [n for n, where in found.items() if where == s] for s in set(found.values())}
    for name, content in {"a.json": found, "b.json": by_split}.items():
        (tmp_path / name).write_text(json.dumps(content))
        assert split_lists.read(tmp_path / name) == found


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "file,part\nx,train\n", "wanted recording and split"),
        ("a.csv", "file,split\nx,trian\n", "'trian' is no split"),
        ("a.csv", "file,split\nx.edf,train\nX,test\n", "X is in train and in test"),
        ("a.csv", "file,split\n", "no recording in it"),
        ("a.json", "[1]", "cannot be read"),
        ("a.yaml", "x", "expected a folder of train.txt"),
        ("none.csv", None, "cannot be read"),
    ],
)
def test_a_list_that_is_none_is_refused(tmp_path, name, text, words):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(BuildError, match=words):
        split_lists.read(tmp_path / name)


def test_a_leaking_list_is_refused_by_name_and_number(nights, listed, tmp_path):
    words = (
        r"1 of 3 people are in two splits \(1 in train and validation\): "
        r"200001 in train and validation.* --allow_leaks"
    )
    with pytest.raises(LeakError, match=words):
        build(Shhs, nights, tmp_path, split_list=listed)
    with pytest.raises(BuildError, match="--allow_leaks is for a --split_list"):
        Shhs(source=nights, data_dir=tmp_path, allow_leaks=True)


def division(data_dir, **data):
    config = configuration.defaults()
    config["data"] |= {"datasets": ("shhs",)} | data
    return Division(data_dir, config, Layout((("bas", 1),), 64), experiment.make_examples)


def test_a_leak_is_built_and_scored_only_where_it_is_allowed_and_said(
    nights, listed, tmp_path, caplog
):
    builder = build(Shhs, nights, tmp_path, split_list=listed, allow_leaks=True)
    path = builder.data_path
    assert check_dataset(path, every_record=True) == {"train": 2, "validation": 1, "test": 1}
    assert builder.info.metadata["people_in_two_splits"] == 1
    spec = build_report.load(path)["spec"]
    assert (spec["split_list"], spec["people_in_two_splits"]) == ("splits", 1)
    said = "\n".join(spec["notes"])
    assert "the list splits leaks: 1 of 3 people are in two splits (1 in train and val" in said
    assert "1 recordings are in no split of the list splits: not built" in said
    assert "1 of the 7 recordings of the list splits are not here (first: shhs1-209999)" in said
    assert "1 in two splits" in (path / "build_report.html").read_text()
    assert "leaks" in build_report.summary(build_report.load(path), str(path))
    told = people.read(path)
    assert told.leaks_allowed == "splits" and not any(who in str(told.splits) for who in NIGHTS)
    rows = [{"datasets": (), "split": "validation"}]
    with pytest.raises(LeakError, match=r"1 of the 2 .*config.data.allow_leaks=\('shhs',\)"):
        division(tmp_path).check_no_leak(rows)
    with pytest.raises(LeakError, match="allow_leaks"):
        division(tmp_path, allow_leaks=("other",)).check_no_leak(rows)
    mine = division(tmp_path, allow_leaks=("shhs",))
    with caplog.at_level(logging.WARNING):
        mine.check_no_leak(rows)
    assert mine.leaks == {"validation of shhs": 1}
    assert "1 of the 1 subjects to be scored are in the training split of shhs" in caplog.text
    pseudonym = told.pseudonym("200001")
    manifest = json.loads((path / "splits.json").read_text())
    assert pseudonym in manifest["subjects"]["train"]
    del manifest["leaks_allowed"]  # nobody has allowed it
    (path / "splits.json").write_text(json.dumps(manifest))
    with pytest.raises(LeakError, match="1 subjects are in two splits"):
        check_dataset(path)


def test_a_list_without_a_leak_needs_no_leave(nights, listed, tmp_path):
    (listed / "val.txt").write_text("shhs2-200004\nshhs1-200004\n")
    builder = build(Shhs, nights, tmp_path, split_list=listed)
    check_dataset(builder.data_path)
    assert builder.info.metadata["people_in_two_splits"] == 0
    assert "leaks_allowed" not in (builder.data_path / "splits.json").read_text()
    division(tmp_path).check_no_leak([])


def test_a_name_that_may_be_two_recordings_wants_a_path(write_edf, tmp_path):
    root = tmp_path / "recordings"
    for seed, name in enumerate(("a/night", "b/night", "c/other")):
        write_edf(root / f"{name}.edf", seed=seed, seconds=40)
    table = tmp_path / "list.csv"
    table.write_text("recording,split\nnight,train\nother,test\n")
    with pytest.raises(BuildError, match=r"night may be a/night.edf or b/night.edf: list paths"):
        build(EdfFolder, root, tmp_path, split_list=table)
    table.write_text("recording,split\nA/night,train\nb/night.edf,test\nother,test\n")
    with pytest.raises(LeakError, match="night in test and train"):  # no table: the file's name
        build(EdfFolder, root, tmp_path, split_list=table)
    table.write_text("recording,split\nnobody,train\n")
    with pytest.raises(BuildError, match=r"none of its 1 recordings .such as nobody. is here"):
        build(EdfFolder, root, tmp_path, split_list=table)


def test_relatives_share_a_split_where_the_archive_says_who_they_are(write_edf, tmp_path):
    root = tmp_path / "cfs"
    people_here = [f"8000{i:02d}" for i in range(24)]
    for who in people_here:
        (root / "edfs").mkdir(parents=True, exist_ok=True)
        (root / "edfs" / f"cfs-visit5-{who}.edf").write_bytes(b"")
    plan = Cfs(source=root, data_dir=tmp_path, **SMALL).plan()
    assert NO_FAMILIES in plan.notes
    alone = {s.subject: s.split for s in plan.sources}
    table = root / "datasets" / "cfs-visit5-dataset-0.7.0.csv"
    table.parent.mkdir()
    family = {who: f"{100 + i // 3}" for i, who in enumerate(people_here[:-1])}
    table.write_text("\n".join(["nsrrid,age,FamilyI", *(f"{w},40,{f}" for w, f in family.items())]))
    plan = Cfs(source=root, data_dir=tmp_path, **SMALL).plan()
    split = {s.subject: s.split for s in plan.sources}
    for name in set(family.values()):
        assert len({split[who] for who, mine in family.items() if mine == name}) == 1
    assert set(split.values()) == {"train", "validation", "test"} and split != alone
    assert "splits are by family: relatives are in one; of 1 people no family is known" in (
        plan.notes
    )
