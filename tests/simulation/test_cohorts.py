"""A simulated cohort on disk: complete, readable, and the same when written again."""

from __future__ import annotations

import csv
import datetime
import filecmp
import time

import edfio
import numpy as np
import pytest

from sleepfm_jax.errors import SimulationError
from sleepfm_jax.recordings.read import read_edf
from sleepfm_jax.signals import identify
from sleepfm_jax.signals.night_layout import SAMPLES
from sleepfm_jax.simulation import cohorts, sleepers
from sleepfm_jax.simulation.body.noise import generator
from sleepfm_jax.simulation.edf_writer import trace, write_edf
from sleepfm_jax.simulation.montage import SIGNAL_KINDS, STYLES, draw_montage

SEED = 3
_KIND_TO_MODALITY = {
    "eeg": "bas",
    "eog_left": "bas",
    "eog_right": "bas",
    "ecg": "ecg",
    "chin": "emg",
    "leg_left": "emg",
    "leg_right": "emg",
}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    out = tmp_path_factory.mktemp("psg") / "cohort"
    table = cohorts.write_psg_cohort(out, subjects=5, hours=0.2, seed=SEED)
    return table, _rows(table)


def _rows(table):
    with open(table, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _same_files(left, right, names):
    _, different, failed = filecmp.cmpfiles(left, right, names, shallow=False)
    return not different and not failed


def test_the_table_names_every_file(cohort):
    table, rows = cohort
    assert list(rows[0]) == ["path", "subject", "split", "label", "hypnogram"]
    assert {row["split"] for row in rows} == {"train", "validation", "test"}
    assert len({row["subject"] for row in rows}) == 5
    for row in rows:
        assert (table.parent / row["path"]).is_file()
        assert (table.parent / row["hypnogram"]).is_file()


def test_recordings_read_back_with_their_modalities_and_stages(cohort):
    table, rows = cohort
    for index, row in enumerate(rows):
        _, night, montage = sleepers.simulate_subject(SEED, index, 0.2)
        recording = read_edf(
            table.parent / row["path"],
            subject=row["subject"],
            hypnogram=table.parent / row["hypnogram"],
        )
        assert recording.duration == 720.0
        scored = recording.stages >= 0
        assert scored.sum() >= len(scored) - 6
        np.testing.assert_array_equal(recording.stages[scored], night.stages[scored])
        assert [c.label for c in recording.channels] == [plan.label for plan in montage]
        for channel, plan in zip(recording.channels, montage):
            assert channel.modality == _KIND_TO_MODALITY.get(plan.kind, "resp")
            assert channel.sfreq == plan.sfreq
            if plan.kind == "eeg":  # microvolts, whatever the unit of the file
                assert 5.0 < np.median(np.abs(channel.samples)) < 80.0
            assert not any("clip" in note.lower() for note in channel.notes), channel.notes


@pytest.mark.parametrize("size", [0.0, 3e-6, 1.0001e-4, 4.9e-4, 0.07, 1.0, 95.0, 18000.0])
def test_any_amplitude_fits_the_header_and_is_not_clipped(tmp_path, size):
    wave = (size * np.sin(np.arange(512))).astype(np.float32)
    start = datetime.datetime(2001, 1, 1)
    write_edf(tmp_path / "a.edf", [trace("EKG", 256, "V", wave)], subject="a", start=start)
    signal = edfio.read_edf(tmp_path / "a.edf").signals[0]
    step = (signal.physical_max - signal.physical_min) / (signal.digital_max - signal.digital_min)
    np.testing.assert_allclose(signal.data, wave, atol=0.51 * step + 1e-6 * size)
    assert step <= max(size, 1e-4) * 1e-4


def test_every_label_is_known():
    for style in STYLES:
        for label, kind, _ in style:
            assert identify(label).modality == _KIND_TO_MODALITY.get(kind, "resp"), label
            assert len(label) <= 16  # EDF's field


def test_subjects_differ_in_what_they_miss():
    montages = [draw_montage(generator(SEED, i)) for i in range(100)]
    has = {
        m: np.mean([any(identify(p.label).modality == m for p in plan) for plan in montages])
        for m in ("bas", "resp", "ecg", "emg")
    }
    assert has["bas"] == 1.0
    assert all(0.7 < has[m] < 1.0 for m in ("ecg", "emg"))
    assert has["resp"] > 0.8
    assert len({plan[0].sfreq for plan in montages}) >= 3
    assert len({plan[0].unit for plan in montages}) >= 2


def test_a_subject_is_a_function_of_seed_and_index(cohort, tmp_path):
    table, _ = cohort
    names = ["sim00000.edf", "sim00000-Hypnogram.edf", "sim00001.edf", "sim00001-Hypnogram.edf"]
    again = tmp_path / "again"
    cohorts.write_psg_cohort(again, subjects=2, hours=0.2, seed=SEED, workers=2)
    assert _same_files(table.parent, again, names)
    other = tmp_path / "other"
    cohorts.write_psg_cohort(other, subjects=1, hours=0.2, seed=SEED + 1)
    assert not _same_files(table.parent, other, names[:1])


def test_chosen_signals_are_in_every_recording_and_nothing_else(tmp_path):
    out = tmp_path / "c"
    wanted = ("ECG", "EOG-L", "PPG")
    table = cohorts.write_psg_cohort(out, subjects=3, hours=0.05, seed=SEED, signals=wanted)
    for row in _rows(table):
        recording = read_edf(out / row["path"], subject=row["subject"])
        names = [(c.name.partition("-")[0], c.modality) for c in recording.channels]
        assert sorted(names) == [("E1", "bas"), ("ECG", "ecg"), ("PPG", "resp")] or sorted(
            names
        ) == [("E1", "bas"), ("II", "ecg"), ("PPG", "resp")]
        assert all(c.samples.std() > 0 for c in recording.channels)
    with pytest.raises(cohorts.SimulationError, match="another simulation"):
        cohorts.write_psg_cohort(out, subjects=3, hours=0.05, seed=SEED)
    with pytest.raises(cohorts.SimulationError, match="signals=EEG"):
        cohorts.write_psg_cohort(tmp_path / "x", subjects=1, hours=0.05, signals=("EEG",))


def test_every_signal_of_a_night_can_be_chosen():
    assert set(SIGNAL_KINDS) == set(SAMPLES)
    for i in range(20):  # laboratories of every style
        plan = draw_montage(generator(SEED, i), list(SIGNAL_KINDS))
        assert sorted(channel.kind for channel in plan) == sorted(SIGNAL_KINDS.values())


def test_a_begun_cohort_is_continued(tmp_path):
    out = tmp_path / "c"
    cohorts.write_psg_cohort(out, subjects=1, hours=0.05, seed=1)
    before = (out / "sim00000.edf").stat().st_mtime_ns
    table = cohorts.write_psg_cohort(out, subjects=2, hours=0.05, seed=1)
    assert (out / "sim00000.edf").stat().st_mtime_ns == before
    assert len(_rows(table)) == 2
    with pytest.raises(cohorts.SimulationError, match="another simulation"):
        cohorts.write_psg_cohort(out, subjects=2, hours=0.05, seed=2)


def test_unusable_requests_are_refused(tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(cohorts.SimulationError, match="not empty"):
        cohorts.write_psg_cohort(tmp_path, subjects=1, hours=0.05)
    for bad in ({"hours": 0.001}, {"hours": 0.0125}, {"hours": 30.0}):
        with pytest.raises(cohorts.SimulationError, match="hours="):
            cohorts.write_psg_cohort(tmp_path / "x", subjects=1, **bad)
    with pytest.raises(cohorts.SimulationError, match="subjects=0"):
        cohorts.write_psg_cohort(tmp_path / "x", subjects=0)
    with pytest.raises(cohorts.SimulationError, match="workers=0"):
        cohorts.write_ecg(tmp_path / "x", subjects=1, workers=0)
    with pytest.raises(cohorts.SimulationError, match="seconds"):
        cohorts.write_wake_eeg(tmp_path / "x", subjects=1, seconds=1.0)
    assert not (tmp_path / "x").exists()


def test_splits_are_by_subject_and_near_sixty_fifteen_twenty_five():
    splits = [cohorts.split_of(SEED, i) for i in range(200)]
    assert [splits.count(s) for s in ("train", "validation", "test")] == [120, 30, 50]
    assert set(splits[:3]) == {"train", "validation", "test"}
    assert splits != [cohorts.split_of(SEED + 1, i) for i in range(200)]


def test_program_writes_and_refuses(program, tmp_path):
    out = tmp_path / "out"
    wanted = ("--dataset=simulated_ecg", "--subjects=2", f"--out={out}")
    done = program("launch.simulate", *wanted)
    assert done.returncode == 0, done.stderr
    assert (out / "table.csv").is_file()
    refused = program("launch.simulate", *wanted, "--seed=4")
    assert refused.returncode == 9
    assert refused.stderr.startswith("SimulationError: ")
    assert "another simulation" in refused.stderr
    assert "Traceback" not in refused.stderr
    wrong = program("launch.simulate", "--dataset=simulated_ecg", "--subjects=0", f"--out={out}")
    assert wrong.returncode == 2


@pytest.mark.slow
def test_a_full_montage_is_simulated_a_thousand_times_faster_than_real_time(tmp_path):
    index = next(
        i
        for i in range(500)
        if len(plan := draw_montage(generator(1, SEED, i, 1))) >= 16 and plan[0].sfreq == 256
    )
    begun = time.process_time()
    cohorts._psg_subject(tmp_path, {"seed": SEED, "hours": 2.0}, index)
    assert 2 * 3600 / (time.process_time() - begun) > 1000


def test_a_second_scorer_of_a_cohort(cohort, tmp_path):
    table, rows = cohort
    again = cohorts.write_second_scorer(table.parent, tmp_path / "second")
    names = [row["hypnogram"] for row in rows]
    assert sorted(path.name for path in again.iterdir()) == sorted([*names, "second_scorer.json"])
    for row in rows:
        first, second = (
            read_edf(
                table.parent / row["path"],
                subject=row["subject"],
                hypnogram=folder / row["hypnogram"],
            ).stages
            for folder in (table.parent, again)
        )
        np.testing.assert_array_equal(first < 0, second < 0)
    (again / names[0]).unlink()
    twin = cohorts.write_second_scorer(table.parent, tmp_path / "twin")
    assert _same_files(twin, cohorts.write_second_scorer(table.parent, again), names)
    with pytest.raises(SimulationError, match="another folder"):
        cohorts.write_second_scorer(table.parent, table.parent / "second")
    with pytest.raises(SimulationError, match="no simulated cohort"):
        cohorts.write_second_scorer(tmp_path, tmp_path / "other")
