"""The programs as people run them: in processes of their own, on one host and on several."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import pytest

from sleepfm_jax.sharding import path_string

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "--config=configs/pretrain_simulated.py:smoke"
LOCAL_HOSTS = ["bash", "launch/local_hosts.sh"]


def environment():
    """This process's, with one CPU device unless the launcher says otherwise."""
    env = dict(os.environ)
    env["XLA_FLAGS"] = " ".join(
        flag for flag in env.get("XLA_FLAGS", "").split() if "device_count" not in flag
    )
    return env


def start(*command, **kwargs):
    options = {"cwd": ROOT, "env": environment(), "text": True, "stdin": subprocess.DEVNULL}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([str(c) for c in command], **(options | pipes | kwargs))


def run(*command, code=0, timeout=300):
    """stdout, stderr of a command that must end with this exit code."""
    process = start(*command)
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        process.kill()
    assert process.returncode == code, f"{process.returncode}\n{out[-2000:]}\n{err[-4000:]}"
    return out, err


def run_together(commands):
    """Commands side by side, all of which must succeed: most of each is compilation on one core."""
    processes = [start(*command, stderr=subprocess.STDOUT) for command in commands]
    try:
        for process in processes:
            out, _ = process.communicate(timeout=300)
            assert process.returncode == 0, out[-5000:]
    finally:
        for process in processes:
            process.kill()


def module(name, *flags):
    return [sys.executable, "-m", f"launch.{name}", *flags]


def pretrain(data_dir, workdir, *flags):
    return module("pretrain", CONFIG, f"--data_dir={data_dir}", f"--workdir={workdir}", *flags)


def one_line(err, name):
    """The error is one line that begins with its name, and no traceback."""
    assert "Traceback" not in err, err[-3000:]
    (line,) = [line for line in err.splitlines() if line.startswith(name)]
    return line


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


# --- one line instead of a traceback -----------------------------------------------------------


def test_help_shows_what_to_type_and_answers_without_jax():
    for name, flags in (
        ("pretrain", ("--config", "--data_dir", "--workdir", "--coordinator")),
        ("probe", ("--checkpoint", "--dataset", "--data_dir", "--workdir")),
    ):
        before = time.monotonic()
        out, err = run(*module(name, "--help"))
        assert time.monotonic() - before < 10
        assert "Traceback" not in err
        assert f"python -m launch.{name} " in out
        for flag in flags:
            assert f"{flag}:" in out or f"{flag[2:]}:" in out, (flag, out)


@pytest.mark.slow
def test_mistakes_on_the_command_line_are_told_in_one_line(tiny_data_dir, tmp_path):
    workdir = tmp_path / "run"
    _, err = run(*pretrain(tiny_data_dir, workdir, "--config.foo=1"), code=1)
    assert "--config.foo=1" in one_line(err, "ConfigError: unknown key")
    _, err = run(*pretrain(tiny_data_dir, workdir, "--config.encoder.wdith=8"), code=1)
    assert 'Did you mean "width"' in one_line(err, "ConfigError: unknown key")
    _, err = run(*pretrain(tmp_path, workdir), code=1)
    line = one_line(err, "DatasetError:")
    assert "no dataset 'simulated_psg'" in line and "python -m launch.build" in line
    _, err = run(*pretrain(tiny_data_dir, workdir, "--config.loss=triplet"), code=1)
    assert "loss 'triplet' is not one of" in one_line(err, "ConfigError:")
    assert not workdir.exists()
    _, err = run(*module("pretrain", CONFIG, f"--workdir={workdir}"), code=1)
    assert "--data_dir" in err and "Traceback" not in err
    _, err = run(*pretrain(tiny_data_dir, workdir, "steps=5"), code=1)
    assert "unexpected argument 'steps=5'" in err and "Traceback" not in err
    variant = CONFIG.replace(":smoke", ":smoek")
    _, err = run(
        *module("pretrain", variant, f"--data_dir={tiny_data_dir}", f"--workdir={workdir}"), code=1
    )
    assert "unknown variant 'smoek': expected '' or 'smoke'" in err
    assert not workdir.exists()


@pytest.mark.slow
def test_probing_what_is_no_checkpoint_is_told_and_leaves_it_alone(tiny_data_dir, tmp_path):
    folder = tmp_path / "letters"
    folder.mkdir()
    (folder / "notes.txt").write_text("hello")
    flags = [
        "--dataset=simulated_psg",
        f"--data_dir={tiny_data_dir}",
        f"--workdir={tmp_path / 'run'}",
    ]
    for where, told in ((folder, "it holds notes.txt"), (tmp_path / "no", "no such checkpoint")):
        _, err = run(*module("probe", f"--checkpoint={where}", *flags), code=1)
        line = one_line(err, "CheckpointError:")
        assert told in line and str(where) in line
    assert [p.name for p in folder.iterdir()] == ["notes.txt"]
    assert not (tmp_path / "run").exists()


# --- several hosts on one machine --------------------------------------------------------------


@pytest.fixture(scope="module")
def by_layout(tiny_data_dir, tmp_path_factory):
    """The same ten steps on 2 hosts of 4 devices, 1 of 8 and 1 of 1: {(N, M): workdir}."""
    flags = ["--config.steps=10", "--config.save_every=5", "--config.eval_every=100"]
    # The same programs for any number of steps, so that they are compiled once.
    flags += ["--config.optimiser.warmup_steps=1", "--config.optimiser.schedule=constant"]
    layouts = (2, 4), (1, 8), (1, 1)
    workdirs = {
        layout: tmp_path_factory.mktemp("hosts_{}_{}_".format(*layout)) for layout in layouts
    }
    commands = [
        [*LOCAL_HOSTS, *layout, *pretrain(tiny_data_dir, workdir, *flags)]
        for layout, workdir in workdirs.items()
    ]
    run_together(commands[1:])
    run(*commands[0])
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
    for layout in ((1, 8), (2, 4)):
        found = lines(workdirs[layout])
        assert sorted(found) == list(range(1, 11))
        assert_like(found, wanted)
        assert (workdirs[layout] / "report" / "index.html").is_file()
    retrieval = {
        layout: json.loads((workdir / "results.json").read_text())["retrieval"]["top1"]
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
    flags = [*flags, "--config.steps=500", "--config.save_every=500", "--config.eval_every=500"]
    workdir = tmp_path / "run"
    process = start(
        *LOCAL_HOSTS, 2, 4, *pretrain(tiny_data_dir, workdir, *flags), stderr=subprocess.STDOUT
    )
    metrics = workdir / "metrics.jsonl"
    wait_for(lambda: metrics.exists() and '"step": 3' in metrics.read_text(), process)
    process.terminate()
    out, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "TrainingStopped: SIGTERM: saved at step" in out, out[-3000:]
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
    _, err = run(*LOCAL_HOSTS, 2, 1, *pretrain(tmp_path, tmp_path / "run"), code=1)
    assert "no dataset 'simulated_psg'" in one_line(err, "DatasetError:")
    assert "a host failed (1)" in err


def test_the_launcher_gives_each_host_its_place():
    script = 'echo "$XLA_FLAGS $JAX_PLATFORMS $*"'
    out, _ = run(*LOCAL_HOSTS, 1, 3, "bash", "-c", script, "host", "--workdir=x y")
    assert "--xla_force_host_platform_device_count=3 cpu --workdir=x y\n" in out
    out, _ = run(*LOCAL_HOSTS, 2, 1, "bash", "-c", script, "host")
    assert "--num_processes=2 --process_id=0" in out and "--coordinator=localhost:" in out
    for wrong in ((), (2, 1), ("two", 1, "true"), (1, "x", "true")):
        _, err = run(*LOCAL_HOSTS, *wrong, code=2)
        assert "N" in err and "M" in err
