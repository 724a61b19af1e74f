"""A run whose newest checkpoint was damaged goes on from the one before, to the same end."""

from __future__ import annotations

import json
import shutil

import jax
import numpy as np
import pytest

from configs import pretrain_simulated
from sleepfm_jax import pretrained, train
from sleepfm_jax.errors import DamagedCheckpoint


def smoke(**changes):
    return {**pretrain_simulated.get_config("smoke").to_dict(), **changes}


@pytest.fixture(scope="module")
def whole(tiny_data_dir, tmp_path_factory):
    """A run of four steps, saved at 2 and 4."""
    workdir = tmp_path_factory.mktemp("whole")
    train.train(smoke(), tiny_data_dir, workdir)
    return workdir


def truncate(workdir, step):
    for file in (workdir / "checkpoints" / str(step) / "state").rglob("d/*"):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 3])


def metrics(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if "per_second" not in k} for line in lines]


def test_a_damaged_checkpoint_costs_steps_and_nothing_else(whole, tiny_data_dir, tmp_path):
    run = shutil.copytree(whole, tmp_path / "run")
    truncate(run, 4)
    assert pretrained.load(run).fingerprint == pretrained.load(whole, 2).fingerprint
    with pytest.raises(DamagedCheckpoint, match="the checkpoint of step 4 is damaged"):
        pretrained.load(run, 4)
    # Another run may begin from it: from the step that can be read.
    smaller = train.train(smoke(initialise_from=str(run), steps=1), tiny_data_dir, tmp_path / "new")
    assert smaller["evaluations"] and not (run / "checkpoints" / "4.damaged").exists()

    train.train(smoke(), tiny_data_dir, run)
    names = sorted(p.name for p in (run / "checkpoints").iterdir() if p.is_dir())
    assert names == ["2", "4", "4.damaged"]
    assert metrics(run) == metrics(whole)
    one, other = pretrained.load(run), pretrained.load(whole)
    assert one.fingerprint == other.fingerprint != pretrained.load(whole, 2).fingerprint
    jax.tree.map(np.testing.assert_array_equal, one.params, other.params)

    truncate(run, 4)
    truncate(run, 2)
    before = (run / "metrics.jsonl").read_text()
    with pytest.raises(DamagedCheckpoint, match="nothing is left to go on from"):
        train.train(smoke(), tiny_data_dir, run)
    assert (run / "metrics.jsonl").read_text() == before
