"""Wisconsin Sleep Cohort (WSC): up to five laboratory nights of working adults."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_builders.engine.work_unit import Source
from data_builders.families import sleep_archive
from data_builders.families.sleep_archive import ByName, SleepArchiveBuilder, name_channels
from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.read import Recording
from sleepfm_jax.recordings.scorings.hypnogram import read_stages

# Labels of the Gamma system that name no electrode, and two of the Twin system: what the NSRR's own
# lists of other names say of them. The one night with LLEG1-EKG2 has no other ECG.
MEANT = {
    **dict.fromkeys(("central", "l cent"), "C3-M2"),
    "r cent": "C4-M1",
    "frontal": "F3-M2",
    **dict.fromkeys(("occ", "l occ"), "O1-M2"),
    "x7-x6": "Chin",
    "lleg1-ekg2": "ECG",
}
# Of the Gamma system and of the Twin system; a night was scored on one of them.
_KINDS = (".stg.txt", ".allscore.txt")


def read(root: Path, source: Source) -> Recording:
    """As `sleep_archive.read`, with the names of `MEANT`; two systems' stages must agree.

    Raises:
        RecordingError: also, they do not.
    """
    recording = name_channels(sleep_archive.read(root, source, meant=MEANT), MEANT)
    for name in source.files:
        if name.lower().endswith(_KINDS):
            other = read_stages(
                root / name, start=recording.start, duration=recording.duration
            ).stages
            both = (other >= 0) & (recording.stages >= 0)
            if differ := int((other[both] != recording.stages[both]).sum()):
                raise RecordingError(
                    root / source.path,
                    f"{name} contradicts {source.hypnogram} in {differ} of {both.sum()} "
                    "sleep_epochs: remove the wrong one",
                )
    return recording


class Builder(SleepArchiveBuilder):
    """Records of the Wisconsin Sleep Cohort; see the README.md beside this file."""

    VERSION: ClassVar[Any] = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    NAME = re.compile(r"wsc-visit\d-(?P<subject>\d+)-nsrr\.edf", re.IGNORECASE)
    EXAMPLE = "wsc-visit1-10119-nsrr.edf"
    ANNOTATION = re.compile(r".+\.(?:stg|allscore)\.txt", re.IGNORECASE)
    read = staticmethod(read)

    def subject_of(self, name: re.Match[str]) -> str:
        return name["subject"]

    def annotations_of(self, name: re.Match[str], files: ByName) -> Sequence[str]:
        return _beside(name, files, _KINDS)[:1]

    def files_of(self, path: str, name: re.Match[str], files: ByName) -> tuple[str, ...]:
        # The log says when the recording began, and the reader of `.stg.txt` looks for it.
        return (*_beside(name, files, _KINDS)[1:], *_beside(name, files, (".log.txt",)))

    def is_extra(self, path: str, files: ByName) -> bool:
        name = path.rpartition("/")[2].lower()
        stem = next(name.removesuffix(kind) for kind in _KINDS if name.endswith(kind))
        return bool(files[f"{stem}.edf"])


def _beside(name: re.Match[str], files: ByName, kinds: Sequence[str]) -> tuple[str, ...]:
    """Paths of the files that are named after a recording, in the order of `kinds`."""
    stem = name[0].rpartition(".")[0]
    return tuple(path for kind in kinds for path in files[stem + kind])
