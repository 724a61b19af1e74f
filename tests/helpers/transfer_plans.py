"""A tiny labelled dataset, an encoder of which nothing was trained, and a plan to transfer it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from configs.transfer import common, pretraining
from data_builders.simulated_wake_eeg.simulated_wake_eeg_dataset_builder import Builder
from sleepfm_jax.data import datasets
from sleepfm_jax.simulation.cohorts import write_wake_eeg
from sleepfm_jax.transfer import Plan, Task
from sleepfm_jax.transfer.conditions import Encoders, Options
from tests.helpers.untrained_runs import save_run

DATASET, LABELS = "simulated_wake_eeg", ("left", "right")
MODEL = {"patch_samples": 32, "width": 16, "heads": 2, "pooling_heads": 2, "mlp_dim": 16}
"""Compiling is most of what a plan takes here: of the encoder as little as there can be."""
HEAD = {"head": "linear", "time_mask": 0.0, "feature_mask": 0.0}
"""The paper's are compiled in tests/objectives and tests/models."""


def build(root: Path, subjects: int = 15) -> Path:
    """A data_dir with wake EEG of so many people, two clips of 4 s of each."""
    source = root / "recordings"
    write_wake_eeg(source, subjects=subjects, seconds=4.0, recordings=1, sfreq=128)
    Builder(source=source, data_dir=root / "data", clip_seconds=4).download_and_prepare()
    return root / "data"


def pretrained(folder: Path, data_dir: Path, people=(), **changes) -> str:
    """The workdir of an encoder that was pretrained on nobody, or on these."""
    config = pretraining.get_config("smoke").to_dict()
    config["model"].update(MODEL)
    for section, keys in changes.items():
        config[section].update(keys)
    metadata = datasets.open_records(data_dir, [DATASET], "train").metadata
    save_run(folder, config, about={"preprocessing": metadata, "subjects": sorted(people)})
    return str(folder)


def task(name: str = "sides:twin", **changes) -> Task:
    """Which side a lesion is on: three folds, four steps."""
    config = common.smoke(common.eeg(DATASET, LABELS, clips=160, channels=4)).to_dict()
    config["data"]["folds"] = 3
    config["model"] |= MODEL
    config["objective"] |= HEAD
    signs = {"pretrained": "+", "mispaired": "0"}
    given = {"labels": LABELS, "config": config, "in_folds": True, "signs": signs}
    return Task(name, DATASET, "balanced_accuracy", **given | changes)


def plan(data_dir: Path, workdir: Path, checkpoint: str, **changes) -> Plan:
    """Two conditions in three folds: six cells."""
    given = {
        "tasks": [task()],
        "conditions": ("scratch", "pretrained"),
        "mode": "finetune",
        "encoders": Encoders.load({"checkpoint": [checkpoint]}),
        "options": Options(folds=3),
    }
    return Plan(data_dir=Path(data_dir), workdir=Path(workdir), **given | changes)


def main(data_dir: str, workdir: str, checkpoint: str, seconds: str) -> None:
    """Works on a plan, and is killed after so many seconds of it."""
    from sleepfm_jax.transfer import transfer

    threading.Timer(float(seconds), os.kill, (os.getpid(), signal.SIGKILL)).start()
    transfer(plan(Path(data_dir), Path(workdir), checkpoint))


if __name__ == "__main__":
    main(*sys.argv[1:])
