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
    # Both processes need all rows, and no device's neighbour holds the next ones.
    layouts = {"one": (1, 1, "data:1"), "fsdp_across": (2, 2, "fsdp:2,data:2")}
    flags = [f"--config.evaluators.{row}.examples=8" for row in ("validation", "test")]
    flags += ["--config.steps=2", "--config.evaluators.validation.every=2"]
    commands = {}
    for name, (hosts, devices, mesh) in layouts.items():
        mine = [*flags, f"--config.mesh={mesh}", *([f"--{RULES}"] if "fsdp" in mesh else [])]
        command = pretrain(tiny_data_dir, tmp_path / name, *mine)
        commands[name] = [*LOCAL_HOSTS, hosts, devices, *command]
    run_together(list(commands.values()))
    wanted = lines(tmp_path / "one")
    assert sorted(wanted) == [1, 2]
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
