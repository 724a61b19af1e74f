"""TUAB, the TUH Abnormal EEG Corpus: each recording normal or abnormal as a whole."""

from __future__ import annotations

import functools
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_builders.engine.work_unit import Source
from data_builders.families.wake_eeg import (
    TUH_COHORT,
    TUH_NAME,
    Found,
    WakeEegBuilder,
    folders_of,
    only,
)
from sleepfm_jax.recordings.labels.windows import one_hot, whole_clips
from sleepfm_jax.recordings.read import Recording, read_recording

CLASSES = ("normal", "abnormal")
_LABELS = one_hot(CLASSES)
_OFFICIAL = {"train": "train", "eval": "test"}


def read(root: Path, source: Source) -> Recording:
    """Reads one recording at its native rates; its clips are whole and carry its label."""
    recording = read_recording(
        root / source.path, subject=source.subject, recording=source.recording
    )
    recording.windows = functools.partial(whole_clips, recording)
    return recording


class Builder(WakeEegBuilder):
    """Records of TUAB; see the README.md beside this file."""

    VERSION: ClassVar[Any] = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    COHORT = TUH_COHORT
    CLASSES = CLASSES
    EXAMPLE = "edf/{train,eval}/{normal,abnormal}/01_tcp_ar/aaaaaaaq_s004_t000.edf"
    read = staticmethod(read)

    def found(self, path: str, files: frozenset[str]) -> Found | None:
        folders = folders_of(path)
        split, label = only(folders, tuple(_OFFICIAL)), only(folders, CLASSES)
        name = TUH_NAME.fullmatch(PurePosixPath(path).stem)
        if split is None or label is None or name is None:
            return None
        return Found(name["subject"].lower(), _OFFICIAL[split], _LABELS[label])
