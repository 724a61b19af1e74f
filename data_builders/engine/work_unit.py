"""One work unit: a few recordings of one split → one ArrayRecord shard and its report.

`build_unit` is a pure function of its `WorkUnit`: it reads the recordings, writes one file and
returns names, lengths, hashes and reports. So `runners` may call it in this process, map it over a
pool of processes or hand it to a cluster; samples never travel.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import threadpoolctl
from array_record.python.array_record_module import ArrayRecordWriter

from data_builders.engine import record_features, storage
from data_builders.engine.code_version import code_version
from sleepfm_jax import signals
from sleepfm_jax.data.clips import ClipSpec
from sleepfm_jax.data.clips import clips as cut_clips
from sleepfm_jax.data.record import Record
from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.person import Person
from sleepfm_jax.recordings.read import Recording

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
        person: age and sex as the archive's tables give them; what they leave open, the recording
            itself may say. No record depends on it, so no key does.
    """

    path: str
    subject: str
    recording: str
    split: str
    labels: tuple[float, ...] = ()
    hypnogram: str | None = None
    files: tuple[str, ...] = ()
    problem: str | None = None
    person: Person = dataclasses.field(default_factory=Person, repr=False)


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
    sha256: str  # of the shard
    reports: list[dict[str, Any]]  # one a recording: its build_report.json entry and labels
    reused: bool = False


def input_files(source: Source) -> list[str]:
    """Names of the files that a recording is read from, the main one first."""
    return [name for name in (source.path, source.hypnogram, *source.files) if name]


def input_key(
    root: storage.AnyPath, split: str, sources: tuple[Source, ...], spec: ClipSpec
) -> str:
    """Hash of what a shard is made from: files (name, size, time), labels and spec."""
    stamps = []
    for source in sources:
        for name in input_files(source):
            with contextlib.suppress(FileNotFoundError):
                stamps.append((name, *storage.stamp(root / name)))
    # repr, not JSON: it tells NaN and 1.0 from 1, and needs no conversion of tuples.
    fields = [f.name for f in dataclasses.fields(Source) if f.name != "person"]
    planned = [tuple(getattr(s, name) for name in fields) for s in sources]
    parts = [split, planned, dataclasses.astuple(spec), stamps]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def unit_key(inputs: str, read: Callable[[Path, Source], Recording]) -> str:
    """Hash of everything that a shard's bytes depend on: its inputs and the code."""
    return hashlib.sha256(f"{inputs}\n{code_version(read)}".encode()).hexdigest()[:32]


def build_unit(
    unit: WorkUnit,
    directory: storage.AnyPath,
    refused: Mapping[str, str] = MappingProxyType({}),
    begin: Callable[[str], None] = lambda path: None,
) -> UnitResult:
    """Builds one work unit into `directory`, or returns what an interrupted build left there.

    A recording that cannot be read is quarantined with its reason and the others go on. Memory: one
    recording at a time. The shard appears under its name only when it is complete and on disk, its
    report after it. What an interrupted build left counts only where every recording was built:
    what could not be read then may be readable now.

    Args:
        refused: recordings (by path) not to be opened, with the reason.
        begin: called with the path of each recording before it is opened.
    """
    if (kept := finished(unit, directory)) is not None:
        return kept
    refused = dict(refused)
    shard = directory / f"unit-{unit.key}.array_record"
    # One thread: workers are as many as cores, and a sum's last bits may depend on its threads.
    with threadpoolctl.threadpool_limits(1):
        while True:
            try:
                result = _write_shard(unit, shard, refused, begin)
                break
            except _BrokenHalfway as broken:  # some of its clips are in the shard: begin without it
                refused[broken.path] = broken.reason
    storage.write_text(_sidecar(unit, directory), json.dumps(dataclasses.asdict(result)))
    return result


def _sidecar(unit: WorkUnit, directory: storage.AnyPath) -> storage.AnyPath:
    return directory / f"unit-{unit.key}.json"


def read_result(unit: WorkUnit, directory: storage.AnyPath) -> UnitResult:
    """What a unit that was built in `directory` wrote beside its shard."""
    return UnitResult(**json.loads(_sidecar(unit, directory).read_text(encoding="utf-8")))


def finished(unit: WorkUnit, directory: storage.AnyPath) -> UnitResult | None:
    """The result of a unit that an earlier build finished, all its recordings built, or None."""
    if not _sidecar(unit, directory).exists():
        return None
    result = read_result(unit, directory)
    if any(report["status"] != "built" for report in result.reports):
        return None
    shard = directory / result.shard
    if not shard.exists() or storage.size(shard) != result.num_bytes:
        return None
    result.reused = True
    return result


class _BrokenHalfway(Exception):
    """A recording that failed after some of its clips were written."""

    def __init__(self, path: str, reason: str):
        super().__init__(path, reason)
        self.path, self.reason = path, reason


def _write_shard(
    unit: WorkUnit,
    shard: storage.AnyPath,
    refused: Mapping[str, str],
    begin: Callable[[str], None],
) -> UnitResult:
    length, num_bytes, digest, reports = 0, 0, "", []
    with storage.written(shard) as temporary:
        writer = ArrayRecordWriter(os.fspath(temporary), WRITER_OPTIONS)
        try:
            for source in unit.sources:
                if source.path in refused:
                    reports.append(quarantined(source, refused[source.path]))
                    continue
                begin(source.path)
                reports.append(_build_recording(unit, source, writer))
                length += reports[-1]["clips"]
        finally:
            writer.close()
        if length:
            num_bytes, digest = temporary.stat().st_size, storage.sha256(temporary)
        else:
            temporary.unlink()
    name = shard.name if length else None
    return UnitResult(unit.key, unit.split, name, length, num_bytes, digest, reports)


def _build_recording(unit: WorkUnit, source: Source, writer: ArrayRecordWriter) -> dict[str, Any]:
    """Reads, cuts and writes one recording; returns its report.

    Raises:
        _BrokenHalfway: the recording failed when some of it was written. What the writer raises (a
            full disk) is no recording's fault and stops the build.
    """
    roots = [unit.root]
    clips, labels, content = 0, {}, ""
    valid = total = 0  # samples, [C]
    with contextlib.ExitStack() as stack:
        try:
            names = [n for n in input_files(source) if not os.path.isabs(n)]
            local = stack.enter_context(storage.fetched(storage.as_path(unit.root), names))
            roots.append(os.fspath(local))
            recording = unit.read(local, source)
            if recording.subject != source.subject:
                raise RecordingError(
                    recording.path,
                    f"read as subject {recording.subject!r}, planned as {source.subject!r}",
                )
            examples = _examples(recording, unit.spec, source.labels)
            ready = next(examples, None)
            if ready is None:
                raise RecordingError(recording.path, "no clip holds a valid sample")
        except Exception as error:  # any file of an archive may be broken in a way nobody foresaw
            return quarantined(source, reason_of(error, roots, source.path))
        while ready is not None:
            record, example = ready
            writer.write(example)
            clips += 1
            content = content or _content(record)
            _count_labels(record, unit.spec, labels)
            valid = valid + _valid_samples(record)
            total += record.num_samples
            try:
                ready = next(examples, None)
            except Exception as error:
                reason = reason_of(error, roots, source.path)
                raise _BrokenHalfway(source.path, reason) from error
    shares = [round(float(v), 6) for v in valid / total]
    return {
        "path": source.path,
        "status": "built",
        "reason": "",
        "subject": source.subject,
        "split": source.split,
        "age": recording.person.age,
        "sex": recording.person.sex,
        "channels": [
            {
                "label": c.label,
                "name": c.name,
                "modality": c.modality,
                "sfreq": float(c.sfreq),
                "unit": c.unit,
                "valid": share,
                "notes": list(c.notes),
            }
            for c, share in zip(recording.channels, shares)
        ],
        "clips": clips,
        "hours": recording.duration / 3600,
        "notes": list(recording.notes),
        "labels": labels,
        "content": content,
    }


def _content(record: Record) -> str:
    """Hash of a clip's signals, by which copies of one recording are found; "" where all are flat.

    A standardised signal is the same whatever the gain; names and times do not matter.
    """
    if not (record.sd > 0).any():
        return ""
    return hashlib.sha256(np.ascontiguousarray(record.signals)).hexdigest()[:16]


def _examples(
    recording: Recording, spec: ClipSpec, labels: tuple[float, ...]
) -> Iterator[tuple[Record, bytes]]:
    for record in cut_clips(recording, spec, labels):
        yield record, record_features.serialise(record)


def _valid_samples(record: Record) -> np.ndarray:
    """Samples of each channel that were recorded and are not in a gap, int [C]; no padding."""
    channel, *runs = record.gaps.T
    start, stop = np.minimum(runs, record.num_samples)
    missing = np.bincount(channel, stop - start, minlength=len(record.channel_names))
    return record.num_samples - missing


def quarantined(source: Source, reason: str) -> dict[str, Any]:
    """The report of a recording that was not built."""
    return {
        "path": source.path,
        "status": "quarantined",
        "reason": reason,
        "subject": source.subject,
        "split": source.split,
        "age": None,
        "sex": "",
        "channels": [],
        "clips": 0,
        "hours": 0.0,
        "notes": [],
        "labels": {},
        "content": "",
    }


def reason_of(error: Exception, roots: Sequence[str], path: str) -> str:
    """An error in one line, without the file's own name; with its type if it was unforeseen."""
    text = str(error)
    for root in roots:
        text = text.replace(os.path.join(root, ""), "")
    text = " ".join(text.split())
    if isinstance(error, RecordingError):
        return text.removeprefix(f"{path}: ")
    return f"{type(error).__name__}: {text}"


def _count_labels(record: Record, spec: ClipSpec, counts: dict[str, int]) -> None:
    """Adds one clip: its scored sleep_epochs by stage, and 1 for each class that it carries."""
    for stage in record.stages[record.stages >= 0]:
        name = signals.STAGES[stage]
        counts[name] = counts.get(name, 0) + 1
    for name, value in zip(spec.classes, record.labels):
        if value == 1:
            counts[name] = counts.get(name, 0) + 1
