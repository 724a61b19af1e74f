"""The simulated tasks awake: what tells the classes apart, and what must not."""

from __future__ import annotations

import csv

import edfio
import numpy as np
from scipy import signal

from sleepfm_jax.signals import identify
from sleepfm_jax.simulation import cohorts
from sleepfm_jax.simulation.body import awake

SEED = 3


def _rows(table):
    with open(table, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _band(waves, sfreq, low, high):
    frequencies, power = signal.welch(waves, sfreq, nperseg=4 * sfreq)
    return power[..., (frequencies >= low) & (frequencies < high)].sum(axis=-1)


def test_wake_eeg_classes_are_mirror_images(tmp_path):
    table = cohorts.write_wake_eeg(tmp_path / "w", subjects=16, seed=SEED, seconds=30.0, sfreq=128)
    rows = _rows(table)
    assert sorted({row["label"] for row in rows}) == ["left", "right"]
    sides, means, labels = [], [], []
    for row in rows:
        edf = edfio.read_edf(table.parent / row["path"])
        names = [identify(s.label).name for s in edf.signals]
        assert set(names) == set(awake.TEN_TWENTY)
        waves = np.stack([s.data for s in edf.signals])
        slow = np.log(_band(waves, 128, 1, 8)) - np.log(_band(waves, 128, 8, 13))
        left = np.isin(names, ["F7", "F3", "T7", "C3", "P7", "P3", "O1"])
        right = np.isin(names, ["F8", "F4", "T8", "C4", "P8", "P4", "O2"])
        sides.append(slow[left].mean() - slow[right].mean())
        means.append(slow.mean())
        labels.append(row["label"] == "left")
    sides, means, labels = map(np.array, (sides, means, labels))

    def area(score):  # of the ROC curve
        return np.mean(score[labels][:, None] > score[~labels][None, :])

    assert area(sides) > 0.85
    assert abs(area(means) - 0.5) < 0.2


def test_ecg_classes_show_in_the_leads(tmp_path):
    table = cohorts.write_ecg(tmp_path / "e", subjects=60, seed=SEED, sfreq=250)
    rate, irregular, wide = {}, {}, {}
    found = set()
    for row in _rows(table):
        found.update(row["label"].split("|"))
        edf = edfio.read_edf(table.parent / row["path"])
        assert tuple(s.label for s in edf.signals) == awake.ECG_LEADS
        unit = 1.0 if edf.signals[0].physical_dimension == "mV" else 1e-3
        leads = np.stack([s.data for s in edf.signals]) * unit
        step = max(
            (s.physical_range[1] - s.physical_range[0]) / 65534 * unit for s in edf.signals[:3]
        )
        assert np.abs(leads[0] + leads[2] - leads[1]).max() <= 2.1 * step  # Einthoven
        sos = signal.butter(2, [5, 30], "bandpass", fs=250, output="sos")
        energy = np.sqrt(np.sum(signal.sosfiltfilt(sos, leads, axis=-1) ** 2, axis=0))
        peaks, _ = signal.find_peaks(energy, height=0.45 * energy.max(), distance=75)
        rr = np.diff(peaks) / 250
        if "|" not in row["label"] and len(rr) > 3:
            kind = row["label"]
            rate.setdefault(kind, []).append(60 / rr.mean())
            irregular.setdefault(kind, []).append(rr.std() / rr.mean())
            v1 = leads[6] - np.median(leads[6])
            late = [v1[p + 10 : p + 30].mean() for p in peaks if p + 30 < len(v1)]
            wide.setdefault(kind, []).append(np.median(late))
    assert found == set(awake.ECG_CLASSES)
    median = {k: np.median(v) for k, v in rate.items()}
    assert median["BRADY"] < 60 < median["NORM"]
    assert np.median(irregular["AF"]) > 3 * np.median(irregular["NORM"])
    assert np.median(wide["RBBB"]) > 0.1 + np.median(wide["NORM"])
