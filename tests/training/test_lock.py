"""One training in a workdir: a second is refused, a dead one is not in the way, readers look on."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from sleepfm_jax.errors import SleepFMError, WorkdirInUse
from sleepfm_jax.training.lock import only_training

HOLD = """
import sys, time, pathlib
from sleepfm_jax.training.lock import only_training
with only_training(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_training_is_refused_until_the_first_is_dead(tmp_path, root):
    workdir = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, workdir], cwd=root, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "held\n"
        with (
            pytest.raises(WorkdirInUse, match=rf"{workdir}.*process {process.pid} on"),
            only_training(workdir),
        ):
            pass
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with only_training(workdir):
        assert (workdir / ".lock").read_text().startswith(f"process {os.getpid()} on ")
    with only_training(workdir):  # as often as one likes, one after the other
        pass


def test_where_there_are_no_locks_it_goes_on_and_says_so(tmp_path, monkeypatch, caplog):
    def none_here(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none_here)
    with only_training(tmp_path):
        pass
    assert "has no locks" in caplog.text and str(tmp_path) in caplog.text


def test_the_exit_code_is_its_own():
    kinds, todo = [], [SleepFMError]
    while todo:
        kind = todo.pop()
        kinds.append(kind)
        todo += kind.__subclasses__()
    assert [k for k in kinds if k.exit_code == WorkdirInUse.exit_code] == [WorkdirInUse]
