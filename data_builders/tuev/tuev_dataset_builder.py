"""TUEV, the TUH EEG Events Corpus: one-second events on single channels, six classes."""

from __future__ import annotations

import functools
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_builders.engine.work_unit import Source
from data_builders.families.wake_eeg import TUH_COHORT, Found, WakeEegBuilder, folders_of, only
from sleepfm_jax.recordings.labels.intervals import read_intervals
from sleepfm_jax.recordings.labels.windows import around, one_hot
from sleepfm_jax.recordings.read import Recording, read_recording

CLASSES = ("bckg", "pled", "artf", "eyem", "gped", "spsw")
_LABELS = one_hot(CLASSES)
_OFFICIAL = {"train": "train", "eval": "test"}


def read(root: Path, source: Source) -> Recording:
    """Reads one recording at its native rates; each line of its `.rec` is a clip.

    Raises:
        RecordingError: the recording or its `.rec` cannot be read, or no event lies within it.
    """
    recording = read_recording(
        root / source.path, subject=source.subject, recording=source.recording
    )
    events = read_intervals(root / source.files[0])
    recording.windows = functools.partial(around, recording, events, _LABELS)
    return recording


class Builder(WakeEegBuilder):
    """Records of TUEV; see the README.md beside this file."""

    VERSION: ClassVar[Any] = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    COHORT = TUH_COHORT
    CLASSES = CLASSES
    EXAMPLE = "edf/{train,eval}/SUBJECT/NAME.edf with NAME.rec beside it"
    # The events last 1 s and are marked on 1-s frames; 2 s of context on either side.
    CLIP_SECONDS = 5.0
    NOTES = (
        "folders of the test set are numbers, not the TUH's names of people: who of them is in "
        "TUAB or TUSL too cannot be seen",
    )
    read = staticmethod(read)

    def found(self, path: str, files: frozenset[str]) -> Found | None:
        folders = folders_of(path)
        split = only(folders, tuple(_OFFICIAL))
        if split is None or folders[-1] == split:
            return None
        labels = str(PurePosixPath(path).with_suffix(".rec"))
        # The names of the test files begin with a class: only their folder says whose they are.
        return Found(folders[-1], _OFFICIAL[split], files=(labels,))
