"""DREAMS: nights and 30-minute excerpts from a Belgian sleep laboratory (Devuyst et al.)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_builders.engine.work_unit import Source
from data_builders.families import sleep_archive
from data_builders.families.sleep_archive import ByName, SleepArchiveBuilder
from sleepfm_jax.recordings.read import Recording

# The AASM's rules before Rechtschaffen and Kales', where a database was scored by both.
_KINDS = ("Hypnogram_", "HypnogramAASM_", "HypnogramR&K_")
# The laboratory's inputs 8 and 18 are beside the eyes, says the description of the Subjects
# database; by the 10-20 system, P8 would be a parietal electrode.
_EYES = re.compile(r"P(?:8|18)-(A[12])")


def read(root: Path, source: Source) -> Recording:
    """As `sleep_archive.read`, with the EOG known that is called P8-A1 and P18-A1."""
    recording = sleep_archive.read(root, source)
    eyes = [c for c in recording.channels if _EYES.fullmatch(c.label.upper())]
    for number, channel in enumerate(sorted(eyes, key=lambda c: len(c.label)), 1):
        reference = channel.label.upper()[-2:].replace("A", "M")
        channel.name, channel.modality = f"EOG{number}-{reference}", "bas"
        channel.notes.append("an EOG: input 8 or 18 of this laboratory")
    return recording


class Builder(SleepArchiveBuilder):
    """Records of the DREAMS databases; see the README.md beside this file."""

    VERSION: ClassVar[Any] = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    NAME = re.compile(r"(?P<subject>(?:excerpt|subject|patient)\d+)\.edf", re.IGNORECASE)
    EXAMPLE = "excerpt1.edf, subject1.edf or patient1.edf"
    ANNOTATION = re.compile(r"Hypnogram(?:AASM|R&K)?_(?P<subject>.+)\.txt", re.IGNORECASE)

    read = staticmethod(read)

    def subject_of(self, name: re.Match[str]) -> str:
        return name["subject"].lower()

    def annotations_of(self, name: re.Match[str], files: ByName) -> Sequence[str]:
        names = [f"{kind}{name['subject']}.txt" for kind in _KINDS]
        return next((found for file in names if (found := files[file])), ())

    def is_extra(self, path: str, files: ByName) -> bool:
        match = self.ANNOTATION.fullmatch(path.rpartition("/")[2])
        return bool(files[f"{match['subject']}.edf"])
