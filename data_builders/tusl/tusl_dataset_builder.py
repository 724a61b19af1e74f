"""TUSL, the TUH EEG Slowing Corpus: 10-s events of slowing, seizure and complex background."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_builders.engine.work_unit import Source
from data_builders.families.wake_eeg import TUH_COHORT, TUH_NAME, Found, WakeEegBuilder
from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.labels.intervals import LabelledInterval, read_intervals
from sleepfm_jax.recordings.labels.windows import on_grid, one_hot
from sleepfm_jax.recordings.read import Recording, read_recording

CLASSES = ("normal", "complex_background", "seizure", "slowing")
_LABELS = one_hot(CLASSES)
SPELLINGS = {
    **dict.fromkeys(("bckg", "cmpl", "complex", "complex_background"), "complex_background"),
    **dict.fromkeys(("seiz", "seizure"), "seizure"),
    **dict.fromkeys(("slow", "slowing"), "slowing"),
    **dict.fromkeys(("norm", "normal", "null"), "normal"),
}
"""What the releases' label files write, in lower case, and which class it is."""
LABEL_FILES = (".csv", ".tse_agg", ".tse")


def read(root: Path, source: Source) -> Recording:
    """Reads one recording at its native rates; whole clips are labelled by the events they hold.

    Raises:
        RecordingError: the recording or its label file cannot be read, or has another label.
    """
    recording = read_recording(
        root / source.path, subject=source.subject, recording=source.recording
    )
    events = read_events(root / source.files[0])
    recording.windows = functools.partial(on_grid, recording, events, _LABELS, "normal")
    return recording


def read_events(path: Path) -> list[LabelledInterval]:
    """The events of a label file by class; those marked on many channels once; normal ones not.

    Raises:
        RecordingError: the file cannot be read, or a label is of no known spelling.
    """
    found: dict[LabelledInterval, None] = {}
    for event in read_intervals(path):
        name = SPELLINGS.get(event.label)
        if name is None:
            raise RecordingError(
                path, f"label {event.label!r} is none of {', '.join(sorted(SPELLINGS))}"
            )
        if name != "normal":
            found[dataclasses.replace(event, channel=None, label=name)] = None
    return list(found)


class Builder(WakeEegBuilder):
    """Records of TUSL; see the README.md beside this file."""

    VERSION: ClassVar[Any] = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    COHORT = TUH_COHORT
    CLASSES = CLASSES
    EXAMPLE = "edf/SUBJECT/SESSION/01_tcp_ar/aaaaaaju_s005_t000.edf with its .csv or .tse"
    read = staticmethod(read)

    def found(self, path: str, files: frozenset[str]) -> Found | None:
        name = TUH_NAME.fullmatch(PurePosixPath(path).stem)
        if name is None:
            return None
        subject = name["subject"].lower()
        labels = [str(PurePosixPath(path).with_suffix(suffix)) for suffix in LABEL_FILES]
        present = [file for file in labels if file in files]
        if not present:
            return Found(subject, problem=f"missing file: its {', '.join(LABEL_FILES)}")
        return Found(subject, files=(present[0],))
