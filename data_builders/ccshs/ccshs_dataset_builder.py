"""Cleveland Children's Sleep and Health Study (CCSHS): one laboratory night of adolescents."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_builders.families.nsrr import NsrrBuilder


class Builder(NsrrBuilder):
    """Records of the CCSHS; see the README.md beside this file."""

    VERSION: ClassVar[Any] = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    NAME = re.compile(r"ccshs-trec-(?P<subject>\d+)\.edf", re.IGNORECASE)
    EXAMPLE = "ccshs-trec-1800001.edf"
