"""G12EC, the Georgia 12-lead ECG Challenge database, as the CinC Challenges publish it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_builders.engine.work_unit import Source
from data_builders.families.twelve_lead import LABELS, CincBuilder, read_exam
from sleepfm_jax.recordings.read import Recording


def read(root: Path, source: Source) -> Recording:
    """Reads one exam at its native rate; see `twelve_lead.read_exam`."""
    return read_exam(root, source, LABELS)


class Builder(CincBuilder):
    """Records of G12EC; see the README.md beside this file."""

    VERSION: ClassVar[Any] = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    CLASSES = LABELS
    NAME = re.compile(r"E\d{5}\.hea")
    EXAMPLE = "E00001.hea"
    read = staticmethod(read)
