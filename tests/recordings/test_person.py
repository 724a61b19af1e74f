"""Age and sex from headers: against MNE, pyedflib and wfdb, and what nobody should believe."""

from __future__ import annotations

import datetime
from pathlib import Path

import edfio
import numpy as np
import pytest

from sleepfm_jax.recordings.formats.edf_bytes import open_edf
from sleepfm_jax.recordings.person import Person, age_at, age_of, of_comments, of_edf, sex_of
from sleepfm_jax.recordings.read import read_recording
from tests.recordings.formats.test_gdf import START as GDF_START
from tests.recordings.formats.test_gdf import gdf

START = datetime.datetime(2020, 5, 6, 22, 30)


def write(path: Path, patient: edfio.Patient, day: datetime.date | None = None) -> Path:
    x = np.random.default_rng(0).standard_normal(640) * 20
    signal = edfio.EdfSignal(
        x, 64, label="C3-M2", physical_dimension="uV", physical_range=(-200, 200)
    )
    edfio.Edf(
        [signal],
        patient=patient,
        recording=edfio.Recording(startdate=day or START.date()),
        starttime=START.time(),
        annotations=[edfio.EdfAnnotation(1, None, "so that it is EDF+")],
    ).write(path)
    return path


@pytest.mark.parametrize(
    ("sex", "birth"),
    [
        ("F", datetime.date(1951, 5, 2)),
        ("M", datetime.date(2019, 12, 24)),
        ("M", None),
        ("X", datetime.date(1980, 2, 29)),
        ("X", None),
    ],
)
def test_an_edf_header_says_what_pyedflib_and_mne_read(tmp_path: Path, sex, birth):
    import mne
    import pyedflib

    path = write(tmp_path / "a.edf", edfio.Patient(code="C7", sex=sex, birthdate=birth, name="A_B"))
    person = read_recording(path, subject="s").person
    with pyedflib.EdfReader(str(path)) as file:
        assert person.sex == file.getSex().lower()
        told = file.getBirthdate(string=False) if birth else None
        started = file.getStartdatetime()
    if birth is None:
        assert person.age is None
    else:
        assert told.date() == birth
        assert person.age == pytest.approx((started - told).days / 365.25, abs=0.06)
    theirs = mne.io.read_raw_edf(path, verbose="ERROR").info["subject_info"] or {}
    assert {1: "male", 2: "female"}.get(theirs.get("sex"), "") == person.sex
    assert theirs.get("birthday") == birth


@pytest.mark.parametrize(
    ("birth", "day"),
    [
        (datetime.date(1900, 1, 1), None),  # nobody is 120 either
        (datetime.date(1993, 1, 1), None),
        (datetime.date(1960, 3, 4), datetime.date(1985, 1, 1)),  # of the NSRR: not the night
        (datetime.date(2021, 3, 4), None),  # not born yet
        (datetime.date(1890, 3, 4), None),
    ],
)
def test_dates_that_are_nobodys_give_no_age(tmp_path: Path, birth, day):
    path = write(tmp_path / "a.edf", edfio.Patient(sex="F", birthdate=birth), day)
    assert read_recording(path, subject="s").person == Person(None, "female")


@pytest.mark.parametrize(
    ("patient", "expected"),
    [
        ("X F X Female_33yr", (33, "female")),  # Sleep-EDF
        ("X M X Male_8yr", (8, "male")),
        ("aaaaaaju M 01-JAN-1961 aaaaaaju Age:58", (58, "male")),  # TUH
        ("aaaaaaju F 01-JAN-1961 aaaaaaju Age:999", (None, "female")),
        ("DatabaseSpindles, excerpt3, man - 28/03/1957 - 2003-1085", (63.1, "male")),
        ("DatabaseSpindles, excerpt4, woman - 28/13/1957 - 2003-1085", (None, "female")),
        ("MCH-0234567 F 02-MAY-1951 Haagse_Harry", (69.0, "female")),
        ("x m 2-may-1951 y", (69.0, "male")),
        ("X F 31-FEB-1951 X", (None, "female")),
        ("X F 02-MAI-1951 X", (None, "female")),
        ("X X X X", (None, "")),
        ("M X X", (None, "")),  # Nox: the code is missing, M is not a sex's place
        ("Smith M aged 47", (None, "")),
        ("Female 33", (None, "")),
        ("X F", (None, "")),
        ("", (None, "")),
    ],
)
def test_local_patient_identifications(patient, expected):
    assert of_edf(patient, START) == Person(*expected)


def test_no_start_no_age():
    assert of_edf("X F 02-MAY-1951 X", None) == Person(None, "female")
    assert age_at(None, START) is None


@pytest.mark.parametrize(
    ("said", "age"),
    [("74", 74), (" 74.5 ", 74.5), ("74,5", 74.5), ("33yr", 33), ("33 years", 33), (0, 0), (61, 61)]
    + [(120, 120), (121, None), (300, None), ("-1", None), ("nan", None), (float("nan"), None)]
    + [("90+", None), ("6 months", None), ("n/a", None), ("", None), ("1e1", None)],
)
def test_what_is_an_age(said, age):
    assert age_of(said) == age


@pytest.mark.parametrize(
    ("said", "sex"),
    [("F", "female"), ("Female", "female"), (" m ", "male"), ("MALE", "male"), ("woman", "female")]
    + [("0", ""), ("1", ""), (1, ""), ("other", ""), ("X", ""), ("Unknown", ""), ("", "")],
)
def test_what_is_a_sex(said, sex):
    assert sex_of(said) == sex


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # wfdb's, of pandas
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["#Age: 74", "#Sex: Male", "#Dx: 426783006"], (74, "male")),  # CinC 2020, 2021
        (["# age: 81", "# sex: female", "# ECG date: 01/10/1990"], (81, "female")),  # PTB
        (["#<age>: 47 <sex>: M <diagnoses>: x"], (47, "male")),
        (["# <age>: 47", "# <sex>: F"], (47, "female")),
        (["# Age: NaN", "# Sex: Unknown"], (None, "")),
        (["# Age: 300", "# Gender: F"], (None, "female")),
        (["# Age: 5 months"], (None, "")),
        (["# Age at onset: 12", "# Stage: 3", "# 69 M 1085 1629 x1"], (None, "")),
        (["# Age: 74", "# Age: 75"], (74, "")),
        ([], (None, "")),
    ],
)
def test_comments_of_a_wfdb_header(tmp_path: Path, lines, expected):
    import wfdb

    x = np.random.default_rng(0).integers(-500, 500, (500, 1))
    wfdb.wrsamp(
        "a", 100, ["mV"], ["II"], d_signal=x, fmt=["16"], adc_gain=[200.0], baseline=[0],
        write_dir=str(tmp_path),
    )  # fmt: skip
    header = tmp_path / "a.hea"
    header.write_text(header.read_text() + "".join(f"{line}\n" for line in lines))
    assert read_recording(header, subject="s").person == Person(*expected)
    assert of_comments(wfdb.rdheader(str(tmp_path / "a")).comments) == Person(*expected)


@pytest.mark.parametrize("byte", [0, 1, 2, 0b10001])  # at 3 MNE stumbles
@pytest.mark.parametrize("born", [None, datetime.datetime(1971, 8, 3)])
def test_gdf_2_says_what_mne_reads(tmp_path: Path, byte: int, born):
    import mne

    path = tmp_path / "a.gdf"
    gdf(path, [("C3", 100, 3)])
    raw = bytearray(path.read_bytes())
    raw[87] = byte
    if born:
        days = (born - datetime.datetime(1, 1, 1)).days + 367
        raw[176:184] = np.array(days << 32, "<u8").tobytes()
    path.write_bytes(raw)
    person = read_recording(path, subject="s").person
    # What MNE reads; its info loses the sex, which it expects to be F or M there.
    theirs = mne.io.edf.edf._read_gdf_header(path, exclude=())["subject_info"]
    assert person.sex == theirs["sex"].lower().replace("unknown", "")
    if born:
        assert theirs["birthday"].date() == born.date()
        assert person.age == pytest.approx((GDF_START - born).days / 365.25, abs=0.06)
    else:
        assert person.age is None


@pytest.mark.real
def test_real_headers(shared: Path):
    data = shared / "data"
    found = {
        name: read_recording(data / name, subject="s").person
        for name in (
            "psg_dreams/excerpt3.edf",
            "psg_nox_2min/subject1.edf",
            "formats/edfplus/subsecond_starttime.edf",
            "formats/edfplus/chtypes_edf.edf",
            "formats/bdf/multiple_annotation_chans.bdf",
            "archives/g12ec/georgia/E07503.hea",
            "archives/cpsc2018/cpsc_2018/A0012.hea",
            "formats/wfdb/s0010_re.hea",
        )
    }
    assert [(p.age, p.sex) for p in found.values()] == [
        (46.6, "male"),
        (None, ""),
        (22.0, "female"),
        (30.4, ""),
        (None, "female"),  # born on the first of January 2000
        (77.0, "female"),
        (74.0, "male"),
        (81.0, "female"),
    ]
    hypnogram = open_edf(data / "formats" / "edfplus" / "SC4001EC-Hypnogram.edf")
    assert of_edf(hypnogram.patient, hypnogram.start) == Person(33.0, "female")
