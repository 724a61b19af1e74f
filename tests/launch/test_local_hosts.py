"""The launcher of several hosts on one machine: it waits for last saves, and leaves nobody behind.

The hosts here are shells that take their time, as a host that saves does.
"""

from __future__ import annotations

import os
import time

import pytest

from tests.helpers.programs import environment, start

SAVES_LAST = "sleep 2; echo saved > $where/saved_$i; exit 75"
HOST = """
where=$1; shift
for a; do case $a in --process_id=*) i=${a#*=};; esac; done
trap "%s" TERM
echo $$ > "$where/pid_$i"
while :; do sleep .1; done
"""
SAVES, DEAF = HOST % SAVES_LAST, HOST % ""
FAILS = SAVES.replace("while :;", '[ "$i" = 1 ] && exit 3\nwhile :;')


def launched(tmp_path, script, **variables):
    process = start(
        *("bash", "launch/local_hosts.sh", 2, 1, "bash", "-c", script, "host", tmp_path),
        env=environment() | {"LOCAL_HOSTS_LOGS": str(tmp_path)} | variables,
    )
    deadline = time.monotonic() + 60
    while not all((tmp_path / f"pid_{i}").exists() for i in (0, 1)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


def alive(tmp_path):
    """Hosts that are still there."""
    found = []
    for i in (0, 1):
        try:
            os.kill(int((tmp_path / f"pid_{i}").read_text()), 0)
            found.append(i)
        except ProcessLookupError:
            pass
    return found


@pytest.mark.parametrize("asked_twice", [False, True])
def test_stopped_it_waits_for_the_last_save_of_every_host(tmp_path, asked_twice):
    process = launched(tmp_path, SAVES)
    process.terminate()
    if asked_twice:
        time.sleep(0.5)
        process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert (tmp_path / "saved_0").exists() and (tmp_path / "saved_1").exists()
    assert alive(tmp_path) == []


def test_a_host_that_does_not_end_is_killed(tmp_path):
    process = launched(tmp_path, DEAF, LOCAL_HOSTS_GRACE="2")
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + 9
    assert "not ended after 2 s, and killed" in err
    assert alive(tmp_path) == []


def test_when_a_host_fails_the_others_save_and_end(tmp_path):
    process = launched(tmp_path, FAILS)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "a host failed (3)" in err
    assert (tmp_path / "saved_0").exists()
    assert alive(tmp_path) == []
