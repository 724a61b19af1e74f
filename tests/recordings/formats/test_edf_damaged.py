"""Damaged and foreign files: a RecordingError naming file and cause, or a note; no crash."""

from __future__ import annotations

import pickle
from pathlib import Path

import edfio
import numpy as np
import pytest

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.read import read_edf

SAMPLES_FIELD = 216  # widths of the header fields ahead of `samples per data record`


@pytest.fixture
def edf(tmp_path: Path) -> Path:
    """60 records of one second, three signals, 1024 + 60 * 420 bytes."""
    rng = np.random.default_rng(0)
    signals = [
        edfio.EdfSignal(rng.normal(size=60 * rate), rate, label=label, physical_dimension="uV")
        for label, rate in (("C3-M2", 100), ("ECG", 100), ("Abdo", 10))
    ]
    path = tmp_path / "night.edf"
    edfio.Edf(signals, data_record_duration=1).write(path)
    assert path.stat().st_size == 1024 + 60 * 420
    return path


def overwrite(path: Path, at: int, value: bytes, width: int = 8) -> Path:
    raw = bytearray(path.read_bytes())
    raw[at : at + width] = value.ljust(width)
    path.write_bytes(raw)
    return path


def refused(path: Path, cause: str) -> None:
    with pytest.raises(RecordingError) as caught:
        read_edf(path, subject="s")
    assert str(path) in str(caught.value)
    assert cause in str(caught.value)


def test_a_truncated_file_gives_its_complete_records(edf: Path):
    whole = read_edf(edf, subject="s")
    raw = edf.read_bytes()
    edf.write_bytes(raw[: 1024 + 37 * 420 + 101])  # in the middle of the 38th
    part = read_edf(edf, subject="s")
    assert part.notes == ["truncated: 37 of 60 data records present"]
    assert part.duration == 37
    for a, b in zip(part.channels, whole.channels):
        np.testing.assert_array_equal(a.samples, b.samples[: round(37 * b.sfreq)])


@pytest.mark.parametrize("kept", [1024, 1024 + 419])
def test_not_one_complete_record(edf: Path, kept: int):
    edf.write_bytes(edf.read_bytes()[:kept])
    refused(edf, "not one complete data record: a record has 420 bytes")


@pytest.mark.parametrize("kept", [1, 100, 255, 256, 300, 1023])
def test_truncated_within_the_header(edf: Path, kept: int):
    edf.write_bytes(edf.read_bytes()[:kept])
    refused(edf, "truncated within the header")


def test_an_unfinished_recording_says_minus_one(edf: Path):
    overwrite(edf, 236, b"-1")
    recording = read_edf(edf, subject="s")
    assert recording.duration == 60
    assert recording.notes == ["the header gives -1 data records: the 60 in the file are read"]


def test_bytes_after_the_last_record_are_not_read_but_said(edf: Path):
    overwrite(edf, 236, b"50")
    recording = read_edf(edf, subject="s")
    assert recording.duration == 50
    assert recording.notes == ["4200 bytes after the last of 50 data records are not read"]


def test_files_that_are_no_files(tmp_path: Path):
    refused(tmp_path / "missing.edf", "no such file")
    refused(tmp_path, "is a folder")
    (tmp_path / "empty.edf").touch()
    refused(tmp_path / "empty.edf", "is empty (0 bytes)")


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"Subject;Night;Stage\n" * 50, "is not an EDF or BDF file (it begins with b'Subject;')"),
        (b"GDF 2.10" + bytes(500), "is a GDF file"),
        (b"\x1f\x8b\x08\x00" + bytes(500), "is compressed with gzip"),
        (bytes(2000), "is not an EDF"),
        (b"0       " + b" " * 248, "number of signals b'    ' is not a whole number"),
        (b"0\n1\n2\n3\n" * 100, "is not an EDF"),
    ],
)
def test_other_formats(tmp_path: Path, content: bytes, cause: str):
    path = tmp_path / "a.edf"
    path.write_bytes(content)
    refused(path, cause)


@pytest.mark.parametrize(
    ("at", "value", "cause"),
    [
        (252, b"9", "the header says 9 signals, but its length of 1024 bytes is that of 3"),
        (252, b"0", "the header says 0 signals"),
        (252, b"-3", "the header says -3 signals"),
        (252, b"x", "number of signals b'x   ' is not a whole number"),
        (184, b"2048", "the header says 3 signals, but its length of 2048 bytes is that of 7"),
        (184, b"", "header length"),
        (236, b"many", "number of data records"),
        (244, b"0", "data records last 0 s but there are 3 signals"),
        (244, b"-1", "data record duration"),
        (244, b"nan", "data record duration"),
        (244, b"0.000001", "a sampling rate of 1e+08 Hz is no recording's"),
        (244, b"1e-320", "is no recording's"),
        (244, b"1e300", "damaged header"),
        (244, b"99999999", "days"),
        (256 + 3 * SAMPLES_FIELD, b"-100", "has -100 samples"),
        (256 + 3 * SAMPLES_FIELD, b"1e9", "not one complete data record"),
        (256 + 3 * SAMPLES_FIELD, b"1.5", "samples per data record of signal 0 'C3-M2'"),
        (256 + 3 * SAMPLES_FIELD, b"", "samples per data record of signal 0 'C3-M2'"),
    ],
)
def test_a_header_that_lies(edf: Path, at: int, value: bytes, cause: str):
    refused(overwrite(edf, at, value, 4 if at == 252 else 8), cause)


def test_a_consistent_lie_about_the_number_of_signals(edf: Path):
    overwrite(edf, 252, b"40", 4)
    refused(overwrite(edf, 184, b"10496"), "damaged header")  # 256 * 41, within the file's size
    overwrite(edf, 252, b"4000", 4)
    refused(overwrite(edf, 184, b"1024256"), "truncated within the header: 4000 signals need")


def test_no_samples_at_all(edf: Path):
    for i in range(3):
        overwrite(edf, 256 + 3 * SAMPLES_FIELD + 8 * i, b"0")
    refused(edf, "no signal has any sample")


def test_a_signal_without_samples_is_listed(edf: Path):
    raw = edf.read_bytes()
    records = np.frombuffer(raw[1024:], np.uint8).reshape(60, 420)
    edf.write_bytes(raw[:1024] + np.delete(records, np.s_[200:400], axis=1).tobytes())
    overwrite(edf, 256 + 3 * SAMPLES_FIELD + 8, b"0")
    recording = read_edf(edf, subject="s")
    assert [c.label for c in recording.channels] == ["C3-M2", "Abdo"]
    assert recording.notes == ["signal 'ECG' kept out: it has no samples"]


def test_limits_beyond_measure(edf: Path):
    for at, value in ((104, b"-1e300"), (128, b"1e-300")):
        overwrite(edf, 256 + 3 * at, value)
    recording = read_edf(edf, subject="s")
    assert [c.label for c in recording.channels] == ["ECG", "Abdo"]
    assert "'C3-M2' kept out: its physical and digital limits are beyond all" in recording.notes[0]


def test_more_records_than_a_month_has_seconds(tmp_path: Path):
    """A record of 8 bytes, 3 million of them: each would cost a look at its clock."""
    path = tmp_path / "a.edf"
    edfio.Edf([], annotations=[edfio.EdfAnnotation(0, 30, "Sleep stage W")]).write(path)
    overwrite(path, 256 + SAMPLES_FIELD, b"4")
    overwrite(overwrite(path, 236, b"3000000"), 244, b"0.1")
    path.write_bytes(path.read_bytes()[:512] + b"+0\x14\x14\x00\x00\x00\x00" * 3_000_000)
    refused(path, "3000000 data records of 8 bytes and 0.1 s: damaged header")


def test_gaps_are_filled_within_reason(tmp_path: Path):
    signals = [edfio.EdfSignal(np.arange(400.0), 100, label="C3", physical_dimension="uV")]
    path = tmp_path / "a.edf"
    room = [edfio.EdfAnnotation(0.5, None, "makes every list longer")]
    edfio.Edf(signals, annotations=room, data_record_duration=1).write(path)
    raw = path.read_bytes()
    raw = raw[:192] + b"EDF+D" + raw[197:]
    assert raw.count(b"+3\x14\x14\x00\x00\x00") == 1
    path.write_bytes(raw.replace(b"+3\x14\x14\x00\x00\x00", b"+3600\x14\x14"))
    (channel,) = read_edf(path, subject="s").channels
    assert np.isnan(channel.samples).sum() == 100 * 3597
    path.write_bytes(raw.replace(b"+3\x14\x14\x00\x00\x00\x00\x00\x00", b"+2600000\x14\x14"))
    refused(path, "its pieces lie 722.2 h apart, too much to fill in for 1 signals")


def test_an_annotation_of_a_year_is_damaged(tmp_path: Path):
    path = tmp_path / "a.edf"
    signals = [edfio.EdfSignal(np.arange(400.0), 100, label="C3", physical_dimension="uV")]
    annotations = [edfio.EdfAnnotation(1, 30_000_000, "Arousal")]
    edfio.Edf(signals, annotations=annotations, data_record_duration=1).write(path)
    recording = read_edf(path, subject="s")
    assert (recording.annotations, recording.notes) == ([], ["1 annotations could not be read"])


def test_the_error_travels_between_processes():
    error = pickle.loads(pickle.dumps(RecordingError("a.edf", "is empty")))
    assert (str(error), error.path, error.cause) == ("a.edf: is empty", "a.edf", "is empty")


def test_no_usable_channel(edf: Path):
    for i, label in enumerate((b"Position", b"Light", b"C3 imp")):
        overwrite(edf, 256 + 16 * i, label, 16)
    refused(edf, "no usable channel: labels found 'Position', 'Light', 'C3 imp'")


def test_annotations_only(tmp_path: Path):
    path = tmp_path / "a.edf"
    edfio.Edf([], annotations=[edfio.EdfAnnotation(0, 30, "Sleep stage W")]).write(path)
    refused(path, "no usable channel: labels found none")


@pytest.mark.parametrize("first", [0, 256])
def test_random_damage_never_crashes(edf: Path, first: int):
    """Random bytes in the header: read, or a RecordingError; no other error, no warning."""
    raw = edf.read_bytes()
    rng = np.random.default_rng(first)
    alphabet = np.frombuffer(b"0123456789-+., eE\x00\xff\xc3nafi", np.uint8)
    outcomes = set()
    for _ in range(300):
        damaged = np.frombuffer(raw, np.uint8).copy()
        at = rng.integers(first, first + 768 if first else 256, size=rng.integers(1, 12))
        damaged[at] = rng.choice(alphabet, size=len(at))
        edf.write_bytes(damaged[: rng.integers(200, len(raw) + 1)].tobytes())
        try:
            recording = read_edf(edf, subject="s")
        except RecordingError as error:
            assert str(edf) in str(error)
            outcomes.add("refused")
        else:
            assert all(np.isfinite(c.samples).all() for c in recording.channels)
            outcomes.add("read")
    assert outcomes == {"refused", "read"}


@pytest.mark.real
def test_other_formats_of_the_real_collection(shared: Path):
    formats = shared / "data" / "formats"
    refused(formats / "gdf" / "test_1ch.gdf", "is a GDF file")
    refused(formats / "wfdb" / "100.dat", "is not an EDF")
    refused(formats / "edfplus" / "SC4001EC-Hypnogram.edf", "no usable channel")
    refused(shared / "data" / "psg_dreams" / "Hypnogram_excerpt3.txt", "is not an EDF")


@pytest.mark.real
def test_truncated_real_recording(shared: Path, tmp_path: Path):
    raw = (shared / "data" / "psg_nox_2min" / "subject1.edf").read_bytes()
    path = tmp_path / "cut.edf"
    path.write_bytes(raw[: len(raw) // 2])
    recording = read_edf(path, subject="s")
    assert recording.notes[0].startswith("truncated: 5 of 12")
    assert recording.duration == 50
