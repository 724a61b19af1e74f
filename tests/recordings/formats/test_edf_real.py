"""Real recordings: values against MNE and edfio, and what is known about each file."""

from __future__ import annotations

import datetime
import warnings
from pathlib import Path

import edfio
import numpy as np
import pytest

from sleepfm_jax.recordings.read import Channel, Recording, read_edf


def channel(recording: Recording, name: str) -> Channel:
    return next(c for c in recording.channels if c.name == name)


def mne_data(path: Path, include: list[str], reader: str = "read_raw_edf") -> np.ndarray:
    import mne

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MNE remarks on every irregular header
        raw = getattr(mne.io, reader)(path, include=include, preload=True, verbose="error")
    return raw.get_data(picks=include)


@pytest.mark.real
@pytest.mark.parametrize(
    ("path", "reader"),
    [
        ("wake_eeg_eegmat/Subject02_1.edf", "read_raw_edf"),
        ("formats/edfplus/chtypes_edf.edf", "read_raw_edf"),
        ("formats/edfplus/subsecond_starttime.edf", "read_raw_edf"),
        ("formats/edfplus/eegmmidb_S001R04.edf", "read_raw_edf"),
        ("formats/bdf/multiple_annotation_chans.bdf", "read_raw_bdf"),
        ("formats/bdf/test_bdf_stim_channel.bdf", "read_raw_bdf"),
    ],
)
def test_values_are_mnes(shared: Path, path: str, reader: str):
    recording = read_edf(shared / "data" / path, subject="s")
    fastest = max(c.sfreq for c in recording.channels)
    chosen = [
        c
        for c in recording.channels
        if c.modality != "other" and c.sfreq == fastest and c.unit == "uV"
    ][:8]
    expected = mne_data(shared / "data" / path, [c.label for c in chosen], reader) * 1e6
    assert len(chosen) >= 2
    for c, e in zip(chosen, expected):
        np.testing.assert_allclose(c.samples, e, rtol=1e-6, atol=1e-6 * np.abs(e).max())


@pytest.mark.real
@pytest.mark.parametrize("path", ["psg_dreams/excerpt3.edf", "psg_nox_2min/subject1.edf"])
def test_every_rate_is_edfios(shared: Path, path: str):
    """edfio keeps native rates as well; it reads every channel of both mixed-rate recordings."""
    recording = read_edf(shared / "data" / path, subject="s")
    edf = edfio.read_edf(shared / "data" / path, header_encoding="latin-1")
    assert len(recording.channels) == len(edf.signals)
    for c, signal in zip(recording.channels, edf.signals):
        factor = {"uv": 1, "mv": 1e3, "v": 1e6}.get(signal.physical_dimension.lower(), 1)
        assert c.sfreq == signal.sampling_frequency
        expected = signal.data * factor
        np.testing.assert_allclose(
            c.samples, expected, rtol=1e-5, atol=1e-6 * np.ptp(signal.physical_range) * factor
        )


@pytest.mark.real
def test_the_dreams_recording(shared: Path):
    folder = shared / "data" / "psg_dreams"
    recording = read_edf(
        folder / "excerpt3.edf", subject="3", hypnogram=folder / "Hypnogram_excerpt3.txt"
    )
    assert recording.duration == 1800
    assert recording.start == datetime.datetime(2003, 11, 17, 3, 27)
    notes = {c.label: c.notes for c in recording.channels}
    assert "clipped 31 %" in notes["VAB"]
    assert "clipped 6 %" in notes["VTH"]
    assert any("exceed 16 bits" in note for note in notes["O1-A1"])
    assert [c.name for c in recording.channels if c.modality == "bas"] == [
        *("O1-M1", "C3-M1", "Fp1-M1", "EOG2-M1", "EOG1-M1")
    ]
    # The file carries the same hypnogram as a channel, one value a second.
    own = channel(recording, "hypnogram").samples.reshape(60, 30)
    stage_of = {5: 0, 4: 4, 3: 1, 2: 2, 1: 3}
    majority = [np.bincount(np.rint(epoch).astype(int)).argmax() for epoch in own]
    agree = np.mean([stage_of[m] == s for m, s in zip(majority, recording.stages)])
    assert agree > 0.95


@pytest.mark.real
def test_the_nox_recording(shared: Path):
    recording = read_edf(shared / "data" / "psg_nox_2min" / "subject1.edf", subject="s")
    assert recording.duration == 120
    assert {c.sfreq for c in recording.channels} == {1, 3, 5, 20, 25, 75, 100, 200}
    labels = [c.label for c in recording.channels]
    assert "C3 Impédance" in labels
    assert len(labels) == 89
    c3 = channel(recording, "C3-M2")
    assert (c3.unit, c3.sfreq) == ("uV", 200)
    assert 5 < c3.samples.std() < 500  # EEG in microvolts, from volts
    assert channel(recording, "RIP PHASE").unit == "°"
    # A derivation is the difference of its electrodes, sample by sample; the offset of 3 uV is the
    # header's: its eight characters cut -0.0032767 V to -0.00327.
    difference = channel(recording, "C3").samples - channel(recording, "M2").samples - c3.samples
    assert abs(difference.mean() + 3) < 0.01
    assert difference.std() < 0.1


@pytest.mark.real
def test_annotations_of_real_files(shared: Path):
    import mne

    for path in ("eegmmidb_S001R04.edf", "subsecond_starttime.edf", "test_utf8_annotations.edf"):
        path = shared / "data" / "formats" / "edfplus" / path
        recording = read_edf(path, subject="s")
        expected = mne.read_annotations(path, encoding="utf8")
        assert [a.text for a in recording.annotations] == list(expected.description)
        np.testing.assert_allclose(
            [a.onset for a in recording.annotations], expected.onset, atol=1e-6
        )
        np.testing.assert_allclose(
            [a.duration for a in recording.annotations], expected.duration, atol=1e-6
        )
    assert recording.annotations[1].text == "仰卧"


@pytest.mark.real
def test_subsecond_start_of_a_real_file(shared: Path):
    path = shared / "data" / "formats" / "edfplus" / "subsecond_starttime.edf"
    edf = edfio.read_edf(path)
    assert read_edf(path, subject="s").start == edf.startdatetime
    assert edf.startdatetime.microsecond


@pytest.mark.real
def test_a_flat_ecg_in_a_real_bdf(shared: Path):
    path = shared / "data" / "formats" / "bdf" / "multiple_annotation_chans.bdf"
    recording = read_edf(path, subject="s")
    assert channel(recording, "ECG").notes == ["flat"]
    texts = [a.text for a in recording.annotations]
    assert texts[:3] == ["signal_start", "EEG-check#1", "TestStim#1"]
    assert len(texts) == 10  # spread over fifteen annotation channels
