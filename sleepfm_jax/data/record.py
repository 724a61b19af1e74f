"""The stored record: one clip of one recording, every channel, int16, self-describing.

It imports neither jax nor TFDS, so that any process of any cluster can read and write it; the TFDS
features that store a record are in `data_builders/engine/record_features.py`.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np

from sleepfm_jax.signals import dsp


@dataclasses.dataclass(frozen=True)
class Stored:
    """How one field of a record is stored.

    Attributes:
        dtype: of its numbers; str for text.
        shape: None for an axis of any length; () for one number or one text.
        doc: axes, meaning and unit, as TFDS tells them.
        exact: stored as its bytes. Otherwise a tf.Example holds whole numbers as varint int64
            (int16: twice the size, and slow) and floats in 32 bits.
    """

    dtype: type
    shape: tuple[int | None, ...]
    doc: str
    exact: bool = False

    def encode(self, value: Any) -> Any:
        """A field's value as TFDS's `features.encode_example` takes it."""
        if self.dtype is str:
            return value
        if self.shape == ():
            return self.dtype(value)
        return np.ascontiguousarray(value, self.dtype)

    def decode(self, value: Any) -> Any:
        """The inverse of `encode`, of what TFDS reads (text as bytes or as str)."""
        if self.dtype is str:
            return _text(value) if self.shape == () else [_text(t) for t in value]
        if self.shape == ():
            return self.dtype(value).item()
        return np.asarray(value, self.dtype)


@dataclasses.dataclass
class Record:
    """One clip of one recording: C channels, T samples, E sleep_epochs, K classes, G gaps.

    The physical samples are `(signals * scale) * sd + mean`, in `units` (µV where the file gave a
    voltage). A channel without any spread over the recording has sd 0 and is one long gap.

    This is the one table of a record's fields: a further field is a further row. `encode`,
    `decode` and the TFDS features are made from it, in its order.
    """

    # [C, T]; 0 in gaps
    signals: Annotated[
        np.ndarray,
        Stored(
            np.int16,
            (None, None),
            "[channel, sample]; physical = (signals * scale) * sd + mean, in units",
            exact=True,
        ),
    ]
    scale: Annotated[
        np.ndarray, Stored(np.float32, (None,), "[channel] z-scores per integer step, of this clip")
    ]
    mean: Annotated[np.ndarray, Stored(np.float32, (None,), "[channel] of the recording, in units")]
    sd: Annotated[
        np.ndarray,
        Stored(np.float32, (None,), "[channel] of the recording, in units; 0 for a flat channel"),
    ]
    channel_labels: Annotated[list[str], Stored(str, (None,), "[channel] as in the file")]
    channel_names: Annotated[list[str], Stored(str, (None,), "[channel] as the field writes them")]
    units: Annotated[list[str], Stored(str, (None,), "[channel] of mean and sd")]
    modalities: Annotated[list[str], Stored(str, (None,), "[channel] bas, resp, ecg, emg or other")]
    native_sfreq: Annotated[np.ndarray, Stored(np.float32, (None,), "[channel] Hz in the file")]
    positions: Annotated[
        np.ndarray,
        Stored(
            np.float32,
            (None, 3),
            "[channel, xyz] on the unit sphere (right ear, nose, vertex); NaN: none",
        ),
    ]
    # [G, 3]; the padded tail included
    gaps: Annotated[
        np.ndarray,
        Stored(np.int32, (None, 3), "rows (channel, start, stop) of invalid samples"),
    ]
    num_samples: Annotated[
        int, Stored(np.int32, (), "samples of the recording here; the rest is padding")
    ]
    # [E]; see `clips.stages_of_clip`
    stages: Annotated[
        np.ndarray,
        Stored(np.int32, (None,), "per 30 s: 0 W, 1 N1, 2 N2, 3 N3, 4 REM; -1 unscored"),
    ]
    labels: Annotated[np.ndarray, Stored(np.float32, (None,), "[class] 0 or 1; NaN: unknown")]
    subject: Annotated[str, Stored(str, (), "the person")]
    recording: Annotated[str, Stored(str, (), "the recording's name, unique in the dataset")]
    clip: Annotated[int, Stored(np.int32, (), "number of this clip in its recording")]
    # exact: 32 bits are too few for a night in ms
    start: Annotated[float, Stored(np.float64, (), "s from the recording's start", exact=True)]

    def physical(self) -> np.ndarray:
        """Samples in physical units, float32 [C, T]; 0-quantised gaps come out as the mean."""
        z = dsp.dequantise(self.signals, self.scale)  # [C, T]
        return (z * self.sd[:, None] + self.mean[:, None]).astype(np.float32)

    def valid(self) -> np.ndarray:
        """True where a sample was recorded, bool [C, T]."""
        return dsp.gaps_to_mask(self.gaps, *self.signals.shape)


FIELDS: dict[str, Stored] = {
    name: hint.__metadata__[0]
    for name, hint in typing.get_type_hints(Record, include_extras=True).items()
}
"""How each field of a record is stored, in the record's order."""


def encode(record: Record) -> dict[str, Any]:
    """The record as the plain dictionary that TFDS's `features.encode_example` takes."""
    return {name: stored.encode(getattr(record, name)) for name, stored in FIELDS.items()}


def decode(example: Mapping[str, Any]) -> Record:
    """The inverse of `encode`, from a dictionary as TFDS reads it (text as bytes or as str)."""
    return Record(**{name: stored.decode(example[name]) for name, stored in FIELDS.items()})


def _text(value: bytes | str) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
