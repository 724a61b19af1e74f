"""CPSC 2018 and CPSC-Extra, as the CinC Challenges 2020 and 2021 publish them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_builders.engine.work_unit import Source
from data_builders.families.twelve_lead import CincBuilder, read_exam
from sleepfm_jax.recordings.read import Recording

# CPSC 2018 was not annotated for sinus bradycardia or tachycardia.
CLASSES = ("1dAVb", "RBBB", "LBBB", "AF")


def read(root: Path, source: Source) -> Recording:
    """Reads one exam at its native rate; see `twelve_lead.read_exam`."""
    return read_exam(root, source, CLASSES)


class Builder(CincBuilder):
    """Records of CPSC 2018; see the README.md beside this file."""

    VERSION: ClassVar[Any] = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    CLASSES = CLASSES
    NAME = re.compile(r"[AQ]\d{4}\.hea")
    EXAMPLE = "A0001.hea or Q0001.hea"
    read = staticmethod(read)
