"""CHB-MIT: long-term scalp EEG of children with epilepsy, seizures marked by their summaries."""

from __future__ import annotations

import dataclasses
import functools
import re
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_builders.engine import storage
from data_builders.engine.builder import Plan
from data_builders.engine.work_unit import Source
from data_builders.families.wake_eeg import Found, WakeEegBuilder
from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.labels.intervals import read_chb_summary
from sleepfm_jax.recordings.labels.windows import on_grid, one_hot
from sleepfm_jax.recordings.person import Person, described
from sleepfm_jax.recordings.read import Recording, read_recording

CLASSES = ("no_seizure", "seizure")
_LABELS = one_hot(CLASSES)
_NAME = re.compile(r"(chb\d{2,3})[a-z]?_\d+\+?\.edf", re.IGNORECASE)
TABLE = "SUBJECT-INFO"
_ROW = re.compile(r"(chb\d{2,3})\s+([FM])\s+([\d.]+)\s*", re.IGNORECASE)  # case, sex, years
SAME_PERSON = {"chb21": "chb01"}
"""Case 21 was recorded from the person of case 1, a year and a half later."""


def read(root: Path, source: Source) -> Recording:
    """Reads one recording at its native rate; whole clips are labelled by the seizures they hold.

    Raises:
        RecordingError: the recording or the summary cannot be read, or the summary does not name
            the recording.
    """
    path = root / source.path
    recording = read_recording(path, subject=source.subject, recording=source.recording)
    seizures = read_chb_summary(root / source.files[0])
    if path.name not in seizures:
        raise RecordingError(path, f"{Path(source.files[0]).name} does not name it: no labels")
    recording.windows = functools.partial(
        on_grid, recording, seizures[path.name], _LABELS, "no_seizure"
    )
    return recording


class Builder(WakeEegBuilder):
    """Records of CHB-MIT; see the README.md beside this file."""

    VERSION: ClassVar[Any] = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    CLASSES = CLASSES
    EXAMPLE = "chb01/chb01_03.edf with chb01/chb01-summary.txt"
    NOTES = ("chb21 is the same person as chb01, and in the same split",)
    read = staticmethod(read)

    def plan(self) -> Plan:
        plan, people = super().plan(), _people(self.require_source() / TABLE)
        # By case, not by subject: the girl of cases 1 and 21 grew older between them.
        cases = ((s, _NAME.fullmatch(PurePosixPath(s.path).name)) for s in plan.sources)
        sources = tuple(
            dataclasses.replace(
                s, person=people.get(name[1].lower(), Person()) if name else Person()
            )
            for s, name in cases
        )
        return dataclasses.replace(plan, sources=sources)

    def found(self, path: str, files: frozenset[str]) -> Found | None:
        name = _NAME.fullmatch(PurePosixPath(path).name)
        if name is None:
            return None
        case = name[1].lower()
        summary = PurePosixPath(path).with_name(f"{case}-summary.txt")
        return Found(SAME_PERSON.get(case, case), files=(str(summary),))


def _people(table: storage.AnyPath) -> dict[str, Person]:
    """Age and sex by case, of the archive's table of them, if it is there."""
    if storage.unfetched(table) or not table.is_file():
        return {}
    lines = table.read_bytes().decode("latin-1").splitlines()
    rows = filter(None, (_ROW.fullmatch(line.strip()) for line in lines))
    return {row[1].lower(): described(row[3], row[2]) for row in rows}
