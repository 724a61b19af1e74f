"""EEGMAT: 19-channel EEG of rest and of mental arithmetic, 36 students (Zyma et al. 2019)."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_builders.engine import storage
from data_builders.engine.builder import Plan, RecordsBuilder
from data_builders.engine.work_unit import Source
from data_builders.families import people_table
from data_builders.families.wake_eeg import SIGNALS
from sleepfm_jax.errors import BuildError
from sleepfm_jax.recordings.person import Person
from sleepfm_jax.recordings.read import Recording, read_edf

CLASSES = ("rest", "arithmetic")
TABLE = "subject-info.csv"
_NAME = re.compile(r"(Subject\d+)_([12])\.edf", re.IGNORECASE)


def read(root: Path, source: Source) -> Recording:
    """Reads one EDF+ file; EEG, the ear reference and the ECG are all kept."""
    return read_edf(root / source.path, subject=source.subject, recording=source.recording)


class Builder(RecordsBuilder):
    """Records of EEGMAT; see the README.md beside this file."""

    VERSION: ClassVar[Any] = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    # Recordings last 62 s (arithmetic) or are cut to it: three whole clips and one of 2 s, masked.
    CLIP_SECONDS = 20.0
    read = staticmethod(read)

    def is_root(self, names: frozenset[str]) -> bool:
        return any(_NAME.fullmatch(name) for name in names)

    def plan(self) -> Plan:
        root = self.require_source()
        if self.label_kind not in (None, "classification"):
            raise BuildError(
                f"--label_kind={self.label_kind}: eegmat is for classification (rest or arithmetic)"
            )
        edfs = sorted(p for p in root.iterdir() if p.suffix.lower() == ".edf")
        notes = [
            "no official split: everything is in train, for cross-validation grouped by subject "
            "(protocol grouped_cv in the metadata)"
        ]
        sources, others = [], []
        for path in edfs:
            match = _NAME.fullmatch(path.name)
            if match is None:
                others.append(path.name)
                continue
            arithmetic = match[2] == "2"
            sources.append(
                Source(
                    path=path.name,
                    subject=match[1],
                    recording=path.stem,
                    split="train",
                    labels=(float(not arithmetic), float(arithmetic)),
                )
            )
        if not sources:
            raise BuildError(
                f"--source={root}: no SubjectNN_1.edf (rest) or SubjectNN_2.edf (arithmetic) "
                "in this folder or one level below it"
            )
        sources += [
            Source(name, "", name, "", problem="not named SubjectNN_1.edf or SubjectNN_2.edf")
            for name in others
        ]
        notes += _check_subjects(root, sources)
        # The headers' dates and sexes are placeholders, or another's.
        people = people_table.read(root / TABLE, key="Subject", age="Age", sex="Gender")
        sources = [
            dataclasses.replace(s, person=people.get(s.subject.lower(), Person())) for s in sources
        ]
        metadata = {"protocol": "grouped_cv", **SIGNALS}
        return Plan(tuple(sources), "classification", CLASSES, tuple(notes), metadata)


def _check_subjects(root: Path, sources: list[Source]) -> list[str]:
    """What is missing or unknown against subject-info.csv, in words."""
    seen: dict[str, set[str]] = {}
    for source in sources:
        if source.problem is None:
            seen.setdefault(source.subject, set()).add(Path(source.path).stem[-1])
    notes = []
    alone = sorted(s for s, conditions in seen.items() if len(conditions) == 1)
    if alone:
        notes.append(f"only one of the two recordings of {', '.join(alone)}")
    table = root / TABLE
    if reason := storage.unfetched(table):
        return [*notes, f"subject-info.csv {reason}: subjects could not be checked against it"]
    if not table.is_file():
        return [*notes, "no subject-info.csv: subjects could not be checked against it"]
    lines = table.read_text(encoding="utf-8-sig").splitlines()[1:]
    listed = {line.split(",")[0].strip() for line in lines if line.strip()}
    absent, unknown = sorted(listed - set(seen)), sorted(set(seen) - listed)
    if absent:
        notes.append(f"in subject-info.csv but not in the folder: {', '.join(absent)}")
    if unknown:
        notes.append(f"in the folder but not in subject-info.csv: {', '.join(unknown)}")
    return notes
