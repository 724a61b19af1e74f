"""PhysioNet/CinC Challenge 2018, You Snooze You Win: 1,983 laboratory nights, half with stages."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_builders.engine.builder import Plan
from data_builders.families import people_table
from data_builders.families.sleep_archive import ByName, SleepArchiveBuilder
from sleepfm_jax.recordings.person import Person

TABLE = "age-sex.csv"


class Builder(SleepArchiveBuilder):
    """Records of the PhysioNet/CinC Challenge 2018; see the README.md beside this file."""

    VERSION: ClassVar[Any] = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    NAME = re.compile(r"(?P<subject>t[re]\d\d-\d{4})\.hea", re.IGNORECASE)
    EXAMPLE = "tr03-0005.hea"
    SUFFIXES = (".hea",)
    ANNOTATION = re.compile(r".+\.arousal", re.IGNORECASE)
    NOTES = (
        "the challenge's own test set is in test, and has no public stages; its training set is "
        "split by subject",
    )

    def plan(self) -> Plan:
        plan = super().plan()
        table = self.require_source() / TABLE
        people = people_table.read(table, key="Record", age="Age", sex="Sex")
        sources = tuple(
            dataclasses.replace(s, person=people.get(s.subject, Person())) for s in plan.sources
        )
        return dataclasses.replace(plan, sources=sources)

    def subject_of(self, name: re.Match[str]) -> str:
        return name["subject"].lower()

    def annotations_of(self, name: re.Match[str], files: ByName) -> Sequence[str]:
        return files[f"{name['subject']}.arousal"]

    def files_of(self, path: str, name: re.Match[str], files: ByName) -> tuple[str, ...]:
        return files[f"{name['subject']}.mat"]

    def official_split(self, path: str) -> str | None:
        return "test" if PurePosixPath(path).name.lower().startswith("te") else None
