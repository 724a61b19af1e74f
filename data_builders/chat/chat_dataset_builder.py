"""Childhood Adenotonsillectomy Trial (CHAT): laboratory nights of children aged 5 to 10."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_builders.families.nsrr import NsrrBuilder


class Builder(NsrrBuilder):
    """Records of the Childhood Adenotonsillectomy Trial; see the README.md beside this file."""

    VERSION: ClassVar[Any] = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    NAME = re.compile(
        r"chat-(?:baseline|followup|nonrandomized)(?:-nonrandomized)?-(?P<subject>\d+)\.edf",
        re.IGNORECASE,
    )
    EXAMPLE = "chat-baseline-300001.edf"
