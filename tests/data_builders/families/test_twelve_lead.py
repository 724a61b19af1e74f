"""Archives of 12-lead ECG: simulated as they are on disk, built, compared with the truth.

`pytest -rP -k ecg_table` prints a table of all of them.
"""

from __future__ import annotations

import ast
import csv
import functools
from collections import Counter

import numpy as np
import pytest

from data_builders.families import twelve_lead
from sleepfm_jax.data.clip_examples import collate
from sleepfm_jax.errors import BuildError, RecordingError
from sleepfm_jax.metrics.plain_features import heart_rate_statistics
from sleepfm_jax.recordings.read import read_recording
from sleepfm_jax.signals.layout import Layout
from sleepfm_jax.simulation.archives.wake import FAULTS, write_archive
from tests.helpers.archives import (
    Built,
    build,
    builder_of,
    check_faults,
    check_truth,
    rows_of,
    simulate_and_build,
    table_row,
)

SUBJECTS = {"cpsc2018": 21, "g12ec": 21, "ptbxl": 15, "code15": 21}
CLASSES = {
    "cpsc2018": ["1dAVb", "RBBB", "LBBB", "AF"],
    "g12ec": ["1dAVb", "RBBB", "LBBB", "SB", "AF", "ST"],
    "ptbxl": ["NORM", "MI", "STTC", "CD", "HYP"],
    "code15": ["1dAVb", "RBBB", "LBBB", "SB", "AF", "ST"],
}
LEADS = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """archive(name): the archive with faults in a third of its exams, built."""

    @functools.cache
    def make(name: str) -> Built:
        folder = tmp_path_factory.mktemp(name)
        return simulate_and_build(folder, name, subjects=SUBJECTS[name], faults=1 / 3, rare=8.0)

    return make


@pytest.mark.parametrize("name", SUBJECTS)
def test_records_are_what_was_simulated(archive, name):
    built = archive(name)
    assert check_truth(built) >= 10
    assert built.metadata["classes"] == CLASSES[name]
    assert built.metadata["label_kind"] == "multilabel"
    sfreq, seconds = (128, 10) if name == "ptbxl" else (400, 9.6)
    assert (built.metadata["sfreq"], built.metadata["clip_seconds"]) == (sfreq, seconds)
    changed = {row["path"] for row in built.faults if row["fault"] == "changed_samples"}
    assert built.metadata["filter"].startswith("none")
    assert built.metadata.get("patch_samples", 128) == 128
    first = [clips[0] for clips in built.records.values()][:4]
    layout = Layout((("ecg", 12),), 128)
    batch = collate(first, layout, layout.patches(round(sfreq * seconds)))
    assert batch["mask"].shape == (4, 12, {400: 30, 128: 10}[sfreq])
    assert batch["labels"].shape == (4, len(CLASSES[name]))
    for path, clips in built.records.items():
        assert [r.clip for r in clips] == [0]  # one an exam
        (record,) = clips
        assert record.channel_names == LEADS
        assert set(record.modalities) == {"ecg"}
        assert record.signals.shape == (12, round(sfreq * seconds))
        leads = dict(zip(LEADS, record.physical()[:, : record.num_samples]))
        assert 20 < leads["II"].std() < 1500  # uV
        whole = record.valid()[:3, : record.num_samples].all()
        if whole and path not in changed:  # Einthoven
            np.testing.assert_allclose(leads["I"] + leads["III"], leads["II"], atol=15)


@pytest.mark.parametrize("name", SUBJECTS)
def test_faults_become_what_they_should(archive, name):
    assert set(check_faults(archive(name))) == set(FAULTS[name])


def test_the_ecg_table(archive):
    print("\n| dataset | recordings | clips | channels | labels | train/val/test clips | faults |")
    print("|---|---|---|---|---|---|---|")
    for name in SUBJECTS:
        print(table_row(archive(name)))


@pytest.mark.parametrize("name", ["g12ec", "code15"])
def test_rhythms_are_in_the_signal(archive, name):
    built = archive(name)
    rates = {"SB": [], "ST": [], "": []}
    for path, (record,) in built.records.items():
        named = set(built.labels(path))
        kind = (named & {"SB", "ST"} or {""}).pop()
        if kind or "AF" not in named:
            ecg = record.physical()[:, : record.num_samples]
            valid = record.valid()[:, : record.num_samples]
            rates[kind].append(heart_rate_statistics(ecg[1:2], valid[1:2], 400)[0])
    # Rates have no gap and readers err: medians are on their sides of the cuts.
    slow, fast, other = (np.nanmedian(rates[kind]) for kind in ("SB", "ST", ""))
    assert slow < 62 < other < 100 < fast + 5


def test_the_middle_of_an_exam_is_the_clip(archive):
    built = archive("cpsc2018")
    starts = set()
    for path, (record,) in built.records.items():
        header = (built.tree / path).read_text(encoding="utf-8").split()
        told = [n for n in built.entry(path)["notes"] if n.startswith("truncated: ")]
        samples = int(told[0].split()[1]) if told else int(header[3])
        assert record.start == pytest.approx(max(0, samples / 500 - 9.6) / 2)
        assert record.num_samples == min(3840, round(samples / 500 * 400))
        starts.add(record.start)
    assert len(starts) > 3
    letters = {path.rpartition("/")[2][0] for path in built.records}
    assert letters == {"A", "Q"}


def test_the_codes_of_a_header(tmp_path):
    header = tmp_path / "A0001.hea"

    def codes(text):
        header.write_text(f"A0001 12 500 5000\nA0001.mat 16+24 1000/mV 16 0 0 0 0 I\n{text}\n")
        return twelve_lead.diagnoses(header)

    assert codes("# Age: 3\n# Dx: 164889003,59118001") == ("164889003", "59118001")
    assert codes("#Dx: 426783006") == ("426783006",)
    assert codes("#Dx: RBBB") == ("RBBB",)
    assert codes("#Dx: I-AVB,PVC") == ("I-AVB", "PVC")
    for text in ("# Age: 3", "#Dx: 1\n#Dx: 2", "#Dx: ", "#Dx: XYZ", "#Dx: AF;RBBB"):
        with pytest.raises(RecordingError, match="#Dx:"):
            codes(text)


def as_first_released(tree):
    """Headers as the Challenge 2020 first had them: abbreviations, the date before the time."""
    wrote = {}
    abbreviated = {
        "270492004": "I-AVB",
        "59118001": "RBBB",
        "713427006": "RBBB",
        "164909002": "LBBB",
        "733534002": "LBBB",
        "164889003": "AF",
    }
    for header in sorted(tree.rglob("*.hea")):
        lines = header.read_text().splitlines()
        at = next(i for i, line in enumerate(lines) if line.replace(" ", "").startswith("#Dx:"))
        codes = lines[at].split(":")[1].strip().split(",")
        names = [abbreviated.get(code, "PVC") for code in codes]
        lines[at] = f"#Dx: {','.join(names)}"
        lines[0] = " ".join(lines[0].split()[:4]) + " 05-Feb-2020 11:39:16"
        lines[0] = lines[0].replace(header.stem, f"{header.stem}.mat", 1)
        header.write_text("\n".join(lines) + "\n")
        wrote[header.stem] = names
    return wrote


def test_the_first_release_of_the_challenge(tmp_path):
    write_archive("cpsc2018", tmp_path / "out", subjects=21, seed=3, rare=3.0)
    tree = tmp_path / "out" / "cpsc2018"
    before = build("cpsc2018", tree, tmp_path / "before")
    wrote = as_first_released(tree)
    after = build("cpsc2018", tree, tmp_path / "after")
    told = {"I-AVB": "1dAVb"}
    counts = Counter(told.get(name, name) for names in wrote.values() for name in set(names))
    counts = {name: n for name, n in counts.items() if name != "PVC"}
    assert after[0]["totals"]["labels"] == before[0]["totals"]["labels"] == counts
    assert len(after[2]) == len(before[2]) == len(wrote)
    for name, (record,) in after[2].items():
        assert record.signals.tobytes() == before[2][name][0].signals.tobytes()


def test_plain_clips_need_no_diagnosis(tmp_path):
    write_archive("g12ec", tmp_path / "out", subjects=4)
    tree = tmp_path / "out" / "g12ec"
    headers = sorted(tree.rglob("*.hea"))
    for header, dx in zip(headers, ("#Dx: something", "", "#Dx: 1\n#Dx: 2")):
        lines = [x for x in header.read_text().splitlines() if "Dx" not in x]
        header.write_text("\n".join([*lines, dx]) + "\n")
    report = build("g12ec", tree, tmp_path / "labelled")[0]
    reasons = {r["path"]: r["reason"] for r in report["recordings"] if r["reason"]}
    assert len(reasons) == 3
    assert all("Dx" in reason for reason in reasons.values())
    report, metadata, found, _ = build("g12ec", tree, tmp_path / "plain", label_kind="none")
    assert report["totals"]["built"] == len(found) == len(headers) == 4
    assert (metadata["label_kind"], metadata["classes"]) == ("none", [])


def parsed(header):
    """(leads float [C, T] in uV, words after #Dx:) of a header and its .mat.

    MATLAB 4 by hand: 20 bytes, the name `val`, int16 column by column.
    """
    lines = header.read_text().splitlines()
    count, samples = int(lines[0].split()[1]), int(lines[0].split()[3])
    gains = [float(line.split()[2].split("/")[0].split("(")[0]) for line in lines[1 : count + 1]]
    values = np.frombuffer(header.with_suffix(".mat").read_bytes()[24:], "<i2")
    leads = values.reshape(samples, count).T / np.array(gains)[:, None] * 1000
    dx = next(line.split(":")[1] for line in lines if line.replace(" ", "").startswith("#Dx:"))
    return leads, [word.strip() for word in dx.split(",")]


@pytest.mark.real
@pytest.mark.parametrize(("name", "count"), [("cpsc2018", 14), ("g12ec", 12)])
def test_real_exams_of_the_challenge(shared, tmp_path, name, count):
    source = shared / "data" / "archives" / name
    report, metadata, found, _ = build(name, source, tmp_path / "labelled")
    assert report["totals"]["built"] == report["totals"]["recordings"] == len(found) == count
    classes = {
        **{"270492004": "1dAVb", "I-AVB": "1dAVb", "AF": "AF", "164889003": "AF"},
        **dict.fromkeys(("RBBB", "59118001", "713427006"), "RBBB"),
        **dict.fromkeys(("LBBB", "164909002", "733534002"), "LBBB"),
        **{"426177001": "SB", "427084000": "ST"},
    }
    counts = Counter()
    for header in source.rglob("*.hea"):
        leads, words = parsed(header)
        (record,) = found[header.stem]
        named = {classes.get(word) for word in words} & set(metadata["classes"])
        assert set(np.array(metadata["classes"])[record.labels == 1]) == named
        counts.update(named)
        read = read_recording(header, subject="s")
        got = np.array([c.samples for c in read.channels])
        np.testing.assert_allclose(got, leads, rtol=1e-6, atol=1e-3)
        line = header.read_text().splitlines()[0].split()
        moment = " ".join(line[4:])
        assert (f"{read.start:%d-%b-%Y %H:%M:%S}" if read.start else "") == moment
        assert not any("time" in note for note in read.notes)
    assert report["totals"]["labels"] == counts
    plain = build(name, source, tmp_path / "plain", label_kind="none")[0]
    assert plain["totals"]["built"] == count


def test_a_folder_of_all_sources_gives_each_builder_its_own(tmp_path):
    write_archive("cpsc2018", tmp_path / "a", subjects=4)
    write_archive("g12ec", tmp_path / "b", subjects=3)
    training = tmp_path / "training"
    training.mkdir()
    (tmp_path / "a" / "cpsc2018").rename(training / "cpsc_2018")
    (tmp_path / "b" / "g12ec").rename(training / "georgia")
    for name, count, others in (("cpsc2018", 4, 3), ("g12ec", 3, 4)):
        plan = builder_of(name)(source=training, data_dir=tmp_path / "r").plan()
        assert len(plan.sources) == count
        assert f"{others} headers of other sources are not used" in plan.notes
    with pytest.raises(BuildError, match="is multilabel"):
        builder_of("g12ec")(source=training, data_dir=tmp_path / "r", label_kind="staging").plan()
    with pytest.raises(BuildError, match="no header named like"):
        builder_of("g12ec")(source=training / "cpsc_2018", data_dir=tmp_path / "r").plan()


def test_exams_of_a_patient_stay_together_in_code15(archive):
    built = archive("code15")
    truth = Counter(row["subject"] for row in built.truth)
    assert max(truth.values()) == 2
    split = {}
    for entry in built.report["recordings"]:
        split.setdefault(entry["subject"], set()).add(entry["split"])
    assert set(split) == set(truth)
    assert all(len(splits) == 1 for splits in split.values())


def test_a_blank_label_is_unknown_and_a_missing_part_is_listed(tmp_path):
    write_archive("code15", tmp_path / "out", subjects=20)  # 25 exams in two files
    tree = tmp_path / "out" / "code15"
    table = rows_of(tree / "exams.csv")
    table[0]["AF"] = ""
    with (tree / "exams.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    (tree / "exams_part1.hdf5").unlink()
    report, _, found, _ = build("code15", tree, tmp_path / "records")
    assert np.isnan(found[table[0]["exam_id"]][0].labels).tolist() == [0, 0, 0, 0, 1, 0]
    bad = [r for r in report["recordings"] if r["status"] == "quarantined"]
    assert {r["reason"] for r in bad} == {"missing file: exams_part1.hdf5"}
    assert len(bad) == 5
    table = tree / "exams.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("1dAVb", "avb"), encoding="utf-8")
    with pytest.raises(BuildError, match="no column 1dAVb"):
        builder_of("code15")(source=tree, data_dir=tmp_path / "r").plan()


def rhythm_counts(table):
    codes = [ast.literal_eval(row["scp_codes"]) for row in rows_of(table)]
    named = {"RBBB": "CRBBB", "LBBB": "CLBBB", "SB": "SBRAD", "AF": "AFIB"}
    counts = {label: sum(code in row for row in codes) for label, code in named.items()}
    return {label: n for label, n in counts.items() if n}


def test_rhythm_labels_of_ptbxl(archive, tmp_path):
    tree = archive("ptbxl").tree  # its 500-Hz files are all whole
    report, metadata, found, split_of = build("ptbxl_rhythm", tree, tmp_path)
    assert metadata["classes"] == ["RBBB", "LBBB", "SB", "AF"]
    assert report["totals"]["labels"] == rhythm_counts(tree / "ptbxl_database.csv")
    assert {r.native_sfreq[0] for clips in found.values() for r in clips} == {500}
    assert {round(r.start, 6) for clips in found.values() for r in clips} == {0.2}
    assert set(split_of.values()) == {"train", "validation", "test"}


@pytest.mark.real
def test_rhythm_labels_of_the_real_exams_are_the_tables(shared, tmp_path):
    source = shared / "data" / "ecg_ptbxl"
    plan = builder_of("ptbxl_rhythm")(source=source, data_dir=tmp_path, sfreq_source=100).plan()
    assert sum(s.problem is None for s in plan.sources) == 500
    counts = np.sum([s.labels for s in plan.sources], axis=0)
    assert dict(zip(plan.classes, counts)) == rhythm_counts(source / "ptbxl_database.csv")
    report, _, found, _ = build("ptbxl_rhythm", source, tmp_path)  # 25 of them are there at 500 Hz
    assert report["totals"]["built"] == len(found) == 25
    assert {(r.native_sfreq[0], r.signals.shape) for (r,) in found.values()} == {(500, (12, 3840))}
