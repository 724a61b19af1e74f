"""Every real file of ../shared/data/formats by its reader, against the libraries that read it."""

from __future__ import annotations

import csv
import datetime
import warnings
from pathlib import Path
from xml.etree import ElementTree

import h5py
import numpy as np
import openpyxl
import pyedflib
import pytest

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.formats.arrays import read_text_signal
from sleepfm_jax.recordings.formats.edf_bytes import open_edf
from sleepfm_jax.recordings.formats.wfdb_annotations import read_wfdb_annotations
from sleepfm_jax.recordings.read import Recording, read_recording
from sleepfm_jax.recordings.scorings.hypnogram import read_stages
from tests.helpers.painting import painted

pytestmark = pytest.mark.real

# File -> channels, Hz, seconds. Each is opened by read_recording, and by nothing else.
RECORDINGS = {
    "bdf/multiple_annotation_chans.bdf": (19, 125, 247),
    "bdf/test_bdf_stim_channel.bdf": (4, 500, 10),
    "edfplus/chtypes_edf.edf": (42, 200, 5),
    "edfplus/eegmmidb_S001R02.edf": (64, 160, 60),
    "edfplus/eegmmidb_S001R04.edf": (64, 160, 125),
    "edfplus/subsecond_starttime.edf": (3, 512, 5),
    "edfplus/test_utf8_annotations.edf": (11, 200, 10),
    "gdf/test_1ch.gdf": (1, 150, 30),
    "hdf5/dosed_23c61485-a9a5-478b-8115-f34b883876b8.h5": (2, 64, 360),
    "hdf5/dosed_9a3b2e69-3e81-42f3-bba2-4afd8c7a0268.h5": (2, 64, 360),
    "wfdb/100.hea": (2, 360, 650_000 / 360),
    "wfdb/100_3chan.hea": (3, 360, 999 / 360),
    "wfdb/a103l.hea": (3, 250, 330),
    "wfdb/bidmc01.hea": (5, 125, 60_001 / 125),
    "wfdb/bidmc02.hea": (5, 125, 60_001 / 125),
    "wfdb/s0010_re.hea": (15, 1000, 38.4),
    "yasa/data_EOGs_REM_256Hz.npz": (2, 256, 859),
}
# File -> dialect, sleep_epochs of each stage from unscored to REM.
_NOX = "noxturnal_csv/noxturnal_events_example_unicode"
HYPNOGRAMS = {
    "edfplus/SC4001EC-Hypnogram.edf": ("EDF+", [118, 1997, 58, 250, 220, 125]),
    "edfplus/ST7132JR-Hypnogram.edf": ("EDF+", [1, 60, 89, 384, 103, 216]),
    "hypnogram/dreams_HypnogramAASM_subject1.txt": ("DREAMS", [1, 231, 39, 299, 279, 113]),
    "hypnogram/isruc_1_1_1.xlsx": ("xlsx", [0, 264, 73, 194, 231, 118]),
    f"{_NOX}.csv": ("Noxturnal", [139, 213, 66, 466, 364, 249]),
    f"{_NOX}_2.csv": ("Noxturnal", [0, 169, 38, 354, 141, 146]),
    f"{_NOX}_3.csv": ("Noxturnal", [0, 310, 31, 446, 246, 195]),
    "rml/test-events.rml": ("Philips RML", [0, 0, 0, 920, 0, 0]),
    "yasa/data_full_6hrs_100Hz_hypno_30s.txt": ("text", [0, 43, 22, 318, 182, 155]),
    "yasa/sub-02_hypno_30s.txt": ("text", [0, 36, 9, 31, 22, 0]),
}
# Files that lie beside another, or hold what is no recording and no hypnogram by itself.
OTHERS = {
    "wfdb/100.atr": "annotations of 100",
    "yasa/LICENSE": "a licence",
    "yasa/data_N2_spindles_15sec_200Hz.txt": "a signal without label and rate: read_text_signal",
    "yasa/data_full_6hrs_100Hz_hypno.npz": "a stage a sample, without the rate",
    **{
        f"wfdb/{name}": "samples of a header"
        for name in (
            *("100.dat", "100_3chan.dat", "a103l.mat", "bidmc01.dat", "bidmc02.dat"),
            *("s0010_re.dat", "s0010_re.xyz"),
        )
    },
}


@pytest.fixture(scope="module")
def formats(shared: Path) -> Path:
    return shared / "data" / "formats"


def test_no_file_is_left_out(formats: Path):
    found = {p.relative_to(formats).as_posix() for p in formats.rglob("*") if p.is_file()}
    assert found == set(RECORDINGS) | set(HYPNOGRAMS) | set(OTHERS)


@pytest.mark.parametrize("name", RECORDINGS)
def test_recordings_open(formats: Path, name: str):
    recording = read_recording(formats / name, subject="s")
    channels, sfreq, seconds = RECORDINGS[name]
    assert len(recording.channels) == channels
    assert {c.sfreq for c in recording.channels} == {sfreq}
    assert recording.duration == pytest.approx(seconds)
    for c in recording.channels:
        assert len(c.samples) == round(recording.duration * sfreq)
        assert np.isfinite(c.samples).all()
    with pytest.raises(RecordingError):
        read_stages(formats / name, start=None, duration=600)


@pytest.mark.parametrize("name", HYPNOGRAMS)
def test_hypnograms_open(formats: Path, name: str):
    dialect, counts = HYPNOGRAMS[name]
    seconds = 30.0 * sum(counts)
    path = formats / name
    start = None
    if dialect == "Noxturnal":  # as if the signals began with the first scored stage
        start, seconds = first_stage(path)
    scored = read_stages(path, start=start, duration=seconds)
    assert scored.dialect == dialect
    assert np.bincount(scored.stages + 1, minlength=6).tolist() == counts
    with pytest.raises(RecordingError):
        read_recording(path, subject="s")


def first_stage(path: Path) -> tuple[datetime.datetime, float]:
    moments = []
    for row in list(csv.reader(path.read_text("utf-16").splitlines()))[2:]:
        if row[2] in ("Éveil", "N1", "N2", "N3", "REM"):
            moments += [datetime.datetime.strptime(x, "%d/%m/%Y %H:%M:%S") for x in row[:2]]
    return min(moments), (max(moments) - min(moments)).total_seconds()


@pytest.mark.parametrize("name", OTHERS)
def test_the_rest(formats: Path, name: str):
    path = formats / name
    if name.endswith((".dat", ".mat", ".xyz")) or name == "wfdb/100.atr":  # named by their header
        header = "s0010_re.hea" if "s0010" in name else path.with_suffix(".hea").name
        assert len(read_recording(path, subject="s").channels) == RECORDINGS[f"wfdb/{header}"][0]
    elif name.endswith("200Hz.txt"):
        recording = read_text_signal(path, sfreq=200, subject="s", label="Cz")
        np.testing.assert_array_equal(recording.channels[0].samples, np.float32(np.loadtxt(path)))
        assert recording.duration == 15
    else:
        with pytest.raises(RecordingError):
            read_recording(path, subject="s")


# --- values ---------------------------------------------------------------------------------------


def microvolts(unit: str) -> float:
    return {"uv": 1.0, "mv": 1e3, "v": 1e6}.get(unit.strip().lower(), 1.0)


@pytest.mark.parametrize("name", [n for n in RECORDINGS if n.startswith("wfdb")])
def test_values_are_wfdbs(formats: Path, name: str):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import wfdb

        theirs = wfdb.rdrecord(str((formats / name).with_suffix("")), smooth_frames=False)
    ours = read_recording(formats / name, subject="s")
    assert [c.label for c in ours.channels] == theirs.sig_name
    for i, c in enumerate(ours.channels):
        expected = np.float32(theirs.e_p_signal[i] * microvolts(theirs.units[i]))
        np.testing.assert_array_equal(c.samples, expected)
        assert not any("checksum" in note for note in c.notes)


def test_annotations_are_wfdbs(formats: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import wfdb

        theirs = wfdb.rdann(str(formats / "wfdb" / "100"), "atr")
    ours, _ = read_wfdb_annotations(formats / "wfdb" / "100.atr")
    assert len(ours) == 2274
    assert [a.sample for a in ours] == theirs.sample.tolist()
    assert [a.symbol for a in ours] == theirs.symbol
    assert [a.note for a in ours] == [note.rstrip("\x00") for note in theirs.aux_note]


def test_gdf_values_are_mnes(formats: Path):
    import mne

    raw = mne.io.read_raw_gdf(formats / "gdf" / "test_1ch.gdf", preload=True, verbose="error")
    (c,) = read_recording(formats / "gdf" / "test_1ch.gdf", subject="s").channels
    assert (c.unit, c.modality) == ("uV", "ecg")
    np.testing.assert_allclose(c.samples, raw.get_data()[0] * 1e6, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("name", [n for n in RECORDINGS if n.startswith("bdf")])
def test_bdf_values_are_mnes(formats: Path, name: str):
    import mne

    ours = read_recording(formats / name, subject="s")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw = mne.io.read_raw_bdf(formats / name, preload=True, verbose="error")
    compared = 0
    for c in ours.channels:
        if c.modality == "other":  # MNE scales accelerations, and masks trigger channels
            continue
        theirs = raw.get_data(picks=[c.label])[0] * 1e6
        np.testing.assert_allclose(c.samples, theirs, rtol=1e-6, atol=1e-6 * np.abs(theirs).max())
        compared += 1
    assert compared >= 2


@pytest.mark.parametrize("name", [n for n in RECORDINGS if n.startswith(("edf", "bdf"))])
def test_every_channel_is_pyedflibs(formats: Path, name: str):
    ours = read_recording(formats / name, subject="s")
    with pyedflib.EdfReader(str(formats / name)) as theirs:
        labels = theirs.getSignalLabels()
        at = 0
        for c in ours.channels:
            at = labels.index(c.label, at)
            factor = microvolts(theirs.getPhysicalDimension(at))
            step = np.diff(
                [f(at) for f in (theirs.getPhysicalMinimum, theirs.getPhysicalMaximum)]
            ) / np.diff([f(at) for f in (theirs.getDigitalMinimum, theirs.getDigitalMaximum)])
            assert c.sfreq == theirs.getSampleFrequency(at)
            expected = theirs.readSignal(at) * factor
            np.testing.assert_allclose(
                c.samples, expected, rtol=1e-6, atol=1e-3 * abs(step[0]) * factor
            )
            at += 1


@pytest.mark.parametrize("name", [n for n in RECORDINGS if n.startswith("hdf5")])
def test_hdf5_values_and_spindles(formats: Path, name: str):
    ours: Recording = read_recording(formats / name, subject="s")
    with h5py.File(formats / name) as file:
        for c in ours.channels:
            np.testing.assert_array_equal(c.samples, np.float32(file[c.label][:]))
            assert (c.modality, c.notes[0]) == ("bas", "no unit in the file: not scaled")
        onsets = sorted(file["spindle/start"][:])
    assert [a.onset for a in ours.annotations] == onsets
    assert {a.text for a in ours.annotations} == {"spindle"}


# --- stages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ["", "_2", "_3"])
@pytest.mark.parametrize("late", [-35.0, 0.0, 4321.0])
def test_noxturnal_equals_a_parse_with_csv(formats: Path, number: str, late: float):
    path = formats / "noxturnal_csv" / f"noxturnal_events_example_unicode{number}.csv"
    begun, length = first_stage(path)
    start = begun + datetime.timedelta(seconds=late)
    code = {"Éveil": 0, "N1": 1, "N2": 2, "N3": 3, "REM": 4}
    pieces, others = [], 0
    for row in list(csv.reader(path.read_text("utf-16").splitlines()))[2:]:
        moments = [datetime.datetime.strptime(x, "%d/%m/%Y %H:%M:%S") for x in row[:2]]
        a, b = ((m - start).total_seconds() for m in moments)
        if row[2] in code:
            pieces.append((a, b, code[row[2]]))
        else:
            others += 1
    scored = read_stages(path, start=start, duration=length)
    assert scored.stages.tolist() == painted(pieces, length)
    assert len(scored.events) == others


@pytest.mark.parametrize("name", ["SC4001EC", "ST7132JR"])
@pytest.mark.parametrize("late", [-40.0, 0.0, 3599.0])
def test_sleep_edf_equals_mnes_parse(formats: Path, name: str, late: float):
    import mne

    path = formats / "edfplus" / f"{name}-Hypnogram.edf"
    begun = open_edf(path).start
    told = mne.read_annotations(path)
    assert (begun.hour, begun.minute) == {"SC4001EC": (16, 13), "ST7132JR": (0, 31)}[name]
    code = {"W": 0, "1": 1, "2": 2, "3": 3, "4": 3, "R": 4, "?": -1, "e": -1}
    pieces = [
        (onset - late, onset + length - late, code[text.removeprefix("Sleep stage ")])
        for onset, length, text in zip(told.onset, told.duration, told.description)
    ]
    duration = 30.0 * 2_900
    start = begun + datetime.timedelta(seconds=late)
    assert read_stages(path, start=start, duration=duration).stages.tolist() == painted(
        pieces, duration
    )


def test_rml_equals_a_parse_with_element_tree(formats: Path):
    path = formats / "rml" / "test-events.rml"
    root = ElementTree.fromstring(path.read_bytes().decode("utf-8-sig"))
    space = "{http://www.respironics.com/PatientStudy.xsd}"
    told = [(e.get("Type"), float(e.get("Start"))) for e in root.iter(f"{space}Stage")]
    assert told == [("NonREM2", 0.0), ("NotScored", 27594.0)]
    start = datetime.datetime(2015, 12, 14, 21, 27, 22)
    scored = read_stages(path, start=start, duration=27_596.0)
    assert scored.stages.tolist() == painted([(0, 27_594, 2), (27_594, 27_596, -1)], 27_596)
    events = root.findall(f".//{space}Event")
    assert [(e.onset, e.duration, e.text) for e in scored.events] == [
        (float(e.get("Start")), float(e.get("Duration")), e.get("Type")) for e in events
    ]
    # half an hour into the study
    later = read_stages(path, start=start + datetime.timedelta(minutes=30), duration=600)
    assert later.stages.tolist() == [2] * 20
    assert later.events[0].onset == -1800


def test_isruc_equals_a_parse_with_openpyxl(formats: Path):
    path = formats / "hypnogram" / "isruc_1_1_1.xlsx"
    sheet = openpyxl.load_workbook(path)["Sheet1"]
    code = {"W": 0, "N1": 1, "N2": 2, "N3": 3, "R": 4}
    rows = [r for r in sheet.iter_rows(min_row=2, values_only=True) if isinstance(r[0], int)]
    assert [r[0] for r in rows] == list(range(1, 881))
    scored = read_stages(path, start=None, duration=880 * 30.0)
    assert scored.stages.tolist() == [code[r[1]] for r in rows]
    assert len(scored.events) == sum(len(str(r[4]).split(",")) for r in rows if r[4])


def test_dreams_subjects_take_the_majority_of_six(formats: Path):
    path = formats / "hypnogram" / "dreams_HypnogramAASM_subject1.txt"
    values = [int(x) for x in path.read_text().split()[1:]]
    code = {5: 0, 4: 4, 3: 1, 2: 2, 1: 3, 0: 3}
    pieces = [(5.0 * i, 5.0 * i + 5, code.get(v, -1)) for i, v in enumerate(values)]
    scored = read_stages(path, start=None, duration=5.0 * len(values))
    assert scored.stages.tolist() == painted(pieces, 5.0 * len(values))
