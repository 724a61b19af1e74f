"""NumPy archives, and signals as text."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.formats.arrays import read_npz, read_text_signal
from sleepfm_jax.recordings.read import read_recording


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
