"""HDF5 in both layouts, NumPy archives, signals as text; and formats that are none of them."""

from __future__ import annotations

import datetime
import gzip
from pathlib import Path

import h5py
import numpy as np
import pytest

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.formats.arrays import read_npz, read_text_signal
from sleepfm_jax.recordings.formats.hdf5 import CODE15_LEADS, code15_exams, read_hdf5
from sleepfm_jax.recordings.read import read_recording


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


def generic(path: Path, sfreq: float = 64.0, size: int = 640) -> np.ndarray:
    values = np.random.default_rng(1).normal(size=size) * 40
    with h5py.File(path, "w") as file:
        file.attrs["start"] = "2020-05-06T23:00:00"
        eeg = file.create_dataset("signals/c3", data=values, compression="gzip")
        eeg.attrs["fs"], eeg.attrs["label"], eeg.attrs["unit"] = sfreq, "C3-M2", "mV"
        file["ECG"] = np.arange(100, dtype=np.int16)
        file["ECG"].attrs["sampling_rate"] = 10
        file["EMG"] = values
        file["table"] = np.zeros((3, 3))
        file["table"].attrs["fs"] = 1.0
        file["arousal/start"], file["arousal/duration"] = [5.0, 1.0], [2.0, 3.0]
    return values


def test_the_generic_layout(tmp_path: Path):
    path = tmp_path / "night.h5"
    values = generic(path)
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
    generic(path, sfreq=1e-2, size=100_000)
    with pytest.raises(RecordingError, match="116 days"):
        read_hdf5(path, subject="s")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.99])
def test_damaged_hdf5(tmp_path: Path, kept: float):
    path = tmp_path / "night.h5"
    generic(path)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(kept * len(raw))])
    with pytest.raises(RecordingError, match="is not a readable HDF5 file"):
        read_hdf5(path, subject="s")


def test_bytes_changed_in_hdf5_never_crash(tmp_path: Path):
    path = tmp_path / "night.h5"
    generic(path)
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


# --- NumPy, text ----------------------------------------------------------------------------------


def test_npz(tmp_path: Path):
    path = tmp_path / "a.npz"
    data = np.random.default_rng(0).normal(size=(2, 512))
    np.savez_compressed(path, data=data, sf=np.array(256.0), chan=np.array(["LOC", "C3"]))
    recording = read_recording(path, subject="s")
    assert [(c.label, c.name, c.sfreq, c.unit) for c in recording.channels] == [
        ("LOC", "E1", 256.0, "uV"),
        ("C3", "C3", 256.0, "uV"),
    ]
    np.testing.assert_array_equal(recording.channels[1].samples, np.float32(data[1]))
    np.savez(path, hypno=np.zeros(9, int))
    with pytest.raises(RecordingError, match=r"holds hypno.npy; expected data, sf and chan"):
        read_npz(path, subject="s")
    np.savez(path, data=data, sf=np.array(256.0), chan=np.array(["A"]))
    with pytest.raises(RecordingError, match="do not fit each other"):
        read_npz(path, subject="s")
    np.savez(path, data=data, sf=np.array([object()]), chan=np.array(["A", "B"]))
    with pytest.raises(RecordingError, match=r"is not a readable \.npz archive"):
        read_npz(path, subject="s")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RecordingError, match=r"is not a readable \.npz archive"):
        read_npz(path, subject="s")


def test_a_signal_as_text(tmp_path: Path):
    path = tmp_path / "excerpt1.txt.gz"
    path.write_bytes(gzip.compress(b"[C3-A1]\n   -0.9562\n 1.5\n2e1\n\n"))
    recording = read_text_signal(path, sfreq=1.0, subject="1")
    (c,) = recording.channels
    assert (c.name, c.unit, recording.recording, recording.duration) == (
        "C3-M1",
        "uV",
        "excerpt1",
        3,
    )
    np.testing.assert_array_equal(c.samples, np.float32([-0.9562, 1.5, 20]))
    plain = tmp_path / "plain.txt"
    plain.write_text("1\n2\n")
    np.testing.assert_array_equal(
        read_text_signal(plain, sfreq=1, subject="1", label="Cz", unit="mV").channels[0].samples,
        np.float32([1000, 2000]),
    )


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"[C3]\n1\nx\n", "line 3: 'x' is not a number"),
        (b"[C3]\n1\n\n2\n", "line 3: '' is not a number"),
        (b"1\n2\n", "give its label"),
        (b"[C3]\n", "has 0 samples"),
        (b"", "is empty"),
        (b"[Position]\n1\n", "no usable channel"),
        (b"\x1f\x8bxx", "is not readable as gzip"),
    ],
)
def test_text_that_is_no_signal(tmp_path: Path, content: bytes, cause: str):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=cause):
        read_text_signal(path, sfreq=100, subject="s")


# --- the format is found by content ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("a.edf", b"", "is empty (0 bytes)"),
        ("a.edf", b"Subject;Night\n" * 40, "is none of EDF, BDF, GDF, BrainVision"),
        ("a.edf", b"\x1f\x8b\x08\x00" + bytes(99), "is compressed with gzip: unpack it first"),
        ("a.mat", b"MATLAB 5.0 MAT-file" + bytes(99), "no WFDB header a.hea lies beside it"),
        ("a.h5", b"\x89HDF\r\n\x1a\n" + bytes(99), "is not a readable HDF5 file"),
        ("a.gdf", b"GDF 2.20" + bytes(99), "truncated within the header"),
        ("a.npz", b"PK\x03\x04" + bytes(99), "is not a readable .npz archive"),
        ("a.xlsx", b"PK\x03\x04" + bytes(99), "is none of EDF"),
    ],
)
def test_what_is_no_recording(tmp_path: Path, name: str, content: bytes, cause: str):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(RecordingError) as caught:
        read_recording(path, subject="s")
    assert cause in str(caught.value)
    assert str(path) in str(caught.value)


def test_missing_and_folder(tmp_path: Path):
    with pytest.raises(RecordingError, match="no such file"):
        read_recording(tmp_path / "none.edf", subject="s")
    with pytest.raises(RecordingError, match="is a folder"):
        read_recording(tmp_path, subject="s")
    with pytest.raises(RecordingError, match="cannot be opened"):
        read_recording(tmp_path / ("x" * 300), subject="s")


def test_an_exam_is_asked_of_the_wrong_format(tmp_path: Path):
    path = tmp_path / "a.h5"
    generic(path)
    with pytest.raises(RecordingError, match="exam 3 is asked for"):
        read_recording(path, subject="s", exam=3)
    (tmp_path / "a.edf").write_bytes(b"0       " + bytes(300))
    with pytest.raises(RecordingError, match="exam 3 is asked for"):
        read_recording(tmp_path / "a.edf", subject="s", exam=3)


def test_a_hypnogram_for_any_format(tmp_path: Path):
    path = tmp_path / "night.h5"
    generic(path, size=64 * 90)
    (tmp_path / "h.txt").write_text("W\nN2\nR\n")
    recording = read_recording(path, subject="s", hypnogram=tmp_path / "h.txt")
    assert recording.stages.tolist() == [0, 2, 4]
