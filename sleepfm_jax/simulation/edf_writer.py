"""Simulated signals to EDF+ files: 16 bits, sensible ranges, nothing clipped, no wall clock."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import os
from collections.abc import Sequence
from pathlib import Path

import edfio
import numpy as np

from sleepfm_jax.signals import SLEEP_EPOCH_SECONDS, STAGES

_STAGE_TEXTS = tuple(f"Sleep stage {'R' if stage == 'REM' else stage}" for stage in STAGES)
_VOLTS = {"uV": 1.0, "mV": 1e-3, "V": 1e-6}
_DIGITAL = 32767
_SMALLEST_RANGE = 1e-4  # in any unit: less does not fit the 8 characters of EDF's field


@dataclasses.dataclass
class Trace:
    """One signal ready to be written: int16 [T] and what its numbers mean."""

    label: str
    sfreq: float
    unit: str
    digital: np.ndarray
    physical_range: tuple[float, float]
    transducer: str = ""


def trace(label: str, sfreq: float, unit: str, values: np.ndarray, transducer: str = "") -> Trace:
    """Quantise `values` (float32 [T], in `unit`) over the narrowest usual range that holds them.

    Ranges step by 1-2-5, as amplifier settings do, so the range says nothing finer about the data.
    """
    peak = max(float(values.max()), -float(values.min()), _SMALLEST_RANGE)
    decade = 10.0 ** np.floor(np.log10(peak))
    limit = next(step * decade for step in (1.0, 2.0, 5.0, 10.0, 20.0) if peak <= step * decade)
    limit = float(f"{limit:.6g}")
    digital = np.multiply(values, np.float32(_DIGITAL / limit), dtype=np.float32)
    np.rint(digital, out=digital)
    low = 0.0 if unit == "%" else -limit  # a share is never negative
    return Trace(label, sfreq, unit, digital.astype(np.int16), (low, limit), transducer)


def from_microvolts(values: np.ndarray, unit: str) -> np.ndarray:
    """float32 [T] in uV -> in `unit` (uV, mV or V)."""
    return values if unit == "uV" else values * np.float32(_VOLTS[unit])


def write_edf(
    path: Path,
    traces: list[Trace],
    *,
    subject: str,
    start: datetime.datetime,
    plus: bool = True,
    record_seconds: int = 1,
) -> None:
    """Write one EDF file whole or not at all: it appears under its name only once complete.

    Args:
      plus: EDF+, with an annotation at the start; plain EDF otherwise.
      record_seconds: length of a data record.
    """
    signals = [
        edfio.EdfSignal.from_digital(
            item.digital,
            item.sfreq,
            label=item.label,
            transducer_type=item.transducer,
            physical_dimension=item.unit,
            physical_range=item.physical_range,
            digital_range=(0 if item.physical_range[0] == 0.0 else -_DIGITAL, _DIGITAL),
        )
        for item in traces
    ]
    edf = edfio.Edf(
        signals,
        patient=edfio.Patient(code=subject),
        recording=edfio.Recording(startdate=start.date(), equipment_code="simulated"),
        starttime=start.time(),
        data_record_duration=record_seconds,
        annotations=[edfio.EdfAnnotation(0.0, None, "Recording starts")] if plus else None,
    )
    _write_whole(edf, path)


def write_hypnogram(
    path: Path, stages: np.ndarray, *, subject: str, start: datetime.datetime
) -> None:
    """Write stages (int8 [E], -1 unscored) as EDF+ annotations, one a run of equal epochs."""
    texts = [_STAGE_TEXTS[stage] if stage >= 0 else "Sleep stage ?" for stage in stages]
    write_annotations(path, runs(texts), subject=subject, start=start)


def runs(texts: Sequence[str]) -> list[tuple[float, float, str]]:
    """(onset, duration, text) in seconds of each run of equal texts, one a sleep_epoch."""
    found = []
    epoch = 0
    for text, group in itertools.groupby(texts):
        length = len(list(group))
        found.append(
            (float(epoch * SLEEP_EPOCH_SECONDS), float(length * SLEEP_EPOCH_SECONDS), text)
        )
        epoch += length
    return found


def write_annotations(
    path: Path,
    annotations: Sequence[tuple[float, float, str]],
    *,
    subject: str,
    start: datetime.datetime,
) -> None:
    """Write an EDF+ file of nothing but annotations: (onset, duration, text), in seconds."""
    edf = edfio.Edf(
        [],
        patient=edfio.Patient(code=subject),
        recording=edfio.Recording(startdate=start.date(), equipment_code="simulated"),
        starttime=start.time(),
        annotations=[edfio.EdfAnnotation(*annotation) for annotation in annotations],
    )
    _write_whole(edf, path)


def _write_whole(edf: edfio.Edf, path: Path) -> None:
    part = path.with_name(path.name + ".part")
    edf.write(part)
    os.replace(part, path)
