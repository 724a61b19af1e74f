"""PTB-XL: 21,799 clinical 12-lead ECGs of 10 s, five diagnostic superclasses."""

from __future__ import annotations

import ast
import csv
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_builders.engine import storage
from data_builders.engine.builder import Plan, RecordsBuilder
from data_builders.engine.options import Option
from data_builders.engine.work_unit import Source
from data_builders.families.twelve_lead import SIGNALS, check_leads
from sleepfm_jax.errors import BuildError
from sleepfm_jax.recordings.person import Person, described
from sleepfm_jax.recordings.read import Recording, read_recording

TABLE = "ptbxl_database.csv"
CLASSES = ("NORM", "MI", "STTC", "CD", "HYP")
_SEX = {"0": "male", "1": "female"}
_SPLIT_OF_FOLD = dict.fromkeys(range(1, 9), "train") | {9: "validation", 10: "test"}


def read(root: Path, source: Source) -> Recording:
    """Reads one WFDB exam; leads in µV, at the rate of the file.

    Raises:
        RecordingError: the exam cannot be read, or a lead is not a voltage.
    """
    return check_leads(
        read_recording(root / source.path, subject=source.subject, recording=source.recording)
    )


class Builder(RecordsBuilder):
    """Records of PTB-XL; see the README.md beside this file.

    Args:
        sfreq_source: 100 reads records100, 500 reads records500; None: the dataset's own, 100.
        kwargs: as for every builder (`RecordsBuilder`).
    """

    VERSION: ClassVar[Any] = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    OPTIONS: ClassVar[dict[str, Option]] = {
        "sfreq_source": Option(
            "Read records100 or records500. [default: the dataset's own]", int, (100, 500)
        )
    }
    CLASSES: ClassVar[tuple[str, ...]] = CLASSES
    CLIP_SECONDS = 10.0
    SFREQ_SOURCE: ClassVar[int] = 100
    METADATA: ClassVar[dict[str, Any]] = SIGNALS
    CLASS_KIND: ClassVar[str] = "diagnostic superclass"
    read = staticmethod(read)

    def __init__(self, *, sfreq_source: int | None = None, **kwargs: Any):
        if sfreq_source not in (None, 100, 500):
            raise BuildError(f"sfreq_source must be 100 or 500 Hz, not {sfreq_source}")
        self.sfreq_source = sfreq_source or self.SFREQ_SOURCE
        super().__init__(**kwargs)
        self._original_state |= {"sfreq_source": sfreq_source}

    def is_root(self, names: frozenset[str]) -> bool:
        return TABLE in names

    def plan(self) -> Plan:
        root = self.require_source()
        if self.label_kind not in (None, "multilabel"):
            raise BuildError(
                f"--label_kind={self.label_kind}: {self.name} is multilabel "
                f"({', '.join(self.CLASSES)})"
            )
        exams = _table(root, TABLE)
        column = "filename_lr" if self.sfreq_source == 100 else "filename_hr"
        sources = [
            _source(root, exam, column, tuple(float(name in found) for name in self.CLASSES))
            for exam, found in zip(exams, self.exam_labels(root, exams))
        ]
        if not any(s.problem is None for s in sources):
            raise BuildError(
                f"--source={root}: no exam of {TABLE} is in records{self.sfreq_source}/"
            )
        unlabelled = sum(not any(s.labels) for s in sources)
        notes = []
        if unlabelled:
            notes.append(f"{unlabelled} exams have no {self.CLASS_KIND}: all their labels are 0")
        metadata = {"sfreq_source": self.sfreq_source, **self.METADATA}
        return Plan(tuple(sources), "multilabel", self.CLASSES, tuple(notes), metadata)

    def exam_labels(self, root: Path, exams: list[dict[str, str]]) -> list[set[str]]:
        """The classes of each exam."""
        superclass = superclasses(_table(root, "scp_statements.csv"))
        return [exam_classes(exam["scp_codes"], superclass) for exam in exams]


def superclasses(statements: list[dict[str, str]]) -> dict[str, str]:
    """Diagnostic superclass of each SCP code that is a diagnosis, from scp_statements.csv."""
    return {
        row["code"]: row["diagnostic_class"]
        for row in statements
        if row["diagnostic"] and float(row["diagnostic"]) == 1
    }


def exam_classes(scp_codes: str, superclass: dict[str, str]) -> set[str]:
    """Superclasses of one exam.

    As in the dataset's own example_physionet.py, each diagnostic code of the exam counts, whatever
    its likelihood, and a likelihood of 0 (unknown) too.
    """
    return {superclass[code] for code in ast.literal_eval(scp_codes) if code in superclass}


def _table(root: Path, name: str) -> list[dict[str, str]]:
    path = root / name
    if reason := storage.unfetched(path):
        raise BuildError(f"{path}: {reason}")
    if not path.is_file():
        raise BuildError(
            f"--source={root}: no {name} in this folder or one level below it; give the folder "
            "that holds it"
        )
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        # scp_statements.csv leaves the name of its first column blank.
        return [{k or "code": v or "" for k, v in row.items()} for row in rows]


def _source(root: Path, exam: dict[str, str], column: str, labels: tuple[float, ...]) -> Source:
    header = f"{exam[column]}.hea"
    signal = f"{exam[column]}.dat"
    absent = [name for name in (header, signal) if not (root / name).is_file()]
    # A link to nothing is told of when it is read.
    absent = [name for name in absent if not storage.unfetched(root / name)]
    return Source(
        path=header,
        subject=f"patient{round(float(exam['patient_id']))}",
        recording=Path(exam[column]).name,
        split=_SPLIT_OF_FOLD[int(exam["strat_fold"])],
        labels=labels,
        files=(signal,),
        problem=f"missing file: {' and '.join(absent)}" if absent else None,
        person=_person(exam),
    )


def _person(exam: dict[str, str]) -> Person:
    """Sex as the documentation codes it. 300 stands for all ages above 89, and is not known."""
    sex = exam.get("sex", "").removesuffix(".0")
    return described(exam.get("age", ""), _SEX.get(sex, ""))
