"""Wake EEG in a folder of EDF files with a table of labels, as the BrainCapture task has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_builders.edf_folder import edf_folder_dataset_builder, recording_table
from data_builders.engine import storage
from data_builders.engine.builder import Plan
from data_builders.families.wake_eeg import FRACTIONS, METADATA


class Builder(edf_folder_dataset_builder.Builder):
    """Records of labelled wake EEG: an EDF folder with a table, in clips of 60 s."""

    VERSION: ClassVar[Any] = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    CLIP_SECONDS = 60.0

    def __init__(self, *, split_fractions: Sequence[float] | None = None, **kwargs: Any):
        super().__init__(split_fractions=split_fractions or FRACTIONS, **kwargs)

    def is_root(self, names: frozenset[str]) -> bool:
        return bool(names & set(recording_table.FILENAMES))

    def find_root(self, source: storage.AnyPath) -> storage.AnyPath:
        # A table in a folder among others, or beside recordings, says nothing about all of them.
        beside = [path for path in storage.children(source) if not path.name.startswith(".")]
        suffixes = edf_folder_dataset_builder.SUFFIXES
        recordings = any(path.suffix.lower() in suffixes for path in beside)
        if self.table is not None or recordings or sum(path.is_dir() for path in beside) != 1:
            return source
        return super().find_root(source)

    def plan(self) -> Plan:
        plan = super().plan()
        plan.metadata.update(METADATA)
        return plan
