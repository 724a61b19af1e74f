"""The stored record: one clip of one recording, every channel, int16, self-describing.

It imports neither jax nor TFDS, so that any process of any cluster can read and write it; the TFDS
features that store a record are in `data_builders/engine/record_features.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from sleepfm_jax.signals import dsp


@dataclasses.dataclass
class Record:
    """One clip of one recording: C channels, T samples, E sleep_epochs, K classes, G gaps.

    The physical samples are `(signals * scale) * sd + mean`, in `units` (µV where the file gave a
    voltage). A channel without any spread over the recording has sd 0 and is one long gap.
    """

    signals: np.ndarray  # int16 [C, T]; 0 in gaps
    scale: np.ndarray  # float32 [C], of this clip
    mean: np.ndarray  # float32 [C], of the recording
    sd: np.ndarray  # float32 [C], of the recording
    channel_labels: list[str]  # as in the file
    channel_names: list[str]  # as the field writes them
    units: list[str]
    modalities: list[str]
    native_sfreq: np.ndarray  # float32 [C], Hz in the file
    positions: np.ndarray  # float32 [C, 3], unit sphere; NaN where there is no electrode
    gaps: (
        np.ndarray
    )  # int32 [G, 3]: channel, start, stop of invalid samples, the padded tail included
    num_samples: int  # samples of the recording in this clip; the rest of T is padding
    stages: np.ndarray  # int32 [E], see `stages_of_clip`
    labels: np.ndarray  # float32 [K]; NaN where unknown
    subject: str
    recording: str
    clip: int  # number of this clip in its recording
    start: float  # s from the recording's start

    def physical(self) -> np.ndarray:
        """Samples in physical units, float32 [C, T]; 0-quantised gaps come out as the mean."""
        z = dsp.dequantise(self.signals, self.scale)  # [C, T]
        return (z * self.sd[:, None] + self.mean[:, None]).astype(np.float32)

    def valid(self) -> np.ndarray:
        """True where a sample was recorded, bool [C, T]."""
        return dsp.gaps_to_mask(self.gaps, *self.signals.shape)


_TEXTS = ("subject", "recording")
_TEXT_LISTS = ("channel_labels", "channel_names", "units", "modalities")
_NUMBERS = {"num_samples": np.int32, "clip": np.int32, "start": np.float64}
ARRAYS: dict[str, tuple[Any, int]] = {
    "signals": (np.int16, 2),
    "scale": (np.float32, 1),
    "mean": (np.float32, 1),
    "sd": (np.float32, 1),
    "native_sfreq": (np.float32, 1),
    "positions": (np.float32, 2),
    "gaps": (np.int32, 2),
    "stages": (np.int32, 1),
    "labels": (np.float32, 1),
}
"""dtype and rank of each array of a record."""


def encode(record: Record) -> dict[str, Any]:
    """The record as the plain dictionary that TFDS's `features.encode_example` takes."""
    example: dict[str, Any] = {name: getattr(record, name) for name in _TEXTS + _TEXT_LISTS}
    for name, dtype in _NUMBERS.items():
        example[name] = dtype(getattr(record, name))
    for name, (dtype, _) in ARRAYS.items():
        example[name] = np.ascontiguousarray(getattr(record, name), dtype)
    return example


def decode(example: Mapping[str, Any]) -> Record:
    """The inverse of `encode`, from a dictionary as TFDS reads it (text as bytes or as str)."""
    fields: dict[str, Any] = {name: _text(example[name]) for name in _TEXTS}
    fields |= {name: [_text(t) for t in example[name]] for name in _TEXT_LISTS}
    fields |= {name: dtype(example[name]).item() for name, dtype in _NUMBERS.items()}
    fields |= {name: np.asarray(example[name], dtype) for name, (dtype, _) in ARRAYS.items()}
    return Record(**fields)


def _text(value: bytes | str) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
