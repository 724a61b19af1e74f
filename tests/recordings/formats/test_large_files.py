"""A night of many channels at a high rate is read channel by channel: the same in less memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from sleepfm_jax.data.clips import ClipSpec, clips
from sleepfm_jax.recordings.formats import edf, edf_bytes
from sleepfm_jax.recordings.read import read_edf
from sleepfm_jax.recordings.recording import Channel, FileChannel


def write_night(path: Path, *, minutes: int, sfreq: int, channels: int) -> Path:
    """An EDF file of noise, one-second data records, written with numpy alone."""
    labels = ["EEG C3-M2", "ECG", "Chin EMG", "Thorax"] + [f"EEG X{i}" for i in range(channels)]
    columns = (labels[:channels], 16), ([""] * channels, 80), (["uV"] * channels, 8)
    columns += (([-500] * channels, 8), ([500] * channels, 8), ([-32768] * channels, 8))
    columns += (([32767] * channels, 8), ([""] * channels, 80), ([sfreq] * channels, 8))
    columns += (([""] * channels, 32),)
    fixed = ("0", 8), ("X", 80), ("X", 80), ("01.01.20", 8), ("22.00.00", 8)
    fixed += (256 * (channels + 1), 8), ("", 44), (60 * minutes, 8), (1, 8), (channels, 4)
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        for value, width in fixed:
            file.write(str(value).ljust(width).encode())
        for values, width in columns:
            file.write(b"".join(str(value).ljust(width).encode() for value in values))
        for _ in range(minutes):
            noise = rng.integers(-3000, 3000, (60, channels, sfreq), np.int16)
            file.write(noise.astype("<i2").tobytes())
    return path


def test_a_large_file_gives_the_same_channels(tmp_path, monkeypatch):
    path = write_night(tmp_path / "night.edf", minutes=2, sfreq=50, channels=5)
    small = read_edf(path, subject="s")
    assert {type(c) for c in small.channels} == {Channel}
    monkeypatch.setattr(edf, "_LARGE", 0)
    monkeypatch.setattr(edf_bytes, "_MAPPED", 7 * 500 + 1)  # seven data records at a time
    large = read_edf(path, subject="s")
    assert {type(c) for c in large.channels} == {FileChannel}
    for one, other in zip(small.channels, large.channels):
        np.testing.assert_array_equal(one.samples, other.samples)
        assert one.samples.std() > 10
        assert one.notes == other.notes
    records = [list(clips(r, ClipSpec(32.0, 30.0))) for r in (small, large)]
    for one, other in zip(*records):
        np.testing.assert_array_equal(one.signals, other.signals)


def test_samples_of_a_large_file_are_replaced_not_written_to(tmp_path, monkeypatch):
    monkeypatch.setattr(edf, "_LARGE", 0)
    path = write_night(tmp_path / "night.edf", minutes=1, sfreq=50, channels=1)
    (channel,) = read_edf(path, subject="s").channels
    with pytest.raises(ValueError, match="read-only"):
        channel.samples[0] = 1
    channel.samples = np.zeros(7, np.float32)
    channel.samples[0] = 1
    assert channel.samples.sum() == 1


@pytest.mark.slow
def test_memory_of_a_large_file(tmp_path):
    """An hour at 1,024 Hz (295 MB): all channels at once would need 590 MB as float32."""
    path = write_night(tmp_path / "night.edf", minutes=60, sfreq=1024, channels=40)
    one_channel = 4 * 1024 * 3600  # bytes, float32
    kept = 40 * 128 * 3600 * 5  # z-scores and their mask at 128 Hz
    tracemalloc.start()
    count = sum(1 for _ in clips(read_edf(path, subject="s"), ClipSpec()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 12
    assert peak < kept + 10 * one_channel, f"{peak / 1e6:.0f} MB"
    assert peak < 40 * one_channel / 2
