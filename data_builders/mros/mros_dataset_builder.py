"""MrOS Sleep: one or two nights at home of older men."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_builders.engine.work_unit import Source
from data_builders.families import nsrr
from data_builders.families.nsrr import NsrrBuilder
from sleepfm_jax.recordings.read import Recording

# Of the NSRR's list of known issues; all of the first visit.
WRONG_STAGES = frozenset(
    f"mros-visit1-{subject}"
    for subject in ["aa2033", "aa3905", "aa4225", "aa4398", "aa4928", "aa5622", "aa5660", "aa5781"]
)
NOT_BELIEVED = "the NSRR says that the stages of this night are wrong: left out"


def read(root: Path, source: Source) -> Recording:
    """As every NSRR recording; stages that the NSRR calls wrong are left out."""
    recording = nsrr.read(root, source)
    if source.recording.lower() in WRONG_STAGES and recording.stages is not None:
        recording.stages = None
        recording.notes.append(NOT_BELIEVED)
    return recording


class Builder(NsrrBuilder):
    """Records of the MrOS Sleep study; see the README.md beside this file."""

    VERSION: ClassVar[Any] = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    NAME = re.compile(r"mros-visit[12]-(?P<subject>aa\d+)\.edf", re.IGNORECASE)
    EXAMPLE = "mros-visit1-aa0001.edf"
    read = staticmethod(read)
