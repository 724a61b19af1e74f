"""PTB-XL with the rhythm and conduction labels of the published ECG task."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_builders.engine.work_unit import Source
from data_builders.families.twelve_lead import CLIP_SECONDS, METADATA, SFREQ, keep_middle
from data_builders.ptbxl import ptbxl_dataset_builder
from sleepfm_jax.recordings.read import Recording

CODES = {"CRBBB": "RBBB", "CLBBB": "LBBB", "SBRAD": "SB", "AFIB": "AF"}
"""SCP statement → class. Incomplete blocks are not counted."""
CLASSES = ("RBBB", "LBBB", "SB", "AF")


def read(root: Path, source: Source) -> Recording:
    """Reads one exam, leads in µV at the rate of the file; its middle is the clip."""
    return keep_middle(ptbxl_dataset_builder.read(root, source))


class Builder(ptbxl_dataset_builder.Builder):
    """Records of PTB-XL with other labels; see the README.md beside this file."""

    VERSION: ClassVar[Any] = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    COHORT = "ptbxl"
    CLASSES = CLASSES
    SFREQ = SFREQ
    CLIP_SECONDS = CLIP_SECONDS
    SFREQ_SOURCE = 500
    METADATA = METADATA
    CLASS_KIND = "label of the task"
    read = staticmethod(read)

    def exam_labels(self, root: Path, exams: list[dict[str, str]]) -> list[set[str]]:
        codes = [ast.literal_eval(exam["scp_codes"]) for exam in exams]
        return [{CODES[code] for code in named if code in CODES} for named in codes]
