"""The format is found by content; what is no recording is refused with its reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.read import read_recording
from tests.helpers.hdf5_files import write_generic


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
    write_generic(path)
    with pytest.raises(RecordingError, match="exam 3 is asked for"):
        read_recording(path, subject="s", exam=3)
    (tmp_path / "a.edf").write_bytes(b"0       " + bytes(300))
    with pytest.raises(RecordingError, match="exam 3 is asked for"):
        read_recording(tmp_path / "a.edf", subject="s", exam=3)


def test_a_hypnogram_for_any_format(tmp_path: Path):
    path = tmp_path / "night.h5"
    write_generic(path, size=64 * 90)
    (tmp_path / "h.txt").write_text("W\nN2\nR\n")
    recording = read_recording(path, subject="s", hypnogram=tmp_path / "h.txt")
    assert recording.stages.tolist() == [0, 2, 4]
