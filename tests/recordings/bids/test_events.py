"""`events.tsv` of BIDS: which of them hold stages, in whatever words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.bids.events import add_events, read_events, read_levels
from sleepfm_jax.recordings.read import Annotation
from sleepfm_jax.recordings.recording import Channel, Recording


def written(path: Path, *rows: str) -> Path:
    path.write_text("\n".join("\t".join(row.split("|")) for row in rows) + "\n", encoding="utf-8")
    return path


def recording(*channels: Channel, seconds: float = 120.0) -> Recording:
    return Recording("a.edf", "s", "a", None, seconds, list(channels), [], None)


NIGHT = [  # (header, rows, Levels) that all mean N2, REM, unscored, wake; 30 s each
    (
        "onset|duration|trial_type|value",
        ["0|30|Sleep stage N2|1", "30|30|Sleep stage R|2", "60|30|Sleep stage ?|3", "90|30|Wake|4"],
        {},
    ),
    ("onset|duration|trial_type", ["0|30|sleep_N2", "30|30|sleep_REM", "90|30|sleep_wake"], {}),
    ("onset|duration|trial_type", ["0|30|N2", "30|30|R", "90|30|W"], {}),
    (
        "onset|duration|begsample|endsample|offset|stage_hum|stage_ai",
        ["0|30|1|2|0|2|3", "30|30|3|4|0|4|-2", "60|30|5|6|0|8|0", "90|30|7|8|0|0|1"],
        {},
    ),
    ("onset|duration|majority", ["0|30.0|2.0", "30|30.0|4.0", "90|30.0|0.0"], {}),
    ("onset|duration|sleep_stage", ["0|30|2", "30|30|5", "90|30|0"], {}),
    ("onset|duration|stage|trial_type", ["0|30|N2|a", "30|30|REM|b", "90|30|W|c"], {}),
    (
        "onset|duration|value",
        ["0|30|13", "30|30|12", "60|30|9", "90|30|11"],
        {
            "value": {
                "11": "Wake",
                "12": "REM sleep",
                "13": "NonREM sleep stage 2 (N2)",
                "9": {"Description": "Disconnected"},
            }
        },
    ),
    (
        "onset|duration|stage",
        ["0|30|2", "30|30|4", "90|30|0"],
        {"Stage": {"0": "awake", "2": "non-REM, stage 2", "4": "REM"}},
    ),
    (
        "onset|duration|trial_type",
        [
            "0|n/a|Sleep stage N2",
            "30|0|Sleep stage R",
            "60|n/a|Sleep stage ?",
            "90|0|Sleep stage W",
        ],
        {},
    ),
]


@pytest.mark.parametrize(("header", "rows", "levels"), NIGHT)
def test_ways_to_write_stages(tmp_path: Path, header: str, rows: list[str], levels: dict):
    path = written(tmp_path / "events.tsv", header, *rows)
    sidecar = tmp_path / "events.json"
    sidecar.write_text(json.dumps({c: {"Levels": about} for c, about in levels.items()}))
    night = recording()
    add_events(night, path, [sidecar], stages=True)
    assert night.stages.tolist() == [2, 4, -1, 0]
    assert night.annotations == []
    without = recording()
    add_events(without, path, [sidecar], stages=False)
    assert without.stages is None
    assert len(without.annotations) == len(rows)


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ("onset|duration|trial_type", ["1|2|standard", "5|2|unknown"]),
        ("onset|duration|trial_type", ["1|2|R", "5|2|W"]),  # right and wrong
        ("onset|duration|trial_type", ["1|2|REM", "5|2|FORGOTTEN"]),
        ("onset|duration|stage", ["1|2|1", "5|2|2"]),  # of an experiment
        ("onset|duration|majority", ["1|2|1", "5|2|0"]),
        ("onset|duration|stage", ["1|2|practice", "5|2|test"]),
        ("onset|duration|stage_ai", ["0|30|0", "30|30|2"]),
        ("onset|duration", ["1|2", "3|4"]),
        ("onset", ["1", "2"]),
        ("onset|duration|trial_type", []),
    ],
)
def test_events_without_stages(tmp_path: Path, header: str, rows: list[str]):
    night = recording()
    add_events(night, written(tmp_path / "events.tsv", header, *rows), stages=True)
    assert night.stages is None
    assert len(night.annotations) == len(rows)
    said = any("Levels" in note for note in night.notes)
    assert said == (header.endswith("|stage") and "1|2|1" in rows)


def test_other_events_beside_stages(tmp_path: Path):
    path = written(
        tmp_path / "events.tsv",
        "onset|duration|trial_type",
        "0|90|Sleep stage N2",
        "12.5|3|spindle",
        "40|n/a|lights",
        "n/a|n/a|lost",
        "50|-1|lost",
    )
    night = recording()
    night.annotations = [Annotation(40.0, 0.0, "lights"), Annotation(41.0, 0.0, "own")]
    add_events(night, path, stages=True)
    assert night.stages.tolist() == [2, 2, 2, -1]
    assert [(a.onset, a.duration, a.text) for a in night.annotations] == [
        (12.5, 3.0, "spindle"),
        (40.0, 0.0, "lights"),
        (41.0, 0.0, "own"),
    ]
    assert night.notes == ["2 rows of events.tsv give no time in seconds: not used"]


@pytest.mark.parametrize(
    ("rows", "cause"),
    [
        (["duration|trial_type", "1|x"], "no column named onset; its columns are duration"),
        (["onset|sleep_stage", "0|1", "30|4"], "4 may be REM or stage 4"),
        (
            ["onset|duration|trial_type", "0|30|Sleep stage W", "30|0|Sleep stage R"],
            "1 of its stages have no duration, others do",
        ),
        (["onset|duration|trial_type", "999|30|Sleep stage W"], "do not overlap"),
    ],
)
def test_wrong_events(tmp_path: Path, rows: list[str], cause: str):
    with pytest.raises(RecordingError, match=cause):
        add_events(recording(), written(tmp_path / "events.tsv", *rows), stages=True)


def test_levels(tmp_path: Path):
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    one.write_text('{"a": {"Levels": {"1": "x"}}, "b": {"Levels": {"1": "y"}}, "c": "text"}')
    two.write_text('{"A": {"Levels": {"1": "z"}}}')
    assert read_levels([one, two]) == {"a": {"1": "z"}, "b": {"1": "y"}}
    for text, words in (("{", "is no JSON"), ("[1]", "is no JSON object")):
        two.write_text(text)
        with pytest.raises(RecordingError, match=words):
            read_levels([one, two])


def test_a_column_with_a_stranger_is_noted(tmp_path: Path):
    path = written(
        tmp_path / "events.tsv", "onset|duration|stage", "0|30|N1", "30|30|REM", "60|30|artifact"
    )
    scoring = read_events(path, {})
    assert [stage for _, _, stage in scoring.spans] == [1, 4]
    assert [event.text for event in scoring.events] == ["artifact"]
    assert scoring.notes == ["stage of events.tsv holds what is no sleep stage: 'artifact'"]


def test_bare_numbers_say_what_they_were_taken_for(tmp_path: Path):
    path = tmp_path / "events.tsv"
    for header, words in (
        ("onset|duration|stage_hum", "the stages in stage_hum are bare numbers, taken for Bitbr"),
        ("onset|duration|sleep_stage", "its stages are bare numbers, taken for 0 W, 1 N1, 2 N2"),
    ):
        written(path, header, "0|30|2", "30|30|3", "60|30|0")
        assert [n[: len(words)] for n in read_events(path, {}).notes] == [words]
    written(path, "onset|duration|sleep_stage", "0|30|N2", "30|30|R")
    assert read_events(path, {}).notes == []


@pytest.mark.real
def test_real_nights_of_bitbrain(shared: Path):
    """Read line by line: stage_hum of the polysomnograph, and none of the headband's stage_ai."""
    tables = sorted((shared / "data" / "archives" / "bids_boas").rglob("*_events.tsv"))
    assert len(tables) == 10
    for path in tables:
        lines = [line.split("\t") for line in path.read_text().splitlines()]
        at = lines[0].index("stage_hum") if "stage_hum" in lines[0] else None
        expected = [] if at is None else [int(row[at]) for row in lines[1:]]
        night = recording(seconds=30.0 * (len(lines) - 1))
        add_events(night, path, stages=True)
        got = [] if night.stages is None else night.stages.tolist()
        assert got == [stage if stage in range(5) else -1 for stage in expected]
        assert any("taken for Bitbrain's" in note for note in night.notes) == bool(expected)
