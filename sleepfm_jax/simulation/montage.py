"""What each simulated laboratory records: labels, sampling rates, units, and what is missing."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import numpy as np


@dataclasses.dataclass(frozen=True)
class ChannelPlan:
    """One channel to be written. `kind` names what it measures, `site` the electrode for EEG."""

    label: str
    kind: str
    sfreq: int
    unit: str
    site: str = ""


#: The electrodes' rough place on the head: (to the right, to the front, up), for topographies only.
SITES = {
    "Fp1": (-0.3, 0.95, 0.0), "Fp2": (0.3, 0.95, 0.0), "F7": (-0.8, 0.6, 0.0),
    "F8": (0.8, 0.6, 0.0), "F3": (-0.5, 0.65, 0.55), "F4": (0.5, 0.65, 0.55),
    "Fz": (0.0, 0.7, 0.7), "T7": (-1.0, 0.0, 0.0), "T8": (1.0, 0.0, 0.0),
    "C3": (-0.7, 0.0, 0.7), "C4": (0.7, 0.0, 0.7), "Cz": (0.0, 0.0, 1.0),
    "P7": (-0.8, -0.6, 0.0), "P8": (0.8, -0.6, 0.0), "P3": (-0.5, -0.65, 0.55),
    "P4": (0.5, -0.65, 0.55), "Pz": (0.0, -0.7, 0.7), "O1": (-0.3, -0.95, 0.0),
    "O2": (0.3, -0.95, 0.0), "E1": (-0.6, 1.0, -0.3), "E2": (0.6, 1.0, -0.3),
}  # fmt: skip

# Each style is how one kind of laboratory names things: (label, kind, site).
STYLES = (
    (  # NSRR-like, AASM names
        ("F3-M2", "eeg", "F3"), ("F4-M1", "eeg", "F4"), ("C3-M2", "eeg", "C3"),
        ("C4-M1", "eeg", "C4"), ("O1-M2", "eeg", "O1"), ("O2-M1", "eeg", "O2"),
        ("E1-M2", "eog_left", "E1"), ("E2-M2", "eog_right", "E2"), ("Chin", "chin", ""),
        ("Leg L", "leg_left", ""), ("Leg R", "leg_right", ""), ("ECG", "ecg", ""),
        ("Thor", "thorax", ""), ("Abdo", "abdomen", ""), ("Airflow", "airflow", ""),
        ("Nasal Pressure", "nasal", ""), ("Snore", "snore", ""), ("SpO2", "oxygen", ""),
        ("Pleth", "pleth", ""),
    ),
    (  # older research montage, mastoids as A1 and A2
        ("EEG C3-A2", "eeg", "C3"), ("EEG C4-A1", "eeg", "C4"), ("EEG O1-A2", "eeg", "O1"),
        ("EEG O2-A1", "eeg", "O2"), ("EOG(L)", "eog_left", "E1"), ("EOG(R)", "eog_right", "E2"),
        ("EMG", "chin", ""), ("ECG L-ECG R", "ecg", ""), ("THOR RES", "thorax", ""),
        ("ABDO RES", "abdomen", ""), ("AIRFLOW", "airflow", ""), ("SaO2", "oxygen", ""),
        ("L Leg", "leg_left", ""), ("R Leg", "leg_right", ""),
    ),
    (  # clinic export
        ("F3", "eeg", "F3"), ("C3", "eeg", "C3"), ("C4", "eeg", "C4"), ("Cz", "eeg", "Cz"),
        ("O2", "eeg", "O2"), ("LOC", "eog_left", "E1"), ("ROC", "eog_right", "E2"),
        ("EMG submental", "chin", ""), ("EKG", "ecg", ""), ("Chest", "thorax", ""),
        ("ABD", "abdomen", ""), ("Flow", "airflow", ""), ("PTAF", "nasal", ""),
        ("SNORE", "snore", ""), ("SAO2", "oxygen", ""), ("PLETH", "pleth", ""),
        ("LLEG", "leg_left", ""), ("RLEG", "leg_right", ""),
    ),
    (  # EDF+ standard texts
        ("EEG F4-M1", "eeg", "F4"), ("EEG C4-M1", "eeg", "C4"), ("EEG O2-M1", "eeg", "O2"),
        ("EEG C3-M2", "eeg", "C3"), ("EOG E1-M2", "eog_left", "E1"),
        ("EOG E2-M2", "eog_right", "E2"), ("EMG Chin", "chin", ""), ("ECG II", "ecg", ""),
        ("THOR EFFORT", "thorax", ""), ("ABDO EFFORT", "abdomen", ""),
        ("Nasal Pressure", "nasal", ""), ("SpO2", "oxygen", ""), ("Snore", "snore", ""),
        ("EMG Leg L", "leg_left", ""), ("EMG Leg R", "leg_right", ""),
    ),
)  # fmt: skip

_MISSING_MODALITY = 0.10  # chance that a person has no ECG at all, no EMG, or no breathing channel
_EMG = ("chin", "leg_left", "leg_right")
_RESPIRATION = ("thorax", "abdomen", "airflow", "nasal", "snore", "oxygen", "pleth")
#: What a signal of a night is called (`signals.night_layout`) and what measures it.
SIGNAL_KINDS = {
    "ABD": "abdomen", "ECG": "ecg", "EOG-L": "eog_left", "EOG-R": "eog_right", "PPG": "pleth",
    "THX": "thorax",
}  # fmt: skip


def draw_montage(
    rng: np.random.Generator, signals: Collection[str] = ()
) -> tuple[ChannelPlan, ...]:
    """Channels of one recording: always EEG; about one person in ten misses ECG, one EMG.

    With `signals`, of `SIGNAL_KINDS`, there are these and nothing else, in everybody: named as in
    the laboratory that was drawn, or, where it has no such channel, as in the first.
    """
    style = STYLES[rng.integers(len(STYLES))]
    eeg_rate = int(rng.choice([100, 128, 200, 256]))
    rates = {
        "eeg": eeg_rate,
        "eog_left": eeg_rate if rng.random() < 0.7 else 128,
        "chin": int(rng.choice([128, 200, 256])),
        "leg_left": int(rng.choice([64, 128, 200])),
        "ecg": int(rng.choice([128, 200, 256, 512])),
        "thorax": int(rng.choice([10, 16, 32])),
        "airflow": int(rng.choice([16, 32])),
        "snore": int(rng.choice([32, 64, 128])),
        "oxygen": int(rng.choice([1, 2, 4])),
        "pleth": int(rng.choice([64, 128])),
    }
    same = {
        "eog_right": "eog_left",
        "leg_right": "leg_left",
        "abdomen": "thorax",
        "nasal": "airflow",
    }
    voltage = str(rng.choice(["uV", "uV", "uV", "mV", "V"]))
    units = {
        "ecg": str(rng.choice(["mV", "mV", "uV", "V"])),
        "oxygen": "%",
        "pleth": "",
        "nasal": str(rng.choice(["V", "cmH2O"])),
        "snore": str(rng.choice(["V", "uV"])),
    }
    belts = str(rng.choice(["V", "uV", "mV", ""]))
    units.update(thorax=belts, abdomen=belts, airflow=belts)
    wanted = {SIGNAL_KINDS[name] for name in signals}
    if wanted:
        named = {kind for _, kind, _ in style}
        more = [channel for channel in STYLES[0] if channel[1] not in named]
        return tuple(
            ChannelPlan(label, kind, rates[same.get(kind, kind)], units.get(kind, voltage), site)
            for label, kind, site in (*style, *more)
            if kind in wanted
        )
    absent = set()
    if rng.random() < _MISSING_MODALITY:
        absent.update(_EMG)
    if rng.random() < _MISSING_MODALITY:
        absent.add("ecg")
    if rng.random() < 0.7 * _MISSING_MODALITY:
        absent.update(_RESPIRATION)
    for kind in ("snore", "nasal", "airflow", "pleth", "abdomen", "oxygen"):  # a lost sensor
        if rng.random() < 0.12:
            absent.add(kind)
    if rng.random() < 0.25:
        absent.update(("leg_left", "leg_right"))
    lost_electrode = int(rng.integers(3)) if rng.random() < 0.15 else -1
    plan = []
    eeg_seen = 0
    for label, kind, site in style:
        if kind == "eeg":
            eeg_seen += 1
            if eeg_seen - 1 == lost_electrode:
                continue
        if kind in absent:
            continue
        plan.append(
            ChannelPlan(label, kind, rates[same.get(kind, kind)], units.get(kind, voltage), site)
        )
    return tuple(plan)
