"""Every dialect of hypnogram, on the recording's time axis."""

from __future__ import annotations

import datetime
from pathlib import Path

import edfio
import numpy as np
import pytest

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.read import read_hypnogram
from sleepfm_jax.recordings.scorings.hypnogram import read_stages, stages_from_spans

START = datetime.datetime(2020, 5, 6, 23, 0, 0)


def text(tmp_path: Path, content: str | bytes, duration: float = 150.0) -> list[int]:
    path = tmp_path / "hypnogram.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    stages = read_hypnogram(path, start=START, duration=duration)
    assert stages.dtype == np.int8
    return stages.tolist()


def annotation_file(path: Path, stages: list[tuple[float, float | None, str]], start=START) -> Path:
    edfio.Edf(
        [],
        annotations=[edfio.EdfAnnotation(*s) for s in stages],
        starttime=start.time(),
        recording=edfio.Recording(startdate=start.date()),
    ).write(path)
    return path


# --- spans ----------------------------------------------------------------------------------------


def test_the_stage_that_covers_most_wins_and_ties_go_to_the_first():
    spans = [(0, 20, 0), (20, 25, 2), (45, 30, 4), (75, 10, 1)]
    #         W 20 N2 10 | N2 15, R 15: a tie | R 15, N1 10, rest 5 | nothing
    assert stages_from_spans(spans, 120).tolist() == [0, 2, 4, -1]
    assert stages_from_spans([], 60).tolist() == [-1, -1]
    assert stages_from_spans([(0, 14, 3)], 30).tolist() == [-1]  # most of it is uncovered
    assert stages_from_spans([(0, 16, 3)], 30).tolist() == [3]


def test_the_last_sleep_epoch_may_be_partial():
    assert stages_from_spans([(0, 300, 2)], 100).tolist() == [2, 2, 2, 2]
    assert stages_from_spans([(0, 300, 2)], 90.0000001).tolist() == [2, 2, 2]
    assert stages_from_spans([(-60, 75, 3)], 30).tolist() == [3]


# --- EDF+ annotation files ------------------------------------------------------------------------


def test_sleep_edf_style(tmp_path: Path):
    names = ["W", "1", "2", "3", "4", "R", "?"]
    stages = [(30.0 * i, 30.0, f"Sleep stage {name}") for i, name in enumerate(names)]
    stages.append((210.0, 30.0, "Movement time"))
    stages.append((100.0, 3.0, "Arousal"))
    path = annotation_file(tmp_path / "h.edf", stages)
    expected = [0, 1, 2, 3, 3, 4, -1, -1]
    assert read_hypnogram(path, start=START, duration=240).tolist() == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, [0, 1, 2, 3]),
        (-60, [2, 3, -1, -1]),  # scored from a minute before the recording
        (60, [-1, -1, 0, 1]),
        (-10, [0, 1, 2, 3]),  # 20 of 30 s remain in each
        (-20, [1, 2, 3, -1]),
        (0.4, [0, 1, 2, 3]),
    ],
)
def test_placed_by_the_start_times_of_both_files(
    tmp_path: Path, seconds: float, expected: list[int]
):
    stages = [(30.0 * i, 30.0, f"Sleep stage {s}") for i, s in enumerate(["W", "N1", "N2", "N3"])]
    start = START + datetime.timedelta(seconds=seconds)
    path = annotation_file(tmp_path / "h.edf", stages, start)
    assert read_hypnogram(path, start=START, duration=120).tolist() == expected


def test_across_midnight(tmp_path: Path):
    path = annotation_file(
        tmp_path / "h.edf", [(0.0, 60.0, "Sleep stage R")], datetime.datetime(2020, 5, 7)
    )
    stages = read_hypnogram(path, start=datetime.datetime(2020, 5, 6, 23, 59, 30), duration=90)
    assert stages.tolist() == [-1, 4, 4]


def test_stages_without_a_duration_last_until_the_next(tmp_path: Path):
    stages = [
        (0.0, None, "Sleep stage W"),
        (60.0, None, "Sleep stage N2"),
        (120.0, None, "Sleep stage R"),
    ]
    path = annotation_file(tmp_path / "h.edf", stages)
    assert read_hypnogram(path, start=START, duration=180).tolist() == [0, 0, 2, 2, 4, -1]


def test_another_nights_hypnogram_is_refused(tmp_path: Path):
    path = annotation_file(tmp_path / "h.edf", [(0.0, 600.0, "Sleep stage W")])
    for days in (1, -1):
        with pytest.raises(RecordingError, match="do not overlap; is it another night's"):
            read_hypnogram(path, start=START + datetime.timedelta(days=days), duration=600)


@pytest.mark.parametrize("day", [6, 7, 8])
def test_of_two_dates_neither_is_relied_on(tmp_path: Path, day: int):
    """Sleep-EDF's hypnograms have the evening's date beside a time past midnight."""
    start = datetime.datetime(2020, 5, 7, 0, 31)
    path = annotation_file(tmp_path / "h.edf", [(0.0, 60.0, "Sleep stage N3")], start)
    raw = path.read_bytes()
    path.write_bytes(raw[:168] + b"08.05.20" + raw[176:])
    recording = datetime.datetime(2020, 5, day, 0, 30, 30)
    assert read_hypnogram(path, start=recording, duration=90).tolist() == [-1, 3, 3]


def test_without_a_start_time_it_begins_with_the_recording(tmp_path: Path):
    path = annotation_file(tmp_path / "h.edf", [(0.0, 60.0, "Sleep stage N3")])
    scored = read_stages(path, start=None, duration=60)
    assert scored.stages.tolist() == [3, 3]
    assert scored.notes == [
        "a start time is missing: the hypnogram is taken to begin with the recording"
    ]


def test_what_is_not_covered_or_too_much_is_said(tmp_path: Path):
    path = annotation_file(tmp_path / "h.edf", [(0.0, 120.0, "Sleep stage N3")])
    assert read_stages(path, start=START, duration=120).notes == []
    assert read_stages(path, start=START, duration=600).notes == [
        "hypnogram covers 0 to 120 s of 600 s: the rest is unscored"
    ]
    assert read_stages(path, start=START, duration=60).notes == [
        "hypnogram goes on for 60 s after the recording: not used"
    ]


def test_an_annotation_file_without_stages_is_refused(tmp_path: Path):
    path = annotation_file(tmp_path / "h.edf", [(0.0, 5.0, "Arousal"), (9.0, 5.0, "Lights off")])
    with pytest.raises(RecordingError, match=r"no sleep stage among its 2 annotations .*'Arousal'"):
        read_hypnogram(path, start=START, duration=60)


# --- text -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "W\nN1\nN2\nN3\nR\n",
        "W\rN1\rN2\rN3\rREM\r",
        "wake\r\nn1\r\nn2\r\nn3\r\nrem\r\n",
        "\ufeffW\nS1\nS2\nS4\nR",
        "stage\nW\nN1\nN2\nN3\nREM\n",
        "# scored by A\nW\nN1\n\nN2\nN3\nR\n",
        '"W"\n"N1"\n"N2"\n"N3"\n"R"\n',
        "Sleep stage W\nSleep stage 1\nSleep stage 2\nSleep stage 4\nSleep stage R\n",
        "W\n1\n2\n4\nR\n",
        "0\n1\n2\n3\n5\n",
        "0.0\n1.0\n2.0\n4.0\n5.0\n",
        "0\n1\n2\n4\n5\n",
        "# 0: Wake, 1: N1, 2: N2, 3: N3, 4: REM\n0\n1\n2\n3\n4\n",
        "01245",
        "W123R",
        "W,N1,N2,N3,R",
        "0 1 2 3 5",
        "W\nN1\nN2\nN3\nR\n".encode("utf-16"),
    ],
)
def test_spellings_of_one_night(tmp_path: Path, content: str | bytes):
    assert text(tmp_path, content) == [0, 1, 2, 3, 4]


def test_unscored_spellings(tmp_path: Path):
    assert text(tmp_path, "W\n?\nM\nMT\nUnscored\nR\n", 180) == [0, -1, -1, -1, -1, 4]
    assert text(tmp_path, "0\n-1\n9\n6\n5\n-2\n", 180) == [0, -1, -1, -1, 4, -1]


def test_shorter_and_longer_than_the_recording(tmp_path: Path):
    assert text(tmp_path, "W\nN2\n") == [0, 2, -1, -1, -1]
    assert text(tmp_path, "W\nN2\n" * 9) == [0, 2, 0, 2, 0]


def test_one_stage_alone(tmp_path: Path):
    assert text(tmp_path, "N2\n", 30) == [2]
    assert text(tmp_path, "REM", 30) == [4]
    assert text(tmp_path, "4\n5\n", 60) == [3, 4]


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("", "an empty hypnogram"),
        ("# nothing\n\n", "an empty hypnogram"),
        ("[Hypnogram]\n", "an empty hypnogram"),
        ("W\nN2\nspindle\nW\n", "line 3: 'spindle' is not a sleep stage"),
        ("0,W\n1,N1\n", "line 1: '0,W' is not a sleep stage"),
        ("0\n1\n2\n3\n4\n", "4 may be REM (YASA) or stage 4 (R&K)"),
        ("0123444", "4 may be REM (YASA) or stage 4 (R&K)"),
        ("[Hypnogram]\n5\n5\n7\n", "line 4: '7' is not a DREAMS stage"),
        ("[Hypnogram]\n5\nW\n", "line 3: 'W' is not a DREAMS stage"),
        ("W\x00N\x00", "neither an EDF+ nor a text hypnogram"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(1, 200)), "is not a sleep stage"),
    ],
)
def test_what_is_no_hypnogram_is_refused(tmp_path: Path, content: str | bytes, cause: str):
    with pytest.raises(RecordingError) as caught:
        text(tmp_path, content)
    assert cause in str(caught.value)
    assert "hypnogram.txt" in str(caught.value)


def test_missing_hypnogram(tmp_path: Path):
    with pytest.raises(RecordingError, match="no such file"):
        read_hypnogram(tmp_path / "no.txt", start=None, duration=30)
    with pytest.raises(RecordingError, match="is a folder"):
        read_hypnogram(tmp_path, start=None, duration=30)


def test_dreams_takes_the_majority_of_six(tmp_path: Path):
    #        W W W W W W | REM*4 S2*2 | S1*3 S2*3: tie, the first | S4*2 S3*1 S2*3 | movement
    values = [5] * 6 + [4, 4, 2, 2, 4, 4] + [3, 3, 3, 2, 2, 2] + [2, 0, 2, 0, 2, 1] + [-1] * 6
    content = "[Hypnogram]\n" + "\n".join(map(str, values))
    # S3 and S4 are both N3: three against three, N2 came first
    assert text(tmp_path, content) == [0, 4, 1, 2, -1]


@pytest.mark.real
def test_real_hypnograms(shared: Path):
    data = shared / "data"
    night = sorted((data / "hypnograms_sleepedf").iterdir())
    assert len(night) == 39
    for path in night:
        tokens = path.read_text().split()
        stages = read_hypnogram(path, start=None, duration=30 * len(tokens))
        code = {"W": 0, "1": 1, "2": 2, "3": 3, "4": 3, "R": 4, "?": -1}
        assert stages.tolist() == [code[t] for t in tokens]
    yasa = data / "formats" / "yasa"
    stages = read_hypnogram(
        yasa / "data_full_6hrs_100Hz_hypno_30s.txt", start=None, duration=720 * 30
    )
    assert np.bincount(stages).tolist() == [43, 22, 318, 182, 155]  # its legend says 4: REM
    stages = read_hypnogram(yasa / "sub-02_hypno_30s.txt", start=None, duration=98 * 30)
    assert np.bincount(stages).tolist() == [36, 9, 31, 22]


@pytest.mark.real
def test_real_dreams_hypnograms(shared: Path):
    code = {5: 0, 4: 4, 3: 1, 2: 2, 1: 3, 0: 3}
    for i in range(1, 9):
        path = shared / "data" / "psg_dreams" / f"Hypnogram_excerpt{i}.txt"
        rows = [int(x) for x in path.read_text().split()[1:]]
        stages = read_hypnogram(path, start=None, duration=1800)
        assert len(stages) == 60
        for stage, six in zip(stages, np.reshape(rows, (60, 6))):
            votes = [code.get(int(v), -1) for v in six]
            assert votes.count(int(stage)) == max(votes.count(v) for v in votes)


@pytest.mark.real
def test_real_sleep_edf_hypnograms_against_mne(shared: Path):
    import mne

    code = {"W": 0, "1": 1, "2": 2, "3": 3, "4": 3, "R": 4, "?": -1, "e": -1}
    for name in ("SC4001EC", "ST7132JR"):
        path = shared / "data" / "formats" / "edfplus" / f"{name}-Hypnogram.edf"
        annotations = mne.read_annotations(path)
        end = max(annotations.onset + annotations.duration)
        stages = read_hypnogram(path, start=None, duration=end)
        assert (np.bincount(stages + 1)[1:] > 0).all()  # all five stages
        for onset, duration, description in zip(
            annotations.onset, annotations.duration, annotations.description
        ):
            expected = code.get(description.removeprefix("Sleep stage "), -1)
            assert set(stages[round(onset / 30) : round((onset + duration) / 30)]) == {expected}
