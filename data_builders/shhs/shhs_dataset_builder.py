"""Sleep Heart Health Study (SHHS): two nights at home of middle-aged and older adults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_builders.engine.work_unit import Source
from data_builders.families import nsrr
from data_builders.families.nsrr import NsrrBuilder
from data_builders.families.sleep_archive import name_channels
from sleepfm_jax.recordings.read import Recording

MEANT = {
    **dict.fromkeys(("eeg", "eeg1", "eeg 1"), "C4-A1"),
    **dict.fromkeys(("eeg(sec)", "eeg (sec)", "eeg sec", "eeg2", "eeg 2"), "C3-A2"),
}


def read(root: Path, source: Source) -> Recording:
    """As every NSRR recording; its EEG labels name no electrode, the documentation does."""
    return name_channels(nsrr.read(root, source), MEANT)


class Builder(NsrrBuilder):
    """Records of the Sleep Heart Health Study; see the README.md beside this file."""

    VERSION: ClassVar[Any] = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    NAME = re.compile(r"shhs[12]-(?P<subject>\d+)\.edf", re.IGNORECASE)
    EXAMPLE = "shhs1-200001.edf"
    read = staticmethod(read)
