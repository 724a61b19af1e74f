"""Who does the work makes no difference; a worker that is killed costs at most one recording."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest

from data_builders.engine import report, work_unit
from data_builders.engine.runners import Beam, Processes
from sleepfm_jax.data.clips import ClipSpec
from sleepfm_jax.errors import RunnerError
from tests.helpers.builders import LIVES, SMALL, Deadly, Slow, build, hashes


@pytest.fixture
def folder(tmp_path, write_edf):
    """Five subjects, in units of two; deadly.edf kills its reader as often as lives.txt says."""
    root = tmp_path / "recordings"
    for i, name in enumerate(["a", "b", "c", "d", "deadly"]):
        write_edf(root / f"{name}.edf", seed=i, seconds=40)
    splits = {"a": "train", "deadly": "train", "b": "train", "c": "train", "d": "test"}
    rows = [f"{name}.edf,{split}" for name, split in splits.items()]
    (root / "table.csv").write_text("\n".join(["path,split", *rows]) + "\n")
    (root / LIVES).write_text("0")
    return root


def test_processes_write_the_bytes_of_one_process_though_one_is_killed(folder, tmp_path):
    """Memory ran out because of its neighbours: the unit is tried again, alone."""
    here = build(Deadly, folder, tmp_path / "here")
    (folder / LIVES).write_text("1")
    said, lines = [], []
    pool = build(Deadly, folder, tmp_path / "pool", Processes(2, said.append), lines)
    assert len(lines) == 3  # one a unit
    (death,) = said
    assert "SIGKILL, as when memory runs out" in death and "tried again at the end" in death
    found = hashes(here.data_dir)
    assert sum("array_record" in name for name in found) == 3
    assert {"build_report.json", "build_report.html", "splits.json", "dataset_info.json"} < set(
        found
    )
    assert hashes(pool.data_dir) == found


@pytest.mark.slow
def test_a_recording_that_kills_its_worker_twice_is_quarantined(folder, tmp_path):
    (folder / LIVES).write_text("2")
    said = []
    builder = build(Deadly, folder, tmp_path, Processes(1, said.append))
    entries = {r["path"]: r for r in report.load(builder.data_dir)["recordings"]}
    assert [p for p, r in entries.items() if r["status"] == "quarantined"] == ["deadly.edf"]
    assert "SIGKILL, as when memory runs out" in entries["deadly.edf"]["reason"]
    assert "quarantined" in said[-1]
    assert entries["a.edf"]["clips"] == 2  # its neighbour in the unit


def units_of(cls, folder, tmp_path):
    builder = cls(source=folder, data_dir=tmp_path, **SMALL)
    return builder._units(folder, builder.plan(), builder.spec)


@pytest.mark.slow
def test_an_error_outside_of_any_recording_stops_the_build(folder, tmp_path):
    """A folder that is gone is no recording's fault."""
    units = units_of(Slow, folder, tmp_path)
    with pytest.raises(RunnerError, match="outside of any recording"):
        list(Processes(1)(units[:1], tmp_path / "gone"))


@pytest.mark.slow
def test_workers_that_cannot_work_stop_the_build(folder, tmp_path, monkeypatch):
    """A reader that a worker cannot import: it ends whenever it is given a unit."""
    unit = units_of(Slow, folder, tmp_path)[0]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "only_here.py").write_text("def read(root, source):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    import only_here

    (tmp_path / "elsewhere" / "only_here.py").unlink()
    lost = work_unit.WorkUnit(
        unit.inputs, unit.key, unit.split, unit.root, unit.sources, ClipSpec(), only_here.read
    )
    with pytest.raises(RunnerError, match="before it read anything"):
        list(Processes(1)([lost], tmp_path))


PROGRAM = """
import signal

import data_builders.simulated_psg.simulated_psg_dataset_builder as module
from launch import build
from tests.helpers.builders import Slow

module.Builder = Slow
signal.signal(signal.SIGINT, signal.default_int_handler)  # CI may run deaf to Ctrl-C
if __name__ == "__main__":
    build.run()
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_its_build(folder, tmp_path, root, how):
    """Ctrl-C, SIGTERM and kill -9 of the program end its workers; what is finished is kept."""
    (tmp_path / "program.py").write_text(PROGRAM)
    flags = {"dataset": "simulated_psg", "source": folder, "data_dir": tmp_path / "records"}
    flags |= SMALL | {"num_workers": 1}
    process = subprocess.Popen(
        [sys.executable, tmp_path / "program.py", *(f"--{k}={v}" for k, v in flags.items())],
        env=os.environ | {"PYTHONPATH": str(root), "SLOW_READER": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        first = process.stdout.readline()
        assert first.startswith("[1/5]"), first + process.stderr.read()
        running = psutil.Process(process.pid).children()
        workers = [p for p in running if "spawn_main" in " ".join(p.cmdline())]
        assert len(workers) == 1
        if how == signal.SIGINT:  # a terminal sends Ctrl-C to all processes of the program
            os.killpg(process.pid, how)
        else:
            process.send_signal(how)
        _, err = process.communicate(timeout=20)
    finally:
        process.kill()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert alive == []
    if how != signal.SIGKILL:
        assert process.returncode == 130
        (line,) = err.splitlines()
        assert line.startswith("launch.build: stopped; finished shards are kept")
    lines = []
    build(Slow, folder, tmp_path / "records", lines=lines)
    assert lines[0].endswith("of 5 shards kept from an earlier run")


def test_beam_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(RunnerError, match=r"pip install -e \.\[beam\]"):
        Beam("DirectRunner")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["in_memory", "multi_processing"])
def test_beam_writes_the_same_bytes(folder, tmp_path, root, mode):
    pytest.importorskip("apache_beam", reason="SKIPPED: the extra [beam] is not installed")
    beam = f"--direct_num_workers=2 --direct_running_mode={mode}"
    ways = {
        "here": ["--num_workers=0"],
        "beam": ["--runner=DirectRunner", f"--beam_options={beam}"],
    }
    for name, flags in ways.items():
        done = subprocess.run(
            [sys.executable, "-m", "launch.build", "--dataset=edf_folder", f"--source={folder}"]
            + [f"--data_dir={tmp_path / name}", *flags],
            cwd=root,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    assert hashes(tmp_path / "beam") == hashes(tmp_path / "here")
