"""Cleveland Family Study (CFS): one laboratory night of members of families."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_builders.families.nsrr import NsrrBuilder


class Builder(NsrrBuilder):
    """Records of the Cleveland Family Study; see the README.md beside this file."""

    VERSION: ClassVar[Any] = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    NAME = re.compile(r"cfs-visit\d-(?P<subject>\d+)\.edf", re.IGNORECASE)
    EXAMPLE = "cfs-visit5-800002.edf"
    NOTES = ("splits are by subject, not by family: relatives may be in different splits",)
