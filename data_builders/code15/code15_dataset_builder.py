"""CODE-15 %: 345,779 12-lead exams of 233,770 patients, six findings."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_builders.engine import storage
from data_builders.engine.builder import Plan, RecordsBuilder
from data_builders.engine.splits import by_subject
from data_builders.engine.work_unit import Source
from data_builders.families.twelve_lead import (
    CLIP_SECONDS,
    FRACTIONS,
    LABELS,
    METADATA,
    SFREQ,
    check_label_kind,
    keep_middle,
    label_vector,
)
from sleepfm_jax.errors import BuildError
from sleepfm_jax.recordings.formats.hdf5 import read_hdf5
from sleepfm_jax.recordings.own_process import in_own_process
from sleepfm_jax.recordings.person import described
from sleepfm_jax.recordings.read import Recording

TABLE = "exams.csv"
_SEX = {"true": "male", "1": "male", "false": "female", "0": "female"}  # of is_male
COLUMNS = ("exam_id", "patient_id", "trace_file", *LABELS)


def read(root: Path, source: Source) -> Recording:
    """Reads one exam of a file of many, at 400 Hz, without the zeros around it."""
    recording = in_own_process(
        read_hdf5,
        root / source.files[0],
        subject=source.subject,
        recording=source.recording,
        exam=int(source.recording),
    )
    return keep_middle(recording)


class Builder(RecordsBuilder):
    """Records of CODE-15; see the README.md beside this file."""

    VERSION: ClassVar[Any] = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    SFREQ = SFREQ
    CLIP_SECONDS = CLIP_SECONDS
    # A file holds some 20,000 exams: its size says nothing about one of them.
    UNIT_BYTES = 2**62
    UNIT_RECORDINGS = 2048
    read = staticmethod(read)

    def is_root(self, names: frozenset[str]) -> bool:
        return TABLE in names

    def plan(self) -> Plan:
        root = self.require_source()
        label_kind = check_label_kind(self.label_kind, self.name)
        if not storage.is_local(root):
            raise BuildError(
                f"--source={root}: a file of CODE-15 holds 20,000 exams and would be fetched for "
                "each of them: copy the folder to this machine first"
            )
        rows = _table(root / TABLE)
        files = frozenset(storage.listing(root))
        splits = by_subject((f"patient{row['patient_id']}" for row in rows), self.seed, FRACTIONS)
        sources, seen = [], set()
        for row in rows:
            exam, file = row["exam_id"], row["trace_file"]
            subject = f"patient{row['patient_id']}"
            labels: tuple[float, ...] = ()
            problem = None if file in files else f"missing file: {file}"
            try:
                labels = label_vector(row, LABELS)
            except ValueError as error:
                problem = f"{TABLE}: {error}"
            if not exam.isdecimal() or exam in seen:
                problem = f"{TABLE}: exam_id {exam!r} is there twice or is no number"
            seen.add(exam)
            sources.append(
                Source(
                    # An exam has no file of its own; reports need a name that no other has.
                    path=f"{file}#{exam}",
                    subject=subject,
                    recording=exam,
                    split=splits[subject],
                    labels=labels if label_kind == "multilabel" else (),
                    files=(file,),
                    problem=problem,
                    person=described(
                        row.get("age", ""), _SEX.get(row.get("is_male", "").strip().lower(), "")
                    ),
                )
            )
        if all(s.problem for s in sources):
            raise BuildError(
                f"--source={root}: no exam of {TABLE} can be built: {sources[0].problem}"
            )
        classes = LABELS if label_kind == "multilabel" else ()
        return Plan(tuple(sources), label_kind, classes, (), dict(METADATA))


def _table(path: Path) -> list[dict[str, str]]:
    if reason := storage.unfetched(path):
        raise BuildError(f"{path}: {reason}")
    if not path.is_file():
        raise BuildError(f"--source={path.parent}: no {TABLE} in this folder or one level below it")
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise BuildError(f"{path}: no column {', '.join(missing)}")
        rows = [{k: v or "" for k, v in row.items() if k} for row in reader]
    if not rows:
        raise BuildError(f"{path}: the table has no rows")
    return rows
