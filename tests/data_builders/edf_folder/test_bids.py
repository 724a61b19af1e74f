"""BIDS folders, written by mne-bids: what is built is held beside what mne-bids reads."""

from __future__ import annotations

import datetime
import json
import shutil
import warnings
from pathlib import Path

import edfio
import mne
import mne_bids
import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_builders.edf_folder import bids
from data_builders.edf_folder.edf_folder_dataset_builder import SUFFIXES, Builder
from data_builders.engine import report as build_report
from sleepfm_jax.data.record import decode
from sleepfm_jax.errors import BuildError, LeakError, RecordingError
from sleepfm_jax.recordings.person import Person
from tests.helpers.mne_files import write_brainvision, write_eeglab

SFREQ, SECONDS = 64, 70
LABELS = ("C3", "EOG left", "Box 7", "ECG")
TYPES = {"EOG left": "eog", "Box 7": "resp", "ECG": "ecg"}
STAGES = ["Sleep stage N2", "Sleep stage R", "Sleep stage W"]
SMALL = {"sfreq": SFREQ, "clip_seconds": 30}

EDF_1 = "sub-01/ses-n2/eeg/sub-01_ses-n2_task-sleep_eeg.edf"
VHDR_1 = "sub-01/ses-n1/eeg/sub-01_ses-n1_task-sleep_eeg.vhdr"
SET_3 = "sub-03/eeg/sub-03_task-sleep_eeg.set"
EDF_4 = "sub-04/eeg/sub-04_task-rest_eeg.edf"
RUNS_2 = [f"sub-02/eeg/sub-02_task-sleep_run-{run}_eeg.edf" for run in (1, 2)]
ALL = sorted([EDF_1, VHDR_1, SET_3, EDF_4, *RUNS_2])


def write_edf(path: Path, signals: dict[str, np.ndarray]) -> None:
    channels = [
        edfio.EdfSignal(x, SFREQ, label=label, physical_dimension="uV", physical_range=(-300, 300))
        for label, x in signals.items()
    ]
    start = datetime.datetime(2020, 1, 1, 23)
    edfio.Edf(
        channels, starttime=start.time(), recording=edfio.Recording(startdate=start.date())
    ).write(path)


def add_recording(root: Path, scratch: Path, suffix: str, seed: int, stages=STAGES, **names):
    """Writes a recording with mne-bids: noise, and a stage every 30 s."""
    x = np.random.default_rng(seed).standard_normal((len(LABELS), SECONDS * SFREQ)) * 40
    path = scratch / f"recording_{seed}{suffix}"
    if suffix == ".vhdr":
        write_brainvision(path, {label: ("µV", v) for label, v in zip(LABELS, x)}, SFREQ)
        raw = mne.io.read_raw_brainvision(path, verbose="ERROR")
    elif suffix == ".set":
        write_eeglab(path, dict(zip(LABELS, x)), SFREQ)
        raw = mne.io.read_raw_eeglab(path, verbose="ERROR")
    else:
        write_edf(path, dict(zip(LABELS, x)))
        raw = mne.io.read_raw_edf(path, verbose="ERROR")
    raw.set_channel_types(TYPES, verbose="ERROR")
    raw.info["line_freq"] = 50
    at = 30.0 * np.arange(len(stages))
    marks = mne.Annotations(at, 30.0, stages, orig_time=raw.info["meas_date"])
    raw.set_annotations(marks, verbose="ERROR")  # the last stage ends with the recording
    place = mne_bids.BIDSPath(root=root, datatype="eeg", **names)
    with warnings.catch_warnings():
        # Files are copied as they are, and mne-bids warns that it converts or keeps them.
        warnings.simplefilter("ignore", RuntimeWarning)
        mne_bids.write_raw_bids(raw, place, overwrite=True, verbose="ERROR")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four participants: two sessions in two formats, two runs, EEGLAB, and one without stages."""
    root, scratch = (tmp_path_factory.mktemp(name) for name in ("bids", "scratch"))
    add_recording(root, scratch, ".vhdr", 0, subject="01", session="n1", task="sleep")
    add_recording(root, scratch, ".edf", 1, subject="01", session="n2", task="sleep")
    add_recording(root, scratch, ".edf", 2, subject="02", task="sleep", run="1")
    add_recording(root, scratch, ".edf", 3, subject="02", task="sleep", run="2")
    add_recording(root, scratch, ".set", 4, subject="03", task="sleep")
    add_recording(root, scratch, ".edf", 5, stages=["tone", "unknown"], subject="04", task="rest")
    table(
        root / "participants.tsv",
        "participant_id|age|group|split",
        "sub-01|30|insomnia|train",
        "sub-02|n/a|control|val",
        "sub-03|50|control|test",
        "sub-04|60|n/a|train",
        "sub-09|20|insomnia|test",
    )
    return root


@pytest.fixture
def tree(written: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(written, tmp_path / "tree"))


def table(path: Path, *rows: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join("\t".join(row.split("|")) for row in rows) + "\n", encoding="utf-8")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def sidecar(tree: Path, recording: str, name: str) -> Path:
    return tree / beside(recording, name)


def beside(recording: str, name: str) -> str:
    return f"{recording.rpartition('_eeg')[0]}_{name}"


def plan(tree: Path, **options):
    return Builder(source=tree, data_dir=tree.parent / "records", **options).plan()


def read(tree: Path, path: str, **options):
    source = next(s for s in plan(tree, **options).sources if s.path == path)
    return Builder.read(tree, source)


def build(tree: Path, data_dir: Path, **options):
    """(report, metadata, records of each recording in time's order, splits by recording)."""
    builder = Builder(source=tree, data_dir=data_dir, **(SMALL | options))
    builder.download_and_prepare()
    dataset = tfds.builder_from_directory(builder.data_dir)
    found, split_of = {}, {}
    for split in dataset.info.splits:
        data = dataset.as_data_source(split)
        for record in (decode(data[i]) for i in range(len(data))):
            found.setdefault(record.recording, []).append(record)
            split_of[record.recording] = split
    for clips in found.values():
        clips.sort(key=lambda r: r.clip)
    return build_report.load(builder.data_dir), dict(dataset.info.metadata), found, split_of


def problems(tree: Path, **options) -> dict[str, str]:
    return {s.path: s.problem for s in plan(tree, **options).sources if s.problem}


def reasons(tree: Path, data_dir: Path, **options) -> dict[str, str]:
    report = build(tree, data_dir, **options)[0]
    return {r["path"]: r["reason"] for r in report["recordings"] if r["status"] != "built"}


# --- what is built --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ALL)
def test_signals_are_those_that_mne_bids_reads(written: Path, path: str):
    entities = mne_bids.get_entities_from_fname(path)
    place = mne_bids.BIDSPath(
        root=written,
        datatype="eeg",
        **{key: entities[key] for key in ("subject", "session", "task", "run")},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of dates and missing electrode positions
        raw = mne_bids.read_raw_bids(place, verbose="ERROR")
    recording = read(written, path)
    assert [c.label for c in recording.channels] == raw.ch_names
    assert [c.modality for c in recording.channels] == ["bas", "bas", "resp", "ecg"]
    for channel, values in zip(recording.channels, raw.get_data(verbose="ERROR")):
        assert (channel.unit, channel.sfreq) == ("uV", SFREQ)
        np.testing.assert_allclose(channel.samples, values * 1e6, atol=1e-3)
    texts = (
        []
        if recording.stages is None
        else [["W", "N1", "N2", "N3", "R"][s] for s in recording.stages]
    )
    told = [text.removeprefix("Sleep stage ") for text in raw.annotations.description]
    assert texts == ([] if path == EDF_4 else told)
    if path == EDF_4:
        assert [a.text for a in recording.annotations] == told == ["tone", "unknown"]
    box = next(c for c in recording.channels if c.label == "Box 7")
    assert box.notes == ["taken for resp: type RESP in channels.tsv"]


def test_a_bids_folder_becomes_records(written: Path, tmp_path: Path):
    report, metadata, found, split_of = build(written, tmp_path)
    assert report["totals"]["built"] == 6
    assert [r["path"] for r in report["recordings"]] == ALL
    assert metadata["label_kind"] == "staging"  # found out when the events were read
    assert report["totals"]["labels"] == {"W": 5, "N2": 5, "REM": 5}
    assert {r["subject"] for r in report["recordings"]} == {f"sub-0{i}" for i in range(1, 5)}
    splits = {path: split_of[path.rpartition(".")[0]] for path in ALL}
    assert splits == {
        VHDR_1: "train",
        EDF_1: "train",
        **dict.fromkeys(RUNS_2, "validation"),
        SET_3: "test",
        EDF_4: "train",
    }
    for path in (VHDR_1, EDF_1, SET_3):
        recording, clips = read(written, path), found[path.rpartition(".")[0]]
        assert [r.stages.tolist() for r in clips] == [[2], [4], [0]]
        assert clips[0].modalities == ["bas", "bas", "resp", "ecg"]
        for i, channel in enumerate(recording.channels):
            got = np.concatenate([r.physical()[i, : r.num_samples] for r in clips])
            step = max(r.scale[i] * r.sd[i] for r in clips)
            np.testing.assert_allclose(got, channel.samples, atol=0.51 * step + 1e-4)
    notes = report["spec"]["notes"]
    assert notes[0].startswith("BIDS folder, version 1.")
    assert "1 of 5 participants of participants.tsv have no recording here" in notes[1]


def test_labels_of_participants(written: Path, tmp_path: Path):
    report, metadata, found, _ = build(written, tmp_path, label_column="group")
    assert (metadata["label_kind"], metadata["classes"]) == (
        "classification",
        ["control", "insomnia"],
    )
    assert report["totals"]["labels"].items() >= {"control": 9, "insomnia": 6}.items()
    labels = {path: found[path.rpartition(".")[0]][0].labels.tolist() for path in ALL}
    assert labels[VHDR_1] == labels[EDF_1] == [0, 1]
    assert labels[SET_3] == [1, 0]
    assert np.isnan(labels[EDF_4]).all()
    assert found[VHDR_1.rpartition(".")[0]][0].stages.tolist() == [2]
    for label_kind in ("none", "staging"):
        assert plan(written, label_kind=label_kind).label_kind == label_kind
        with pytest.raises(BuildError, match=f"no use with --label_kind={label_kind}"):
            plan(written, label_kind=label_kind, label_column="group")
    with pytest.raises(BuildError, match=r"needs labels: a table .* or --label_column"):
        plan(written, label_kind="classification")


def test_age_and_sex_of_participants(tree: Path):
    table(
        tree / "participants.tsv",
        "participant_id|Age|SEX",
        "sub-01|30|F",
        "sub-02|n/a|male",
        "sub-03|89+|other",
        "sub-04|300|m",
    )
    said = {s.subject: s.person for s in plan(tree).sources}
    assert said == {
        "sub-01": Person(30.0, "female"),
        "sub-02": Person(None, "male"),
        "sub-03": Person(),
        "sub-04": Person(None, "male"),
    }
    for text, age in (
        ('{"age": {"Units": "years"}}', 30.0),
        ('{"age": {"Description": "at the night"}}', 30.0),
        ('{"age": {"Units": "months"}}', None),
        ("no JSON", 30.0),
        ("[]", 30.0),
    ):
        (tree / "participants.json").write_text(text)
        (person,) = {s.person for s in plan(tree).sources if s.subject == "sub-01"}
        assert person == Person(age, "female")
    (tree / "participants.json").unlink()
    edit(tree / "participants.tsv", "SEX", "gender")
    edit(tree / "participants.tsv", "Age", "years")
    assert Person(None, "female") in {s.person for s in plan(tree).sources}


def test_a_participant_is_in_one_split(tree: Path):
    (tree / "participants.tsv").unlink()
    sources = plan(tree).sources
    splits = {s.subject: {t.split for t in sources if t.subject == s.subject} for s in sources}
    assert list(splits) == ["sub-01", "sub-02", "sub-03", "sub-04"]
    assert all(len(found) == 1 for found in splits.values())
    # Bitbrain's ds005555 has a participant for every night, and says who is one person.
    table(tree / "participants.tsv", "participant_id|pid", "sub-01|7", "sub-03|7", "sub-02|8")
    planned = plan(tree)
    subjects = {s.path: s.subject for s in planned.sources}
    assert subjects[VHDR_1] == subjects[SET_3] == "7"
    assert (subjects[RUNS_2[0]], subjects[EDF_4]) == ("8", "sub-04")
    assert any("4 participants are 3 subjects" in note for note in planned.notes)
    assert any("1 recordings are of participants that" in note for note in planned.notes)


def test_the_most_specific_sidecar_counts(tree: Path):
    sources = {s.path: s for s in plan(tree).sources}
    own = tuple(beside(EDF_1, name) for name in (bids.CHANNELS, bids.EVENTS, bids.EVENTS_JSON))
    assert sources[EDF_1].files == own
    parts = [f for f in sources[VHDR_1].files if not f.endswith(("tsv", "json"))]
    assert parts == [VHDR_1.replace(".vhdr", ".eeg"), VHDR_1.replace(".vhdr", ".vmrk")]
    assert SET_3.replace(".set", ".fdt") in sources[SET_3].files

    for i, name in enumerate(("channels.tsv", "events.tsv")):
        sidecar(tree, EDF_1, name).unlink()
        table(tree / f"task-sleep_{name}", "name|onset")
        table(tree / f"task-rest_{name}", "name|onset")
        assert f"task-sleep_{name}" == {s.path: s for s in plan(tree).sources}[EDF_1].files[i]
        table(tree / f"sub-01/sub-01_{name}", "name|onset")
        table(tree / f"sub-02/sub-02_{name}", "name|onset")
        assert f"sub-01/sub-01_{name}" == {s.path: s for s in plan(tree).sources}[EDF_1].files[i]
    (tree / "events.json").write_text("{}")
    (tree / "task-sleep_events.json").write_text("{}")
    files = {s.path: s.files for s in plan(tree).sources}
    assert files[EDF_1][2:] == ("events.json", "task-sleep_events.json", own[2])
    assert files[EDF_4][2:] == ("events.json", beside(EDF_4, "events.json"))
    assert not problems(tree)
    table(tree / "sub-01/ses-n2/eeg/ses-n2_task-sleep_channels.tsv", "name")
    table(tree / "sub-01/ses-n2/eeg/sub-01_ses-n2_channels.tsv", "name")
    assert "speak of it alike" in problems(tree)[EDF_1]


def test_a_changed_sidecar_is_a_changed_input(tree: Path, tmp_path: Path):
    def units():
        builder = Builder(source=tree, data_dir=tmp_path, **SMALL)
        return [u.key for u in builder._units(tree, builder.plan(), builder.spec)]

    before = units()
    edit(sidecar(tree, EDF_1, "channels.tsv"), "good", "fine")
    assert [a == b for a, b in zip(before, units(), strict=True)].count(False) == 1


def test_bad_channels_are_masked(tree: Path, tmp_path: Path):
    path = sidecar(tree, EDF_1, "channels.tsv")
    rows = [row.split("\t") for row in path.read_text(encoding="utf-8").splitlines()]
    at = {name: rows[0].index(name) for name in ("name", "status", "status_description")}
    for row in rows[1:]:
        if row[at["name"]] == "ECG":
            row[at["status"]], row[at["status_description"]] = "bad", "fell off"
    rows.append(["Lost", *["n/a"] * (len(rows[0]) - 1)])
    table(path, *("|".join(row) for row in rows))
    report, _, found, _ = build(tree, tmp_path)
    entry = next(r for r in report["recordings"] if r["path"] == EDF_1)
    ecg = next(c for c in entry["channels"] if c["label"] == "ECG")
    assert ecg["valid"] == 0
    assert "bad in channels.tsv: fell off" in ecg["notes"]
    assert "channels.tsv names 1 the file lacks: Lost" in entry["notes"]
    for record in found[EDF_1.rpartition(".")[0]]:
        valid = record.valid()[:, : record.num_samples]
        assert valid.all(axis=1).tolist() == [True, True, True, False]
        assert not valid[3].any()
    # A recording without a good channel is listed with its reason.
    edit(path, "good", "bad")
    assert "flat or empty" in reasons(tree, tmp_path / "again")[EDF_1]


def test_a_table_says_what_is_built(tree: Path, tmp_path: Path):
    (tree / "hypnogram.txt").write_text("N3\nN3\nN3\n")
    (tree / "table.csv").write_text(
        "path,subject,diagnosis,hypnogram\n"
        f"{VHDR_1},,ill,\n{EDF_1},,ill,hypnogram.txt\n{SET_3},anna,well,\n"
    )
    planned = plan(tree, label_column="diagnosis")
    assert planned.label_kind == "classification"
    assert planned.classes == ("ill", "well")
    subjects = {s.path: s.subject for s in planned.sources if s.problem is None}
    assert subjects == {VHDR_1: "sub-01", EDF_1: "sub-01", SET_3: "anna"}
    assert "not listed in table.csv" in problems(tree)[EDF_4]
    assert any("participants.tsv is not read" in note for note in planned.notes)
    assert read(tree, VHDR_1).stages.tolist() == [2, 4, 0]
    assert read(tree, EDF_1).stages.tolist() == [3, 3, 3]
    assert read(tree, EDF_1).channels[2].modality == "resp"
    with pytest.raises(BuildError, match="no such column; its columns are path, subject, diag"):
        plan(tree, label_column="group")


SCORED = "sourcedata/sub-02-sleep-stage.tsv"


def add_sleep_stage_table(tree: Path) -> dict[str, list[int]]:
    """OpenNeuro's table for the two runs of sub-02, whose own events go; the stages by path."""
    expected = {}
    rows = []
    for path, words in zip(RUNS_2, (("R", "3", "2"), ("W", "1 (uncertain)", "Unscorable"))):
        sidecar(tree, path, bids.EVENTS).unlink()
        run = path.partition("_run-")[2].partition("_")[0]
        rows += [f"2|task-sleep_run-{run}|{30 * i}|{w}" for i, w in enumerate(words)]
        expected[path] = [{"R": 4, "3": 3, "2": 2, "W": 0}.get(w, -1) for w in words]
    table(tree / SCORED, "subject|session|epoch_start_time_sec|30-sec_epoch_sleep_stage", *rows)
    return expected


def test_stages_under_sourcedata(tree: Path, tmp_path: Path):
    expected = add_sleep_stage_table(tree)
    assert {p: read(tree, p).stages.tolist() for p in RUNS_2} == expected
    assert SCORED in next(s for s in plan(tree).sources if s.path == RUNS_2[0]).files
    report, metadata, found, _ = build(tree, tmp_path / "records")
    assert metadata["label_kind"] == "staging"
    assert report["totals"]["labels"]["N3"] == 1
    for path, stages in expected.items():
        notes = next(r for r in report["recordings"] if r["path"] == path)["notes"]
        assert f"stages of {SCORED}" in notes
        clips = found[path.rpartition(".")[0]]
        assert [int(s) for r in clips for s in r.stages] == stages
    # What BIDS has a place for goes before, and so does a table's hypnogram.
    shutil.copy(sidecar(tree, EDF_1, bids.EVENTS), sidecar(tree, RUNS_2[0], bids.EVENTS))
    assert read(tree, RUNS_2[0]).stages.tolist() == read(tree, EDF_1).stages.tolist()
    (tree / "h.txt").write_text("N1\nN1\nN1\n")
    (tree / "table.csv").write_text(f"path,hypnogram\n{RUNS_2[1]},h.txt\n")
    assert read(tree, RUNS_2[1]).stages.tolist() == [1, 1, 1]


def test_a_table_under_sourcedata_that_lacks_a_run(tree: Path):
    add_sleep_stage_table(tree)
    lines = [x for x in (tree / SCORED).read_text().splitlines() if "run-2" not in x]
    (tree / SCORED).write_text("\n".join([*lines, ""]))
    second = next(path for path in RUNS_2 if "run-2" in path or "run-02" in path)
    other = read(tree, second)
    assert any("sub-02-sleep-stage.tsv has no sleep_epoch of" in note for note in other.notes)
    (tree / SCORED).write_text("a\tb\n")
    with pytest.raises(RecordingError, match="is no table of sleep stages"):
        read(tree, second)
    shutil.copy(tree / SCORED, tree / "sourcedata" / "sub-02_sleep-stage.tsv")
    assert "speak of it alike: leave one" in problems(tree)[second]


# --- what is not a recording, and what is wrong ---------------------------------------------------


def test_what_is_not_a_recording(tree: Path):
    edf = (tree / EDF_4).read_bytes()
    other = {
        "derivatives/clean/sub-01/eeg/sub-01_task-sleep_desc-clean_eeg.edf": None,
        "sourcedata/night.edf": None,
        "code/example.edf": None,
        "stimuli/tone.edf": None,
        ".git/annex/a.edf": None,
        "sub-04/eeg/.hidden_eeg.edf": None,
        "night.edf": "lies in sub-LABEL/eeg/",
        "sub-04/eeg/night.edf": "is named sub-LABEL",
        "sub-04/eeg/sub-05_task-rest_eeg.edf": "lies in sub-04/, but its name says sub-05",
        "sub-01/ses-n2/eeg/sub-01_ses-n1_task-rest_eeg.edf": "its name says ses-n1",
        "sub-04/ieeg/sub-04_task-rest_ieeg.edf": "lies in sub-LABEL/eeg/",
    }
    for name in other:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(edf)
    (tree / "sub-04/eeg/sub-04_task-upper_eeg.EDF").write_bytes(edf)
    planned = plan(tree)
    assert any(note.startswith("2 recordings under derivatives/") for note in planned.notes)
    found = problems(tree)
    assert set(found) == {name for name, words in other.items() if words}
    for name, problem in found.items():
        assert other[name] in problem
    built = [s.path for s in planned.sources if s.problem is None]
    assert sorted(built) == sorted([*ALL, "sub-04/eeg/sub-04_task-upper_eeg.EDF"])


def test_an_ordinary_folder_that_is_nearly_bids(tree: Path):
    planned = plan(tree.parent)
    assert any("tree/dataset_description.json is of a BIDS" in note for note in planned.notes)
    description = tree / bids.DESCRIPTION
    description.write_text('{"Name": "x"}')
    planned = plan(tree)
    assert any("gives no BIDSVersion" in note for note in planned.notes)
    assert {s.subject for s in planned.sources} == {Path(p).stem for p in ALL}
    with pytest.raises(BuildError, match="has neither"):
        plan(tree, label_column="group")
    for text in ("{", "[]", '"x"'):
        description.write_text(text)
        with pytest.raises(BuildError, match=r"dataset_description\.json is no JSON"):
            plan(tree)


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        (["participant|age"], {}, "no column named participant_id; its columns are participant"),
        (["participant_id|age", "sub-01|3", "01|4"], {}, "line 3: sub-01 is there twice"),
        (["participant_id|age", "n/a|3"], {}, "line 2: no participant_id"),
        (["participant_id|age|age"], {}, "two columns are called 'age'"),
        (
            ["participant_id|age", "sub-01|3"],
            {"label_column": "group"},
            "--label_column=group: .* no such column; its columns are participant_id, age",
        ),
        (["participant_id|group", "sub-09|x"], {"label_column": "group"}, "no recording has a"),
        (["participant_id|split", "sub-01|holdout"], {}, "line 2: split 'holdout' is none of"),
        (["participant_id|split", "sub-01|train"], {}, "have no split while others do"),
    ],
)
def test_a_wrong_participants_tsv(tree: Path, rows: list[str], options: dict, words: str):
    table(tree / "participants.tsv", *rows)
    with pytest.raises(BuildError, match=words):
        plan(tree, **options)


def test_a_participant_in_two_splits(tree: Path):
    splits = enumerate(("train", "test", "test", "test"), 1)
    rows = [f"sub-0{i}|1|{split}" for i, split in splits]
    table(tree / "participants.tsv", "participant_id|pid|split", *rows)
    with pytest.raises(LeakError, match="1 subjects are in two splits"):
        plan(tree)


def test_labels_without_participants_and_nothing_to_build(tree: Path):
    (tree / "participants.tsv").unlink()
    with pytest.raises(BuildError, match=r"participants\.tsv is not there"):
        plan(tree, label_column="group")
    for subject in tree.glob("sub-*"):
        shutil.move(subject, tree / "derivatives" / subject.name)
    with pytest.raises(BuildError, match="but 6 under derivatives/"):
        plan(tree)
    (tree / "night.edf").write_bytes(b"")
    with pytest.raises(BuildError, match=r"none of 1 recordings can be .*night\.edf: a BIDS"):
        plan(tree)


def test_wrong_sidecars_quarantine_their_recording(tree: Path, tmp_path: Path):
    edit(sidecar(tree, EDF_1, "channels.tsv"), "name\t", "label\t")
    edit(sidecar(tree, VHDR_1, "events.tsv"), "onset\t", "begin\t")
    sidecar(tree, SET_3, "events.json").write_text("{")
    (tree / EDF_4).write_bytes(b"no EDF at all")
    table(sidecar(tree, RUNS_2[0], "channels.tsv"), "name|type", "C3|EEG", "C3|EEG")
    found = reasons(tree, tmp_path)
    assert set(found) == {EDF_1, VHDR_1, SET_3, EDF_4, RUNS_2[0]}
    assert "no column named name; its columns are label" in found[EDF_1]
    assert "no column named onset; its columns are begin" in found[VHDR_1]
    assert "_events.json: is no JSON" in found[SET_3]
    assert "is none of EDF" in found[EDF_4]
    assert "channel 'C3' is there twice" in found[RUNS_2[0]]
    assert not any(str(tree) in reason for reason in found.values())


def test_dataset_without_sleep_is_no_staging(tree: Path, tmp_path: Path):
    for name in ("sub-01", "sub-02", "sub-03"):
        shutil.rmtree(tree / name)
    report, metadata, found, _ = build(tree, tmp_path)
    assert metadata["label_kind"] == "none"
    assert found[EDF_4.rpartition(".")[0]][0].stages.tolist() == [-1]
    assert json.loads((tree / bids.DESCRIPTION).read_text())["BIDSVersion"]
    assert report["totals"]["built"] == 1
    assert bids.Layout([EDF_4], SUFFIXES).sidecars(EDF_4) == ((), None)
