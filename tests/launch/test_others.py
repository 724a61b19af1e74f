"""What one process of several dies of ends all, soon and with its reason: real processes."""

from __future__ import annotations

import re
import signal
import socket
import sys
import time

import pytest

from tests.helpers.programs import environment, start

PROGRAM = """
import os, sys, time
from absl import flags
from launch import hosts, others, programs
from sleepfm_jax.errors import DatasetError, Preempted

WHO = flags.DEFINE_integer("who", 0, "")
WHAT = flags.DEFINE_string("what", "", "")
others.GONE = float(os.environ.get("GONE", others.GONE))

def main(argv):
    hosts.start_jax()
    import jax
    from jax.experimental import multihost_utils
    multihost_utils.sync_global_devices("joined")
    print("joined", flush=True)
    mine = jax.process_index() == WHO.value
    if mine and WHAT.value == "dataset":
        raise DatasetError("no such dataset")
    if mine and WHAT.value == "fault":
        1 / 0
    if mine and WHAT.value == "die":
        os.kill(os.getpid(), 9)
    if WHAT.value == "all":
        raise Preempted(f"saved, says {jax.process_index()}")
    if WHAT.value == "late":
        time.sleep(8 if mine else 0)
        return 0
    multihost_utils.sync_global_devices("never")
    return 0

programs.run(main)
"""


def together(who, what, gone=4, count=2):
    """[(exit code, stderr) of each process], and the seconds from when they had joined."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    flags = [f"--coordinator=localhost:{port}", f"--num_processes={count}"]
    flags += [f"--who={who}", f"--what={what}"]
    env = environment() | {"GONE": str(gone), "JAX_PLATFORMS": "cpu"}
    processes = [
        start(sys.executable, "-c", PROGRAM, *flags, f"--process_id={i}", env=env)
        for i in range(count)
    ]
    try:
        for process in processes:
            while process.stdout.readline() not in ("joined\n", ""):
                pass
        begin = time.monotonic()
        found = []
        for process in processes:
            _, err = process.communicate(timeout=90)
            found.append((process.returncode, err))
        return found, time.monotonic() - begin
    finally:
        for process in processes:
            process.kill()


@pytest.mark.parametrize("who", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_an_error_of_one_is_said_by_all(who):
    found, seconds = together(who, "dataset")
    for process, (code, err) in enumerate(found):
        assert code == 3, err
        (said,) = re.findall(r"^DatasetError: .*$", err, re.MULTILINE)
        other = "" if process == who else f" (process {who} of 2)"
        assert said == f"DatasetError: no such dataset{other}"
        assert "Traceback" not in err
    assert seconds < 15


@pytest.mark.slow
def test_a_fault_of_one_is_said_by_all_and_keeps_its_traceback():
    found, seconds = together(1, "fault", count=3)
    assert [code for code, _ in found] == [1, 1, 1], found
    assert "Traceback" in found[1][1]
    for process in (0, 2):
        assert "ZeroDivisionError: division by zero (process 1 of 3)" in found[process][1]
        assert "Traceback" not in found[process][1]
    assert seconds < 15


@pytest.mark.slow
def test_a_process_that_was_killed_is_missed():
    (here, err), (there, _) = together(1, "die")[0]
    assert there == -signal.SIGKILL
    assert here == 11, err
    assert "TrainingStopped: no sign of life" in err and "(process 1 of 2)" in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_it_takes_less_than_half_a_minute_as_it_is_shipped():
    found, seconds = together(1, "die", gone=15)
    assert found[0][0] == 11, found[0][1]
    assert seconds < 30


@pytest.mark.slow
def test_without_the_first_process_the_others_end_too():
    found, seconds = together(0, "die")
    there, err = found[1]
    assert there != 0 and seconds < 30, found
    assert "process 0 of 2" in err or "leader" in err  # jax may be faster, and end with its words


@pytest.mark.slow
def test_what_all_agree_on_waits_for_all_and_nobody_is_missed_at_the_end():
    found, _ = together(0, "all")
    for process, (code, err) in enumerate(found):
        assert code == 75 and f"Preempted: saved, says {process}\n" in err, err
    found, _ = together(0, "late")  # twice as long behind the others as one that is gone would be
    assert [code for code, _ in found] == [0, 0], found
