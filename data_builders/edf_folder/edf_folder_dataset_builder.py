"""Any folder of recordings: with a table that says more about them, in BIDS, or as it is."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_builders.edf_folder import bids, recording_table
from data_builders.edf_folder.recording_table import Row
from data_builders.engine import storage
from data_builders.engine.builder import Plan, RecordsBuilder
from data_builders.engine.options import Option, numbers
from data_builders.engine.splits import FRACTIONS, by_subject
from data_builders.engine.work_unit import Source
from sleepfm_jax.errors import BuildError
from sleepfm_jax.recordings.bids.events import add_events
from sleepfm_jax.recordings.bids.sleep_stages import add_sleep_stages
from sleepfm_jax.recordings.bids.tables import add_channel_table, read_channel_table
from sleepfm_jax.recordings.read import Recording, read_recording

SUFFIXES = (".edf", ".bdf", ".gdf", ".vhdr", ".set")
# Files of a recording's own name that hold a part of it.
_PARTS = {".vhdr": (".eeg", ".dat", ".vmrk"), ".set": (".fdt",)}
_HYPNOGRAM = re.compile("hypnogram", re.IGNORECASE)
_UCDDB = re.compile(r"ucddb\d+", re.IGNORECASE)  # a recording's name in that archive
NO_CLASS = "none"  # in a table's label column: known to carry none of the classes


def read(root: Path, source: Source) -> Recording:
    """Reads one recording at its native rates, with its stages and what BIDS tables say of it."""

    def tables(kind: str) -> list[Path]:
        return [root / name for name in source.files if name.endswith(kind)]

    channels = [read_channel_table(path) for path in tables(bids.CHANNELS)]  # one at most
    recording = read_recording(
        root / source.path,
        subject=source.subject,
        recording=source.recording,
        hypnogram=None if source.hypnogram is None else root / source.hypnogram,
        modalities=channels[0].modalities if channels else None,
    )
    for table in channels:
        add_channel_table(recording, table)
    if source.hypnogram is None:
        for table in tables(bids.SLEEP_STAGES):
            add_sleep_stages(recording, table)
    for events in tables(bids.EVENTS):
        sidecars = tables(bids.EVENTS_JSON)
        add_events(recording, events, sidecars, stages=source.hypnogram is None)
    return recording


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
        """Files of `SUFFIXES`, sorted: recordings, and files named as hypnograms."""
        found = sorted(p for p in self.files if Path(p).suffix.lower() in SUFFIXES)
        hypnograms = [p for p in found if _HYPNOGRAM.search(Path(p).name)]
        return sorted(set(found) - set(hypnograms)), hypnograms

    @functools.cached_property
    def _per_folder(self) -> Counter[str]:
        """How many recordings lie in each folder."""
        return Counter(Path(path).parent.as_posix() for path in self.recordings()[0])

    def parts_of(self, path: str) -> tuple[str, ...]:
        """The files that hold the samples and markers of a recording, beside its main one."""
        stem, suffix = os.path.splitext(path)
        names = [stem + s for part in _PARTS.get(suffix.lower(), ()) for s in (part, part.upper())]
        return tuple(name for name in names if self.has(name))

    def hypnogram_of(self, path: str) -> str | None:
        """The hypnogram that lies next to a recording under one of the usual names, or None."""
        recording = Path(path)
        stem = recording.stem
        names = [f"{stem}-Hypnogram.edf"]
        names += [f"{stem}.hypnogram.{suffix}" for suffix in ("edf", "txt", "csv")]
        names += [f"Hypnogram_{stem}.txt"]
        if _UCDDB.fullmatch(stem):
            names.append(f"{stem}_stage.txt")
        if self._per_folder[recording.parent.as_posix()] == 1:
            names.append("Schlafprofil.txt")
        found = ((recording.parent / name).as_posix() for name in names)
        return next((name for name in found if self.has(name)), None)


class Builder(RecordsBuilder):
    """Records of a folder of recordings; see the README.md beside this file.

    Args:
        table: file with columns path, subject, split, label, hypnogram; the folder's own table.csv
            or table.tsv when None.
        label_column: the column of the classes, in the table or, in a BIDS folder without one, in
            participants.tsv. When None, the table's `label`, and none of participants.tsv.
        split_fractions: of subjects in train, validation and test, where nothing gives a split.
        kwargs: as for every builder (`RecordsBuilder`).
    """

    VERSION: ClassVar[Any] = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    OPTIONS: ClassVar[dict[str, Option]] = {
        "table": Option(
            "CSV or TSV file with columns path, subject, split, label, hypnogram. "
            "[default: table.csv or table.tsv in --source, if there is one]"
        ),
        "label_column": Option(
            "The column of the classes, in the table, or in the participants.tsv of a BIDS folder "
            "without one. [default: the table's `label`; of participants.tsv none]"
        ),
        "split_fractions": Option(
            "Fractions of the subjects in train, validation and test where nothing gives a split. "
            "[default: 0.7,0.1,0.2, or the dataset's own]",
            type=numbers,
        ),
    }
    read = staticmethod(read)

    def __init__(
        self,
        *,
        table: str | os.PathLike[str] | None = None,
        label_column: str | None = None,
        split_fractions: Sequence[float] | None = None,
        **kwargs: Any,
    ):
        self.table = None if table is None else storage.as_path(table)
        self.label_column = label_column
        self.split_fractions = tuple(split_fractions or FRACTIONS)
        super().__init__(**kwargs)
        self._original_state |= {
            "table": table,
            "label_column": label_column,
            "split_fractions": split_fractions,
        }

    def plan(self) -> Plan:
        root = self.require_source()
        folder = Folder.list(root)
        notes: list[str] = []
        layout = _bids_layout(folder, notes)
        found, hypnograms = (layout.recordings, []) if layout else folder.recordings()
        table = self.table or recording_table.find(root)
        if not found:
            raise BuildError(
                f"--source={root}: no {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file in this "
                "folder or below it"
                + (f", but {len(hypnograms)} hypnograms" if hypnograms else "")
                + (
                    f", but {layout.passed_over} under derivatives/ and sourcedata/"
                    if layout and layout.passed_over
                    else ""
                )
            )
        rows = self._rows(folder, found, layout, table, notes)
        listed = {row.path for row in rows}
        # In a BIDS folder stages are in events.tsv, read with the recording.
        beside = {
            row.path: row.hypnogram or (None if layout else folder.hypnogram_of(row.path))
            for row in rows
        }
        label_kind, classes = self._label_kind(rows, beside, notes)
        stems = Counter(os.path.splitext(path)[0] for path in listed)
        try:
            splits = by_subject((r.subject for r in rows), self.seed, self.split_fractions)
        except ValueError as error:
            raise BuildError(str(error)) from error
        sources = []
        for row in rows:
            stem, _ = os.path.splitext(row.path)
            sidecars, unclear = layout.sidecars(row.path) if layout else ((), None)
            sources.append(
                Source(
                    path=row.path,
                    subject=row.subject,
                    # The path without its suffix, unless night.edf lies beside night.bdf.
                    recording=stem if stems[stem] == 1 else row.path,
                    split=row.split or splits[row.subject],
                    labels=label_vector(row.label, label_kind, classes),
                    hypnogram=beside[row.path],
                    files=folder.parts_of(row.path) + sidecars,
                    problem=_problem(folder, row, table) or unclear,
                    person=row.person,
                )
            )
        for path in found:
            if path not in listed:
                reason = (
                    layout.problems[path]
                    if layout and table is None
                    else f"not listed in {table.name}: add a row with this path to build it"
                )
                sources.append(Source(path, "", path, "", problem=reason))
        if not any(s.problem is None for s in sources):
            if table is not None:
                raise BuildError(f"none of the {len(rows)} paths in {table} is a file of {root}")
            raise BuildError(
                f"--source={root}: none of {len(sources)} recordings can be built; the first, "
                f"{sources[0].path}: {sources[0].problem}"
            )
        used = {s.hypnogram for s in sources}
        spare = [p for p in hypnograms if p not in used]
        if spare:
            notes.append(
                f"{len(spare)} hypnogram files belong to no recording by name (first: {spare[0]}): "
                "name them in the table's hypnogram column"
            )
        return Plan(tuple(sources), label_kind, classes, tuple(notes))

    def _rows(
        self,
        folder: Folder,
        found: list[str],
        layout: bids.Layout | None,
        table: storage.AnyPath | None,
        notes: list[str],
    ) -> list[Row]:
        """What is to be built: as a table says, else as BIDS does, else every file."""
        if table is not None:

            def subject_of(path: str) -> str:
                return (bids.participant(path) if layout else None) or Path(path).stem

            rows, unknown = recording_table.read(table, self.label_column, subject_of)
            if unknown:
                notes.append(f"columns of {table.name} not used: {', '.join(unknown)}")
            if layout:
                notes.append(f"{table.name} says what is built: participants.tsv is not read")
            return rows
        if layout:
            return bids.rows(folder.root, folder.files, layout, self.label_column, notes)
        if self.label_column is not None:
            raise BuildError(
                f"--label_column={self.label_column} names a column of a table (--table) or of a "
                f"BIDS folder's participants.tsv; {folder.root} has neither"
            )
        notes.append("no table: each file's name is taken for its subject")
        return [Row(p, Path(p).stem, "", "", "") for p in found]

    def _label_kind(
        self, rows: list[Row], hypnograms: Mapping[str, str | None], notes: list[str]
    ) -> tuple[str, tuple[str, ...]]:
        """What the labels are for: as told, else staging before classes before nothing."""
        labels = {part for r in rows for part in _parts(r.label)} - {NO_CLASS}
        label_kind = self.label_kind
        asked = self.label_column is not None  # for these labels, whatever else there is
        if asked and label_kind not in (None, "classification", "multilabel"):
            raise BuildError(
                f"--label_column={self.label_column} has no use with --label_kind={label_kind}"
            )
        if asked and not labels:
            raise BuildError(f"--label_column={self.label_column}: no recording has a label there")
        if label_kind is None:
            if any(hypnograms.values()) and not asked:
                label_kind = "staging"
                if labels:
                    notes.append(
                        "stages found, so the table's labels are not used: "
                        "--label_kind=classification or --label_kind=multilabel to use them"
                    )
            elif labels:
                several = any(len(_parts(r.label)) > 1 or r.label == NO_CLASS for r in rows)
                label_kind = "multilabel" if several else "classification"
            else:
                label_kind = "none"
        if label_kind not in ("classification", "multilabel"):
            return label_kind, ()
        if not labels:
            raise BuildError(
                f"--label_kind={label_kind} needs labels: a table with a filled label column, "
                "or --label_column"
            )
        several = [r.path for r in rows if len(_parts(r.label)) > 1]
        if label_kind == "classification" and several:
            raise BuildError(
                f"--label_kind=classification, but {several[0]} has several labels: "
                "--label_kind=multilabel"
            )
        return label_kind, tuple(sorted(labels))


def _bids_layout(folder: Folder, notes: list[str]) -> bids.Layout | None:
    """The layout of a BIDS folder; None where it is none, with a note where it nearly is."""
    version = bids.version(folder.root, folder.files)
    if version is None:
        inside = sorted(f for f in folder.files if f.endswith(f"/{bids.DESCRIPTION}"))
        if bids.DESCRIPTION in folder.files:
            notes.append(f"{bids.DESCRIPTION} gives no BIDSVersion: built as any folder")
        elif inside:
            notes.append(
                f"{inside[0]} is of a BIDS folder: give that folder as --source to build it as one"
            )
        return None
    layout = bids.Layout(folder.files, SUFFIXES)
    notes.append(f"BIDS folder, version {version}")
    if layout.passed_over:
        notes.append(
            f"{layout.passed_over} recordings under derivatives/ and sourcedata/ are passed over"
        )
    return layout


def _parts(label: str) -> list[str]:
    return [part.strip() for part in label.split("|") if part.strip()]


def label_vector(label: str, label_kind: str, classes: Sequence[str]) -> tuple[float, ...]:
    """float [K]: 1 for each class that a table's label names, NaN throughout where it is blank."""
    if label_kind not in ("classification", "multilabel"):
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
