"""What a run leaves in its folder for its report: configuration, build reports, an example clip."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sleepfm_jax import signals
from sleepfm_jax.data import provenance
from sleepfm_jax.data.datasets import Records
from sleepfm_jax.data.provenance import FILENAME


def write_inputs(workdir: Path, config: Mapping[str, Any], records: Records) -> None:
    """config.json, build_reports/<dataset>.json and example_clip.npz under workdir."""
    (workdir / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    copy_build_reports(workdir, records)
    example = _most_complete(records)
    np.savez_compressed(
        workdir / "example_clip.npz",
        signals=(example.signals * example.scale[:, None]).astype(np.float16),  # z-scores [C, T]
        names=np.array(example.channel_names),
        modalities=np.array(example.modalities),
        sfreq=records.metadata["sfreq"],
        stages=example.stages,
        subject=example.subject,
    )


def copy_build_reports(workdir: Path, records: Records) -> None:
    """The build report of each dataset in use, as build_reports/<dataset>.json.

    Without anybody's age and sex: these stay beside the data, a run's folder is passed on.
    """
    folder = workdir / "build_reports"
    folder.mkdir(exist_ok=True)
    for dataset in records.folders:
        source = dataset / FILENAME
        if source.exists():
            # The folder above the version is the dataset's (or its configuration's) name.
            copy = folder / f"{dataset.parent.name}.json"
            copy.write_text(
                provenance.without_people(source.read_text(encoding="utf-8")), encoding="utf-8"
            )


def _most_complete(records: Records, looked_at: int = 50):
    """Of some evenly spread clips the one with most modalities, then most of its samples."""
    chosen = np.unique(np.linspace(0, len(records) - 1, looked_at).astype(int))

    def completeness(record):
        return len(set(record.modalities) & set(signals.MODALITIES)), record.num_samples

    return max((records[i] for i in chosen), key=completeness)
