"""Cleveland Family Study (CFS): one laboratory night of members of families."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_builders.engine import storage
from data_builders.engine.work_unit import Source
from data_builders.families.nsrr import NsrrBuilder
from data_builders.families.people_table import column_of

NO_FAMILIES = "splits are by subject, not by family: relatives may be in different splits"


class Builder(NsrrBuilder):
    """Records of the Cleveland Family Study; see the README.md beside this file."""

    VERSION: ClassVar[Any] = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    NAME = re.compile(r"cfs-visit\d-(?P<subject>\d+)\.edf", re.IGNORECASE)
    EXAMPLE = "cfs-visit5-800002.edf"
    TABLE = re.compile(r"cfs-visit5-dataset-[\d.]+\.csv", re.IGNORECASE)

    def families_of(self, root: storage.AnyPath, listed: Sequence[str]) -> dict[str, str]:
        """By the column `familyi` of the NSRR's own table; {} where that is not below `root`."""
        tables = sorted(p for p in listed if self.TABLE.fullmatch(PurePosixPath(p).name))
        found = column_of(root / tables[-1], key="nsrrid", column="familyi") if tables else {}
        return {subject: f"family {name}" for subject, name in found.items()}

    def notes_on(self, family: Mapping[str, str], built: Sequence[Source]) -> tuple[str, ...]:
        if not family:
            return (NO_FAMILIES,)
        alone = sum(s.subject not in family for s in built)
        unknown = f"; of {alone} people no family is known" if alone else ""
        return (f"splits are by family: relatives are in one{unknown}",)
