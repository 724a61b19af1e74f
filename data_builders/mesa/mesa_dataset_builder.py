"""MESA Sleep: one night at home, with a finger plethysmogram."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_builders.nsrr import NsrrBuilder


class Builder(NsrrBuilder):
    """Records of the MESA Sleep ancillary study; see the README.md beside this file."""

    VERSION: ClassVar[Any] = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    NAME = re.compile(r"mesa-sleep-(?P<subject>\d+)\.edf", re.IGNORECASE)
    EXAMPLE = "mesa-sleep-0001.edf"
