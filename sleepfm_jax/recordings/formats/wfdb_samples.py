"""The samples of WFDB's signal files: common formats read here, the others through the library."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.formats.wfdb_header import Header
from sleepfm_jax.recordings.own_process import in_own_process

# Bytes of a sample, what a missing one reads as, and its bits. FLAC's are a guess from above.
FORMATS = {
    "8": (1, None, 32),
    "16": (2, -(1 << 15), 16),
    "24": (3, -(1 << 23), 32),
    "32": (4, -(1 << 31), 32),
    "61": (2, -(1 << 15), 16),
    "80": (1, -(1 << 7), 16),
    "160": (2, -(1 << 15), 16),
    "212": (1.5, -(1 << 11), 16),
    "310": (4 / 3, -(1 << 9), 16),
    "311": (4 / 3, -(1 << 9), 16),
    "508": (0.001, -(1 << 7), 16),
    "516": (0.001, -(1 << 15), 16),
    "524": (0.001, -(1 << 23), 32),
}


def digital_samples(path: Path, header: Header, frames: int) -> dict[int, np.ndarray]:
    """Digital samples int [frames * samps_per_frame] of every signal of a header, by its number.

    Args:
      path: of the header.
      frames: how many every file holds.

    Raises:
      RecordingError: the files cannot be read.
    """
    if all(signal.fmt in _PLAIN and signal.skew == 0 for signal in header.signals):
        return _plain(path, header, frames)
    rates = [signal.samps_per_frame or 1 for signal in header.signals]
    if any(signal.fmt.startswith("5") for signal in header.signals):  # FLAC, in C
        found = in_own_process(_by_library, path, header, frames)
    else:
        found = _by_library(path, header, frames)
    return {i: digital[: frames * rates[i]] for i, digital in enumerate(found)}


@contextmanager
def _library() -> Iterator[Any]:
    """The wfdb module, without its warnings: 4.3 uses what pandas 3 deprecates."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import wfdb  # most of a second to import, and only for WFDB records

        yield wfdb


def _by_library(path: Path, header: Header, frames: int) -> list[np.ndarray]:
    """The digital samples of all signals, of any format and skew."""
    bits = max(FORMATS[signal.fmt][2] for signal in header.signals)
    try:
        with _library() as wfdb:
            record = wfdb.rdrecord(
                str(path.resolve().with_suffix("")),
                sampto=frames if header.sig_len else None,
                physical=False,
                smooth_frames=False,
                return_res=bits,
            )
    except Exception as error:
        raise RecordingError(
            path, f"its signals cannot be read ({error or type(error).__name__})"
        ) from error
    return record.e_d_signal


def _plain(path: Path, header: Header, frames: int) -> dict[int, np.ndarray]:
    """The same of formats whose samples lie one behind the other, without a skew."""
    found = {}
    for name in header.file_names:
        members = [i for i, s in enumerate(header.signals) if s.file_name == name]
        signals = [header.signals[i] for i in members]
        rates = [signal.samps_per_frame or 1 for signal in signals]
        count = frames * sum(rates)
        size = math.ceil(count * FORMATS[signals[0].fmt][0])
        file = path.parent / name
        try:
            raw = np.fromfile(file, np.uint8, size, offset=signals[0].byte_offset)
        except OSError as error:
            raise RecordingError(path, f"{name} cannot be read ({error})") from error
        if len(raw) < size:
            raise RecordingError(path, f"{name} became shorter while it was read")
        values = _PLAIN[signals[0].fmt](raw)[:count].reshape(frames, sum(rates))
        ends = np.cumsum(rates)
        for i, end, rate in zip(members, ends, rates):
            found[i] = values[:, end - rate : end].reshape(-1)
    return found


def _of_24_bits(raw: np.ndarray) -> np.ndarray:
    # The 24 bits become the upper three bytes of an int32; the shift back carries the sign.
    wide = np.zeros((len(raw) // 3, 4), np.uint8)
    wide[:, 1:] = raw.reshape(-1, 3)
    return wide.view("<i4").reshape(-1) >> 8


def _of_12_bits(raw: np.ndarray) -> np.ndarray:
    """Two samples in three bytes; of an odd last one, two bytes may be all there is."""
    low, middle, high = np.pad(raw, (0, -len(raw) % 3)).reshape(-1, 3).astype(np.int16).T
    both = np.stack([low | (middle & 15) << 8, high | (middle >> 4) << 8], axis=1).reshape(-1)
    return both << 4 >> 4  # carries the sign of 12 bits


# Bytes uint8 -> digital samples.
_PLAIN = {
    "16": lambda raw: raw.view("<i2"),
    "24": _of_24_bits,
    "32": lambda raw: raw.view("<i4"),
    "61": lambda raw: raw.view(">i2"),
    "80": lambda raw: raw.astype(np.int16) - 128,
    "160": lambda raw: (raw.view("<u2").astype(np.int32) - 32768).astype(np.int16),
    "212": _of_12_bits,
}
