"""Sleep Heart Health Study (SHHS): two nights at home of middle-aged and older adults."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_builders.nsrr import NsrrBuilder


class Builder(NsrrBuilder):
    """Records of the Sleep Heart Health Study; see the README.md beside this file."""

    VERSION: ClassVar[Any] = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    NAME = re.compile(r"shhs[12]-(?P<subject>\d+)\.edf", re.IGNORECASE)
    EXAMPLE = "shhs1-200001.edf"
