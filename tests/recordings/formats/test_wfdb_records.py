"""WFDB records: against the wfdb library, and what it does not check."""

from __future__ import annotations

import datetime
import warnings
from pathlib import Path

import numpy as np
import pytest

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.formats.wfdb_records import read_wfdb
from sleepfm_jax.recordings.read import read_recording
from tests.helpers import broken_files

with warnings.catch_warnings():  # wfdb 4.3 uses what pandas 3 deprecates, once imported
    warnings.simplefilter("ignore", DeprecationWarning)
    import wfdb

pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")  # and when it writes


def record(
    folder: Path,
    digital: np.ndarray,
    name: str = "r",
    fmt: str = "16",
    labels: tuple[str, ...] = ("II", "V5"),
    units: tuple[str, ...] = ("mV", "mV"),
    fs: str = "100",
    length: str | None = None,
    extra: tuple[str, ...] = ("", ""),
) -> Path:
    """Writes int16 [T, C] as one interleaved file with a gain of 100 and a baseline of 7."""
    (folder / f"{name}.dat").write_bytes(digital.astype("<i2").tobytes())
    length = str(len(digital)) if length is None else length
    lines = [f"{name} {len(labels)} {fs} {length}".strip()]
    for i, label in enumerate(labels):
        lines.append(f"{name}.dat {fmt} 100(7)/{units[i]} 0 0 0 0{extra[i]} 0 {label}")
    (folder / f"{name}.hea").write_text("\n".join(lines) + "\n")
    return folder / f"{name}.hea"


@pytest.fixture
def digital() -> np.ndarray:
    return np.random.default_rng(0).integers(-3000, 3000, (500, 2))


def header(path: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def refused(path: Path, cause: str) -> None:
    with pytest.raises(RecordingError) as caught:
        read_wfdb(path, subject="s")
    assert str(path.parent) in str(caught.value)
    assert cause in str(caught.value)


# --- values ---------------------------------------------------------------------------------------


def test_scale_unit_and_names(tmp_path: Path, digital: np.ndarray):
    path = record(tmp_path, digital, labels=("II,", "PLETH,"), units=("mV", "NU"))
    recording = read_wfdb(path, subject="s")
    assert [(c.label, c.name, c.modality, c.unit, c.sfreq) for c in recording.channels] == [
        ("II,", "II", "ecg", "uV", 100.0),
        ("PLETH,", "PPG", "resp", "NU", 100.0),
    ]
    expected = (digital - 7) / 100.0
    np.testing.assert_array_equal(
        recording.channels[0].samples, np.float32(expected[:, 0] * 1e3), strict=True
    )
    np.testing.assert_array_equal(recording.channels[1].samples, np.float32(expected[:, 1]))
    assert (recording.duration, recording.start, recording.recording) == (5.0, None, "r")


def test_every_name_of_the_record_opens_it(tmp_path: Path, digital: np.ndarray):
    record(tmp_path, digital)
    opened = [read_recording(tmp_path / name, subject="s") for name in ("r", "r.hea", "r.dat")]
    for other in opened[1:]:
        np.testing.assert_array_equal(opened[0].channels[1].samples, other.channels[1].samples)


@pytest.mark.parametrize("fmt", ["16", "24", "32", "80", "212"])
def test_formats_that_wfdb_writes(tmp_path: Path, fmt: str):
    bits = {"80": 8, "212": 12}.get(fmt, 16)
    values = np.random.default_rng(1).integers(1 - 2 ** (bits - 1), 2 ** (bits - 1), (301, 3)) // 2
    wfdb.wrsamp(
        "r",
        fs=250,
        units=["mV", "mV", "uV"],
        sig_name=["I", "II", "C3-M2"],
        d_signal=values,
        fmt=[fmt] * 3,
        adc_gain=[200.0, 100.5, 3.0],
        baseline=[0, 5, -9],
        write_dir=str(tmp_path),
        base_date=datetime.date(2020, 1, 2),
        base_time=datetime.time(22, 30),
    )
    recording = read_wfdb(tmp_path / "r", subject="s")
    theirs = wfdb.rdrecord(str(tmp_path / "r")).p_signal * [1e3, 1e3, 1]
    for i, c in enumerate(recording.channels):
        np.testing.assert_array_equal(c.samples, np.float32(theirs[:, i]))
        assert c.notes == []  # the checksum of the header is right too
    assert recording.start == datetime.datetime(2020, 1, 2, 22, 30)


def test_native_rates_of_a_multirate_record(tmp_path: Path):
    """Frames of one sample of SpO2 and four of the ECG."""
    frames = np.random.default_rng(2).integers(-99, 99, (60, 5))
    (tmp_path / "m.dat").write_bytes(frames.astype("<i2").tobytes())
    (tmp_path / "m.hea").write_text(
        "m 2 50 60\nm.dat 16 1/% 0 0 0 0 0 SpO2\nm.dat 16x4 10/mV 0 0 0 0 0 ECG\n"
    )
    recording = read_wfdb(tmp_path / "m.hea", subject="s")
    assert [c.sfreq for c in recording.channels] == [50.0, 200.0]
    np.testing.assert_array_equal(recording.channels[0].samples, frames[:, 0])
    expected = np.float32(frames[:, 1:].reshape(-1) / 10.0 * 1e3)
    np.testing.assert_array_equal(recording.channels[1].samples, expected)


def test_missing_samples_are_nan(tmp_path: Path, digital: np.ndarray):
    digital[100:150, 0] = -32768
    lead = read_wfdb(record(tmp_path, digital), subject="s").channels[0]
    assert np.isnan(lead.samples[100:150]).all()
    assert np.isfinite(np.delete(lead.samples, np.s_[100:150])).all()
    assert "10.0% of the samples are marked as missing" in lead.notes


def test_a_wrong_checksum_is_said(tmp_path: Path, digital: np.ndarray):
    sums = tuple(f" {int(digital[:, i].sum()) % 65536}" for i in range(2))
    path = record(tmp_path, digital)
    text = path.read_text().split("\n")
    text[1] = f"r.dat 16 100(7)/mV 0 0 {digital[0, 0]}{sums[0]} 0 II"
    text[2] = f"r.dat 16 100(7)/mV 0 0 {digital[0, 1]}{sums[0]} 0 V5"
    path.write_text("\n".join(text))
    good, bad = read_wfdb(path, subject="s").channels
    assert good.notes == []
    assert any("checksum" in note for note in bad.notes)


def test_no_gain_means_200_per_millivolt(tmp_path: Path, digital: np.ndarray):
    path = header(record(tmp_path, digital), "100(7)/mV 0 0 0 0 0 II", "0 0 0 0 0 0 II")
    lead = read_wfdb(path, subject="s").channels[0]
    np.testing.assert_array_equal(lead.samples, np.float32(digital[:, 0] / 200.0 * 1e3))
    assert any("200 units per mV are assumed" in note for note in lead.notes)


# --- segments -------------------------------------------------------------------------------------


def test_segments_stand_at_their_times(tmp_path: Path, digital: np.ndarray):
    record(tmp_path, digital[:200], "a")
    record(tmp_path, digital[200:], "b", labels=("V5", "RESP"))
    # a layout, as in MIMIC's records of variable layout
    (tmp_path / "layout.hea").write_text(
        "layout 3 100 0\n" + "".join(f"~ 0 100/mV 0 0 0 0 0 {x}\n" for x in ("II", "V5", "RESP"))
    )
    (tmp_path / "w.hea").write_text(
        "w/4 3 100 550 22:00:00 02/01/2020\nlayout 0\na 200\n~ 50\nb 300\n"
    )
    recording = read_recording(tmp_path / "w.hea", subject="s")
    assert recording.duration == 5.5
    assert recording.start == datetime.datetime(2020, 1, 2, 22)
    channels = {c.label: c for c in recording.channels}
    blank = np.full(50, np.nan)
    physical = (digital - 7) / 100.0 * 1e3
    np.testing.assert_array_equal(
        channels["V5"].samples,
        np.float32(np.concatenate([physical[:200, 1], blank, physical[200:, 0]])),
    )
    np.testing.assert_array_equal(
        channels["II"].samples, np.float32(np.r_[physical[:200, 0], np.full(350, np.nan)])
    )
    assert "gaps: 3.5 s without data" in channels["II"].notes
    assert recording.notes == ["2 segments, 0.5 s without any"]


def test_segments_against_wfdb(tmp_path: Path):
    broken_files.write_segments(tmp_path)
    path = tmp_path / "joined.hea"  # wfdb itself does not join across a gap
    path.write_text("joined/2 3 125 2500\npart_1 1250\npart_2 1250\n")
    theirs = wfdb.rdrecord(str(path.with_suffix("")))  # joins them
    ours = read_wfdb(path, subject="s")
    for i, c in enumerate(ours.channels):
        np.testing.assert_array_equal(c.samples, np.float32(theirs.p_signal[:, i] * 1e3))


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("a 200\n~ 50\nb 299", "the record's header gives it 299"),
        ("a 200\n~ 49\nb 300", "its segments have 549 samples, its header says 550"),
        ("a 200\n~ 50\nc 300", "no such file"),
        ("a 200\n~ 50\n../b 300", ""),
        ("a 200\n~ 50\nw 300", "has segments itself"),
        ("a 200\n~ 50\nb x", ""),
    ],
)
def test_segments_that_do_not_fit(tmp_path: Path, digital: np.ndarray, line: str, cause: str):
    record(tmp_path, digital[:200], "a")
    record(tmp_path, digital[200:], "b")
    (tmp_path / "w.hea").write_text(f"w/3 2 100 550\n{line}\n")
    refused(tmp_path / "w.hea", cause)


# --- headers that lie -----------------------------------------------------------------------------


def test_a_truncated_record_gives_what_it_has(tmp_path: Path, digital: np.ndarray):
    path = record(tmp_path, digital, length="900")
    recording = read_wfdb(path, subject="s")
    assert recording.notes == ["truncated: 500 of 900 samples present"]
    assert recording.duration == 5.0


def test_no_length_in_the_header(tmp_path: Path, digital: np.ndarray):
    recording = read_wfdb(record(tmp_path, digital, length=""), subject="s")
    assert recording.duration == 5.0
    assert "no number of samples" in recording.notes[0]


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ("r 2 100", "r 0 100", "0 signals"),
        ("r 2 100", "r 99999 100", ""),
        ("r 2 100", "r 5 100", ""),
        ("r 2 100", "r 2 0", "Hz"),
        ("r 2 100", "r 2 1e99", ""),
        ("r 2 100 500", "r 2 0.01 500", ""),
        ("r.dat 16", "gone.dat 16", "its signal file gone.dat is not there"),
        ("r.dat 16", "../r.dat 16", ""),
        ("r.dat 16", "- 16", "names '-' as a file: not read"),
        ("r.dat 16", "r.dat 99", "cannot be read"),
        ("r.dat 16", "r.dat 16:9999999", "skew"),
        ("r.dat 16", "r.dat 16x999999", "damaged header"),
        ("V5", "V5\n", None),
    ],
)
def test_a_header_that_lies(tmp_path: Path, digital: np.ndarray, old, new, cause):
    path = header(record(tmp_path, digital), old, new)
    if cause is None:
        assert len(read_wfdb(path, subject="s").channels) == 2
    elif old == "r 2 100 500":  # 50,000 s: long, but possible
        assert read_wfdb(path, subject="s").duration == 50_000
    else:
        refused(path, cause)


def test_a_signal_file_without_a_byte(tmp_path: Path, digital: np.ndarray):
    path = record(tmp_path, digital)
    (tmp_path / "r.dat").write_bytes(b"")
    refused(path, "r.dat has 0 bytes: no sample in it; copy it again")


def test_no_header(tmp_path: Path, digital: np.ndarray):
    record(tmp_path, digital).unlink()
    refused(tmp_path / "r.dat", "needs its header: no r.hea beside it")
    refused(tmp_path / "none", "no such file")
    (tmp_path / "r.hea").write_text("")
    refused(tmp_path / "r.hea", "it has 0 bytes")
    (tmp_path / "r.hea").write_text("nonsense\n")
    refused(tmp_path / "r.hea", "is not a readable WFDB header")


def test_beats_of_an_annotator(tmp_path: Path, digital: np.ndarray):
    path = record(tmp_path, digital)
    (tmp_path / "r.atr").write_bytes(broken_files.annotation_bytes([(50, ""), (130, "(AFIB")]))
    recording = read_wfdb(path, subject="s", annotator="atr")
    assert [(a.onset, a.text) for a in recording.annotations] == [(0.5, '"'), (1.3, "(AFIB")]


@pytest.mark.parametrize("name", ["r", "r.mat", "r.dat"])
@pytest.mark.parametrize("moment", ["05-Feb-2020 11:39:16", "11:39:16 05/02/2020"])
def test_a_record_named_as_its_file_and_a_date_before_the_time(
    tmp_path: Path, name: str, moment: str
):
    (tmp_path / "r.dat").write_bytes(bytes(range(200)))
    (tmp_path / "r.hea").write_text(f"{name} 1 100 100 {moment}\nr.dat 16 100/mV 16 0 0 0 0 II\n")
    recording = read_recording(tmp_path / "r.hea", subject="s")
    start = datetime.datetime(2020, 2, 5, 11, 39, 16)
    assert (recording.recording, recording.start, recording.duration) == ("r", start, 1.0)
    values = [int.from_bytes(bytes([i, i + 1]), "little", signed=True) for i in range(0, 200, 2)]
    assert recording.channels[0].samples.tolist() == [10.0 * value for value in values]
