"""Sleep-EDF Expanded: two nights each of healthy adults and of poor sleepers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_builders.families.sleep_archive import ByName, SleepArchiveBuilder


class Builder(SleepArchiveBuilder):
    """Records of Sleep-EDF Expanded; see the README.md beside this file."""

    VERSION: ClassVar[Any] = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    NAME = re.compile(r"(?P<night>(?P<subject>(?:SC4|ST7)\d\d)\d[A-Z])0-PSG\.edf", re.IGNORECASE)
    EXAMPLE = "SC4001E0-PSG.edf"
    ANNOTATION = re.compile(r"(?P<night>(?:SC4|ST7)\d{3}[A-Z])[A-Z]-Hypnogram\.edf", re.IGNORECASE)

    def subject_of(self, name: re.Match[str]) -> str:
        # SC4ssN and ST7ssN: ss is the person, N the night; the two studies had other people.
        return name["subject"].upper()

    def annotations_of(self, name: re.Match[str], files: ByName) -> Sequence[str]:
        # The letter behind the night's is the scorer's.
        wanted = name["night"].lower()
        return [
            path
            for file in files
            if (match := self.ANNOTATION.fullmatch(file)) and match["night"] == wanted
            for path in files[file]
        ]
