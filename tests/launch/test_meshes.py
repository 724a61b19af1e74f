"""Meshes whose axes span processes: the same examples, and the numbers of one process."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.helpers.programs import pretrain, run_together

LOCAL_HOSTS = ["bash", "launch/local_hosts.sh"]
RULES = 'config.sharding_rules=(("up/kernel", (None, "fsdp")), (".*", ()))'


def lines(workdir):
    """{step: metrics of training}."""
    found = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line for line in found if "train/loss" in line}


@pytest.mark.slow
def test_a_mesh_axis_that_spans_processes_changes_no_batch(tiny_data_dir, tmp_path):
    layouts = {
        "one": (1, 1, "data:1"),
        "rows_shared_by_both": (2, 4, "data:1,fsdp:8"),
        "rows_of_each": (2, 4, "data:2,fsdp:4"),
        "fsdp_across": (2, 4, "fsdp:4,data:2"),
    }
    flags = [f"--config.evaluators.{row}.examples=8" for row in ("validation", "test")]
    flags += ["--config.steps=3", "--config.evaluators.validation.every=3"]
    commands = {}
    for name, (hosts, devices, mesh) in layouts.items():
        mine = [*flags, f"--config.mesh={mesh}", *([f"--{RULES}"] if "fsdp" in mesh else [])]
        command = pretrain(tiny_data_dir, tmp_path / name, *mine)
        commands[name] = [*LOCAL_HOSTS, hosts, devices, *command]
    for command in commands.values():  # side by side, seven processes would starve each other
        run_together([command])
    wanted = lines(tmp_path / "one")
    assert sorted(wanted) == [1, 2, 3]
    for name in layouts:
        found = lines(tmp_path / name)
        assert sorted(found) == sorted(wanted), name
        for step, line in found.items():
            assert line["train/example_order"] == wanted[step]["train/example_order"], (name, step)
            for key in ("train/loss", "train/grad_norm"):
                np.testing.assert_allclose(
                    line[key],
                    wanted[step][key],
                    rtol=1e-5 if step == 1 else 1e-3,
                    err_msg=f"{name}: {key} at step {step}",
                )
