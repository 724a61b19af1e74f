"""One work unit: a few recordings of one split → one ArrayRecord shard and its report.

`build_unit` is a pure function of its `WorkUnit`: it reads the recordings, writes one file and
returns names, lengths and reports. So an engine may call it in this process, map it over a pool of
processes or hand it to a cluster; samples never travel.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from tensorflow_datasets.core import example_serializer

from sleepfm_jax import channel_aliases, dsp, signals
from sleepfm_jax.data import edf, hypnogram, records
from sleepfm_jax.data import recording as recording_lib
from sleepfm_jax.data.recording import Recording, RecordingError
from sleepfm_jax.data.records import ClipSpec

# Each record on its own, so that random access reads nothing else. Uncompressed: biosignals hardly
# compress (6 % on simulated nights), and reading is faster (2.7 against 0.7 GB/s on one core).
WRITER_OPTIONS = "group_size:1,uncompressed"


@dataclasses.dataclass(frozen=True)
class Source:
    """One recording to build.

    Attributes:
        path: its main file, relative to the source folder; how reports call it.
        subject: the person.
        recording: the recording's name, unique in the dataset.
        split: train, validation or test.
        labels: float [K]; NaN where unknown.
        hypnogram: its stages' file, relative to the source folder or absolute.
        files: further files that it is read from, relative to the source folder.
        problem: why it cannot be built, when that is known before reading it.
    """

    path: str
    subject: str
    recording: str
    split: str
    labels: tuple[float, ...] = ()
    hypnogram: str | None = None
    files: tuple[str, ...] = ()
    problem: str | None = None


@dataclasses.dataclass(frozen=True)
class WorkUnit:
    """Recordings of one split that become one shard. Picklable: `read` is a module's function."""

    inputs: str  # hash of what it is made from, `input_key`
    key: str  # hash of everything the shard's bytes depend on, `unit_key`
    split: str
    root: str
    sources: tuple[Source, ...]
    spec: ClipSpec
    read: Callable[[Path, Source], Recording]


@dataclasses.dataclass
class UnitResult:
    """What comes back from a work unit; `shard` is None when no recording of it was built."""

    key: str
    split: str
    shard: str | None
    length: int
    num_bytes: int
    reports: list[dict[str, Any]]  # one a recording: its build_report.json entry, hours, labels
    reused: bool = False


def features() -> tfds.features.FeaturesDict:
    """The TFDS features of a record; see `sleepfm_jax.data.records.Record` for axes and units."""
    f = tfds.features
    texts = functools.partial(f.Sequence, f.Text())

    def vector(doc: str) -> f.Tensor:
        return f.Tensor(shape=(None,), dtype=np.float32, doc=doc)

    return f.FeaturesDict(
        {
            # BYTES: otherwise int16 is stored as varint int64, twice the size and slow.
            "signals": f.Tensor(
                shape=(None, None),
                dtype=np.int16,
                encoding=f.Encoding.BYTES,
                doc="[channel, sample]; physical = (signals * scale) * sd + mean, in units",
            ),
            "scale": vector("[channel] z-scores per integer step, of this clip"),
            "mean": vector("[channel] of the recording, in units"),
            "sd": vector("[channel] of the recording, in units; 0 for a flat channel"),
            "channel_labels": texts(doc="[channel] as in the file"),
            "channel_names": texts(doc="[channel] as the field writes them"),
            "units": texts(doc="[channel] of mean and sd"),
            "modalities": texts(doc="[channel] bas, resp, ecg, emg or other"),
            "native_sfreq": vector("[channel] Hz in the file"),
            "positions": f.Tensor(
                shape=(None, 3),
                dtype=np.float32,
                doc="[channel, xyz] on the unit sphere (right ear, nose, vertex); NaN: none",
            ),
            "gaps": f.Tensor(
                shape=(None, 3),
                dtype=np.int32,
                doc="rows (channel, start, stop) of invalid samples",
            ),
            "num_samples": f.Scalar(
                np.int32, doc="samples of the recording here; the rest is padding"
            ),
            "stages": f.Tensor(
                shape=(None,),
                dtype=np.int32,
                doc="per 30 s: 0 W, 1 N1, 2 N2, 3 N3, 4 REM; -1 unscored",
            ),
            "labels": vector("[class] 0 or 1; NaN: unknown"),
            "subject": f.Text(doc="the person"),
            "recording": f.Text(doc="the recording's name, unique in the dataset"),
            "clip": f.Scalar(np.int32, doc="number of this clip in its recording"),
            # BYTES: a tf.Example stores floats in 32 bits, too few for a night in ms.
            "start": f.Tensor(
                shape=(),
                dtype=np.float64,
                encoding=f.Encoding.BYTES,
                doc="s from the recording's start",
            ),
        }
    )


@functools.cache
def _serializer() -> tuple[tfds.features.FeaturesDict, example_serializer.ExampleSerializer]:
    schema = features()
    return schema, example_serializer.ExampleSerializer(schema.get_serialized_info())


def serialise(record: records.Record) -> bytes:
    """One record as the tf.Example that TFDS reads."""
    schema, serializer = _serializer()
    return serializer.serialize_example(schema.encode_example(records.encode(record)))


@functools.cache
def code_version() -> str:
    """Hash of the modules that a shard's bytes depend on: edited code rebuilds unfinished work."""
    digest = hashlib.sha256()
    for module in (channel_aliases, signals, dsp, edf, hypnogram, recording_lib, records):
        digest.update(inspect.getsource(module).encode())
    digest.update(Path(__file__).read_bytes())
    return digest.hexdigest()


def input_key(root: Path, split: str, sources: tuple[Source, ...], spec: ClipSpec) -> str:
    """Hash of what a shard is made from: files (name, size, time), labels and spec."""
    stats = []
    for source in sources:
        for name in (source.path, source.hypnogram, *source.files):
            if name and (root / name).is_file():
                stat = (root / name).stat()
                stats.append((name, stat.st_size, stat.st_mtime_ns))
    # Without the default resampling, as before there was a choice: older records stay recognised.
    default = ("resampling", "polyphase")
    settings = tuple(value for item in vars(spec).items() if item != default for value in item[1:])
    # repr, not JSON: it tells NaN and 1.0 from 1, and needs no conversion of tuples.
    parts = [split, [dataclasses.astuple(s) for s in sources], settings, stats]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def unit_key(inputs: str, read: Callable[[Path, Source], Recording]) -> str:
    """Hash of everything that a shard's bytes depend on: its inputs, the reader and the code."""
    reader = inspect.getsource(inspect.getmodule(read))
    return hashlib.sha256("\n".join([inputs, reader, code_version()]).encode()).hexdigest()[:32]


def build_unit(unit: WorkUnit, directory: Path) -> UnitResult:
    """Builds one work unit into `directory`, or returns what an interrupted build left there.

    A recording that cannot be read is quarantined with its reason and the others go on. Memory: one
    recording at a time. The shard appears under its name only when it is complete and on disk, its
    report after it. What an interrupted build left counts only where every recording was built:
    what could not be read then may be readable now.
    """
    sidecar = directory / f"unit-{unit.key}.json"
    shard = directory / f"unit-{unit.key}.array_record"
    if (kept := _finished(sidecar, directory)) is not None:
        return kept
    temporary = shard.with_suffix(".partial")
    writer = ArrayRecordWriter(os.fspath(temporary), WRITER_OPTIONS)
    length, reports = 0, []
    for source in unit.sources:
        report, written = _build_recording(unit, source, writer)
        reports.append(report)
        length += written
    writer.close()
    result = UnitResult(unit.key, unit.split, shard.name if length else None, length, 0, reports)
    if length:
        _sync(temporary)
        result.num_bytes = temporary.stat().st_size
        temporary.replace(shard)
    else:
        temporary.unlink()
    write_atomically(sidecar, json.dumps(dataclasses.asdict(result)))
    return result


def _finished(sidecar: Path, directory: Path) -> UnitResult | None:
    if not sidecar.is_file():
        return None
    result = UnitResult(**json.loads(sidecar.read_text(encoding="utf-8")))
    if any(report["status"] != "built" for report in result.reports):
        return None
    if not (directory / result.shard).is_file():
        return None
    result.reused = True
    return result


def _build_recording(
    unit: WorkUnit, source: Source, writer: ArrayRecordWriter
) -> tuple[dict[str, Any], int]:
    """Reads, cuts and writes one recording; returns its report and the clips written."""
    spec, written = unit.spec, 0
    counts: dict[str, int] = {}
    try:
        recording = unit.read(Path(unit.root), source)
        # All serialised before one is written: a recording that fails half-way leaves nothing.
        examples = []
        for record in records.clips(recording, spec, source.labels):
            _count_labels(record, spec, counts)
            examples.append(serialise(record))
        if not examples:
            raise RecordingError(recording.path, "no clip holds a valid sample")
    except Exception as error:  # any file of an archive may be broken in a way nobody foresaw
        return quarantined(source, reason_of(error, unit.root, source.path)), 0
    for example in examples:
        writer.write(example)
        written += 1
    report = {
        "path": source.path,
        "status": "built",
        "reason": "",
        "subject": source.subject,
        "split": source.split,
        "channels": [
            {
                "label": c.label,
                "name": c.name,
                "modality": c.modality,
                "sfreq": float(c.sfreq),
                "unit": c.unit,
                "notes": list(c.notes),
            }
            for c in recording.channels
        ],
        "clips": written,
        "notes": list(recording.notes),
        "hours": recording.duration / 3600,
        "labels": counts,
    }
    return report, written


def quarantined(source: Source, reason: str) -> dict[str, Any]:
    """The report of a recording that was not built."""
    return {
        "path": source.path,
        "status": "quarantined",
        "reason": reason,
        "subject": source.subject,
        "split": source.split,
        "channels": [],
        "clips": 0,
        "notes": [],
        "hours": 0.0,
        "labels": {},
    }


def reason_of(error: Exception, root: str, path: str) -> str:
    """An error in one line, without the file's own name; with its type if it was unforeseen."""
    text = " ".join(str(error).replace(os.path.join(root, ""), "").split())
    if isinstance(error, RecordingError):
        return text.removeprefix(f"{path}: ")
    return f"{type(error).__name__}: {text}"


def _count_labels(record: records.Record, spec: ClipSpec, counts: dict[str, int]) -> None:
    """Adds one clip: its scored sleep_epochs by stage, and 1 for each class that it carries."""
    for stage in record.stages[record.stages >= 0]:
        name = signals.STAGES[stage]
        counts[name] = counts.get(name, 0) + 1
    for name, value in zip(spec.classes, record.labels):
        if value == 1:
            counts[name] = counts.get(name, 0) + 1


def write_atomically(path: Path, text: str) -> None:
    """Writes a small file so that it is either whole or not there."""
    temporary = path.with_suffix(path.suffix + ".partial")
    temporary.write_text(text, encoding="utf-8")
    _sync(temporary)
    temporary.replace(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
