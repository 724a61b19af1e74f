"""Sound files: values, rates, units, names, gaps, annotations."""

from __future__ import annotations

import datetime
from pathlib import Path

import edfio
import numpy as np
import pytest

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.read import read_edf

RECORDS = 8  # seconds in the synthetic files


def wave(sfreq: float, seconds: float = RECORDS, amplitude: float = 80.0) -> np.ndarray:
    t = np.arange(round(seconds * sfreq)) / sfreq
    return amplitude * np.sin(2 * np.pi * 0.7 * t) + 0.1 * amplitude * np.cos(2 * np.pi * 3.1 * t)


def trace(label: str, sfreq: float = 100, unit: str = "uV", data=None, **kwargs) -> edfio.EdfSignal:
    data = wave(sfreq) if data is None else data
    kwargs.setdefault("physical_range", (-200, 200))
    return edfio.EdfSignal(data, sfreq, label=label, physical_dimension=unit, **kwargs)


def write(path: Path, signals: list, annotations=None, **kwargs) -> Path:
    kwargs.setdefault("starttime", datetime.time(22, 15, 3))
    kwargs.setdefault("recording", edfio.Recording(startdate=datetime.date(2021, 3, 4)))
    kwargs.setdefault("data_record_duration", 1)
    edfio.Edf(signals, annotations=annotations, **kwargs).write(path)
    return path


def patch(path: Path, at: int, value: str | bytes, width: int = 8) -> Path:
    """Overwrite one header field."""
    raw = bytearray(path.read_bytes())
    value = value.encode() if isinstance(value, str) else value
    raw[at : at + width] = value.ljust(width)[:width]
    path.write_bytes(raw)
    return path


def field_at(signals: int, index: int, before: int, width: int) -> int:
    """Where the field of signal `index` lies: `before` = widths of the fields ahead of it."""
    return 256 + signals * before + index * width


# --- values and rates -----------------------------------------------------------------------------


def test_native_rates_and_values(tmp_path: Path):
    rates = {"C3-M2": 256, "ECG": 128, "Abdo": 25, "SpO2": 1, "EMG": 200}
    path = write(tmp_path / "night.edf", [trace(label, rate) for label, rate in rates.items()])
    recording = read_edf(path, subject="s1")
    assert [(c.label, c.sfreq) for c in recording.channels] == list(rates.items())
    assert [c.name for c in recording.channels] == ["C3-M2", "ECG", "ABD", "SpO2", "EMG"]
    assert [c.modality for c in recording.channels] == ["bas", "ecg", "resp", "resp", "emg"]
    for c in recording.channels:
        assert c.samples.dtype == np.float32
        assert len(c.samples) == RECORDS * c.sfreq
        step = 400 / 65535
        np.testing.assert_allclose(c.samples, wave(c.sfreq), atol=0.51 * step)
        assert c.notes == []
    assert (recording.subject, recording.recording, recording.path) == ("s1", "night", str(path))
    assert recording.start == datetime.datetime(2021, 3, 4, 22, 15, 3)
    assert recording.duration == RECORDS
    assert recording.stages is None
    assert (recording.annotations, recording.notes) == ([], [])
    assert read_edf(path, subject="s1", recording="visit 2").recording == "visit 2"


def test_the_fastest_channels_are_mnes(tmp_path: Path):
    import mne

    path = write(tmp_path / "a.edf", [trace("C3", 200), trace("C4", 200, "mV"), trace("SpO2", 4)])
    raw = mne.io.read_raw_edf(path, preload=True, verbose="error", include=["C3", "C4"])
    recording = read_edf(path, subject="s")
    for c, expected in zip(recording.channels, raw.get_data() * 1e6):
        np.testing.assert_allclose(c.samples, expected, rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("duration", [0.5, 1, 2, 8])
def test_any_length_of_data_record(tmp_path: Path, duration: float):
    path = write(
        tmp_path / "a.edf", [trace("C3", 100), trace("ECG", 250)], data_record_duration=duration
    )
    recording = read_edf(path, subject="s")
    assert recording.duration == RECORDS
    assert [c.sfreq for c in recording.channels] == [100, 250]
    np.testing.assert_allclose(recording.channels[1].samples, wave(250), atol=0.004)


def test_an_odd_rate(tmp_path: Path):
    """199.99 Hz: 19999 samples in a record of 100 s."""
    data = wave(199.99, seconds=100)
    path = write(tmp_path / "a.edf", [trace("C3", 199.99, data=data)], data_record_duration=100)
    c = read_edf(path, subject="s").channels[0]
    assert c.sfreq == pytest.approx(199.99, rel=1e-12)
    assert len(c.samples) == 19_999


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        *[("uV", 1), ("UV", 1), ("uv", 1), ("mV", 1e3), ("MV", 1e3), ("mv", 1e3)],
        *[("V", 1e6), ("v", 1e6), ("Volts", 1e6), ("volt", 1e6), ("nV", 1e-3)],
    ],
)
def test_voltages_become_microvolts(tmp_path: Path, unit: str, factor: float):
    path = write(tmp_path / "a.edf", [trace("C3", unit=unit), trace("Abdo", unit=unit)])
    for c in read_edf(path, subject="s").channels:  # a belt measured in volts too
        assert c.unit == "uV"
        np.testing.assert_allclose(c.samples, wave(100) * factor, atol=0.004 * factor)
        assert c.notes == (["unit 'MV' read as mV"] if unit == "MV" else [])


@pytest.mark.parametrize("raw", ["µV".encode(), "μV".encode(), "µV".encode("latin-1")])
def test_micro_signs_of_every_encoding(tmp_path: Path, raw: bytes):
    path = write(tmp_path / "a.edf", [trace("C3")])
    patch(path, field_at(1, 0, 96, 8), raw)
    c = read_edf(path, subject="s").channels[0]
    assert (c.unit, c.notes) == ("uV", [])


def test_a_missing_or_foreign_unit_is_left_alone_and_said(tmp_path: Path):
    path = write(
        tmp_path / "a.edf",
        [
            trace("C3", unit=""),
            trace("ECG", unit="arb"),
            trace("Thor", unit=""),
            trace("SpO2", unit="%"),
        ],
    )
    eeg, ecg, thorax, spo2 = read_edf(path, subject="s").channels
    assert (eeg.unit, eeg.notes) == ("", ["no unit in the file: not scaled"])
    assert (ecg.unit, ecg.notes) == ("arb", ["unit 'arb' is no voltage: not scaled"])
    assert (thorax.unit, thorax.notes) == ("", [])
    assert (spo2.unit, spo2.notes) == ("%", [])
    for c in (eeg, ecg, thorax, spo2):
        np.testing.assert_allclose(c.samples, wave(100), atol=0.004)


def test_bdf_keeps_24_bits(tmp_path: Path):
    data = 1e5 + wave(64) * 1e-3  # needs more than 16 bits
    signals = [
        edfio.BdfSignal(
            data, 64, label="Cz", physical_dimension="uV", physical_range=(-187500, 187500)
        ),
        edfio.BdfSignal(
            -data, 64, label="EKG", physical_dimension="uV", physical_range=(-187500, 187500)
        ),
    ]
    path = tmp_path / "a.bdf"
    annotations = [edfio.EdfAnnotation(1.5, None, "blink")]
    edfio.Bdf(signals, data_record_duration=1, annotations=annotations).write(path)
    recording = read_edf(path, subject="s")
    assert [c.name for c in recording.channels] == ["Cz", "ECG"]
    step = 375_000 / 2**24
    # float32 carries 1e5 to within 0.004
    np.testing.assert_allclose(recording.channels[0].samples, data, atol=step + 0.004)
    np.testing.assert_allclose(recording.channels[1].samples, -data, atol=step + 0.004)
    assert [(a.onset, a.text) for a in recording.annotations] == [(1.5, "blink")]


# --- what is unusual about a channel --------------------------------------------------------------


def test_swapped_physical_limits_invert_the_signal(tmp_path: Path):
    path = write(tmp_path / "a.edf", [trace("C3"), trace("C4")])
    patch(path, field_at(2, 1, 104, 8), "200")
    patch(path, field_at(2, 1, 112, 8), "-200")
    c3, c4 = read_edf(path, subject="s").channels
    assert c3.notes == []
    assert any("polarity" in note for note in c4.notes)
    np.testing.assert_allclose(c4.samples, -c3.samples, atol=0.01)


@pytest.mark.parametrize(
    ("before", "values", "reason"),
    [
        (104, ("0", "0"), "physical limits are equal (0)"),
        (120, ("7", "7"), "digital limits are equal (7)"),
        (104, ("-200", "high"), "is not a number"),
    ],
)
def test_a_channel_that_cannot_be_scaled_is_listed(tmp_path: Path, before, values, reason):
    path = write(tmp_path / "a.edf", [trace("C3"), trace("ECG")])
    for i, value in enumerate(values):
        patch(path, field_at(2, 1, before + 8 * i, 8), value)
    recording = read_edf(path, subject="s")
    assert [c.name for c in recording.channels] == ["C3"]
    (note,) = recording.notes
    assert "'ECG' kept out" in note
    assert reason in note


def test_decimal_commas(tmp_path: Path):
    path = write(tmp_path / "a.edf", [trace("C3", physical_range=(-100.5, 100.5))])
    patch(path, field_at(1, 0, 104, 8), "-100,5")
    patch(path, field_at(1, 0, 112, 8), "100,5")
    np.testing.assert_allclose(
        read_edf(path, subject="s").channels[0].samples, wave(100), atol=0.002
    )


def test_flat_and_clipped_channels_are_kept_with_a_note(tmp_path: Path):
    clipped = np.clip(wave(100), -200, 40)
    path = write(
        tmp_path / "a.edf",
        [
            trace("C3", data=np.full(800, 12.5)),
            trace("C4", data=clipped, physical_range=(-200, 40)),
            trace("ECG"),
        ],
    )
    flat, overdriven, good = read_edf(path, subject="s").channels
    assert flat.notes == ["flat"]
    np.testing.assert_allclose(flat.samples, 12.5, atol=0.01)
    part = 100 * np.mean(clipped == 40)
    assert overdriven.notes == [f"clipped {part:.0f} %"]
    assert 20 < part < 60
    assert good.notes == []


def test_two_channels_of_one_name_are_both_kept(tmp_path: Path):
    path = write(
        tmp_path / "a.edf", [trace("T3"), trace("ECG"), trace("T7"), trace("EEG T3-REF", 50)]
    )
    recording = read_edf(path, subject="s")
    assert [c.name for c in recording.channels] == ["T7", "ECG", "T7#2", "T7#3"]
    for c in recording.channels:
        twins = [note for note in c.notes if "channels are called T7" in note]
        assert len(twins) == (c.name != "ECG")
    assert "'T3', 'T7', 'EEG T3-REF'" in recording.channels[0].notes[0]


@pytest.mark.parametrize(
    ("raw", "label"),
    [
        ("C3 Impédance".encode(), "C3 Impédance"),
        ("C3 Impédance".encode("latin-1"), "C3 Impédance"),
        ("Position Körpe".encode() + "ä".encode()[:1], "Position Körpe"),  # cut inside a letter
        ("呼吸".encode(), "呼吸"),
        (b"POS\x00\x00", "POS"),
    ],
)
def test_labels_of_any_encoding(tmp_path: Path, raw: bytes, label: str):
    path = write(tmp_path / "a.edf", [trace("C3"), trace("X")])
    patch(path, field_at(2, 1, 0, 16), raw, 16)
    recording = read_edf(path, subject="s")
    assert [c.label for c in recording.channels] == ["C3", label]
    assert recording.channels[1].modality == "other"


def test_biosemi_cap_numbers_are_not_electrodes(tmp_path: Path):
    """On a BioSemi cap A1 is no mastoid and C3 is not over the motor cortex."""
    labels = [f"{bank}{i}" for bank in "ABC" for i in range(1, 5)] + ["EXG1", "ECG"]
    recording = read_edf(write(tmp_path / "a.edf", [trace(x, 10) for x in labels]), subject="s")
    assert {c.label for c in recording.channels if c.modality != "other"} == {"ECG"}
    assert any("12 labels are BioSemi cap numbers" in note for note in recording.notes)


def test_a_biosemi_cap_of_16_has_no_mastoids(tmp_path: Path):
    labels = [f"A{i}" for i in range(1, 17)] + ["C3", "F4", "ECG"]
    path = write(tmp_path / "a.edf", [trace(x, 10) for x in labels])
    recording = read_edf(path, subject="s")
    names = {c.name: c.modality for c in recording.channels if c.modality != "other"}
    assert names == {"C3": "bas", "F4": "bas", "ECG": "ecg"}
    assert any("16 labels are BioSemi cap numbers (A1, A2" in note for note in recording.notes)
    told = dict.fromkeys(labels[:16], "bas")  # as a channels.tsv does
    recording = read_edf(path, subject="s", modalities=told)
    assert [c.name for c in recording.channels[:16]] == [f"BioSemi A{i}" for i in range(1, 17)]
    assert {c.modality for c in recording.channels[:16]} == {"bas"}
    # the ears of a clinical montage, of which no third exists
    path = write(tmp_path / "b.edf", [trace(x, 10) for x in ("C3", "A1", "A2", "B1", "F4")])
    names = {c.label: c.name for c in read_edf(path, subject="s").channels}
    assert (names["A1"], names["A2"]) == ("M1", "M2")


# --- time -----------------------------------------------------------------------------------------


def discontinuous(path: Path, onsets: list[str]) -> Path:
    """Turn the one-second records of an EDF+C into those of an EDF+D."""
    raw = path.read_bytes()
    head = int(raw[184:192])
    assert raw[192:197] == b"EDF+C"
    data = raw[head:]
    for i, onset in enumerate(onsets):
        old = f"+{i}\x14\x14".encode()
        assert len(onset) == len(f"+{i}"), "the field keeps its width"
        assert data.count(old) == 1
        data = data.replace(old, f"{onset}\x14\x14".encode().replace(b"\x14\x14", b"\x14\x13"))
    data = data.replace(b"\x14\x13", b"\x14\x14")
    path.write_bytes(raw[:192] + b"EDF+D" + raw[197:head] + data)
    return path


def test_gaps_of_a_discontinuous_file(tmp_path: Path):
    path = write(
        tmp_path / "a.edf",
        [trace("C3", 100), trace("SpO2", 2)],
        annotations=[edfio.EdfAnnotation(4.5, 1.0, "Arousal")],
    )
    discontinuous(path, ["+0", "+1", "+2", "+5", "+6", "+7", "+8", "+9"])
    recording = read_edf(path, subject="s")
    assert recording.duration == 10
    assert recording.notes == ["discontinuous: 1 gaps, 2 s without data"]
    for c in recording.channels:
        expected = np.full(round(10 * c.sfreq), np.nan)
        source = wave(c.sfreq)
        expected[: round(3 * c.sfreq)] = source[: round(3 * c.sfreq)]
        expected[round(5 * c.sfreq) :] = source[round(3 * c.sfreq) :]
        np.testing.assert_allclose(c.samples, expected, atol=0.004)
        assert c.notes == ["gaps: 2 s without data"]
    assert [(a.onset, a.duration) for a in recording.annotations] == [(4.5, 1.0)]


def test_a_discontinuous_file_without_gaps_is_whole(tmp_path: Path):
    path = write(tmp_path / "a.edf", [trace("C3")], annotations=[])
    discontinuous(path, [f"+{i}" for i in range(RECORDS)])
    recording = read_edf(path, subject="s")
    assert recording.notes == []
    np.testing.assert_allclose(recording.channels[0].samples, wave(100), atol=0.004)


@pytest.mark.parametrize("seed", range(3))
def test_random_damage_to_record_times_never_crashes(tmp_path: Path, seed: int):
    annotations = [edfio.EdfAnnotation(i + 0.5, 1.0, "Sleep stage N2") for i in range(RECORDS)]
    path = write(tmp_path / "a.edf", [trace("C3", 10)], annotations)
    discontinuous(path, ["+0", "+1", "+2", "+5", "+6", "+7", "+8", "+9"])
    raw = path.read_bytes()
    rng = np.random.default_rng(seed)
    alphabet = np.frombuffer(b"0123456789-+.\x00\x14\x15R\xff", np.uint8)
    outcomes = set()
    for _ in range(100):
        damaged = np.frombuffer(raw, np.uint8).copy()
        at = rng.integers(768, len(raw), size=rng.integers(5, 60))
        damaged[at] = rng.choice(alphabet, size=len(at))
        path.write_bytes(damaged.tobytes())
        try:
            recording = read_edf(path, subject="s")
        except RecordingError as error:
            assert str(path) in str(error)
            outcomes.add("refused")
        else:
            assert len(recording.channels[0].samples) == round(10 * recording.duration)
            outcomes.add("read")
    assert outcomes == {"refused", "read"}


def test_overlapping_data_records_are_refused(tmp_path: Path):
    path = write(tmp_path / "a.edf", [trace("C3")], annotations=[])
    discontinuous(path, ["+0", "+1", "+2", "+1", "+4", "+5", "+6", "+7"])
    with pytest.raises(
        RecordingError, match=r"data record 3 begins at 1 s, before record 2 ends at 3 s"
    ):
        read_edf(path, subject="s")


def test_discontinuous_but_timeless(tmp_path: Path):
    path = patch(write(tmp_path / "a.edf", [trace("C3")]), 192, "EDF+D", 44)
    recording = read_edf(path, subject="s")
    assert recording.notes == [
        "discontinuous (EDF+D), but no data record says when it begins: read as continuous"
    ]
    assert recording.duration == RECORDS


def test_start_with_a_fraction_of_a_second(tmp_path: Path):
    start = datetime.time(22, 15, 3, 250_000)
    annotations = [edfio.EdfAnnotation(2.0, 0.5, "Spindle")]
    path = write(tmp_path / "a.edf", [trace("C3")], annotations, starttime=start)
    recording = read_edf(path, subject="s")
    assert recording.start == datetime.datetime(2021, 3, 4, 22, 15, 3, 250_000)
    assert [(a.onset, a.duration, a.text) for a in recording.annotations] == [(2.0, 0.5, "Spindle")]


def test_an_unreadable_date_is_a_note(tmp_path: Path):
    path = write(tmp_path / "a.edf", [trace("C3")], recording=edfio.Recording())
    patch(path, 168, "31.02.99")
    recording = read_edf(path, subject="s")
    assert recording.start is None
    assert "start date and time '31.02.9922.15.03' not readable" in recording.notes[0]


def test_years_before_2000_and_the_edf_plus_date(tmp_path: Path):
    path = write(tmp_path / "a.edf", [trace("C3")], recording=edfio.Recording())
    assert read_edf(patch(path, 168, "24.04.89"), subject="s").start.year == 1989
    patch(path, 88, "Startdate 24-APR-2089 X X X", 80)
    assert read_edf(path, subject="s").start == datetime.datetime(2089, 4, 24, 22, 15, 3)
    recording = read_edf(patch(path, 168, "25.04.89"), subject="s")
    assert recording.start.day == 24
    assert "two start dates" in recording.notes[0]


# --- annotations and stages -----------------------------------------------------------------------


def stage_annotations(stages: list[str]) -> list[edfio.EdfAnnotation]:
    return [edfio.EdfAnnotation(30.0 * i, 30.0, f"Sleep stage {s}") for i, s in enumerate(stages)]


def test_stages_of_the_files_own_annotations(tmp_path: Path):
    data = wave(10, seconds=150)
    annotations = stage_annotations(["W", "N1", "2", "R"])
    annotations.append(edfio.EdfAnnotation(40.0, 5.0, "Arousal"))
    path = write(tmp_path / "a.edf", [trace("C3", 10, data=data)], annotations)
    recording = read_edf(path, subject="s")
    assert recording.stages.dtype == np.int8
    np.testing.assert_array_equal(recording.stages, [0, 1, 2, 4, -1])
    assert len(recording.annotations) == 5
    assert [a.onset for a in recording.annotations] == sorted(
        a.onset for a in recording.annotations
    )


def test_r_waves_are_not_rem_sleep(tmp_path: Path):
    beats = [edfio.EdfAnnotation(0.8 * i, None, "R") for i in range(9)]
    recording = read_edf(write(tmp_path / "a.edf", [trace("ECG")], beats), subject="s")
    assert recording.stages is None
    assert len(recording.annotations) == 9


def test_the_hypnogram_file_goes_first(tmp_path: Path):
    data = wave(10, seconds=90)
    path = write(tmp_path / "a.edf", [trace("C3", 10, data=data)], stage_annotations(["W"] * 3))
    (tmp_path / "a.txt").write_text("N2\nN3\nREM\n")
    recording = read_edf(path, subject="s", hypnogram=tmp_path / "a.txt")
    np.testing.assert_array_equal(recording.stages, [2, 3, 4])
    (tmp_path / "a.txt").write_text("N2\n")
    recording = read_edf(path, subject="s", hypnogram=tmp_path / "a.txt")
    np.testing.assert_array_equal(recording.stages, [2, -1, -1])
    assert recording.notes == ["hypnogram covers 0 to 30 s of 90 s: the rest is unscored"]


def test_texts_of_any_encoding_and_damaged_ones(tmp_path: Path):
    annotations = [
        edfio.EdfAnnotation(1.0, 2.0, "pied gauche"),
        edfio.EdfAnnotation(3.0, None, "寝返り"),
    ]
    path = write(tmp_path / "a.edf", [trace("C3")], annotations)
    raw = path.read_bytes()
    latin = "côté gauch ".encode("latin-1")
    path.write_bytes(raw.replace(b"pied gauche", latin))
    recording = read_edf(path, subject="s")
    assert [a.text for a in recording.annotations] == ["côté gauch", "寝返り"]
    assert recording.annotations[0].duration == 2.0
    assert recording.notes == []
    path.write_bytes(raw.replace(b"+1\x152\x14pied", b"?1\x152\x14pied"))
    recording = read_edf(path, subject="s")
    assert [a.text for a in recording.annotations] == ["寝返り"]
    assert recording.notes == ["1 annotations could not be read"]
