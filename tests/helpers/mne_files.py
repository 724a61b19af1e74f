"""Writes small BrainVision and EEGLAB recordings, from their formats' descriptions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.io

RESOLUTION = 0.1


def write_brainvision(
    path: Path,
    signals: dict[str, tuple[str, np.ndarray]],  # {label: (unit, values [T])}
    sfreq: float,
    markers: Sequence[tuple[str, str, int, int]] = (),  # type, text, first sample from 1, samples
    orientation: str = "MULTIPLEXED",
    binary: str = "INT_16",
) -> dict[str, np.ndarray]:
    """Writes path (.vhdr), .eeg and .vmrk; returns the values as the file holds them."""
    resolution = RESOLUTION if binary == "INT_16" else 1
    header = f"""Brain Vision Data Exchange Header File Version 1.0

[Common Infos]
Codepage=UTF-8
DataFile={path.stem}.eeg
MarkerFile={path.stem}.vmrk
DataFormat=BINARY
DataOrientation={orientation}
NumberOfChannels={len(signals)}
SamplingInterval={1e6 / sfreq:g}

[Binary Infos]
BinaryFormat={binary}

[Channel Infos]
"""
    for i, (label, (unit, _)) in enumerate(signals.items(), 1):
        header += f"Ch{i}={label},,{resolution},{unit}\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(header, encoding="utf-8")
    values = np.stack([values for _, values in signals.values()])  # [C, T]
    if binary == "INT_16":
        stored = np.clip(np.round(values / resolution), -32768, 32767).astype("<i2")
    else:
        stored = values.astype("<f4")
    (stored.T if orientation == "MULTIPLEXED" else stored).tofile(path.with_suffix(".eeg"))
    marks = f"""Brain Vision Data Exchange Marker File, Version 1.0

[Common Infos]
Codepage=UTF-8
DataFile={path.stem}.eeg

[Marker Infos]
Mk1=New Segment,,1,1,0,20200101230000000000
"""
    for i, (kind, text, first, length) in enumerate(markers, 2):
        marks += f"Mk{i}={kind},{text},{first},{length},0\n"
    path.with_suffix(".vmrk").write_text(marks, encoding="utf-8")
    return dict(zip(signals, stored * resolution))


def write_eeglab(
    path: Path,
    signals: dict[str, np.ndarray],
    sfreq: float,
    events: Sequence[tuple[str, float, float]] = (),  # type, first sample from 1, samples
    inside: bool = False,  # the samples in the .set itself
    **fields: object,
) -> None:
    """Writes path (.set) and, unless `inside`, .fdt."""
    data = np.stack(list(signals.values())).astype("<f4")  # [C, T]
    table = np.empty(len(events), [("type", object), ("latency", object), ("duration", object)])
    for i, event in enumerate(events):
        table[i] = event
    places = np.array([(label,) for label in signals], [("labels", object)])
    eeg = {
        "setname": "test",
        "nbchan": float(len(data)),
        "pnts": float(data.shape[1]),
        "trials": 1.0,
        "srate": float(sfreq),
        "xmin": 0.0,
        "xmax": (data.shape[1] - 1) / sfreq,
        "data": data if inside else path.with_suffix(".fdt").name,
        "chanlocs": places,
        "event": table,
        "comments": "",
        "ref": "common",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, {"EEG": eeg | fields})
    if not inside:
        data.T.tofile(path.with_suffix(".fdt"))
