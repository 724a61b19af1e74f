"""Small HDF5 recordings of the generic layout: a dataset a signal."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np


def write_generic(path: Path, sfreq: float = 64.0, size: int = 640) -> np.ndarray:
    """C3-M2 at `sfreq`, an ECG, two signals without use, arousals; returns C3-M2 in mV."""
    values = np.random.default_rng(1).normal(size=size) * 40
    with h5py.File(path, "w") as file:
        file.attrs["start"] = "2020-05-06T23:00:00"
        eeg = file.create_dataset("signals/c3", data=values, compression="gzip")
        eeg.attrs["fs"], eeg.attrs["label"], eeg.attrs["unit"] = sfreq, "C3-M2", "mV"
        file["ECG"] = np.arange(100, dtype=np.int16)
        file["ECG"].attrs["sampling_rate"] = 10
        file["EMG"] = values
        file["table"] = np.zeros((3, 3))
        file["table"].attrs["fs"] = 1.0
        file["arousal/start"], file["arousal/duration"] = [5.0, 1.0], [2.0, 3.0]
    return values
