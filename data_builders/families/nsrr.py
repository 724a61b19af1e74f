"""Archives of the National Sleep Research Resource: EDF files and XML scorings named after them.

    polysomnography/edfs/[partition/]ID.edf
    polysomnography/annotations-events-nsrr/[partition/]ID-nsrr.xml
    polysomnography/annotations-events-profusion/[partition/]ID-profusion.xml

The NSRR's own XML is read; Profusion's, which it was made from, where that one is missing. The
Wisconsin cohort keeps its stages in text files instead (data_builders/wsc).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from data_builders.engine.work_unit import Source
from data_builders.families import sleep_archive
from data_builders.families.sleep_archive import ByName, SleepArchiveBuilder
from sleepfm_jax.recordings.read import Recording

_KINDS = ("-nsrr.xml", "-profusion.xml")


def read(root: Path, source: Source) -> Recording:
    """As `sleep_archive.read`, and says where the stages are not the NSRR's."""
    recording = sleep_archive.read(root, source)
    if (source.hypnogram or "").lower().endswith("-profusion.xml"):
        recording.notes.append("the NSRR's XML is missing: stages are Profusion's")
    return recording


class NsrrBuilder(SleepArchiveBuilder, skip_registration=True):
    """Base class of the NSRR's cohorts. `NAME` has a group `subject`: the NSRR's id of a person."""

    ANNOTATION = re.compile(r".+-(?:nsrr|profusion)\.xml", re.IGNORECASE)
    read = staticmethod(read)

    def subject_of(self, name: re.Match[str]) -> str:
        return name["subject"].lower()

    def annotations_of(self, name: re.Match[str], files: ByName) -> Sequence[str]:
        stem = name[0].rpartition(".")[0]
        return next((found for kind in _KINDS if (found := files[stem + kind])), ())

    def is_extra(self, path: str, files: ByName) -> bool:
        # Profusion's file of a recording whose NSRR file was taken.
        name = path.rpartition("/")[2].lower()
        stem = next(name.removesuffix(kind) for kind in _KINDS if name.endswith(kind))
        return bool(files[f"{stem}.edf"])
