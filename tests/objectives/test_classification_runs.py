"""Fine-tuning through the loop: what is trained, what stays, and whose labels are asked for."""

from __future__ import annotations

import csv

import jax
import numpy as np
import pytest

from data_builders.simulated_psg.simulated_psg_dataset_builder import Builder
from sleepfm_jax import config as configuration
from sleepfm_jax.errors import DatasetError
from sleepfm_jax.train import train
from tests.helpers.runs import logged, saved_state, smoke


@pytest.fixture(scope="module", autouse=True)
def one_device():
    """Compiling for four is half of what these take; sharding is tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "device_count", lambda: 1)
        yield


@pytest.fixture(scope="module")
def labelled_data_dir(tiny_data_dir, tmp_path_factory):
    """The sleepers of `tiny_data_dir`, each of a class, "dull" or "sharp"; 36 clips in training."""
    root, source = tmp_path_factory.mktemp("labelled"), tiny_data_dir.parent / "recordings"
    with (source / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    table = root / "table.csv"
    with table.open("w") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        names = ("dull", "sharp")
        writer.writerows(row | {"label": names[i % 2]} for i, row in enumerate(rows))
    builder = Builder(
        source=source,
        data_dir=root,
        table=table,
        label_kind="classification",
        clip_seconds=30,
    )
    builder.download_and_prepare()
    return root


def fine_tuning(head, labels=("dull", "sharp"), **changes):
    """A configuration of four steps, of EEG alone."""
    section = configuration.section_defaults("objective", "classification")
    section |= {"head": head, "labels": labels}
    looks = configuration.section_defaults("evaluator", "metrics") | {"every": 2, "examples": 16}
    plain = {
        "objective": section,
        "evaluators": {"validation": looks},
        "data.slots": {"bas": 2},
        "model.position_encoding": "none",
        "model.patch_samples": 128,
        "model.width": 16,
        "save_every": 4,
    }
    return smoke(**plain | changes)


@pytest.fixture(scope="module")
def eeg(labelled_data_dir, tmp_path_factory):
    """Workdir and configuration of a run with the published head."""
    workdir, config = tmp_path_factory.mktemp("eeg"), fine_tuning("eeg")
    train(config, labelled_data_dir, workdir)
    return workdir, config


def test_a_run_learns_and_says_how_well(eeg):
    workdir, config = eeg
    lines = logged(workdir)
    assert sorted(lines) == [1, 2, 3, 4]
    assert all(0 <= line["train/accuracy"] <= 1 for line in lines.values())
    assert logged(workdir, "validation/").keys() == {0, 2, 4}
    state, _ = saved_state(workdir, 4, config)
    moved = state["batch_stats/head/batch_norm/mean"]
    assert np.abs(moved).max() > 0, "statistics of the head move"


def test_a_frozen_encoder_stays_bit_for_bit(labelled_data_dir, eeg, tmp_path):
    start, _ = eeg
    config = fine_tuning("linear", frozen=("^encoder/",), initialise_from=str(start))
    train(config, labelled_data_dir, tmp_path)
    before, _ = saved_state(start, 4, eeg[1])
    after, _ = saved_state(tmp_path, 4, config)
    paths = {path for path in before if "/encoder/" in path and not path.startswith("opt_state")}
    assert len(paths) > 50
    for path in paths:
        np.testing.assert_array_equal(after[path], before[path], err_msg=path)
    assert np.abs(after["params/head/classify/kernel"]).max() > 0


def test_labels_that_no_dataset_has_are_refused(labelled_data_dir, tmp_path):
    config = fine_tuning("linear", labels=("normal", "abnormal"))
    with pytest.raises(DatasetError, match=r"none of the labels normal, abnormal .* dull, sharp"):
        train(config, labelled_data_dir, tmp_path)
