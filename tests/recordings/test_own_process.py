"""Readers that die, hang and fail in their own process: this one goes on, and says why."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from data_builders.engine import report as build_report
from data_builders.engine import runners
from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings import own_process
from sleepfm_jax.recordings.own_process import in_own_process
from sleepfm_jax.recordings.read import read_recording
from sleepfm_jax.recordings.recording import FileChannel
from tests.helpers import broken_files, deadly_readers
from tests.helpers.builders import EdfFolder, build
from tests.recordings import fuzz_readers


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    path = tmp_path / "numbers.txt"
    path.write_text("1\n2\n3\n")
    return path


@pytest.mark.parametrize("lazy", [False, True])
def test_a_recording_comes_whole(numbers: Path, lazy: bool):
    read = in_own_process(deadly_readers.recording, numbers, lazy=lazy)
    assert [type(c) is FileChannel for c in read.channels] == [lazy, lazy]
    read = pickle.loads(pickle.dumps(read))  # as between workers
    for channel, factor in zip(read.channels, (1, -1), strict=True):
        np.testing.assert_array_equal(channel.samples, np.float32([1, 2, 3]) * factor, strict=True)
        assert channel.notes == ["a note"]
        assert channel.samples.flags.writeable != lazy
    assert (read.notes, read.duration, read.path) == (["noted"], 3.0, str(numbers))


def test_channels_are_read_again_once_another_file_was(numbers: Path, tmp_path: Path):
    first = in_own_process(deadly_readers.recording, numbers, lazy=True)
    other = tmp_path / "other.txt"
    other.write_text("7\n")
    second = in_own_process(deadly_readers.recording, other, lazy=True)
    for _ in range(2):
        assert first.channels[1].samples.tolist() == [-1, -2, -3]
        assert second.channels[0].samples.tolist() == [7]
    with pytest.raises(RecordingError, match="SIGSEGV"):
        in_own_process(deadly_readers.die, numbers, signal.SIGSEGV)
    assert first.channels[0].samples.tolist() == [1, 2, 3]


def test_one_child_for_many_files(tmp_path: Path):
    seen = {in_own_process(deadly_readers.process_of, tmp_path) for _ in range(3)}
    (process, threads), *others = seen
    assert not others and process != os.getpid() and threads == "1"


@pytest.mark.parametrize("how", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
def test_a_death_is_the_files(tmp_path: Path, how: signal.Signals):
    path = tmp_path / "a.set"
    with pytest.raises(RecordingError) as caught:
        in_own_process(deadly_readers.die, path, how)
    assert str(caught.value).startswith(f"{path}: the process that read it ended ({how.name}): ")
    assert in_own_process(deadly_readers.sleep, path, 0) == "awake"
    with pytest.raises(RecordingError, match=r"ended \(exit code 3\)"):
        in_own_process(deadly_readers.leave, path)


def test_a_lack_of_memory_may_pass(tmp_path: Path):
    assert in_own_process(deadly_readers.die_once, tmp_path / "a") == "alive"
    with pytest.raises(RecordingError, match=r"killed twice .*more memory than there is"):
        in_own_process(deadly_readers.die, tmp_path / "a", signal.SIGKILL)


def test_errors_come_as_they_are(tmp_path: Path):
    path = tmp_path / "a"
    with pytest.raises(RecordingError) as caught:
        in_own_process(deadly_readers.fail, path, "refused")
    assert (caught.value.path, caught.value.cause) == (str(path), "is no recording")
    with pytest.raises(KeyError, match="key"):
        in_own_process(deadly_readers.fail, path, "key")
    with pytest.raises(RuntimeError, match="Odd: odd"):
        in_own_process(deadly_readers.fail, path, "odd")


def test_a_hang_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(own_process, "_PATIENCE", 0.4)
    with pytest.raises(RecordingError, match=r"ended \(no answer for 0 s\)"):
        in_own_process(deadly_readers.sleep, tmp_path / "a", 60)


def test_an_interrupted_answer_is_nobody_elses(tmp_path: Path):
    """Ctrl-C while the child reads: what it would have answered is not the next one's."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # CI may run deaf to it
    try:
        _interrupt_an_answer(tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)


def _interrupt_an_answer(tmp_path: Path) -> None:
    in_own_process(deadly_readers.sleep, tmp_path, 0)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        in_own_process(deadly_readers.sleep, tmp_path, 30)
    assert in_own_process(deadly_readers.process_of, tmp_path)[0] != os.getpid()


def test_the_child_goes_with_its_parent(tmp_path: Path, root: Path):
    program = (
        "import os, pathlib\n"
        "from sleepfm_jax.recordings.own_process import in_own_process\n"
        "from tests.helpers import deadly_readers\n"
        "print(in_own_process(deadly_readers.process_of, pathlib.Path('a'))[0], flush=True)\n"
        "os._exit(0)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    process = int(done.stdout)
    for _ in range(100):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return
        state = Path(f"/proc/{process}/stat")
        if state.exists() and state.read_text().split(") ")[1][0] == "Z":
            return  # nobody here collects it
        time.sleep(0.1)
    pytest.fail("the child is still there")


@pytest.mark.parametrize("num_workers", [0, 2])
def test_files_that_kill_scipy(tmp_path: Path, num_workers: int):
    """Damaged .set files, of which some end the process that reads them (SciPy 1.17)."""
    sound, source = tmp_path / "sound", tmp_path / "source"
    sound.mkdir()
    source.mkdir()
    files = broken_files.write_others(sound)["eeglab"]
    for seed in (90, 92, 121, 172, 245):
        folder = source / str(seed)
        folder.mkdir()
        fuzz_readers.damaged("eeglab", files, (5, seed), folder).rename(folder / f"n{seed}.set")
    broken_files.write_edf(source / "fine.edf")
    run = runners.Processes(num_workers) if num_workers else runners.in_this_process
    builder = build(EdfFolder, source, tmp_path / "data", run=run)
    entries = build_report.load(builder.data_dir)["recordings"]
    assert len(entries) == 6
    (fine,) = [e for e in entries if e["path"] == "fine.edf"]
    assert fine["status"] == "built"
    assert all(e["reason"] for e in entries if e is not fine and e["status"] != "built")


def test_an_eeglab_file_stays_where_it_is_read(tmp_path: Path):
    sound = broken_files.write_others(tmp_path)
    read = read_recording(sound["eeglab"][0], subject="s", recording="night")
    assert [c.label for c in read.channels] == ["C3-M2", "ECG"]
    assert read.recording == "night"
    with pytest.raises(RecordingError, match="no such file"):
        read_recording(tmp_path / "none.set", subject="s")
