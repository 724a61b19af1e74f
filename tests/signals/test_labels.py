"""Channel labels: modality and canonical name."""

from __future__ import annotations

import pytest

from sleepfm_jax.signals import (
    MODALITIES,
    OTHER,
    identify,
)
from sleepfm_jax.signals.labels import is_eye, sensor_word

# label in the file -> canonical name, by modality
EXPECTED = {
    "bas": {
        # prefixes, suffixes, dots, case
        "EEG FP1-REF": "Fp1",
        "EEG Fp1-LE": "Fp1",
        "EEG FP1-Ref": "Fp1",
        "EEG T3 - LE": "T7",
        "EEG F7-AV": "F7",
        "Fz_AVG": "Fz",
        "EEG C3..": "C3",
        "C3..": "C3",
        "Fc5.": "FC5",
        "eeg cz": "Cz",
        "POL T1": "T1",
        "EEG A1-Ref": "M1",
        "AFF1H": "AFF1h",
        # derivations keep both ends, in the file's order
        "C3-M2": "C3-M2",
        "C3_M2": "C3-M2",
        "C3–M2": "C3-M2",
        "M2:C3": "M2-C3",
        "FP1:F7": "Fp1-F7",
        "EEG FP1-F7": "Fp1-F7",
        "C3/A2": "C3-M2",
        "C3A2": "C3-M2",
        "M1M2": "M1-M2",
        "EEG A2-A1": "M2-M1",
        "EEG Fpz-Cz": "Fpz-Cz",
        "T8-P8-0": "T8-P8",
        "01-A2": "O1-M2",
        "CZ2-A1": "Cz-M1",
        "T5-O1": "P7-O1",
        # linked references are references
        "F3:M1+M2": "F3",
        "O1:M1:M2": "O1",
        "FZ-A1A2": "Fz",
        # eyes
        "EOG(L)": "E1",
        "EOG-L": "E1",
        "EOGl": "E1",
        "E1": "E1",
        "LOC": "E1",
        "EOG left": "E1",
        "E1 (LEOG)": "E1",
        "ROC": "E2",
        "E1-M2": "E1-M2",
        "E2M1": "E2-M1",
        "EOG LOC-A2": "E1-M2",
        "LOC-ROC": "E1-E2",
        "EOG1-A1": "EOG1-M1",
        "EOG horizontal": "EOG H",
        # no electrode in the label
        "EEG": "EEG",
        "EEG1": "EEG1",
        "EEG(sec)": "EEG2",
        "EEG 2": "EEG2",
        # two devices of one night
        "PSG_F3": "F3",
        "PSG_EOG": "EOG",
        "PSG_EOGL": "E1",
        "psg c3-m2": "C3-M2",
        "HB_AF7": "AF7",
    },
    "ecg": {
        "ECG": "ECG",
        "EKG": "ECG",
        "ECG1": "ECG",
        "ECG L": "ECG",
        "ECGL": "ECG",
        "ECG L-ECG R": "ECG",
        "ECG1-ECG2": "ECG",
        "ECG ECG": "ECG",
        "EEG EKG1-REF": "ECG",
        "ECG R": "ECG R",
        "ECG2": "ECG2",
        "EKG #2": "ECG2",
        "I": "I",
        "II,": "II",
        "III": "III",
        "AVR": "aVR",
        "aVF": "aVF",
        "V1": "V1",
        "ECG V1": "V1",
        "ECG II": "II",
        "Lead II": "II",
        "ECG I2": "ECG I2",
        "ECG IIHF": "ECG IIHF",
        "vx": "FRANK X",
    },
    "resp": {
        "Abdo": "ABD",
        "ABDO RES": "ABD",
        "ABDO EFFORT": "ABD",
        "VAB": "ABD",
        "RIP Abdomen": "ABD",
        "Thor": "THX",
        "THOR RES": "THX",
        "THOR EFFORT": "THX",
        "Chest": "THX",
        "RIB_CAGE": "THX",
        "VTH": "THX",
        "Abdomen CaL": "ABD CALIBRATED",
        "Inductance Thora": "THX INDUCTANCE",
        "RIP Sum": "RIP SUM",
        "NAF1": "AIRFLOW",
        "NEW AIR": "AIRFLOW",
        "Airlfow": "AIRFLOW",
        "AIRFLOW-0": "AIRFLOW",
        "Resp oro-nasal": "AIRFLOW",
        "NASAL PRES": "NASAL PRESSURE",
        "nas_pres": "NASAL PRESSURE",
        "Pres": "NASAL PRESSURE",
        "Cannula Flow": "NASAL PRESSURE",
        "Therm": "THERMISTOR",
        "THER": "THERMISTOR",
        "PSG_THER": "THERMISTOR",
        "PSG_THOR": "THX",
        "PSG_ABD": "ABD",
        "PSG_CAN": "NASAL PRESSURE",
        "PSG_SPO2": "SpO2",
        "HB_PULSE": "PULSE",
        "Nasal/Oral Therm": "THERMISTOR",
        "PHONO": "SNORE",
        "Snore": "SNORE",
        "SaO2": "SpO2",
        "SA02nonin": "SpO2",
        "Saturation": "SpO2",
        "SpO2 B-B": "SpO2 BEAT",
        "PR": "PULSE RATE",
        "Pulse": "PULSE",
        "H.R.": "HEART RATE",
        "Heart Rate": "HEART RATE",
        "Pleth": "PPG",
        "PlethWV": "PPG",
        "PletMasimo": "PPG",
        "PlethMasino": "PPG",
        "PLETHMASIMO": "PPG",
        "Pulse Waveform": "PPG",
        "EtCO2": "CO2",
        "ETC02": "CO2",
        "Flow Limitation": "FLOW LIMITATION",
        "RESP,": "RESP",
    },
    "emg": {
        "EMG": "EMG",
        "EMG1": "EMG1",
        "EMG submental": "CHIN",
        "Chin EMG": "CHIN",
        "PSG_EMG": "EMG",
        "chin": "CHIN",
        "Chin1-Chin2": "CHIN1-CHIN2",
        "L Chin-R Chin": "CHIN L-CHIN R",
        "cchin_l": "CHIN C-CHIN L",
        "Left Leg": "LEG L",
        "LEG(R)": "LEG R",
        "Leg/L": "LEG L",
        "LLEG1": "LEG L1",
        "lleg_r": "LEG L-LEG R",
        "Tibialis R": "LEG R",
        "Left Limb": "LEG L",
        "Jambe droite": "LEG R",
        "RIC EMG": "INTERCOSTAL",
        "Right Masseter 1": "MASSETER R1",
        "Masset.": "MASSETER",
        # Nox A1: derivations of the chin electrodes
        "1-2": "CHIN 1-2",
        "1-F": "CHIN 1-F",
        "2-f": "CHIN 2-F",
        "EMG Aux1": "EMG AUX1",
    },
}
UNUSED = [
    *("1", "2", "F", "K", "C3 Impédance", "C3 Imp\ufffddance", "1-2 (Imp)", "Jambe droite Imp"),
    *(
        "POS",
        "Position",
        "PosAngle",
        "Light",
        "Voltage (battery",
        "Volume audio",
        "Audio Volume dB",
    ),
    *("hypnogram", "event_pneumo_aut", "Event marker", "Status", "Trigger", "STI 014"),
    *("X Axis", "acc1", "Elevation", "Activity", "Temp rectal", "OX stat"),
    # TUH and CHB-MIT pseudo-channels, Nihon Kohden's inputs
    *(
        "EEG PHOTIC-REF",
        "EEG 28-REF",
        "EEG 20-REF",
        "IBI",
        "BURSTS",
        "SUPPR",
        "VNS",
        "LUE-RAE",
        "-",
        ".",
    ),
    *("POL E", "POL $A1", "POL DC01", "SaO2 X9"),
    *("HB_1", "HB_1-2", "HB_IMU_1", "PSG_BEAT", "PSG_POS", "PSG", "HB_", "CAN"),
    *("", "   ", "foo", "squarewave", "C3-foo", "foo-M2", "V,", "EKG1-CHIN", "CAP", "EEG V1"),
    "EEG " * 2000,
]


@pytest.mark.parametrize("modality", MODALITIES)
def test_spellings_of_the_archives(modality: str):
    expected = {label: (name, modality) for label, name in EXPECTED[modality].items()}
    found = {label: (identify(label).name, identify(label).modality) for label in expected}
    assert found == expected


def test_what_is_not_a_known_sensor_is_other():
    assert {label: identify(label).modality for label in UNUSED} == dict.fromkeys(UNUSED, OTHER)


def test_an_unknown_label_keeps_its_words():
    assert identify("  Foo   bar.. ").name == "Foo bar"


def test_case_blanks_and_punctuation_do_not_matter():
    for modality, labels in EXPECTED.items():
        for label in labels:
            for variant in (label.upper(), label.lower(), f"  {label} ", f"{label}.", f"{label},"):
                assert identify(variant) == identify(label), (variant, modality)


def test_canonical_names_are_stable():
    """A canonical name identifies itself: what is stored can be looked up again."""
    for labels in EXPECTED.values():
        for label in labels:
            once = identify(label)
            assert identify(once.name) == once, label


@pytest.mark.parametrize(
    ("label", "modality"),
    [
        ("box2_EMG_raw", "emg"),
        ("Box 7 thor.", "resp"),
        ("dev-SpO2 b", "resp"),
        ("x EKG1 y", "ecg"),
        ("x_EOG_y", "bas"),
        ("x_position_y", "other"),
        ("HB_1", None),
        ("EEG_EMG", None),
        ("EKG1-CHIN", "other"),
        ("temgo", None),
        ("", None),
    ],
)
def test_a_word_of_a_label_may_name_its_sensor(label: str, modality: str | None):
    assert sensor_word(label) == modality


def test_names_of_eyes():
    for name, expected in {"E1": 1, "E2-M1": 1, "EOG H": 1, "EOG LEFT": 1, "Fp1": 0, "": 0}.items():
        assert is_eye(name) == bool(expected)


@pytest.mark.real
def test_every_channel_of_the_real_recordings(shared):
    """Counts read off the labels by hand."""
    edfio = pytest.importorskip("edfio")
    from collections import Counter

    def count(path):
        edf = edfio.read_edf(shared / "data" / path, header_encoding="latin-1")
        return Counter(identify(label).modality for label in edf.labels)

    assert count("psg_dreams/excerpt3.edf") == {"bas": 5, "resp": 7, "ecg": 1, "emg": 1, "other": 6}
    assert count("psg_nox_2min/subject1.edf") == {
        "bas": 19,
        "resp": 20,
        "ecg": 1,
        "emg": 5,
        "other": 44,
    }
    assert count("wake_eeg_eegmat/Subject02_1.edf") == {"bas": 20, "ecg": 1}
    assert count("formats/edfplus/eegmmidb_S001R04.edf") == {"bas": 64}
