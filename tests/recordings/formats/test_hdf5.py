"""HDF5: CODE-15 %'s exams, and the generic layout."""

from __future__ import annotations

import datetime
from pathlib import Path

import h5py
import numpy as np
import pytest

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.formats.hdf5 import CODE15_LEADS, code15_exams, read_hdf5
from sleepfm_jax.recordings.read import read_recording
from tests.helpers.hdf5_files import write_generic


@pytest.fixture
def code15(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """Four exams and the row of zeros; the second is filled up on both sides."""
    tracings = np.random.default_rng(0).normal(size=(5, 4096, 12)).astype(np.float32)
    tracings[1, :648] = 0
    tracings[1, 3448:] = 0
    tracings[1, 1000] = 0  # zeros inside are signal
    tracings[2] = 0
    tracings[4] = 0
    path = tmp_path / "exams_part0.hdf5"
    with h5py.File(path, "w") as file:
        file["exam_id"] = np.array([1169160, 2873686, 168405, 99, 0])
        file["tracings"] = tracings
    return path, tracings


def test_exams_of_code15(code15):
    path, tracings = code15
    assert code15_exams(path).tolist() == [1169160, 2873686, 168405, 99]
    recording = read_recording(path, subject="p", exam=1169160)
    assert [c.label for c in recording.channels] == list(CODE15_LEADS)
    assert {(c.modality, c.sfreq, c.unit) for c in recording.channels} == {("ecg", 400.0, "uV")}
    assert (recording.recording, recording.duration) == ("1169160", 10.24)
    for i, c in enumerate(recording.channels):
        expected = np.float32(tracings[0, :, i].astype(np.float64) * 1e3)
        np.testing.assert_array_equal(c.samples, expected)
    assert recording.notes == ["no unit in the file: taken for mV"]


def test_the_padding_of_an_exam_is_cut(code15):
    path, tracings = code15
    recording = read_hdf5(path, subject="p", exam=2873686)
    assert recording.duration == 7.0
    assert "padding of 648 and 648 zeros around the exam is cut" in recording.notes
    expected = np.float32(tracings[1, 648:3448, 11].astype(np.float64) * 1e3)
    np.testing.assert_array_equal(recording.channels[11].samples, expected)


def test_exams_that_are_not_there(code15):
    path, _ = code15
    for exam, cause in (
        (None, "holds 4 exams: say which"),
        (7, "holds exam 7 0 times"),
        (168405, "nothing but zeros"),
    ):
        with pytest.raises(RecordingError, match=cause):
            read_hdf5(path, subject="p", exam=exam)


def test_the_generic_layout(tmp_path: Path):
    path = tmp_path / "night.h5"
    values = write_generic(path)
    recording = read_recording(path, subject="s")
    channels = {c.label: c for c in recording.channels}
    assert list(channels) == ["ECG", "C3-M2"]
    np.testing.assert_array_equal(channels["C3-M2"].samples, np.float32(values * 1e3))
    np.testing.assert_array_equal(channels["ECG"].samples, np.arange(100, dtype=np.float32))
    assert channels["ECG"].notes == ["no unit in the file: not scaled"]
    assert (recording.duration, recording.start) == (10.0, datetime.datetime(2020, 5, 6, 23))
    assert [(a.onset, a.duration, a.text) for a in recording.annotations] == [
        (1.0, 3.0, "arousal"),
        (5.0, 2.0, "arousal"),
    ]
    assert sorted(recording.notes) == [
        "signal 'EMG' kept out: it has no sampling rate (attribute `fs`)",
        "signal 'table' kept out: it is no series of numbers (shape (3, 3), float64)",
    ]


def test_hdf5_with_a_channel_that_ends_early(tmp_path: Path):
    path = tmp_path / "short.h5"
    with h5py.File(path, "w") as file:
        for label, length in (("C3", 1000), ("ECG", 950)):
            file[label] = np.arange(float(length))
            file[label].attrs["fs"] = 100.0
    recording = read_hdf5(path, subject="s")
    long, short = recording.channels
    assert recording.duration == 10 and len(short.samples) == len(long.samples) == 1000
    assert np.isnan(short.samples[950:]).all() and not np.isnan(short.samples[:950]).any()
    assert "ends 0.5 s before the recording" in short.notes


def test_hdf5_that_claims_what_it_does_not_hold(tmp_path: Path):
    path = tmp_path / "bomb.h5"
    with h5py.File(path, "w") as file:
        file["ECG"] = np.arange(100.0)
        file["ECG"].attrs["fs"] = 10.0
        bomb = file.create_dataset("C3", shape=(10**9,), dtype="f8", chunks=(1000,))
        bomb.attrs["fs"] = 256.0
    recording = read_hdf5(path, subject="s")
    assert [c.label for c in recording.channels] == ["ECG"]
    assert "claims 1000000000 samples, and 0 bytes are stored" in recording.notes[0]
    write_generic(path, sfreq=1e-2, size=100_000)
    with pytest.raises(RecordingError, match="116 days"):
        read_hdf5(path, subject="s")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.99])
def test_damaged_hdf5(tmp_path: Path, kept: float):
    path = tmp_path / "night.h5"
    write_generic(path)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(kept * len(raw))])
    with pytest.raises(RecordingError, match="is not a readable HDF5 file"):
        read_hdf5(path, subject="s")


def test_bytes_changed_in_hdf5_never_crash(tmp_path: Path):
    path = tmp_path / "night.h5"
    write_generic(path)
    raw = path.read_bytes()
    rng = np.random.default_rng(5)
    outcomes = set()
    for _ in range(150):
        damaged = np.frombuffer(raw, np.uint8).copy()
        at = rng.integers(8, len(raw), rng.integers(1, 9))
        damaged[at] = rng.integers(0, 256, len(at))
        path.write_bytes(damaged.tobytes())
        try:
            read_hdf5(path, subject="s")
        except RecordingError as error:
            assert str(path) in str(error)
            outcomes.add("refused")
        else:
            outcomes.add("read")
    assert outcomes == {"read", "refused"}
