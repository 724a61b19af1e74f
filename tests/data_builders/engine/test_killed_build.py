"""A build killed at any moment: its finished shards are kept, the result is the undisturbed one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_builders.engine import dataset_folder, storage, work_unit
from tests.helpers.builders import Slow, build, hashes

# Imports once, then forks a child for every data_dir that it is told.
HELPER = """
import os, sys
from tests.helpers.builders import Slow, build

source = sys.argv[1]
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        build(Slow, source, line.strip())
        os._exit(0)
    print(child, flush=True)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""


@pytest.fixture
def folder(tmp_path, write_edf):
    """Ten recordings of ten subjects, ten units."""
    for i in range(10):
        write_edf(tmp_path / "recordings" / f"s{i}.edf", seed=i, seconds=40)
    return tmp_path / "recordings"


@pytest.fixture
def helper(folder, root):
    process = subprocess.Popen(
        [sys.executable, "-c", HELPER, folder],
        env=os.environ | {"PYTHONPATH": str(root)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    yield process
    process.stdin.close()
    process.stdout.close()
    assert process.wait(timeout=20) == 0


def attempt(helper, data_dir, kill_after: float | None = None) -> float:
    """One build of the helper; killed with SIGKILL after some seconds. How long it took."""
    helper.stdin.write(f"{data_dir}\n")
    helper.stdin.flush()
    started = time.monotonic()
    child = int(helper.stdout.readline())
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    assert helper.stdout.readline() == "ended\n"
    return time.monotonic() - started


def finished(data_dir: Path) -> set[tuple[int, int]]:
    """(inode, time) of the shards of an unfinished build that have their report."""
    folder = data_dir / "slow" / ".1.0.0.building"
    work_unit = [path.with_suffix(".array_record") for path in folder.glob("unit-*.json")]
    return {(s.stat().st_ino, s.stat().st_mtime_ns) for s in work_unit}


@pytest.mark.slow
def test_kill_9_at_five_random_moments(helper, folder, tmp_path):
    undisturbed = attempt(helper, tmp_path / "undisturbed")
    seed = random.SystemRandom().randrange(10**6)
    rng = random.Random(seed)
    data_dir = tmp_path / "killed"
    kept: set[tuple[int, int]] = set()
    counts = []
    for _ in range(5):
        attempt(helper, data_dir, kill_after=rng.uniform(0.0, undisturbed / 7))
        found = finished(data_dir)
        assert kept <= found, f"a finished shard was done again (seed {seed})"
        kept = found
        counts.append(len(kept))
    assert not (data_dir / "slow" / "1.0.0").exists(), f"no kill came in time (seed {seed})"
    attempt(helper, data_dir)
    final = data_dir / "slow" / "1.0.0"
    work_unit = {(p.stat().st_ino, p.stat().st_mtime_ns) for p in final.glob("*.array_record*")}
    assert len(work_unit) == 10
    assert kept <= work_unit, f"after {counts} (seed {seed})"
    assert hashes(data_dir) == hashes(tmp_path / "undisturbed"), f"seed {seed}"


@pytest.mark.parametrize("name", ["sleep_archive.py", "twelve_lead.py", "stages_xml.py"])
def test_edited_code_rebuilds_unfinished_work(monkeypatch, name):
    before, read_bytes = work_unit.code_version.__wrapped__(), Path.read_bytes

    def edited(path):
        return read_bytes(path) + (b"#" if path.name == name else b"")

    monkeypatch.setattr(Path, "read_bytes", edited)
    assert work_unit.code_version.__wrapped__() != before


class Killed(BaseException):
    """As good as SIGKILL, at a step of our choice."""


def test_killed_at_each_step_of_the_end(tmp_path, write_edf, monkeypatch):
    """Naming the shards, writing the metadata, giving the folder its name: no shard is lost."""
    source = tmp_path / "recordings"
    for i in range(3):
        write_edf(source / f"s{i}.edf", seed=i, seconds=30)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    whole = hashes(build(Slow, source, tmp_path / "whole").data_dir)

    steps, fatal = 0, None

    def deadly(function):
        def wrapped(*args, **kwargs):
            nonlocal steps
            steps += 1
            if steps == fatal:
                raise Killed
            return function(*args, **kwargs)

        return wrapped

    publish = dataset_folder.publish

    def in_danger(*args):
        with pytest.MonkeyPatch.context() as patch:
            for name in ("move", "write_text", "remove_tree"):
                patch.setattr(storage, name, deadly(getattr(storage, name)))
            patch.setattr(Path, "rename", deadly(Path.rename))
            publish(*args)

    moments = 0
    while True:
        monkeypatch.setattr(dataset_folder, "publish", in_danger)
        steps, fatal = 0, moments + 1
        data_dir = tmp_path / str(moments)
        try:
            build(Slow, source, data_dir)
        except Killed:
            moments += 1
        else:
            break
        lines = []
        monkeypatch.setattr(dataset_folder, "publish", publish)
        builder = build(Slow, source, data_dir, lines=lines)
        assert any("3 of 3 shards kept" in line or "nothing to do" in line for line in lines), lines
        assert hashes(builder.data_dir) == whole
        assert [p.name for p in (data_dir / "slow").iterdir()] == ["1.0.0"]
    assert moments >= 3 + 3 + 3  # shards, documents, and what is around them
