"""A run goes on only with the data it began with; its processes must be about to do the same."""

from __future__ import annotations

import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from configs import pretrain_simulated
from sleepfm_jax.data import datasets
from sleepfm_jax.errors import CheckpointError
from sleepfm_jax.training.checkpoint import Checkpoints
from sleepfm_jax.training.same_data import check_same_data, told
from sleepfm_jax.training.start import start

NAME = "simulated_psg"
STATE = {"x": jnp.float32(1)}


@pytest.fixture
def copied(tiny_data_dir, tmp_path):
    """A copy of the datasets elsewhere, and the folder of the one in it."""
    copy = shutil.copytree(tiny_data_dir, tmp_path / "copy")
    return copy, datasets.find_dataset(copy, NAME)


def rewrite(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_copy_is_the_same_dataset_and_what_is_said_survives_a_checkpoint(tiny_data_dir, copied):
    there = datasets.identities(tiny_data_dir, [NAME])
    assert there == datasets.identities(copied[0], [NAME])
    assert json.loads(json.dumps(there)) == there
    assert there[NAME]["version"] == "1.0.0" and len(there[NAME]["fingerprint of the build"]) == 64
    assert sum(there[NAME]["clips in the shards of train"]) == 36
    check_same_data(there, there, "run")
    check_same_data({}, there, "run")  # a checkpoint from before this was noted


def other_build(folder):
    rewrite(folder / "build_report.json", lambda r: r["spec"].update(fingerprint="f" * 64))


def other_shards(folder):
    def change(info):
        (train,) = [split for split in info["splits"] if split["name"] == "train"]
        train["shardLengths"] = ["30"]

    rewrite(folder / "dataset_info.json", change)


def no_report(folder):
    (folder / "build_report.json").unlink()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (other_build, "simulated_psg: fingerprint of the build is ffffffffffff, was "),
        (other_shards, r"simulated_psg: clips in the shards of train is \[30\], was \[36\]"),
        (no_report, "simulated_psg: fingerprint of the build is None, was "),
    ],
)
def test_a_run_does_not_go_on_with_another_build(tiny_data_dir, copied, tmp_path, change, says):
    config = pretrain_simulated.get_config("smoke").to_dict()
    about = {"config": config, "data": datasets.identities(tiny_data_dir, [NAME])}
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(3, STATE, about)
    checkpoints.wait()
    change(copied[1])
    shardings = {"x": STATE["x"].sharding}
    arguments = checkpoints, config, lambda: STATE, shardings
    with pytest.raises(CheckpointError, match=says) as error:
        start(*arguments, datasets.identities(copied[0], [NAME]))
    assert "give the dataset that it began with, or another workdir" in str(error.value)
    assert start(*arguments, about["data"]).step == 3
    checkpoints.close()


def test_other_datasets_are_named():
    one = {"a": {"version": "1.0.0"}, "b": {"version": "1.0.0"}}
    other = {"a": {"version": "1.0.1"}, "c": {"version": "1.0.0"}}
    says = r"a: version is 1\.0\.1, was 1\.0\.0; b: not in use now; c: not in use then"
    with pytest.raises(CheckpointError, match=says):
        check_same_data(one, other, "run")
    shards = [{"a": {"clips in the shards of train": [n] * 1000}} for n in (2, 3)]
    with pytest.raises(CheckpointError, match="is 1000 shards with 3000 clips, was 1000 shards"):
        check_same_data(*shards, "run")


def test_the_process_that_differs_says_so():
    names = ["newest step", "configuration", "data"]
    same = np.ones((4, 3), bool)
    assert told(same, names, 2) == ""
    same[2, [0, 2]] = False
    assert "this process (2) has another newest step and another data than process 0" in told(
        same, names, 2
    )
    for me in (0, 1, 3):
        assert "(process 2: newest step, data)" in told(same, names, me)
