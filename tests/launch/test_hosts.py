"""Pretraining on one host and on several, killed, stopped and resumed: processes of their own."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time

import numpy as np
import orbax.checkpoint as ocp
import pytest

from sleepfm_jax.training.paths import path_string
from tests.helpers.programs import one_line, pretrain, run, run_together, start

LOCAL_HOSTS = ["bash", "launch/local_hosts.sh"]


def lines(workdir):
    """{step: metrics of training}, each step once."""
    found = {}
    for line in (workdir / "metrics.jsonl").read_text().splitlines():
        line = json.loads(line)
        if "train/loss" in line:
            assert line["step"] not in found
            found[line["step"]] = line
    return found


def leaves(workdir, step):
    """Every array of a checkpoint by path, whatever it was saved from."""
    checkpointer = ocp.StandardCheckpointer()
    folder = workdir / "checkpoints" / str(step) / "state"
    import jax

    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    shapes = checkpointer.metadata(folder).item_metadata.tree
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), shapes)
    tree = checkpointer.restore(folder, like)
    checkpointer.close()
    return {
        path_string(path): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def wait_for(condition, process, seconds=180):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1][-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def by_layout(tiny_data_dir, tmp_path_factory):
    """The same ten steps on 2 hosts of 4 devices and on 1 of 1: {(N, M): workdir}."""
    flags = [
        "--config.steps=10",
        "--config.save_every=5",
        "--config.evaluators.validation.every=100",
    ]
    # The same programs for any number of steps, so that they are compiled once.
    flags += ["--config.optimiser.warmup_steps=1", "--config.optimiser.schedule=constant"]
    layouts = (2, 4), (1, 1)
    workdirs = {
        layout: tmp_path_factory.mktemp("hosts_{}_{}_".format(*layout)) for layout in layouts
    }
    commands = [
        [*LOCAL_HOSTS, *layout, *pretrain(tiny_data_dir, workdir, *flags)]
        for layout, workdir in workdirs.items()
    ]
    run_together(commands)
    return workdirs, flags


def assert_like(found, wanted):
    """Ten steps of two layouts: the same examples; near numbers, the nearer the earlier."""
    for step, line in found.items():
        assert line["train/example_order"] == wanted[step]["train/example_order"], step
        tolerance = 1e-5 if step == 1 else 1e-3
        for key in ("train/loss", "train/grad_norm"):
            if step == 1 or key == "train/loss":
                np.testing.assert_allclose(
                    line[key], wanted[step][key], rtol=tolerance, err_msg=f"{step} {key}"
                )


@pytest.mark.slow
def test_the_number_of_hosts_and_devices_changes_nothing(by_layout):
    workdirs, _ = by_layout
    wanted = lines(workdirs[1, 1])
    assert sorted(wanted) == list(range(1, 11))
    assert wanted[1]["train/loss"] != wanted[10]["train/loss"]
    found = lines(workdirs[2, 4])
    assert sorted(found) == list(range(1, 11))
    assert_like(found, wanted)
    assert (workdirs[2, 4] / "report" / "index.html").is_file()
    retrieval = {
        layout: json.loads((workdir / "results.json").read_text())["retrieval"]["within_person"][
            "top1"
        ]
        for layout, workdir in workdirs.items()
    }
    assert max(retrieval.values()) - min(retrieval.values()) < 0.1, retrieval


@pytest.mark.slow
def test_a_checkpoint_of_one_layout_is_restored_by_another(by_layout, tiny_data_dir, tmp_path):
    workdirs, flags = by_layout
    commands = {}
    for saved, resumed in (((2, 4), (1, 1)), ((1, 1), (2, 4))):
        workdir = tmp_path / f"{saved[0]}_{saved[1]}"
        shutil.copytree(workdirs[saved], workdir)
        shutil.rmtree(workdir / "checkpoints" / "10")
        commands[workdir] = [*LOCAL_HOSTS, *resumed, *pretrain(tiny_data_dir, workdir, *flags)]
    run_together(commands.values())
    for workdir in commands:
        found = lines(workdir)
        assert sorted(found) == list(range(1, 11))
        assert_like(found, lines(workdirs[1, 1]))


@pytest.mark.slow
def test_killed_in_the_middle_and_started_again_gives_the_same_bits(
    by_layout, tiny_data_dir, tmp_path
):
    workdirs, flags = by_layout
    command = pretrain(tiny_data_dir, tmp_path, *flags, "--config.save_every=2")
    process = start(*command)
    metrics = tmp_path / "metrics.jsonl"
    # When a save begins the one before is complete: after step 7 there is step 4's, at least.
    wait_for(lambda: metrics.exists() and '"step": 7' in metrics.read_text(), process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "checkpoints" / "10").exists()
    _, err = run(*command)
    assert re.search("going on from step [4-9] of 10", err), err[-3000:]
    wanted, found = lines(workdirs[1, 1]), lines(tmp_path)
    assert sorted(found) == list(range(1, 11))
    for step, line in found.items():
        for key in ("train/loss", "train/grad_norm", "train/example_order"):
            assert line[key] == wanted[step][key], (step, key)
    wanted, found = leaves(workdirs[1, 1], 10), leaves(tmp_path, 10)
    assert found.keys() == wanted.keys() and len(found) > 100
    for path, leaf in found.items():
        np.testing.assert_array_equal(leaf, wanted[path], err_msg=path)


@pytest.mark.slow
def test_sigterm_to_the_launcher_saves_the_same_step_on_every_host(
    by_layout, tiny_data_dir, tmp_path
):
    _, flags = by_layout
    flags = [*flags, "--config.steps=500", "--config.save_every=500"]
    flags += ["--config.evaluators.validation.every=500"]
    workdir = tmp_path / "run"
    process = start(
        *LOCAL_HOSTS, 2, 4, *pretrain(tiny_data_dir, workdir, *flags), stderr=subprocess.STDOUT
    )
    metrics = workdir / "metrics.jsonl"
    wait_for(lambda: metrics.exists() and '"step": 3' in metrics.read_text(), process)
    process.terminate()
    out, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "Preempted: SIGTERM: saved at step" in out, out[-3000:]
    (step,) = [int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit()]
    assert 3 <= step < 500
    assert len(leaves(workdir, step)) > 100


def test_the_launcher_fails_when_a_host_fails_and_stops_the_others():
    script = "for a; do case $a in --process_id=1) exit 3;; esac; done; exec sleep 60"
    before = time.monotonic()
    _, err = run(*LOCAL_HOSTS, 2, 1, "bash", "-c", script, "host", code=3)
    assert "a host failed (3)" in err
    # The pipes that `run` reads to their end close when the last host is gone.
    assert time.monotonic() - before < 20


@pytest.mark.slow
def test_the_launcher_fails_when_a_run_fails_on_all_hosts(tmp_path):
    _, err = run(*LOCAL_HOSTS, 2, 1, *pretrain(tmp_path, tmp_path / "run"), code=3)
    assert "no dataset 'simulated_psg'" in one_line(err, "DatasetError:")
    assert "a host failed (3)" in err


def test_the_launcher_gives_each_host_its_place():
    script = 'echo "$XLA_FLAGS $JAX_PLATFORMS $*"'
    out, _ = run(*LOCAL_HOSTS, 1, 3, "bash", "-c", script, "host", "--workdir=x y")
    assert "--xla_force_host_platform_device_count=3 cpu --workdir=x y\n" in out
    out, _ = run(*LOCAL_HOSTS, 2, 1, "bash", "-c", script, "host")
    assert "--num_processes=2 --process_id=0" in out and "--coordinator=localhost:" in out
    for wrong in ((), (2, 1), ("two", 1, "true"), (1, "x", "true")):
        _, err = run(*LOCAL_HOSTS, *wrong, code=2)
        assert "N" in err and "M" in err
