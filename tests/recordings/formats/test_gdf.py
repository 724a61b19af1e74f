"""GDF 1 and 2, written here from the standard: values at native rates, and against MNE."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.formats.gdf import read_gdf
from sleepfm_jax.recordings.read import read_recording

RECORDS = 6  # of one second
TYPES = {1: "<i1", 3: "<i2", 4: "<u2", 5: "<i4", 16: "<f4", 17: "<f8"}
START = datetime.datetime(2020, 5, 6, 23, 15, 30)


def gdf(
    path: Path,
    signals: list[tuple[str, int, int]],  # label, Hz, data type
    version: str = "2.20",
    records: int = RECORDS,
    seconds: tuple[int, int] = (1, 1),
    events: list[tuple[int, int, int]] = (),  # sample, code, samples
    limits: tuple[float, float, float, float] = (-100.0, 100.0, -1000, 1000),
    unit: int = 4275,
) -> dict[str, np.ndarray]:
    """Writes the file; returns the physical values of each signal, in its unit."""
    rng = np.random.default_rng(0)
    new = float(version) > 1.9
    count = len(signals)
    fixed = bytearray(256)
    fixed[:8] = f"GDF {version}".encode()
    if new:
        days = (START - datetime.datetime(1, 1, 1)) / datetime.timedelta(days=1) + 367
        fixed[168:176] = np.array(round(days * 2**32), "<u8").tobytes()
        fixed[184:186] = np.array(count + 1, "<u2").tobytes()
        fixed[252:254] = np.array(count, "<u2").tobytes()
    else:
        fixed[168:184] = START.strftime("%Y%m%d%H%M%S00").encode()
        fixed[184:192] = np.array(256 * (count + 1), "<i8").tobytes()
        fixed[252:256] = np.array(count, "<u4").tobytes()
    fixed[236:244] = np.array(records, "<i8").tobytes()
    fixed[244:252] = np.array(seconds, "<u4").tobytes()
    digital_type = "<f8" if new else "<i8"
    columns = [
        b"".join(label.encode().ljust(16, b"\x00") for label, _, _ in signals),
        bytes(80 * count),
        bytes(6 * count) + np.full(count, unit, "<u2").tobytes()
        if new
        else b"".join(b"uV".ljust(8) for _ in signals),
        np.full(count, limits[0], "<f8").tobytes(),
        np.full(count, limits[1], "<f8").tobytes(),
        np.full(count, limits[2], digital_type).tobytes(),
        np.full(count, limits[3], digital_type).tobytes(),
        bytes(80 * count),
        np.array([rate for _, rate, _ in signals], "<i4").tobytes(),
        np.array([kind for _, _, kind in signals], "<i4").tobytes(),
        bytes(32 * count),
    ]
    digital = {
        label: rng.integers(-100, 100, (RECORDS, rate)).astype(TYPES[kind])
        if kind != 4
        else rng.integers(0, 900, (RECORDS, rate)).astype(TYPES[kind])
        for label, rate, kind in signals
    }
    data = b"".join(digital[label][r].tobytes() for r in range(RECORDS) for label, _, _ in signals)
    table = b""
    if events:
        sample, code, length = np.array(events).T
        number = len(events).to_bytes(3, "little")
        table = b"\x03" + number + np.array(100, "<f4").tobytes()
        if not new:
            table = b"\x03" + (100).to_bytes(3, "little") + np.array(len(events), "<u4").tobytes()
        table += (sample + 1).astype("<u4").tobytes() + code.astype("<u2").tobytes()
        table += bytes(2 * len(events)) + length.astype("<u4").tobytes()
    path.write_bytes(bytes(fixed) + b"".join(columns) + data + table)
    gain = (limits[1] - limits[0]) / (limits[3] - limits[2])
    return {
        label: (values.reshape(-1).astype(float) - limits[2]) * gain + limits[0]
        for label, values in digital.items()
    }


@pytest.mark.parametrize("version", ["1.25", "2.10", "2.20"])
def test_native_rates_and_every_data_type(tmp_path: Path, version: str):
    signals = [("C3-M2", 100, 3), ("ECG", 250, 5), ("Abdo", 10, 1), ("EMG", 50, 16), ("SpO2", 1, 4)]
    path = tmp_path / "a.gdf"
    expected = gdf(path, signals, version, events=[(250, 0x0300, 100), (40, 0x0410, 0)])
    recording = read_recording(path, subject="s")
    assert [(c.label, c.sfreq) for c in recording.channels] == [(s[0], s[1]) for s in signals]
    for c in recording.channels:
        assert c.unit == "uV"
        np.testing.assert_array_equal(c.samples, np.float32(expected[c.label]), strict=True)
    assert recording.duration == RECORDS
    assert abs(recording.start - START) < datetime.timedelta(milliseconds=1)
    assert [(a.onset, a.duration, a.text) for a in recording.annotations] == [
        (0.4, 0.0, "0x0410"),
        (2.5, 1.0, "0x0300"),
    ]


@pytest.mark.parametrize("version", ["1.25", "2.20"])
def test_values_are_mnes(tmp_path: Path, version: str):
    import mne

    path = tmp_path / "a.gdf"
    gdf(path, [("C3", 100, 3), ("C4", 100, 3)], version, events=[(250, 768, 100)])
    raw = mne.io.read_raw_gdf(path, preload=True, verbose="error")
    recording = read_gdf(path, subject="s")
    for c, theirs in zip(recording.channels, raw.get_data() * 1e6):
        np.testing.assert_allclose(c.samples, theirs, rtol=1e-6, atol=1e-5)
    assert [a.onset for a in recording.annotations] == raw.annotations.onset.tolist()
    assert [int(a.text, 16) for a in recording.annotations] == [768]


@pytest.mark.parametrize(
    ("code", "unit", "factor"), [(4256, "uV", 1e6), (4274, "uV", 1e3), (544, "%", 1.0)]
)
def test_unit_codes(tmp_path: Path, code: int, unit: str, factor: float):
    expected = gdf(tmp_path / "a.gdf", [("Abdo", 10, 3)], unit=code)["Abdo"]
    (c,) = read_gdf(tmp_path / "a.gdf", subject="s").channels
    assert c.unit == unit
    np.testing.assert_array_equal(c.samples, np.float32(expected * factor))


def test_a_unit_that_is_not_known_is_left_alone(tmp_path: Path):
    gdf(tmp_path / "a.gdf", [("C3", 10, 3)], unit=9999)
    (c,) = read_gdf(tmp_path / "a.gdf", subject="s").channels
    assert c.notes == ["unit 'unit code 9999' is no voltage: not scaled"]


def test_24_bits(tmp_path: Path):
    values = np.array([0, 1, -1, 8_388_607, -8_388_608, 1234])
    gdf(tmp_path / "a.gdf", [("C3", 1, 5)], limits=(-8.0, 8.0, -8_388_608, 8_388_608))
    raw = bytearray((tmp_path / "a.gdf").read_bytes())
    raw[256 + 220 : 256 + 224] = (279).to_bytes(4, "little")
    raw[512:] = b"".join(int(v).to_bytes(3, "little", signed=True) for v in values)
    (tmp_path / "a.gdf").write_bytes(bytes(raw))
    (c,) = read_gdf(tmp_path / "a.gdf", subject="s").channels
    np.testing.assert_allclose(c.samples, values * 2.0**-20, rtol=1e-7)


def test_floats_that_are_no_numbers_are_gaps(tmp_path: Path):
    gdf(tmp_path / "a.gdf", [("C3", 4, 16)])
    raw = bytearray((tmp_path / "a.gdf").read_bytes())
    raw[512:520] = np.array([np.nan, np.inf], "<f4").tobytes()
    (tmp_path / "a.gdf").write_bytes(bytes(raw))
    (c,) = read_gdf(tmp_path / "a.gdf", subject="s").channels
    assert np.isnan(c.samples).tolist() == [True, True] + [False] * 22
    assert any("are no numbers" in note for note in c.notes)


def test_truncated_and_unfinished(tmp_path: Path):
    path = tmp_path / "a.gdf"
    expected = gdf(path, [("C3", 100, 3)])["C3"]
    raw = path.read_bytes()
    path.write_bytes(raw[: 512 + 4 * 200 + 50])
    recording = read_gdf(path, subject="s")
    assert recording.notes == ["truncated: 4 of 6 data records present"]
    np.testing.assert_array_equal(recording.channels[0].samples, np.float32(expected[:400]))
    path.write_bytes(raw[:236] + (-1).to_bytes(8, "little", signed=True) + raw[244:])
    recording = read_gdf(path, subject="s")
    assert recording.notes == ["the header gives -1 data records: 6 are in the file"]
    assert recording.duration == 6


@pytest.mark.parametrize(
    ("at", "value", "cause"),
    [
        (0, b"GDF 2.x ", "is not a GDF file"),
        (252, b"\x00\x00", "0 signals"),
        (252, b"\xff\x0f", "damaged header or truncated file"),
        (184, b"\xff\xff", "damaged header or truncated file"),
        (184, b"\x01\x00", "damaged header or truncated file"),
        (244, bytes(4), "no sampling rate"),
        (248, bytes(4), "no sampling rate"),
        (244, b"\xff\xff\xff\xff", "days"),
        (256 + 216, b"\xff\xff\xff\xff", "samples a record"),
        (256 + 216, b"\xff\xff\xff\x7f", "not one complete data record"),
        (256 + 216, bytes(4), "no signal has any sample"),
        (256 + 220, b"\x63\x00\x00\x00", "data type 99"),
        (256, b"Position".ljust(16, b"\x00"), "no usable channel"),
        (256 + 104, np.array(100.0).tobytes(), "physical limits are equal"),
        (256 + 104, np.array(np.nan).tobytes(), "is not a number"),
        (256 + 104, np.array(1e300).tobytes(), "beyond all measure"),
    ],
)
def test_a_header_that_lies(tmp_path: Path, at: int, value: bytes, cause: str):
    path = tmp_path / "a.gdf"
    gdf(path, [("C3", 100, 3)])
    raw = path.read_bytes()
    path.write_bytes(raw[:at] + value + raw[at + len(value) :])
    with pytest.raises(RecordingError) as caught:
        read_gdf(path, subject="s")
    assert cause in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("seed", range(3))
def test_random_damage_never_crashes(tmp_path: Path, seed: int):
    path = tmp_path / "a.gdf"
    gdf(path, [("C3", 20, 3), ("ECG", 10, 17)], events=[(9, 768, 4)])
    raw = path.read_bytes()
    rng = np.random.default_rng(seed)
    outcomes = set()
    for _ in range(200):
        damaged = np.frombuffer(raw, np.uint8).copy()
        at = rng.integers(0, len(raw), rng.integers(1, 20))
        damaged[at] = rng.integers(0, 256, len(at))
        path.write_bytes(damaged[: rng.integers(100, len(raw) + 1)].tobytes())
        try:
            recording = read_gdf(path, subject="s")
        except RecordingError:
            outcomes.add("refused")
        else:
            assert not any(np.isinf(c.samples).any() for c in recording.channels)
            outcomes.add("read")
    assert outcomes == {"refused", "read"}
