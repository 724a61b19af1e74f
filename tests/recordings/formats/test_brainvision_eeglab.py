"""BrainVision and EEGLAB, written here from their descriptions: values, units, what is refused."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.formats import brainvision_eeglab
from sleepfm_jax.recordings.read import read_recording
from sleepfm_jax.recordings.recording import FileChannel
from tests.helpers.mne_files import write_brainvision, write_eeglab

SFREQ = 64.0
rng = np.random.default_rng(0)
NOISE = rng.standard_normal((4, 70 * 64)) * 50
SIGNALS = {
    "C3": ("µV", NOISE[0]),
    "ECG": ("mV", NOISE[1] / 10),
    "SpO2": ("%", 95 + NOISE[2] / 100),
    "Box 7": ("nV", NOISE[3]),
}
MARKERS = [
    ("Comment", "Sleep stage N2", 1, 1),
    ("Comment", "Sleep stage REM", 30 * 64 + 1, 1),
    ("Stimulus", "S  7", 129, 64),
]


@pytest.mark.parametrize("orientation", ["MULTIPLEXED", "VECTORIZED"])
@pytest.mark.parametrize("binary", ["INT_16", "IEEE_FLOAT_32"])
def test_brainvision(tmp_path: Path, orientation: str, binary: str):
    path = tmp_path / "a.vhdr"
    values = write_brainvision(path, SIGNALS, SFREQ, MARKERS, orientation, binary)
    if orientation == "VECTORIZED":
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("[Binary", "DataPoints=4480\n[Binary"), encoding="utf-8")
    recording = read_recording(path, subject="s")
    assert [(c.label, c.modality, c.unit, c.sfreq) for c in recording.channels] == [
        ("C3", "bas", "uV", SFREQ),
        ("ECG", "ecg", "uV", SFREQ),
        ("SpO2", "resp", "%", SFREQ),
        ("Box 7", "other", "uV", SFREQ),
    ]
    for channel, factor in zip(recording.channels, (1, 1e3, 1, 1e-3)):
        np.testing.assert_allclose(channel.samples, values[channel.label] * factor, rtol=1e-5)
    assert recording.recording == "a"
    assert recording.start == datetime.datetime(2020, 1, 1, 23)
    assert recording.duration == 70
    # A marker of one sample has no duration: its stage lasts until the next.
    assert recording.stages.tolist() == [2, 4, -1]
    assert [(a.onset, a.duration, a.text) for a in recording.annotations] == [
        (0.0, 0.0, "Sleep stage N2"),
        (2.0, 1.0, "Stimulus/S  7"),
        (30.0, 0.0, "Sleep stage REM"),
    ]
    assert recording.notes == []


@pytest.mark.parametrize("inside", [False, True])
def test_eeglab(tmp_path: Path, inside: bool):
    signals = {label: values for label, (_, values) in SIGNALS.items()}
    path = tmp_path / "a.set"
    write_eeglab(path, signals, SFREQ, [("N2", 1, 1920.0), ("boundary", 10.5, 0.0)], inside)
    recording = read_recording(path, subject="s", recording="night")
    assert recording.recording == "night"
    for channel, values in zip(recording.channels, signals.values(), strict=True):
        assert channel.unit == "uV"
        np.testing.assert_allclose(channel.samples, values, rtol=1e-6)
    assert recording.stages.tolist() == [2, -1, -1]
    assert recording.notes[0] == "EEGLAB files give no unit: taken for uV"
    assert any("boundary" in note for note in recording.notes)


def test_faults_are_noted(tmp_path: Path):
    x = np.zeros((3, 640))
    x[1] = np.where(np.arange(640) % 4, 1e9, 0)
    x[2] = np.arange(640)
    write_brainvision(
        tmp_path / "a.vhdr", {n: ("µV", v) for n, v in zip(("C3", "C4", "O1"), x)}, SFREQ
    )
    flat, clipped, good = read_recording(tmp_path / "a.vhdr", subject="s").channels
    assert (flat.notes, clipped.notes, good.notes) == (["flat"], ["clipped 75 %"], [])
    x[2, :64] = np.nan
    write_eeglab(tmp_path / "b.set", {"O1": x[2], "C3": x[2]}, SFREQ)
    for channel in read_recording(tmp_path / "b.set", subject="s").channels:
        assert channel.notes == ["10.0% of the samples are no numbers"]
        assert np.isnan(channel.samples).sum() == 64


def test_a_large_file_stays_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.vhdr"
    values = write_brainvision(path, SIGNALS, SFREQ)
    whole = read_recording(path, subject="s").channels
    monkeypatch.setattr(brainvision_eeglab, "_LARGE", 1)
    monkeypatch.setattr(brainvision_eeglab, "_GROUP", 3 * 4 * 70 * 64)  # three channels
    monkeypatch.setattr(brainvision_eeglab, "_BLOCK", 1000)
    channels = read_recording(path, subject="s").channels
    assert all(isinstance(c, FileChannel) for c in channels)
    for i in (3, 0, 1, 2):
        np.testing.assert_array_equal(channels[i].samples, whole[i].samples)
    assert len(values) == 4


def test_a_told_modality_counts_for_unknown_labels_only(tmp_path: Path):
    path = tmp_path / "a.vhdr"
    write_brainvision(path, SIGNALS, SFREQ)
    told = {"box 7 ": "emg", "C3": "ecg"}
    recording = read_recording(path, subject="s", modalities=told)
    assert {c.label: c.modality for c in recording.channels} == {
        "C3": "bas",
        "ECG": "ecg",
        "SpO2": "resp",
        "Box 7": "emg",
    }
    cap = {label: ("µV", NOISE[i]) for i, label in enumerate(("A3", "A4", "B1", "B2"))}
    write_brainvision(path, cap, SFREQ)
    with pytest.raises(RecordingError, match="no usable channel"):
        read_recording(path, subject="s")
    recording = read_recording(path, subject="s", modalities=dict.fromkeys(cap, "bas"))
    # A4 of a BioSemi cap is no mastoid: its name must not give a position.
    assert [c.name for c in recording.channels] == [f"BioSemi {label}" for label in cap]
    np.save(tmp_path / "x.npy", NOISE)
    np.savez(tmp_path / "a.npz", data=NOISE[:1], sf=64.0, chan=np.array(["C3"]))
    with pytest.raises(RecordingError, match="modalities"):
        read_recording(tmp_path / "a.npz", subject="s", modalities=told)


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ("DataFile=a.eeg", "DataFile=b.eeg", "a.eeg is: correct DataFile="),
        ("DataFile=a.eeg", "", "names no data file"),
        ("NumberOfChannels=4", "NumberOfChannels=0", "the header says 0 channels"),
        ("NumberOfChannels=4", "NumberOfChannels=99999999999", "channels: damaged"),
        ("NumberOfChannels=4", "NumberOfChannels=5", "is not readable as BrainVision"),
        ("NumberOfChannels=4", "", "no number of channels"),
        ("SamplingInterval=15625", "SamplingInterval=1e-9", "Hz is no recording's"),
        ("SamplingInterval=15625", "SamplingInterval=9e11", "no recording"),
        ("SamplingInterval=15625", "SamplingInterval=often", "is not readable as BrainVision"),
        ("BinaryFormat=INT_16", "BinaryFormat=ZIP", "is not readable as BrainVision"),
        ("Brain Vision Data Exchange Header", "Brain Vision Data Exchange", "is no BrainVision"),
        ("Brain Vision", "Brian Vision", "is none of EDF"),
    ],
)
def test_a_wrong_header(tmp_path: Path, old: str, new: str, cause: str):
    path = tmp_path / "a.vhdr"
    write_brainvision(path, SIGNALS, SFREQ)
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(RecordingError) as caught:
        read_recording(path, subject="s")
    assert cause in caught.value.cause
    assert str(tmp_path) not in caught.value.cause


def test_files_that_are_not_whole(tmp_path: Path):
    path = tmp_path / "a.vhdr"
    write_brainvision(path, SIGNALS, SFREQ, MARKERS)
    path.with_suffix(".vmrk").unlink()
    recording = read_recording(path, subject="s")
    assert recording.stages is None
    assert any("a.vmrk" in note for note in recording.notes)
    path.with_suffix(".eeg").write_bytes(b"")
    with pytest.raises(RecordingError, match="0 samples"):
        read_recording(path, subject="s")
    path.write_bytes(b"")
    with pytest.raises(RecordingError, match="empty"):
        read_recording(path, subject="s")

    path = tmp_path / "b.set"
    write_eeglab(path, {"C3": NOISE[0]}, SFREQ)
    data = path.with_suffix(".fdt").read_bytes()
    path.with_suffix(".fdt").write_bytes(data[:-40])
    with pytest.raises(RecordingError, match=r"b\.fdt holds 17880 of 17920 bytes"):
        read_recording(path, subject="s")
    path.with_suffix(".fdt").unlink()
    with pytest.raises(RecordingError, match=r"not readable as EEGLAB .*b\.fdt"):
        read_recording(path, subject="s")
    write_eeglab(path, {"C3": NOISE[0]}, SFREQ, inside=True, trials=7.0)
    with pytest.raises(RecordingError, match=r"not readable as EEGLAB .*trials is 7"):
        read_recording(path, subject="s")
    write_eeglab(path, {"C3": NOISE[0]}, SFREQ, inside=True, srate=0.0)
    with pytest.raises(RecordingError):
        read_recording(path, subject="s")


def test_matlab_73_needs_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.set").write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(600))
    monkeypatch.setattr(brainvision_eeglab, "find_spec", lambda name: None)
    with pytest.raises(RecordingError, match="install pymatreader, or save it again"):
        read_recording(tmp_path / "a.set", subject="s")


def test_random_damage_never_crashes(tmp_path: Path):
    random = np.random.default_rng(1)
    header, markers, mat = (tmp_path / name for name in ("a.vhdr", "a.vmrk", "b.set"))
    write_brainvision(header, SIGNALS, SFREQ, MARKERS)
    write_eeglab(mat, {"C3": NOISE[0, :640]}, SFREQ, [("N2", 1, 640.0)], inside=True)
    outcomes = set()
    for path, opened in ((header, header), (markers, header), (mat, mat)):
        raw = path.read_bytes()
        for i in range(40):
            damaged = np.frombuffer(raw, np.uint8).copy()
            at = random.integers(0, min(len(raw), 2000), random.integers(1, 4))
            damaged[at] = random.integers(0, 256, len(at))
            whole = len(raw) if i % 2 else random.integers(100, len(raw))
            path.write_bytes(damaged[:whole].tobytes())
            try:
                read_recording(opened, subject="s")
            except RecordingError:
                outcomes.add((path.name, "refused"))
            else:
                outcomes.add((path.name, "read"))
        path.write_bytes(raw)
    assert outcomes >= {(p, o) for p in ("a.vhdr", "a.vmrk") for o in ("refused", "read")}
