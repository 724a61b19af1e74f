"""The cohort table of a build report, by hand; and who may see age and sex of a person."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json

import edfio
import numpy as np
import pytest

from data_builders.engine import cohort, quality_page, runners
from data_builders.engine import report as build_report
from data_builders.engine.work_unit import Source, input_key
from sleepfm_jax.data import provenance
from sleepfm_jax.data.clips import ClipSpec
from sleepfm_jax.recordings.person import Person
from tests.data_builders.engine.test_quality_page import Page, report_of
from tests.helpers.builders import EdfFolder, build, hashes

START = datetime.datetime(2020, 6, 15, 22)
# file: (subject, split, sex, birth date)
PEOPLE = {
    "a1": ("a", "train", "F", datetime.date(1980, 6, 15)),  # 40.0 years
    "a2": ("a", "train", "F", datetime.date(1978, 6, 15)),  # 42.0: the mean of both is 41
    "b1": ("b", "train", "M", datetime.date(1990, 6, 15)),  # 30.0
    "c1": ("c", "train", "X", None),
    "d1": ("d", "train", "F", datetime.date(1970, 6, 15)),  # 50.0
    "d2": ("d", "train", "M", None),  # contradicts d1
    "e1": ("e", "test", "M", datetime.date(1960, 1, 1)),  # a placeholder
    "f1": ("f", "validation", "F", datetime.date(2000, 6, 15)),  # 20.0
}
TRAIN = {
    "age": {"mean": 40.33, "sd": 10.02, "known": 3},
    "sex": {"female": 1, "male": 1, "unknown": 2},
}


@pytest.fixture
def folder(tmp_path):
    """EDF+ files with who was recorded, a hypnogram for one, and a table of subjects and splits."""
    root = tmp_path / "recordings"
    root.mkdir()
    rows = ["path,subject,split"]
    for seed, (name, (subject, split, sex, birth)) in enumerate(PEOPLE.items()):
        rng = np.random.default_rng(seed)
        labels = {"C3-M2": "uV"} | ({} if name == "c1" else {"ECG": "mV", "Thorax": "uV"})
        signals = [
            edfio.EdfSignal(
                rng.standard_normal(90 * 64) * 20,
                64,
                label=label,
                physical_dimension=unit,
                physical_range=(-200, 200),
            )
            for label, unit in labels.items()
        ]
        stages = ["N2", "N2", "W"] if split == "train" else ["R", "W", "W"]
        edfio.Edf(
            signals,
            patient=edfio.Patient(sex=sex, birthdate=birth),
            recording=edfio.Recording(startdate=START.date()),
            starttime=START.time(),
            annotations=[
                edfio.EdfAnnotation(30 * i, 30, f"Sleep stage {s}") for i, s in enumerate(stages)
            ],
        ).write(root / f"{name}.edf")
        rows.append(f"{name}.edf,{subject},{split}")
    (root / "bad.edf").write_text("this is no EDF")
    rows.append("bad.edf,g,train")
    (root / "table.csv").write_text("\n".join(rows) + "\n")
    return root


def report_in(builder):
    return build_report.load(builder.data_dir)


def test_the_table_is_the_count_by_hand(folder, tmp_path):
    report = report_in(build(EdfFolder, folder, tmp_path / "r"))
    said = {r["path"]: (r["age"], r["sex"]) for r in report["recordings"]}
    assert said == {
        "a1.edf": (40.0, "female"),
        "a2.edf": (42.0, "female"),
        "b1.edf": (30.0, "male"),
        "c1.edf": (None, ""),
        "d1.edf": (50.0, "female"),
        "d2.edf": (None, "male"),
        "e1.edf": (None, "male"),
        "f1.edf": (20.0, "female"),
        "bad.edf": (None, ""),
    }
    splits = report["totals"]["splits"]
    # 41, 30 and 50: mean 40.333, sd 10.017. Six recordings of four people.
    assert splits["train"] == {
        "clips": 18,
        "subjects": 4,
        "hours": round(6 * 90 / 3600, 4),
        **TRAIN,
        "labels": {"W": 6, "N2": 12},
    }
    assert splits["validation"] == {
        "clips": 3,
        "subjects": 1,
        "hours": 0.025,
        "age": {"mean": 20.0, "sd": None, "known": 1},
        "sex": {"female": 1, "male": 0, "unknown": 0},
        "labels": {"W": 2, "REM": 1},
    }
    assert splits["test"]["age"] == {"mean": None, "sd": None, "known": 0}
    assert splits["test"]["sex"] == {"female": 0, "male": 1, "unknown": 0}
    assert report["totals"]["modalities_together"] == {"bas+ecg+resp": 7, "bas": 1}
    for name in report["totals"]["labels"]:
        assert report["totals"]["labels"][name] == sum(
            s["labels"].get(name, 0) for s in splits.values()
        )


def test_two_workers_write_what_one_does(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(EdfFolder, "UNIT_RECORDINGS", 2)
    one = build(EdfFolder, folder, tmp_path / "one")
    two = build(EdfFolder, folder, tmp_path / "two", run=runners.Processes(2))
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")
    assert report_in(one) == report_in(two)


def test_the_archives_table_goes_before_a_header_and_changes_no_record(
    folder, tmp_path, monkeypatch
):
    plain = build(EdfFolder, folder, tmp_path / "plain")
    real = EdfFolder.plan

    def plan(self):
        found = real(self)
        people = {"a1.edf": Person(77.5, ""), "c1.edf": Person(None, "male")}
        sources = [
            dataclasses.replace(s, person=people.get(s.path, Person())) for s in found.sources
        ]
        return dataclasses.replace(found, sources=tuple(sources))

    monkeypatch.setattr(EdfFolder, "plan", plan)
    told = build(EdfFolder, folder, tmp_path / "told")
    said = {r["path"]: (r["age"], r["sex"]) for r in report_in(told)["recordings"]}
    assert said["a1.edf"] == (77.5, "female")
    assert said["c1.edf"] == (None, "male")
    before, after = report_in(plain), report_in(told)
    assert before["shards"] == after["shards"]
    assert before["spec"]["fingerprint"] == after["spec"]["fingerprint"]


def test_keys_are_those_of_before_persons_were_known(tmp_path):
    spec = ClipSpec(64.0, 30.0)
    source = Source("a.edf", "a", "a", "train", (1.0, float("nan")), files=("b",))
    known = dataclasses.replace(source, person=Person(30.0, "male"))
    assert repr(known) == repr(source)
    planned = ("a.edf", "a", "a", "train", (1.0, float("nan")), None, ("b",), None)
    parts = ["train", [planned], dataclasses.astuple(spec), []]
    for one in (source, known):
        assert input_key(tmp_path, "train", (one,), spec) == (
            hashlib.sha256(repr(parts).encode()).hexdigest()
        )


def test_the_page_shows_splits_and_nobody(folder, tmp_path):
    builder = build(EdfFolder, folder, tmp_path / "r")
    text = (builder.data_path / quality_page.FILENAME).read_text(encoding="utf-8")
    page = Page(text)
    rows = [r for r in page.rows if r and r[0] == "train"]
    assert rows == [["train", "4", "of fewer than 5", "of fewer than 5", "0.1", "18"]]
    assert page.row("N2") == ["N2", "12", "0", "0"]
    assert page.row("REM") == ["REM", "0", "1", "1"]
    assert "40.3" not in text and "40.0" not in text and "41.0" not in text
    assert "bas + ecg + resp <b>7</b>" in text


def many(known, told, subjects=6):
    """A report whose one split has so many subjects of known age, and of known sex."""
    report = report_of(1)
    report["totals"]["splits"] = cohort.by_split(
        [
            {"split": "train", "subject": f"s{i}", "clips": 1, "hours": 1.0, "labels": {}}
            | {"age": 30.0 + i if i < known else None}
            | {"sex": ("female", "male")[i % 2] if i < told else ""}
            for i in range(subjects)
        ],
        [],
    )
    report["recordings"][0] |= {"age": 30.0, "sex": "female"}
    return report


@pytest.mark.parametrize(
    ("known", "told", "age", "sex"),
    [
        (6, 6, "32.5 ± 1.9", "3 female, 3 male"),
        (5, 5, "32.0 ± 1.6 (of 5)", "3 female, 2 male, 1 unknown"),
        (4, 4, "of fewer than 5", "of fewer than 5"),
        (0, 0, "–", "–"),
    ],
)
def test_what_is_said_of_few_people(known, told, age, sex):
    report = many(known, told)
    assert Page(quality_page.render(report)).row("train")[2:4] == [age, sex]
    shared = json.loads(provenance.without_people(provenance.pack(report)))
    assert not {"age", "sex"} & set(shared["recordings"][0])
    row, own = (r["totals"]["splits"]["train"] for r in (shared, report))
    if known >= 5:
        assert row == own
    else:
        assert row["age"] == {"mean": None, "sd": None, "known": known}
        assert row["sex"] == {"female": 0, "male": 0, "unknown": 6}


def test_what_is_passed_on_is_the_report_otherwise(folder, tmp_path):
    builder = build(EdfFolder, folder, tmp_path / "r")
    text = (builder.data_path / provenance.FILENAME).read_text(encoding="utf-8")
    shared = provenance.without_people(text)
    report, copy = (provenance.expand(json.loads(t)) for t in (text, shared))
    for entry in report["recordings"]:
        del entry["age"], entry["sex"]
    assert copy["recordings"] == report["recordings"]
    assert {k: v for k, v in copy["totals"].items() if k != "splits"} == {
        k: v for k, v in report["totals"].items() if k != "splits"
    }
    assert copy["spec"] == report["spec"] and copy["shards"] == report["shards"]
    assert shared == provenance.without_people(shared)


def test_reports_of_before_are_read_and_passed_on_as_they_are():
    old = provenance.pack(report_of(3))
    old = old.replace('"age": null, "sex": "", ', "")
    assert '"age": null' not in old.partition('"channel_lists"')[0]
    report = json.loads(old)
    for row in report["totals"]["splits"].values():
        for key in ("age", "sex", "hours", "labels"):
            del row[key]
    del report["totals"]["modalities_together"]
    old = json.dumps(report)
    assert provenance.without_people(old) == old
    assert len(provenance.expand(json.loads(old))["recordings"]) == 3
    for broken in ("", "[]", "{}", '{"recordings": 3}', '{"recordings": [{"age": 3}]}'):
        assert provenance.without_people(broken) == broken
