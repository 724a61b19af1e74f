"""Simulated polysomnography, written by `python -m launch.simulate`."""

from __future__ import annotations

from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_builders.edf_folder import edf_folder_dataset_builder


class Builder(edf_folder_dataset_builder.Builder):
    """Records of simulated polysomnography: an EDF folder with a table."""

    VERSION: ClassVar[Any] = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
