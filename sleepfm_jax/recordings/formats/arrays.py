"""Signals without a format: one number a line, and NumPy archives in YASA's layout.

Neither says all that a recording needs, so what is missing must be given by the caller.
"""

from __future__ import annotations

import gzip
import io
import re
import zipfile
import zlib
from functools import partial
from pathlib import Path

import numpy as np

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.files import MAX_DAYS, read_head, size_of
from sleepfm_jax.recordings.recording import (
    Recording,
    Trace,
    bad_sfreq,
    channel_of_values,
    read_channels,
)

_MAX_TEXT_BYTES, _MAX_BYTES = 1 << 25, 1 << 29  # unpacked


def read_text_signal(
    path: str | Path,
    *,
    sfreq: float,
    subject: str,
    label: str | None = None,
    unit: str = "uV",
    recording: str | None = None,
) -> Recording:
    """Read one signal of a text file, plain or gzipped: one number a line, as DREAMS writes it.

    A first line `[C3-A1]` is the label, unless `label` is given. The rate (Hz) and the unit are
    the caller's to know.

    Raises:
      RecordingError: not such a file, a line that is no number, no label, or no usable channel.
    """
    path = Path(path)
    lines = _unpacked(path).decode("latin-1").split("\n")
    title = re.fullmatch(r"\s*\[([^\]]{1,80})\]\s*", lines[0])
    if title:
        label = label or title[1].strip()
        lines = lines[1:]
    if not label:
        raise RecordingError(path, "says nothing about its signal: give its label")
    texts = [line.strip() for line in lines]
    while texts and not texts[-1]:
        texts.pop()
    try:
        values = np.array(texts, dtype=np.float64) if texts else np.zeros(0)
    except ValueError:
        bad = next(i for i, text in enumerate(texts) if not _is_number(text))
        raise RecordingError(
            path, f"line {bad + 1 + bool(title)}: {texts[bad][:40]!r} is not a number"
        ) from None
    return _recording(path, {label: values}, sfreq, unit, subject, recording)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _unpacked(path: Path) -> bytes:
    size_of(path)
    if read_head(path, 2) != b"\x1f\x8b":
        raw = read_head(path, _MAX_TEXT_BYTES + 1)
    else:
        try:
            with gzip.open(path) as file:
                raw = file.read(_MAX_TEXT_BYTES + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise RecordingError(path, f"is not readable as gzip ({error})") from error
    if len(raw) > _MAX_TEXT_BYTES:
        raise RecordingError(path, f"unpacks to more than {_MAX_TEXT_BYTES >> 20} MiB: no signal")
    return raw


def read_npz(
    path: str | Path, *, subject: str, recording: str | None = None, unit: str = "uV"
) -> Recording:
    """Read a NumPy archive of `data` [C, T], `sf` (Hz) and `chan` [C], in `unit`.

    Raises:
      RecordingError: no such archive, one that holds Python objects, or no usable channel.
    """
    path = Path(path)
    size_of(path)
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
            if sum(sizes.values()) > _MAX_BYTES:
                raise RecordingError(path, f"unpacks to more than {_MAX_BYTES >> 20} MiB")
            arrays = {
                name: np.lib.format.read_array(
                    io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False
                )
                for name in ("data", "sf", "chan")
                if f"{name}.npy" in sizes
            }
    except RecordingError:
        raise
    except Exception as error:  # zipfile and NumPy raise whatever a damaged archive makes them
        raise RecordingError(path, f"is not a readable .npz archive ({error})") from error
    if len(arrays) < 3:
        raise RecordingError(
            path, f"holds {', '.join(sorted(sizes))[:200]}; expected data, sf and chan"
        )
    data, sf, chan = arrays["data"], arrays["sf"], arrays["chan"]
    if (
        data.ndim != 2
        or chan.shape != data.shape[:1]
        or sf.size != 1
        or data.dtype.kind not in "iuf"
    ):
        raise RecordingError(
            path, f"data {data.shape}, sf {sf.shape} and chan {chan.shape} do not fit each other"
        )
    if len(set(map(str, chan))) < len(chan):
        raise RecordingError(path, "two of its channels have the same name")
    signals = dict(zip(map(str, chan), data))
    try:
        sfreq = float(sf.reshape(-1)[0])
    except ValueError as error:
        raise RecordingError(path, "its `sf` is no number") from error
    return _recording(path, signals, sfreq, unit, subject, recording)


def _recording(
    path: Path,
    signals: dict[str, np.ndarray],
    sfreq: float,
    unit: str,
    subject: str,
    recording: str | None,
) -> Recording:
    if reason := bad_sfreq(sfreq):
        raise RecordingError(path, reason)
    length = max((len(values) for values in signals.values()), default=0)
    if length == 0 or length / sfreq > MAX_DAYS * 86_400:
        raise RecordingError(path, f"has {length} samples at {sfreq:g} Hz: no recording")
    notes: list[str] = []
    traces = [
        Trace(label, partial(channel_of_values, label, sfreq, unit, values))
        for label, values in signals.items()
    ]
    return Recording(
        path=str(path),
        subject=subject,
        recording=path.name.split(".")[0] if recording is None else recording,
        start=None,
        duration=length / sfreq,
        channels=read_channels(path, traces, notes),
        annotations=[],
        stages=None,
        notes=notes,
    )
