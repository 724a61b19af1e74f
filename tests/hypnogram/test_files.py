"""What is written about a staged night is read back by our own readers, and by others'."""

from __future__ import annotations

import csv
import json

import mne
import numpy as np
import pytest

from sleepfm_jax.hypnogram import figures, files
from sleepfm_jax.hypnogram.night import runs
from sleepfm_jax.recordings.bids.events import read_events, read_levels
from sleepfm_jax.recordings.scorings.hypnogram import read_hypnogram, stages_from_spans
from tests.helpers.staged_nights import FIVE, FOUR, staged_night


def stages_of(night):
    """int8 [E], of a night of five classes."""
    return night.predicted.astype(np.int8)


@pytest.mark.parametrize("classes", [FOUR, FIVE])
def test_csv_has_a_row_a_sleep_epoch_and_a_probability_a_class(classes, tmp_path):
    night = staged_night(classes, gap=(7, 8))
    path = files.write_csv(night, tmp_path)
    assert path.name == "night.hypnogram.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["onset", "duration", "stage", *classes]
    assert [float(row["onset"]) for row in rows] == [30.0 * i for i in range(40)]
    assert {row["duration"] for row in rows} == {"30"}
    assert [row["stage"] for row in rows] == night.words()
    assert [i for i, row in enumerate(rows) if row["stage"] == "?"] == [7, 8]
    for i, row in enumerate(rows):
        if i in (7, 8):
            assert not any(row[name] for name in classes)
            continue
        p = np.array([float(row[name]) for name in classes])
        np.testing.assert_allclose(p, night.probabilities[i], atol=1e-5)
        assert abs(p.sum() - 1) < 1e-4
        assert classes[p.argmax()] == row["stage"]


def test_edf_annotations_are_read_back_here_and_by_mne(tmp_path):
    night = staged_night(FIVE, gap=(7, 8))
    path = files.write_edf(night, tmp_path)
    found = read_hypnogram(path, start=night.start, duration=1200)
    np.testing.assert_array_equal(found, stages_of(night))
    annotations = mne.read_annotations(path)
    assert list(annotations.description[:3]) == ["Sleep stage W", "Sleep stage N1", "Sleep stage ?"]
    assert annotations.onset[1] == 150.0 and annotations.duration[0] == 150.0
    assert {"Sleep stage R"} <= set(annotations.description)


def test_a_start_that_edf_cannot_say_is_left_out(tmp_path):
    for start in (None, staged_night().start.replace(year=1970)):
        night = staged_night(FIVE, start=start)
        found = read_hypnogram(files.write_edf(night, tmp_path), start=None, duration=1200)
        np.testing.assert_array_equal(found, stages_of(night))


def test_bids_events_are_read_back(tmp_path):
    night = staged_night(FIVE, gap=(7, 8), name="sub-1_task-sleep_eeg")
    path = files.write_bids(night, tmp_path)
    assert path.name == "sub-1_task-sleep_events.tsv"
    levels = read_levels([path.with_suffix(".json")])
    assert levels["trial_type"]["Sleep stage R"] == "Sleep stage REM"
    scoring = read_events(path, levels)
    np.testing.assert_array_equal(stages_from_spans(scoring.spans, 1200), stages_of(night))


def test_stats_say_what_was_used_and_how_it_agrees(tmp_path):
    night = staged_night(gap=(7,), about={"model": {"step": 3}})
    said = json.loads(files.write_stats(night, tmp_path, figures.figures(night)).read_text())
    assert said["signals"] == {"ECG": "EKG", "THX": "THOR RES"} and said["absent"] == ["ABD", "PPG"]
    assert said["sleep_epochs"] == 40 and said["not_staged"] == 1 and said["hours"] == 0.3333
    assert said["start"] == "2001-03-04T22:30:15" and said["model"] == {"step": 3}
    assert said["statistics"]["TIB"] == 20.0
    assert said["statistics"]["SOL"] == 2.5
    assert said["scored_statistics"]["TIB"] == 19.0
    right = night.predicted == night.scored_classes()
    assert said["agreement"]["sleep_epochs"] == 37  # neither the gap nor what nobody scored
    counted = np.arange(40) >= 2
    counted[7] = False
    assert said["agreement"]["accuracy"] == pytest.approx(right[counted].mean(), abs=1e-4)
    assert 0 < said["agreement"]["kappa"] <= 1
    assert said["confidence"] == pytest.approx(
        night.probabilities.max(axis=1)[night.staged].mean(), abs=1e-4
    )


def test_a_night_of_one_stage_and_one_without_any_signal_have_no_agreement():
    night = staged_night(sleep_epochs=5)  # wake alone
    found = figures.figures(night)
    assert found["agreement"]["kappa"] is None and found["agreement"]["accuracy"] == 1.0
    assert found["statistics"]["REM_latency"] is None and found["statistics"]["TST"] == 0.0
    dark = staged_night(gap=range(40))
    assert set(dark.words()) == {"?"}
    found = figures.figures(dark)
    assert found["agreement"] is None and found["confidence"] is None


def test_runs_join_what_is_equal():
    assert runs(["W", "W", "REM"]) == [(0.0, 60.0, "W"), (60.0, 30.0, "REM")]
    assert runs([]) == []
