"""BrainVision (.vhdr, .eeg, .vmrk) and EEGLAB (.set, .fdt) files, read through MNE.

All channels of these formats have one rate, so MNE resamples none of them. What MNE warns about
goes into the recording's notes.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.files import (
    MAX_DAYS,
    Annotation,
    read_head,
    read_text,
    size_of,
    unfetched,
)
from sleepfm_jax.recordings.recording import (
    Channel,
    FileChannel,
    Recording,
    Trace,
    amplitude_notes,
    bad_sfreq,
    drop_no_numbers,
    read_channels,
    voltage_unit,
)
from sleepfm_jax.recordings.scorings.hypnogram import spans_from_annotations, stages_from_spans

_MAX_SIGNALS = 4096
# Bytes of samples above which channels stay in their file until they are asked for, and how many
# bytes of float32 are then read at a time.
_LARGE = 128 * 2**20
_GROUP = 256 * 2**20
_BLOCK = 1 << 20  # samples that MNE hands over at a time, in float64
# What MNE makes of a BrainVision unit; others stay. No unit is µV.
_UNITS_OF_MNE = {**dict.fromkeys(("", "V", "mV", "µV", "uV", "nV"), "V"), "µS": "S", "uS": "S"}


def read_brainvision(
    path: str | Path,
    *,
    subject: str,
    recording: str | None = None,
    modalities: Mapping[str, str] | None = None,
) -> Recording:
    """Read a BrainVision recording by its header (.vhdr); markers become annotations.

    Its data and marker files are those that the header names. Voltages come in uV, everything else
    in the header's unit. `modalities`: of labels that are not known here (`read_channels`).

    Raises:
      RecordingError: not such a header, a data file that is not there, what MNE cannot read, or no
      usable channel.
    """
    path = Path(path)
    units = _header_units(path)
    notes: list[str] = []
    raw = _opened(path, "BrainVision", notes)
    new = sum(text.startswith("New Segment") for text in raw.annotations.description)
    if new:
        notes.append(f"{new} pauses are marked as new segments: read as continuous")
    return _recording(path, raw, units, subject, recording, modalities, notes)


def read_eeglab(
    path: str | Path,
    *,
    subject: str,
    recording: str | None = None,
    modalities: Mapping[str, str] | None = None,
) -> Recording:
    """Read a continuous EEGLAB recording (.set, with its .fdt where there is one); values in uV.

    Events become annotations. `modalities`: of labels that are not known here (`read_channels`).

    Raises:
      RecordingError: no such file, epochs instead of a recording, samples that are missing, what
      MNE cannot read (MATLAB 7.3 without the package pymatreader), or no usable channel.
    """
    path = Path(path)
    size_of(path)
    if read_head(path, 10) == b"MATLAB 7.3" and find_spec("pymatreader") is None:
        raise RecordingError(
            path,
            "is a file of MATLAB 7.3: install pymatreader, or save it again from EEGLAB with "
            "pop_saveset's 'version', '6'",
        )
    for part in (path.with_suffix(".fdt"), path.with_suffix(".FDT")):
        if reason := unfetched(part):
            raise RecordingError(path, f"its file {part.name!r}: {reason}")
    notes = ["EEGLAB files give no unit: taken for uV"]
    raw = _opened(path, "EEGLAB", notes)
    data = Path(raw.filenames[0])
    if data.suffix.lower() == ".fdt":
        wanted, present = 4 * len(raw.ch_names) * raw.n_times, size_of(data)
        if present < wanted:
            raise RecordingError(
                path, f"{data.name} holds {present} of {wanted} bytes of samples; copy it again"
            )
    units = ["V"] * len(raw.ch_names)
    return _recording(path, raw, units, subject, recording, modalities, notes)


# --- opening --------------------------------------------------------------------------------------


def _header_units(path: Path) -> list[str]:
    """The units of the values that MNE gives, by channel: it forgets those that it does not know.

    Refuses what MNE does not look at before it allocates memory or opens other files.
    """
    size_of(path)
    text = read_text(path, "BrainVision header")
    if not re.match(r"\s*brain\s?vision .*header", text, re.IGNORECASE):
        raise RecordingError(path, f"is no BrainVision header (it begins with {text[:40]!r})")
    count = re.search(r"^\s*NumberOfChannels\s*=\s*(\d+)\s*$", text, re.MULTILINE)
    if count is None or not 0 < int(count[1][:9]) <= _MAX_SIGNALS:
        raise RecordingError(
            path, f"the header says {count[1][:20] if count else 'no number of'} channels: damaged"
        )
    named = re.search(r"^\s*DataFile\s*=\s*(.+?)\s*$", text, re.MULTILINE)
    if named is None:
        raise RecordingError(path, "the header names no data file (DataFile=)")
    # BrainVision writes $b for the name of the header itself.
    name = named[1].replace("$b", path.stem)
    marked = re.search(r"^\s*MarkerFile\s*=\s*(.+?)\s*$", text, re.MULTILINE)
    for part in (name, *([marked[1].replace("$b", path.stem)] if marked else [])):
        if reason := unfetched(path.parent / part):
            raise RecordingError(path, f"its file {part!r}: {reason}")
    if not (path.parent / name).is_file():
        beside = [s for s in (".eeg", ".dat") if path.with_suffix(s).is_file()]
        hint = f"; {path.stem}{beside[0]} is: correct DataFile= in the header" if beside else ""
        raise RecordingError(path, f"its data file {name!r} is not beside it{hint}")
    _, _, channels = text.partition("[Channel Infos]")
    units = ["V"] * int(count[1])
    for number, about in re.findall(
        r"^\s*Ch(\d+)\s*=(.*)$", channels.split("\n[")[0], re.MULTILINE
    ):
        unit = ([cell.strip() for cell in about.split(",")] + [""] * 3)[3]
        if 0 < int(number[:9]) <= len(units):
            units[int(number[:9]) - 1] = _UNITS_OF_MNE.get(unit, unit)
    return units


def _opened(path: Path, kind: str, notes: list[str]) -> Any:
    """An `mne.io.Raw` with a sane rate and length, its samples still in the file."""
    import mne  # about a second to import; few recordings need it

    read = {"BrainVision": mne.io.read_raw_brainvision, "EEGLAB": mne.io.read_raw_eeglab}[kind]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            raw = read(path, verbose="WARNING")
        except Exception as error:  # MNE raises whatever a damaged file makes it
            raise RecordingError(
                path, f"is not readable as {kind} ({_said(error, path)})"
            ) from error
    for note in dict.fromkeys(f"MNE: {_line(warning.message, path)}" for warning in caught):
        notes.append(note)
    sfreq = float(raw.info["sfreq"])
    if reason := bad_sfreq(sfreq):
        raise RecordingError(path, reason)
    if raw.n_times == 0 or raw.n_times / sfreq > MAX_DAYS * 86_400:
        raise RecordingError(path, f"has {raw.n_times} samples at {sfreq:g} Hz: no recording")
    return raw


def _said(error: Exception, path: Path) -> str:
    return f"{type(error).__name__}: {_line(error, path)}"


def _line(message: object, path: Path) -> str:
    """What MNE says, in one line and without the folder, which may be a temporary one."""
    return " ".join(str(message).replace(f"{path.parent}/", "").split())[:300]


# --- channels -------------------------------------------------------------------------------------


class _Samples:
    """Samples of an opened file, read for some channels at a time.

    Channels are interleaved, so that every reading passes over the whole file: reading them one by
    one would pass over it as often as there are channels, and all at once takes all their memory.
    """

    def __init__(self, path: Path, raw: Any, factors: np.ndarray):
        self._path, self._raw, self._factors = path, raw, factors  # [C], from MNE's unit to ours
        self._per_group = max(1, _GROUP // (4 * raw.n_times))
        self._first = -1
        self._group = np.zeros((0, 0), np.float32)  # [channels of a group, T]

    def __call__(self, channel: int) -> np.ndarray:
        """float32 [T]; NaN where the file holds no number."""
        first = channel - channel % self._per_group
        if first != self._first:
            self._first, self._group = -1, np.zeros((0, 0), np.float32)
            picks = list(range(first, min(first + self._per_group, len(self._factors))))
            self._group, self._first = self._read(picks), first
        return self._group[channel - first]

    def _read(self, picks: list[int]) -> np.ndarray:
        total = self._raw.n_times
        out = np.empty((len(picks), total), np.float32)  # [channels, T]
        block = max(1, _BLOCK // len(picks))
        try:
            for start in range(0, total, block):
                stop = min(start + block, total)
                with np.errstate(over="ignore", invalid="ignore"):  # it need not fit into a float32
                    values = self._raw.get_data(picks, start, stop, verbose="ERROR")
                    out[:, start:stop] = values * self._factors[picks, None]
        except Exception as error:  # as in `_opened`
            raise RecordingError(
                self._path, f"its samples cannot be read ({_said(error, self._path)})"
            ) from error
        out[~np.isfinite(out)] = np.nan
        return out


def _recording(
    path: Path,
    raw: Any,
    units: Sequence[str],
    subject: str,
    recording: str | None,
    modalities: Mapping[str, str] | None,
    notes: list[str],
) -> Recording:
    sfreq = float(raw.info["sfreq"])
    duration = raw.n_times / sfreq
    factors = np.array([voltage_unit(unit, "", [])[1] for unit in units])
    samples = _Samples(path, raw, factors)
    traces = [
        Trace(label, partial(_read_channel, raw, i, units[i], factors[i], samples))
        for i, label in enumerate(raw.ch_names)
    ]
    annotations = _annotations(raw)
    spans = spans_from_annotations(annotations)
    date = raw.info["meas_date"]
    return Recording(
        path=str(path),
        subject=subject,
        recording=path.stem if recording is None else recording,
        start=None if date is None else date.replace(tzinfo=None),
        duration=duration,
        channels=read_channels(path, traces, notes, modalities),
        annotations=annotations,
        stages=stages_from_spans(spans, duration) if spans else None,
        notes=notes,
    )


def _read_channel(
    raw: Any, index: int, unit: str, factor: float, samples: _Samples, modality: str
) -> Channel:
    notes: list[str] = []
    unit, _ = voltage_unit(unit, modality, notes)
    values = samples(index)
    limit = math.inf
    if raw.orig_format == "short":  # int16: the converter's limits are known
        converter = raw.info["chs"][index]
        limit = 32766.5 * abs(converter["cal"] * converter["range"] * factor)
    notes += amplitude_notes(values, -limit, limit, modality)
    drop_no_numbers(values, notes)
    label, sfreq = raw.ch_names[index], float(raw.info["sfreq"])
    if 4 * raw.n_times * len(raw.ch_names) > _LARGE:
        return FileChannel(label, "", modality, sfreq, unit, partial(samples, index), notes)
    return Channel(label, "", modality, sfreq, unit, values, notes)


def _annotations(raw: Any) -> list[Annotation]:
    """Markers and events, in order; a marker lasts one sample, which is no duration."""
    found = []
    for onset, duration, text in zip(
        raw.annotations.onset, raw.annotations.duration, raw.annotations.description
    ):
        length = float(duration) if duration * raw.info["sfreq"] > 1.5 else 0.0  # False for NaN
        found.append(Annotation(float(onset), length, str(text).removeprefix("Comment/").strip()))
    return sorted(found, key=lambda a: a.onset)
