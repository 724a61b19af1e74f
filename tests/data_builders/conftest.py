"""Small EDF files for the builders' tests."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import edfio
import numpy as np
import pytest

LABELS = {"EEG C3-M2": "uV", "ECG": "mV", "Chin EMG": "uV", "Thorax": "uV"}
START = datetime.datetime(2020, 1, 1, 23, 0, 0)


@pytest.fixture
def write_edf() -> Callable[..., dict[str, np.ndarray]]:
    """write_edf(path, seconds=70, sfreq=64, labels={label: unit}, seed=0): samples by label."""

    def write(
        path: Path,
        seconds: int = 70,
        sfreq: int = 64,
        labels: dict[str, str] | list[tuple[str, str]] = LABELS,
        seed: int = 0,
        flat: str | None = None,
    ) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        pairs = list(labels.items()) if isinstance(labels, dict) else labels
        out, channels = {}, []
        for label, unit in pairs:
            x = rng.standard_normal(seconds * sfreq) * 20
            if label == flat:
                x[:] = 0
            out[label] = x
            channels.append(
                edfio.EdfSignal(
                    x, sfreq, label=label, physical_dimension=unit, physical_range=(-200, 200)
                )
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        edf = edfio.Edf(
            channels, starttime=START.time(), recording=_recording(), data_record_duration=1
        )
        edf.write(path)
        return out

    return write


@pytest.fixture
def write_hypnogram() -> Callable[..., None]:
    """write_hypnogram(path, ["W", "N2", ...]): an EDF+ annotations file, 30 s a stage."""

    def write(path: Path, stages: list[str]) -> None:
        annotations = [
            edfio.EdfAnnotation(30 * i, 30, f"Sleep stage {s}") for i, s in enumerate(stages)
        ]
        edf = edfio.Edf([], annotations=annotations, starttime=START.time(), recording=_recording())
        edf.write(path)

    return write


def _recording() -> edfio.Recording:
    return edfio.Recording(startdate=START.date())
