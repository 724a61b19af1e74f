"""MrOS Sleep: one or two nights at home of older men."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_builders.nsrr import NsrrBuilder


class Builder(NsrrBuilder):
    """Records of the MrOS Sleep study; see the README.md beside this file."""

    VERSION: ClassVar[Any] = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    NAME = re.compile(r"mros-visit[12]-(?P<subject>aa\d+)\.edf", re.IGNORECASE)
    EXAMPLE = "mros-visit1-aa0001.edf"
