"""A model of nights stages recordings: what is written, what is used, what breaks nothing."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from configs.staging import wav2sleep
from sleepfm_jax import experiment, stage
from sleepfm_jax.errors import ConfigError, RecordingError
from sleepfm_jax.recordings.read import read_recording
from sleepfm_jax.simulation.cohorts import write_psg_cohort


def stager_of(**data):
    config = wav2sleep.get_config("smoke").to_dict()
    config["data"] |= data
    config["model"]["signals"] = ("ABD", "ECG", "PPG", "THX")
    objective = experiment.make_objective(config)
    params, stats = objective.init(jax.random.key(0))
    return stage.Stager(objective, params, stats, source="nowhere", step=4)


@pytest.fixture(scope="module")
def stager():
    return stager_of(night_hours_longest=1.0)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Three recordings: with ECG and THX, with PPG alone in a folder below, and a damaged one."""
    root = tmp_path_factory.mktemp("stage")
    write_psg_cohort(root / "one", subjects=1, hours=0.1, seed=1, signals=("ECG", "THX"))
    write_psg_cohort(root / "two", subjects=1, hours=0.2, seed=2, signals=("PPG",))
    folder = root / "nights"
    (folder / "below").mkdir(parents=True)
    shutil.copy(root / "one" / "sim00000.edf", folder / "a.edf")
    shutil.copy(root / "one" / "sim00000-Hypnogram.edf", folder / "a-Hypnogram.edf")
    shutil.copy(root / "two" / "sim00000.edf", folder / "below" / "b.edf")
    (folder / "c.edf").write_bytes((folder / "a.edf").read_bytes()[:700])
    return folder


@pytest.fixture(scope="module")
def staged(stager, source, tmp_path_factory):
    output = tmp_path_factory.mktemp("staged") / "out"
    return output, stage.stage(stager, source, output, command="typed")


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_night_leaves_its_files_and_a_broken_one_its_reason(staged, source):
    output, done = staged
    assert [night["name"] for night in done.nights] == ["a", "below/b"] and done.kept == 0
    assert list(done.failed) == [str(source / "c.edf")]
    for name in ("a", "below/b"):
        for ending in (".hypnogram.csv", ".hypnogram.edf", ".hypnogram.png", "_events.tsv"):
            assert (output / f"{name}{ending}").is_file()
    a, b, bad = rows_of(output / "summary.csv")
    assert (a["signals"], b["signals"], bad["status"]) == ("ECG+THX", "PPG", "failed")
    assert bad["reason"] == done.failed[str(source / "c.edf")]
    assert a["scored_sleep_epochs"] == "12" or int(a["scored_sleep_epochs"]) >= 6
    assert not b["kappa"] and len(rows_of(output / "below" / "b.hypnogram.csv")) == 24
    html = (output / "index.html").read_text()
    assert "c.edf" in html and "typed" in html and "nowhere" in html
    said = json.loads((output / "a.stats.json").read_text())
    assert said["scored_by"] == "a-Hypnogram.edf" and said["model"]["step"] == 4
    assert not list(output.rglob("*.part"))


def test_probabilities_are_those_of_the_objective(stager, source, staged):
    recording = read_recording(source / "a.edf", subject="a")
    row, night = stager.row(recording)
    assert set(row) == {"signal/ECG", "signal/THX"}
    batch = stager._batch(row, 0, 12, 12)
    wanted = stager.objective.predict(stager.params, stager.stats, batch)["probabilities"][0]
    found = stager.probabilities(row, 12)  # padded to an hour
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    written = rows_of(staged[0] / "a.hypnogram.csv")
    p = np.array([[float(r[c]) for c in stager.layout.classes] for r in written])
    np.testing.assert_allclose(p, wanted, atol=2e-5)
    assert len(night.stages) == 12


def test_what_was_staged_is_left_as_it_is(stager, source, staged, tmp_path):
    output = tmp_path / "out"
    shutil.copytree(staged[0], output)
    (output / "below" / "b.stats.json").unlink()  # killed before it was whole
    before = (output / "a.hypnogram.csv").stat().st_mtime_ns
    done = stage.stage(stager, source, output)
    assert done.kept == 1 and len(done.nights) == 2 and len(done.failed) == 1
    assert (output / "a.hypnogram.csv").stat().st_mtime_ns == before
    assert (output / "below" / "b.stats.json").is_file()
    assert stage.stage(stager, source, output, overwrite=True).kept == 0
    other = dataclasses.replace(stager, params=jax.tree.map(lambda x: x + 1, stager.params))
    assert stage.stage(other, source, output).kept == 0
    assert stage.stage(other, source, output, signals=("ECG", "PPG")).kept == 0


def test_signals_can_be_chosen(stager, source, tmp_path):
    done = stage.stage(stager, source, tmp_path / "o", signals=("THX",), plots=False)
    (night,) = done.nights
    assert night["signals"].keys() == {"THX"} and "ECG" in night["absent"]
    reason = done.failed[str(source / "below" / "b.edf")]
    assert "no usable signal" in reason and "THX" in reason
    assert not (tmp_path / "o" / "a.hypnogram.png").exists()
    with pytest.raises(ConfigError, match="signals=EEG: the model knows ABD"):
        stage.stage(stager, source, tmp_path / "o", signals=("EEG",))


def test_nothing_to_stage_is_an_error(stager, source, tmp_path):
    with pytest.raises(RecordingError, match="no such file or folder"):
        stage.stage(stager, source / "gone", tmp_path / "o")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordingError, match="no recording in it"):
        stage.stage(stager, tmp_path / "empty", tmp_path / "o")
    with pytest.raises(RecordingError, match="another folder"):
        stage.stage(stager, source, source)
    with pytest.raises(RecordingError, match=r"c\.edf"):
        stage.stage(stager, source / "c.edf", tmp_path / "o")
    assert "c.edf" in (tmp_path / "o" / "index.html").read_text()
    one = stage.stage(stager, source / "a.edf", tmp_path / "o")
    assert [night["name"] for night in one.nights] == ["a"]


def test_a_long_night_is_staged_in_pieces_that_overlap():
    assert stage.pieces(10, 12) == [0] and stage.pieces(12, 12) == [0]
    assert stage.pieces(24, 12) == [0, 6, 12]
    assert stage.pieces(2000, 1680) == [0, 320]
    starts = stage.pieces(10_000, 1680)
    assert max(np.diff(starts)) <= 1200 and starts[-1] == 10_000 - 1680
    whole, cut = stager_of(night_hours_longest=1.0), stager_of(night_hours_longest=0.1)
    rng = np.random.default_rng(0)
    row = {"signal/THX": rng.standard_normal(24 * 256).astype(np.float32)}
    one, other = whole.probabilities(row, 24), cut.probabilities(row, 24)
    assert np.isfinite(other).all() and np.abs(other.sum(axis=1) - 1).max() < 1e-5
    assert one.shape == other.shape


def test_gaps_are_not_staged(stager, source):
    recording = read_recording(source / "a.edf", subject="a")
    for channel in recording.channels:
        samples = channel.samples.copy()
        samples[round(60 * channel.sfreq) : round(150 * channel.sfreq)] = np.nan
        channel.samples = samples
    row, night = stager.row(recording)
    found = stage._staged(stager, source / "a.edf", "a", recording, None, [], row, night)
    assert np.flatnonzero(~found.staged).tolist() == [2, 3, 4]
    assert np.isfinite(found.probabilities).all() and found.scored is None
    assert found.words()[2:5] == ["?"] * 3
