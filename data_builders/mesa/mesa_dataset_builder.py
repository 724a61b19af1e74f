"""MESA Sleep: one night at home, with a finger plethysmogram."""

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

MEANT = {"eeg1": "Fz-Cz", "eeg2": "Cz-Oz", "eeg3": "C4-M1", "aux_ac": "Therm"}


def read(root: Path, source: Source) -> Recording:
    """As every NSRR recording; some of its labels name no sensor, the documentation does."""
    return name_channels(nsrr.read(root, source), MEANT)


class Builder(NsrrBuilder):
    """Records of the MESA Sleep ancillary study; see the README.md beside this file."""

    VERSION: ClassVar[Any] = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    NAME = re.compile(r"mesa-sleep-(?P<subject>\d+)\.edf", re.IGNORECASE)
    EXAMPLE = "mesa-sleep-0001.edf"
    read = staticmethod(read)
