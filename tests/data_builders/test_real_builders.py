"""The builders on real recordings; each skips where ../shared is absent."""

from __future__ import annotations

import ast
import csv
import shutil
from collections import Counter

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_builders.edf_folder.edf_folder_dataset_builder import Builder as EdfFolder
from data_builders.eegmat.eegmat_dataset_builder import Builder as Eegmat
from data_builders.engine import report as build_report
from data_builders.ptbxl.ptbxl_dataset_builder import Builder as Ptbxl
from sleepfm_jax.data.record import decode
from sleepfm_jax.errors import BuildError

pytestmark = pytest.mark.real


def build(cls, source, data_dir, **kwargs):
    """Builds; returns the report and every record by split."""
    builder = cls(source=source, data_dir=data_dir, **kwargs)
    builder.download_and_prepare()
    read = tfds.builder_from_directory(builder.data_dir)
    found = {}
    for split in read.info.splits:
        source = read.as_data_source(split)
        found[split] = [decode(source[i]) for i in range(len(source))]
    return build_report.load(builder.data_dir), found


def test_two_real_polysomnograms(shared, tmp_path):
    """DREAMS excerpt3 (30 min, 50 Hz, hypnogram every 5 s) and 2 min of a Nox A1 (89 signals)."""
    folder = tmp_path / "psg"
    folder.mkdir()
    for name in ("psg_dreams/excerpt3.edf", "psg_dreams/Hypnogram_excerpt3.txt"):
        (folder / name.split("/")[1]).symlink_to(shared / "data" / name)
    (folder / "nox.edf").symlink_to(shared / "data" / "psg_nox_2min" / "subject1.edf")
    report, found = build(EdfFolder, folder, tmp_path / "out")
    dreams, nox = report["recordings"]
    assert report["spec"]["label_kind"] == "staging"
    assert [dreams["clips"], nox["clips"]] == [6, 1]

    modality = {c["label"]: c["modality"] for c in dreams["channels"]}
    assert Counter(modality.values()).keys() == {"bas", "resp", "ecg", "emg", "other"}
    assert modality["ECG"] == "ecg"
    assert modality["EMG1"] == "emg"
    assert modality["VTH"] == modality["VAB"] == modality["NAF1"] == "resp"
    assert sum(m == "bas" for m in modality.values()) == 5  # three EEG, two EOG
    clips = [r for r in found["train"] if r.recording == "excerpt3"]
    assert [r.stages.shape for r in clips] == [(10,)] * 6
    scored = np.concatenate([r.stages for r in clips])
    assert (scored >= 0).sum() >= 59
    assert 2 in scored  # an excerpt chosen for its spindles

    assert sum(c["modality"] != "other" for c in nox["channels"]) > 15
    (clip,) = [r for r in found["train"] if r.recording == "nox"]
    assert clip.num_samples == 120 * 128
    assert not clip.valid()[:, 120 * 128 :].any()
    # In volts in the file: a scalp EEG has tens of microvolts, not millionths of one.
    eeg = [i for i, m in enumerate(clip.modalities) if m == "bas" and clip.sd[i] > 0]
    assert 1 < np.median(clip.sd[eeg]) < 1000


def test_eegmat(shared, tmp_path):
    source = shared / "data" / "wake_eeg_eegmat"
    report, found = build(Eegmat, source, tmp_path)
    totals = report["totals"]
    assert totals["built"] == totals["recordings"] == len(list(source.glob("*.edf"))) == 48
    assert totals["subjects"] == 24
    assert list(found) == ["train"]
    assert report["spec"]["protocol"] == "grouped_cv"
    by_recording = Counter(r.recording for r in found["train"])
    assert set(by_recording.values()) == {4}  # 62 s: three clips of 20 s and one of 2 s
    for r in found["train"]:
        assert r.labels.tolist() == [r.recording.endswith("_1"), r.recording.endswith("_2")]
        assert r.num_samples == (20 if r.clip < 3 else 2) * 128
        assert np.isfinite(r.positions[np.array(r.modalities) == "bas"]).any(axis=1).sum() >= 19
        assert r.modalities.count("ecg") == 1
    assert totals["labels"] == {"rest": 96, "arithmetic": 96}
    assert any("Subject00" in note for note in report["spec"]["notes"])  # in the table only


def superclass_counts(source):
    """Straight from the two tables, in pandas-free lines that share nothing with the builder."""
    with (source / "scp_statements.csv").open(encoding="utf-8") as file:
        statements = {row[""]: row for row in csv.DictReader(file)}
    counts: Counter[str] = Counter()
    with (source / "ptbxl_database.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            codes = ast.literal_eval(row["scp_codes"])
            diagnostic = [c for c in codes if c in statements and statements[c]["diagnostic"]]
            counts.update({statements[c]["diagnostic_class"] for c in diagnostic})
    return counts


def test_ptbxl(shared, tmp_path):
    source = shared / "data" / "ecg_ptbxl"
    report, found = build(Ptbxl, source, tmp_path)
    totals = report["totals"]
    assert totals["built"] == totals["recordings"] == 500
    assert totals["subjects"] == 466
    assert totals["labels"] == superclass_counts(source)
    subjects = {s: {r.subject for r in v} for s, v in found.items()}
    assert not subjects["train"] & subjects["test"]
    assert not subjects["train"] & subjects["validation"]
    with (source / "ptbxl_database.csv").open(encoding="utf-8") as file:
        folds = Counter(int(row["strat_fold"]) for row in csv.DictReader(file))
    assert len(found["validation"]) == folds[9]
    assert len(found["test"]) == folds[10]

    everyone = [r for v in found.values() for r in v]
    for r in everyone:
        assert r.channel_labels == [
            "I",
            "II",
            "III",
            "AVR",
            "AVL",
            "AVF",
            "V1",
            "V2",
            "V3",
            "V4",
            "V5",
            "V6",
        ]
        assert set(r.modalities) == {"ecg"}
        assert r.signals.shape == (12, 1280)
    # Einthoven: I + III = II, which holds only if leads, units and order are right.
    first = min(everyone, key=lambda r: r.recording)
    lead = dict(zip(first.channel_labels, first.physical()))
    assert 50 < lead["II"].std() < 1000  # µV
    np.testing.assert_allclose(lead["I"] + lead["III"], lead["II"], atol=10)
    none = sum(not r.labels.any() for r in everyone)
    assert any(note.startswith(f"{none} exams have no") for note in report["spec"]["notes"])


def test_ptbxl_exams_that_are_not_on_disk_are_listed(shared, tmp_path):
    source = shared / "data" / "ecg_ptbxl"
    report, found = build(Ptbxl, source, tmp_path, sfreq_source=500, sfreq=250)
    assert report["totals"]["built"] == 25
    bad = [r for r in report["recordings"] if r["status"] == "quarantined"]
    assert len(bad) == 475
    assert all(r["reason"].startswith("missing file") for r in bad)
    assert {r.native_sfreq[0] for v in found.values() for r in v} == {500}


def test_an_unreadable_exam_is_quarantined(shared, tmp_path):
    source = shared / "data" / "ecg_ptbxl"
    copy = tmp_path / "ptbxl"
    (copy / "records100" / "00000").mkdir(parents=True)
    shutil.copy(source / "scp_statements.csv", copy)
    lines = (source / "ptbxl_database.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (copy / "ptbxl_database.csv").write_text("".join(lines[:4]), encoding="utf-8")
    for number in (1, 2, 3):
        for suffix in ("hea", "dat"):
            name = f"records100/00000/{number:05d}_lr.{suffix}"
            shutil.copyfile(source / name, copy / name)
    signal = copy / "records100" / "00000" / "00002_lr.dat"
    signal.write_bytes(signal.read_bytes()[:1000])
    report, _ = build(Ptbxl, copy, tmp_path / "out")
    assert report["totals"]["built"] == 2
    (bad,) = [r for r in report["recordings"] if r["status"] == "quarantined"]
    assert bad["path"] == "records100/00000/00002_lr.hea"
    assert bad["reason"].startswith("0.41 s of recording")
    with pytest.raises(BuildError, match=r"scp_statements\.csv"):
        (copy / "scp_statements.csv").unlink()
        build(Ptbxl, copy, tmp_path / "out2")


def by_subject(report):
    return {r["subject"]: (r["age"], r["sex"]) for r in report["recordings"]}


def test_who_was_recorded_is_what_pandas_reads(shared, tmp_path):
    import pandas as pd

    source = shared / "data" / "wake_eeg_eegmat"
    report, _ = build(Eegmat, source, tmp_path)
    table = pd.read_csv(source / "subject-info.csv").set_index("Subject")
    said = by_subject(report)
    here = table.loc[list(said)]
    words = here["Gender"].map({"F": "female", "M": "male"})
    assert said == dict(zip(here.index, zip(here["Age"].astype(float), words)))
    (row,) = report["totals"]["splits"].values()
    assert row["age"]["mean"] == pytest.approx(here["Age"].mean(), abs=0.006)
    assert row["age"]["sd"] == pytest.approx(here["Age"].std(), abs=0.006)
    assert row["sex"] == dict(words.value_counts()) | {"unknown": 0}
    assert report["totals"]["modalities_together"] == {"bas+ecg": 48}

    source = shared / "data" / "ecg_ptbxl"
    report, _ = build(Ptbxl, source, tmp_path)
    table = pd.read_csv(source / "ptbxl_database.csv")
    table["split"] = table["strat_fold"].map(
        lambda f: {9: "validation", 10: "test"}.get(f, "train")
    )
    table.loc[table["age"] > 120, "age"] = float("nan")
    for split, row in report["totals"]["splits"].items():
        people = table[table["split"] == split].groupby("patient_id")
        ages = people["age"].mean()
        assert row["age"]["known"] == ages.notna().sum()
        assert row["age"]["mean"] == pytest.approx(ages.mean(), abs=0.006)
        assert row["age"]["sd"] == pytest.approx(ages.std(), abs=0.006)
        sex = people["sex"].first()
        assert row["sex"] == {"female": sum(sex == 1), "male": sum(sex == 0), "unknown": 0}
        assert row["subjects"] == len(people)


def test_people_of_a_real_bids_folder(shared, tmp_path):
    """Its signals are not here; its participants.tsv is."""
    import pandas as pd

    from data_builders.edf_folder import bids

    source = shared / "data" / "archives" / "bids_boas"
    names = [p.relative_to(source).as_posix() for p in source.rglob("*") if p.is_file()]
    names += [
        f"{name}/eeg/{name}_task-Sleep_acq-psg_eeg.edf"
        for name in ("sub-1", "sub-2", "sub-38", "sub-64", "sub-98")
    ]
    rows = bids.rows(source, names, bids.Layout(names, (".edf",)), None, [])
    table = pd.read_csv(source / "participants.tsv", sep="\t").set_index("participant_id")
    assert len(rows) == 5
    for row in rows:
        told = table.loc[row.path.split("/")[0]]
        assert row.person.age == (None if pd.isna(told["age"]) else told["age"])
        assert row.person.sex == {"F": "female", "M": "male"}[told["sex"]]
