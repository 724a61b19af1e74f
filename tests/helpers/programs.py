"""How tests run the programs: in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "--config=configs/pretrain_simulated.py:smoke"


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
