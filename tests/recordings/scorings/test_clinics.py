"""Exports of clinics' systems and of tools, as they are written: against a few lines of Python."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.scorings.hypnogram import read_stages
from tests.helpers.painting import night

START = datetime.datetime(2021, 11, 18, 22, 39, 30)
STAGES = night(1200, 7)  # past midnight


def read(path: Path, text: str, start=START, stages=STAGES, encoding="utf-8", **options):
    path.write_bytes(text.encode(encoding))
    return read_stages(path, start=start, duration=30.0 * len(stages), **options)


def clocks(count: int, form: str, start=START, step: float = 30) -> list[str]:
    times = [start + datetime.timedelta(seconds=step * i) for i in range(count)]
    return [f"{moment:{form}}" for moment in times]


def refused(path: Path, text: str, cause: str, **options) -> None:
    with pytest.raises(RecordingError) as caught:
        read(path, text, **options)
    assert cause in str(caught.value)


# --- UCDDB ----------------------------------------------------------------------------------------


def test_ucddb_has_numbers_of_its_own(tmp_path: Path):
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 9, 400)
    meaning = ["W", "REM", "S1", "S2", "S3", "S4", "artefact", "indeterminate", "unscored"]
    told = {"W": 0, "S1": 1, "S2": 2, "S3": 3, "S4": 3, "REM": 4}
    expected = [told.get(meaning[n], -1) for n in numbers]
    text = "".join(f"{n}\r\n" for n in numbers)
    for name in ("ucddb002_stage.txt", "UCDDB028_STAGE.TXT"):
        scored = read(tmp_path / name, text, stages=numbers)
        assert scored.stages.tolist() == expected
        assert any("UCDDB's numbers, by the file's name: 0 W, 1 REM" in n for n in scored.notes)
    # 4 without 5 could be anything elsewhere; here it is S3
    assert read(tmp_path / "ucddb002_stage.txt", "0\n4\n", stages=[0, 0]).stages.tolist() == [0, 3]
    refused(tmp_path / "ucddb002_stage.txt", "0\n9\n", "line 2: '9' is not a stage of UCDDB")
    # words mean in such a file what they mean everywhere
    assert read(tmp_path / "ucddb002_stage.txt", "W\nR\n", stages=[0, 0]).stages.tolist() == [0, 4]


CODING = "its stages are bare numbers, taken for 0 W, 1 N1, 2 N2, 3 and 4 N3, 5 REM"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.txt", "0\n1\n2\n3\n5\n", True),
        ("night_stage.txt", "0\n1\n2\n3\n5\n", True),
        ("a.txt", "0.0\n1.0\n2.0\n3.0\n5.0\n", True),
        ("a.txt", "01235", True),
        ("a.csv", "epoch,stage\n1,0\n2,1\n3,2\n4,3\n5,5\n", True),
        ("a.csv", "onset,stage\n0,0\n30,1\n60,2\n90,3\n120,5\n", True),
        ("a.txt", "# 0: W, 1: N1\n0\n1\n2\n3\n5\n", True),
        ("a.txt", "# 0: W, 1: N1, 2: N2, 3: N3, 5: REM\n0\n1\n2\n3\n5\n", False),
        ("a.txt", "W\n1\n2\n3\nR\n", False),
        ("a.csv", "epoch,stage\n1,W\n2,N1\n3,N2\n4,N3\n5,R\n", False),
    ],
)
def test_a_coding_that_is_assumed_is_said(tmp_path: Path, name: str, text: str, said: bool):
    scored = read(tmp_path / name, text, stages=range(5))
    assert scored.stages.tolist() == [0, 1, 2, 3, 4]
    assert any(note.startswith(CODING) for note in scored.notes) == said


# --- SOMNOmedics ----------------------------------------------------------------------------------

GERMAN = ["Wach", "N1", "N2", "N3", "Rem", "Artefakt"]
ENGLISH = ["Wake", "N1", "N2", "N3", "REM", "A"]


def domino(stages, words, form="%d.%m.%Y %H:%M:%S", start=START, head_start=None, rate="30 s"):
    step = 30 if rate == "30 s" else 20
    rows = clocks(len(stages), "%H:%M:%S,000", start, step)
    head = [
        r"Signal ID: SchlafProfil\profil",
        f"Start Time: {head_start or start:{form}}",
        "Unit: ",
        "Signal Type: Discret",
        f"Events list: {','.join(words)}",
        f"Rate: {rate}",
        "",
    ]
    return "\r\n".join([*head, *(f"{t}; {words[s]}" for t, s in zip(rows, stages)), ""])


@pytest.mark.parametrize("words", [GERMAN, ENGLISH])
@pytest.mark.parametrize("form", ["%d.%m.%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "latin-1", "utf-16"])
def test_the_sleep_profile_of_somnomedics(tmp_path: Path, words, form, encoding):
    scored = read(tmp_path / "Schlafprofil.txt", domino(STAGES, words, form), encoding=encoding)
    assert scored.dialect == "SOMNOmedics"
    assert scored.stages.tolist() == list(STAGES)
    assert scored.notes == []


def test_a_sleep_profile_is_placed_by_its_rows(tmp_path: Path):
    path = tmp_path / "Schlafprofil.txt"
    early = START - datetime.timedelta(seconds=60)
    for head_start in (early, START):  # the head's time may be that of the recording
        text = domino(STAGES, GERMAN, start=early, head_start=head_start)
        assert read(path, text).stages.tolist() == [*STAGES[2:], -1, -1]
    # no date says of the 3rd or 4th month: by the time of day
    for start in (datetime.datetime(2021, 4, 3, 23, 0), datetime.datetime(2021, 3, 4, 23, 0)):
        text = domino(STAGES, GERMAN, "%d/%m/%Y %H:%M:%S", datetime.datetime(2021, 4, 3, 23, 0))
        assert read(path, text, start=start).stages.tolist() == list(STAGES)
    text = domino(STAGES, GERMAN, start=START + datetime.timedelta(days=3))
    refused(path, text, "is it another night's?")
    anonymous = START.replace(year=1985, month=1, day=1)
    scored = read(path, domino(STAGES, GERMAN), start=anonymous)
    assert scored.stages.tolist() == list(STAGES)
    assert any("placed by time of day" in note for note in scored.notes)
    scored = read(path, domino(STAGES, GERMAN), start=None)
    assert scored.stages.tolist() == list(STAGES)
    assert any("a start time is missing" in note for note in scored.notes)


def test_sleep_epochs_of_20_s_in_a_sleep_profile(tmp_path: Path):
    twenties = [0] * 3 + [2] * 6 + [4] * 3
    scored = read(
        tmp_path / "Schlafprofil.txt", domino(twenties, GERMAN, rate="20 s"), stages=range(8)
    )
    assert scored.stages.tolist() == [0, 0, 2, 2, 2, 2, 4, 4]


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        (r"SchlafProfil\profil", r"FlowD\flow", r"is the signal 'FlowD\\flow' of a SOMNOmedics"),
        ("22:40:30,000; ", "22:40:30,000; nap", "'napWach' is not a sleep stage"),
        ("22:40:30,000; ", "soon; ", "'soon; Wach' is not a time and a stage"),
        ("22:40:30,000; ", "22:39:30,000; ", "its times are not in order"),
        ("Rate: 30 s", "Rate: 0 s", "is no length of a sleep_epoch"),
    ],
)
def test_wrong_sleep_profiles(tmp_path: Path, old: str, new: str, cause: str):
    text = domino([0] * 10, GERMAN)
    assert old in text
    refused(tmp_path / "a.txt", text.replace(old, new), cause)


def test_a_sleep_profile_without_rows(tmp_path: Path):
    refused(tmp_path / "a.txt", domino([], GERMAN), "an empty hypnogram")


# --- Alice ----------------------------------------------------------------------------------------

ALICE = ["WK", "N1", "N2", "N3", "REM", "NS"]


@pytest.mark.parametrize("form", ["%I:%M:%S %p", "%H:%M:%S"])
@pytest.mark.parametrize("row", ["{i}\t{t}\t{s}", "{t}\t{s}", "{i},{t},{s},", "{i};{t};{s};-;0"])
@pytest.mark.parametrize("head", ["Epoch\tTime\tStage\n", ""])
def test_alice(tmp_path: Path, form: str, row: str, head: str):
    late = START + datetime.timedelta(seconds=60)  # scored from lights off
    rows = [
        row.format(i=i, t=t, s=ALICE[s])
        for i, (t, s) in enumerate(zip(clocks(len(STAGES) - 2, form, late), STAGES[2:]), 1)
    ]
    scored = read(tmp_path / "a.txt", head + "\n".join(rows))
    assert scored.dialect == "Alice"
    assert scored.stages.tolist() == [-1, -1, *STAGES[2:]]


def test_alice_without_times(tmp_path: Path):
    words = [ALICE[s] for s in STAGES]
    assert read(tmp_path / "a.txt", "Stage\n" + "\n".join(words)).stages.tolist() == list(STAGES)
    numbered = "\n".join(f"{i}\t{word}" for i, word in enumerate(words, 1) if i != 3)
    expected = [*STAGES[:2], -1, *STAGES[3:]]
    assert read(tmp_path / "a.txt", numbered).stages.tolist() == expected


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("h\n" + "10:00:00 PM\tWK\n" * 3, "line 3: its times are not in order"),
        ("10:00:00 PM\tWK\n-\tN1\n10:01:00 PM\tN1\n", "line 2: no time of day, others have one"),
        ("1\tWK\n2\tN1\n2\tN1\n", "line 3: epoch 2 does not follow 2"),
        ("WK\n" * 20 + "nap\n", "line 21: 'nap' is not a sleep stage"),
    ],
)
def test_wrong_files_of_alice(tmp_path: Path, text: str, cause: str):
    refused(tmp_path / "a.txt", text, cause)


# --- YASA -----------------------------------------------------------------------------------------

YASA = ["WAKE", "N1", "N2", "N3", "REM", "UNS"]


def test_yasa(tmp_path: Path):
    words = [YASA[s] for s in STAGES]
    words[5] = "ART"
    expected = [*STAGES[:5], -1, *STAGES[6:]]
    for head in ("Epoch,Stage", "Epoch,Expert 1"):
        text = "\n".join([head, *(f"{i},{word}" for i, word in enumerate(words))])
        scored = read(tmp_path / "a.csv", text)
        assert (scored.dialect, scored.stages.tolist()) == ("YASA", expected)
    late = START + datetime.timedelta(seconds=60)
    for zone in ("", "+01:00"):
        moments = clocks(len(words), "%Y-%m-%d %H:%M:%S", late)
        text = "\n".join(["Time,Stage", *(f"{t}{zone},{w}" for t, w in zip(moments, words))])
        assert read(tmp_path / "a.csv", text).stages.tolist() == [-1, -1, *expected[:-2]]
    rows = [f"{i},{30.0 * i},30.0,{s},{w}" for i, (s, w) in enumerate(zip(STAGES, words))]
    events = "\n".join(["epoch,onset,duration,value,description", *rows])  # Hypnogram.as_events
    assert read(tmp_path / "a.csv", events).stages.tolist() == expected


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("Epoch,Stage\n0,WAKE\n0,N1\n", "line 3: '0' does not follow the one before"),
        ("Epoch,Stage\n0,WAKE\nx,N1\n", "line 3: epoch 'x' is no whole number"),
        ("Time,Stage\n2021-11-18,WAKE\nsoon,N1\n", "line 3: 'soon' is no date and time"),
        ("Epoch,Stage\n0,WAKE\n1,SLEEP\n", "line 3: 'SLEEP' is not a sleep stage"),
        ("Epoch,Stage\n0,0\n1,4\n", "4 may be REM (YASA) or stage 4 (R&K)"),
    ],
)
def test_wrong_tables_of_yasa(tmp_path: Path, text: str, cause: str):
    refused(tmp_path / "a.csv", text, cause)


# --- OpenNeuro ------------------------------------------------------------------------------------

SESSIONS = ("task-rest_run-1", "task-sleep_run-1", "task-sleep_run-2")


def sleep_stage_table(by_session: dict[str, list[str]], subject: bool) -> str:
    head = ["session", "epoch_start_time_sec", "30-sec_epoch_sleep_stage"]
    rows = [
        [session, str(30 * i), word]
        for session, words in by_session.items()
        for i, word in enumerate(words)
    ]
    table = [["subject"] * subject + head, *(["1"] * subject + row for row in rows)]
    return "\n".join("\t".join(row) for row in table) + "\n"


@pytest.mark.parametrize("subject", [True, False])
def test_a_table_of_a_participants_recordings(tmp_path: Path, subject: bool):
    path = tmp_path / "sub-01-sleep-stage.tsv"
    words = [["W", "1", "2", "3", "R", "Unscorable"][s] for s in STAGES]
    words[4] += " (uncertain)"
    expected = [*STAGES[:4], -1, *STAGES[5:]]
    by_session = {SESSIONS[0]: ["W"] * 10, SESSIONS[1]: words, SESSIONS[2]: ["2"] * 10}
    text = sleep_stage_table(by_session, subject)
    for name in ("sub-01_task-sleep_run-1_eeg", "sub-01_task-sleep_run-01_eeg"):
        scored = read(path, text, recording=name)
        assert scored.stages.tolist() == expected
        assert any("1 sleep_epochs that the scorer calls uncertain" in n for n in scored.notes)
    alone = sleep_stage_table({SESSIONS[1]: words}, subject)
    assert read(path, alone).stages.tolist() == expected
    refused(path, text, "none of its sessions is that of '?': it has task-rest_run-1, task-sle")
    refused(path, text, "none of its sessions is that of", recording="sub-01_task-sleep_run-3_eeg")
    refused(path, text.replace("\t30\t", "\tx\t"), "'x' are no seconds", recording="a")
    refused(path, text.replace("\tR\n", "\tnap\n"), "'nap' is not a sleep stage", recording="a")
    two = sleep_stage_table({"run-1": ["W"], "task-sleep": ["W"]}, subject)
    refused(path, two, "several of its sessions are", recording="sub-01_task-sleep_run-1_eeg")
