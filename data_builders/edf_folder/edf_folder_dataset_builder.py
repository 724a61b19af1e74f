"""Any folder of EDF or BDF recordings, with or without a table that says more about them."""

from __future__ import annotations

import dataclasses
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_builders import storage
from data_builders.edf_folder import recording_table
from data_builders.edf_folder.recording_table import Row
from data_builders.engine import BuildError, Plan, RecordsBuilder
from data_builders.shards import Source
from data_builders.subject_splits import FRACTIONS, by_subject
from sleepfm_jax.data.recording import Recording, read_edf

SUFFIXES = (".edf", ".bdf")
_HYPNOGRAM = re.compile("hypnogram", re.IGNORECASE)
NO_CLASS = "none"  # in a table's label column: known to carry none of the classes


def read(root: Path, source: Source) -> Recording:
    """Reads one EDF or BDF file at its native rates, with its stages where there are any."""
    hypnogram = None if source.hypnogram is None else root / source.hypnogram
    return read_edf(
        root / source.path,
        subject=source.subject,
        recording=source.recording,
        hypnogram=hypnogram,
    )


@dataclasses.dataclass(frozen=True)
class Folder:
    """A folder of recordings, listed once: a bucket answers each question about a file slowly."""

    root: storage.AnyPath
    files: frozenset[str]

    @classmethod
    def list(cls, root: storage.AnyPath) -> Folder:
        return cls(root, frozenset(storage.listing(root)))

    def has(self, name: str) -> bool:
        """Is there such a file, maybe behind a link to another folder?"""
        return name in self.files or (storage.is_local(self.root) and (self.root / name).is_file())

    def recordings(self) -> tuple[list[str], list[str]]:
        """EDF and BDF files, sorted: recordings, and files named as hypnograms."""
        found = sorted(p for p in self.files if Path(p).suffix.lower() in SUFFIXES)
        hypnograms = [p for p in found if _HYPNOGRAM.search(Path(p).name)]
        return sorted(set(found) - set(hypnograms)), hypnograms

    def hypnogram_of(self, path: str) -> str | None:
        """The hypnogram that lies next to a recording under one of the usual names, or None."""
        recording = Path(path)
        stem = recording.stem
        names = [f"{stem}-Hypnogram.edf"]
        names += [f"{stem}.hypnogram.{suffix}" for suffix in ("edf", "txt", "csv")]
        names += [f"Hypnogram_{stem}.txt"]
        found = ((recording.parent / name).as_posix() for name in names)
        return next((name for name in found if self.has(name)), None)


class Builder(RecordsBuilder):
    """Records of a folder of EDF or BDF files; see the README.md beside this file.

    Args:
        table: file with columns path, subject, split, label, hypnogram; the folder's own table.csv
            or table.tsv when None.
        split_fractions: of subjects in train, validation and test, where the table gives no split.
        kwargs: as for every builder (`RecordsBuilder`).
    """

    VERSION: ClassVar[Any] = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    read = staticmethod(read)

    def __init__(
        self,
        *,
        table: str | os.PathLike[str] | None = None,
        split_fractions: Sequence[float] | None = None,
        **kwargs: Any,
    ):
        self.table = None if table is None else storage.as_path(table)
        self.split_fractions = tuple(split_fractions or FRACTIONS)
        super().__init__(**kwargs)
        self._original_state |= {"table": table, "split_fractions": split_fractions}

    def plan(self) -> Plan:
        root = self.require_source()
        folder = Folder.list(root)
        found, hypnograms = folder.recordings()
        table = self.table or recording_table.find(root)
        notes: list[str] = []
        if not found:
            raise BuildError(
                f"--source={root}: no {' or '.join(SUFFIXES)} file in this folder or below it"
                + (f" but {len(hypnograms)} hypnograms" if hypnograms else "")
            )
        if table is None:
            rows = [Row(p, Path(p).stem, "", "", "") for p in found]
            notes.append("no table: each file's name is taken for its subject")
        else:
            rows, unknown = recording_table.read(table)
            if unknown:
                notes.append(f"columns of {table.name} not used: {', '.join(unknown)}")
        listed = {row.path for row in rows}
        beside = {row.path: row.hypnogram or folder.hypnogram_of(row.path) for row in rows}
        task, classes = self._task(rows, beside, notes)
        stems = Counter(os.path.splitext(path)[0] for path in listed)
        try:
            splits = by_subject((r.subject for r in rows), self.seed, self.split_fractions)
        except ValueError as error:
            raise BuildError(str(error)) from error
        sources = []
        for row in rows:
            stem, _ = os.path.splitext(row.path)
            sources.append(
                Source(
                    path=row.path,
                    subject=row.subject,
                    # The path without its suffix, unless night.edf lies beside night.bdf.
                    recording=stem if stems[stem] == 1 else row.path,
                    split=row.split or splits[row.subject],
                    labels=label_vector(row.label, task, classes),
                    hypnogram=beside[row.path],
                    problem=_problem(folder, row, table),
                )
            )
        for path in found:
            if path not in listed:
                reason = f"not listed in {table.name}: add a row with this path to build it"
                sources.append(Source(path, "", path, "", problem=reason))
        if not any(s.problem is None for s in sources):
            raise BuildError(f"none of the {len(rows)} paths in {table} is a file of {root}")
        used = {s.hypnogram for s in sources}
        spare = [p for p in hypnograms if p not in used]
        if spare:
            notes.append(
                f"{len(spare)} hypnogram files belong to no recording by name (first: {spare[0]}): "
                "name them in the table's hypnogram column"
            )
        return Plan(tuple(sources), task, classes, tuple(notes))

    def _task(
        self, rows: list[Row], hypnograms: Mapping[str, str | None], notes: list[str]
    ) -> tuple[str, tuple[str, ...]]:
        """What the labels are for: as told, else staging before classes before nothing."""
        labels = {part for r in rows for part in _parts(r.label)} - {NO_CLASS}
        task = self.task
        if task is None:
            if any(hypnograms.values()):
                task = "staging"
                if labels:
                    notes.append(
                        "stages found, so the table's labels are not used: --task=classification "
                        "or --task=multilabel to use them"
                    )
            elif labels:
                several = any(len(_parts(r.label)) > 1 or r.label == NO_CLASS for r in rows)
                task = "multilabel" if several else "classification"
            else:
                task = "none"
        if task not in ("classification", "multilabel"):
            return task, ()
        if not labels:
            raise BuildError(f"--task={task} needs labels: a table with a filled label column")
        several = [r.path for r in rows if len(_parts(r.label)) > 1]
        if task == "classification" and several:
            raise BuildError(
                f"--task=classification, but {several[0]} has several labels: --task=multilabel"
            )
        return task, tuple(sorted(labels))


def _parts(label: str) -> list[str]:
    return [part.strip() for part in label.split("|") if part.strip()]


def label_vector(label: str, task: str, classes: Sequence[str]) -> tuple[float, ...]:
    """float [K]: 1 for each class that a table's label names, NaN throughout where it is blank."""
    if task not in ("classification", "multilabel"):
        return ()
    parts = _parts(label)
    if not parts:
        return (float("nan"),) * len(classes)
    return tuple(float(name in parts) for name in classes)


def _problem(folder: Folder, row: Row, table: storage.AnyPath | None) -> str | None:
    """Why a row cannot be built, when that can be seen without opening the recording."""
    if not folder.has(row.path):
        return f"listed in {table.name if table else 'the table'}, but there is no such file"
    if Path(row.path).suffix.lower() not in SUFFIXES:
        return f"not a recording: its name ends in none of {', '.join(SUFFIXES)}"
    if row.hypnogram and not folder.has(row.hypnogram):
        return f"its hypnogram {row.hypnogram} is not there"
    return None
