"""Tables with a header: stages equal to an independent parse."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.scorings.hypnogram import Hypnogram, read_stages
from tests.helpers.painting import bouts, night, painted

START = datetime.datetime(2018, 7, 25, 23, 45, 40)


def read(path: Path, text: str, duration: float, start=START, encoding="utf-16") -> Hypnogram:
    path.write_bytes(text.encode(encoding))
    return read_stages(path, start=start, duration=duration)


@pytest.mark.parametrize(("delimiter", "header"), [("\t", "stage"), (",", "trial_type")])
def test_bids_events(tmp_path: Path, delimiter: str, header: str):
    stages = night(500, 4)
    names = [f"Sleep stage {s}" for s in ("W", "1", "2", "4", "R", "?")]
    rows = [(30.0 * i, 30.0 * n, names[s]) for i, n, s in bouts(stages)]
    rows = rows if header == "stage" else [*rows, (100.0, 3.0, "Arousal")]
    text = delimiter.join(["onset", "duration", header, "channel"]) + "\n"
    text += "\n".join(delimiter.join([*map(str, row), "n/a"]) for row in rows)
    scored = read(tmp_path / "sub-1_events.tsv", text, 15_000, encoding="utf-8")
    pieces = [
        (a, a + b, names.index(name) if name[-1] != "?" else -1)
        for a, b, name in rows[:]
        if name in names
    ]
    assert scored.stages.tolist() == painted(pieces, 15_000) == stages
    assert [e.text for e in scored.events] == ["Arousal"] * (header == "trial_type")


def test_onsets_without_durations(tmp_path: Path):
    text = "onset,stage\n60,N2\n0,W\n120.5,REM\n"
    assert read(tmp_path / "a.csv", text, 180, encoding="utf-8").stages.tolist() == [
        *(0, 0, 2, 2, 4, -1)
    ]


@pytest.mark.parametrize("base", [0, 1])
def test_epochs_with_numbers(tmp_path: Path, base: int):
    rows = [(base + i, s) for i, s in enumerate(["W", "W", "1", "2", "3", "4", "R", "?"]) if i != 3]
    text = "Epoch;Stage;Remark\n" + "".join(f"{e};{s};x\n" for e, s in rows)
    scored = read(tmp_path / "a.csv", text, 240, encoding="utf-8")
    assert scored.stages.tolist() == [0, 0, 1, -1, 3, 3, 4, -1]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("epoch,stage\n1,W\n1,N2\n", "two rows have the same epoch number"),
        ("epoch,stage\n1,W\nx,N2\n", "is not a whole number"),
        ("epoch,stage\n1,W\n2,nap\n", "line 3: 'nap' is not a sleep stage"),
        ("onset,stage\n0,W\nsoon,N2\n", "line 3: onset 'soon'"),
        ("onset,duration,stage\n0,30,W\n30,-3,N2\n", "line 3: onset '30' and duration '-3'"),
        ("onset,duration,stage\n0,30,W\n30,,N2\n", "1 of its stages have no duration"),
        ("onset,duration,stage\n0,30,W\n30,30,nap\n", "line 3: 'nap' is not a sleep stage"),
        ("onset,duration,trial_type\n0,30,go\n", "an empty hypnogram"),
        ("epoch,stage\n", "an empty hypnogram"),
        ("epoch,stage\n1,0\n2,4\n", "4 may be REM (YASA) or stage 4 (R&K)"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, text: str, cause: str):
    with pytest.raises(RecordingError) as caught:
        read(tmp_path / "a.csv", text, 240, encoding="utf-8")
    assert cause in str(caught.value)
