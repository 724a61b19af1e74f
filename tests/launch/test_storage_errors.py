"""Full disks, folders that may not be written, files that have gone: one line, wherever noticed."""

from __future__ import annotations

import errno
import re
import shutil
import subprocess
import sys

import pytest

from launch.storage_errors import storage_error
from sleepfm_jax.errors import CheckpointError, DatasetError, StorageError
from tests.helpers.programs import ROOT, environment, module, pretrain, run

FULL = "No space left on device"
TENSORSTORE = (
    'RESOURCE_EXHAUSTED: Error writing "a/0" in OCDBT database at local file "/runs/1/": Failed '
    f"writing: \"/runs/1/d/4f11\": Failed to write 9 bytes to file 9: {FULL} [os_error_code='28']"
)
GONE = (
    'NOT_FOUND: Error opening "zarr" driver: Error reading Byte range [0, 2) of local file '
    '"/runs/1/d/c8e2" [tensorstore_spec=\'{"path":"/runs/1/"}\']'
)


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    """The error as it is after `raise error from cause`."""
    try:
        raise error from cause
    except BaseException as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, FULL, "/d/x"), "/d/x: the disk is full"),
        (OSError(errno.ENOSPC, FULL), "/out: the disk is full"),
        (OSError(errno.EDQUOT, "quota"), "/out: the disk quota is used up"),
        (OSError(errno.EROFS, "ro", "/d"), "/d: this file system can only be read"),
        (PermissionError(errno.EACCES, "no", "/d"), "/d: permission denied: give a folder"),
        (FileNotFoundError(errno.ENOENT, "no", "/proc/x"), "/proc/x: is not there, and cannot"),
        (OSError("5965200 requested and 297984 written"), "/out: not all could be written"),
        (ValueError(TENSORSTORE), "/runs/1/d/4f11: the disk is full"),
        (ValueError(GONE), "/runs/1/d/c8e2: a file of this checkpoint or dataset is not there"),
        (raised(CheckpointError("does not fit"), ValueError(GONE)), "/runs/1/d/c8e2: a file of"),
        (raised(RuntimeError("save failed"), OSError(errno.ENOSPC, FULL)), "the disk is full"),
        (
            ExceptionGroup(
                "tasks", [KeyError("a"), ExceptionGroup("b", [ValueError(TENSORSTORE)])]
            ),
            "/runs/1/d/4f11: the disk is full",
        ),
        (RuntimeError(f"a worker: OSError: [Errno 28] {FULL}: '/d/y'"), "/d/y: the disk is full"),
    ],
)
def test_what_a_disk_refused_is_found(error, words):
    found = storage_error(error, "/out")
    assert isinstance(found, StorageError)
    assert words in str(found)
    assert "\n" not in str(found)


def test_what_was_merely_looked_for_or_is_no_disk_s_is_left_alone():
    looked_for = KeyError("a bug")
    looked_for.__context__ = FileNotFoundError(errno.ENOENT, "no", "/maybe")
    for error in (
        looked_for,
        raised(DatasetError("no dataset 'x'"), FileNotFoundError(errno.ENOENT, "no", "/x")),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes"),
        ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
        ValueError("NOT_FOUND: no registered implementation"),
    ):
        assert storage_error(error, "/out") is None


def one_storage_line(process, *, threads_talk: bool = False) -> str:
    """The program ended with StorageError's code; all that it said but for logs is this line.

    Args:
      threads_talk: threads of tensorstore may say that asyncio's loop is closed, beside the line.
    """
    assert process.returncode == StorageError.exit_code, process.stderr[-3000:]
    if threads_talk:  # all at once: their words may stand within a line of another's
        assert not re.search(r'File "[^"]*/(sleepfm_jax|launch|data_builders)/', process.stderr)
        (line,) = re.findall(r"StorageError: [^\n]*", process.stderr)
        return line
    assert "Traceback" not in process.stderr
    lines = process.stderr.splitlines()
    (line,) = [x for x in lines if not re.match(r"$|[IW]\d{4} |.*%\|", x)]
    assert line.startswith("StorageError: ")
    return line


def test_a_folder_that_may_not_be_written(program, tmp_path):
    out = "/proc/sleepfm"  # where root may write nothing either
    line = one_storage_line(
        program("launch.simulate", "--dataset=simulated_ecg", "--subjects=1", f"--out={out}")
    )
    assert out in line
    source = tmp_path / "ecg"
    done = program("launch.simulate", "--dataset=simulated_ecg", "--subjects=3", f"--out={source}")
    assert done.returncode == 0, done.stderr
    said = ["--dataset=simulated_ecg", f"--source={source}", f"--data_dir={out}"]
    assert out in one_storage_line(program("launch.build", *said))
    assert str(source) in one_storage_line(program("launch.report", f"--workdir={source}"))


@pytest.mark.parametrize("where", [pytest.param("here", marks=pytest.mark.slow), "in a worker"])
def test_a_build_that_may_write_no_more(tmp_path, where):
    """A limit of the file size is a full disk that any test may have."""
    source, records = tmp_path / "ecg", tmp_path / "records"
    run(*module("simulate", "--dataset=simulated_ecg", "--subjects=3", f"--out={source}"))
    said = ["--dataset=simulated_ecg", f"--source={source}", f"--data_dir={records}"]
    process = limited(
        module("build", *said, f"--num_workers={0 if where == 'here' else 1}"), kilobytes=20
    )
    one_storage_line(process)
    assert not (records / "simulated_ecg" / "1.0.0").exists()


def limited(command, kilobytes: int) -> subprocess.CompletedProcess:
    """Runs a command that can write no file larger than that."""
    # In a program of its own: forked from a process with jax in it, it might never start.
    limit = (
        "import os, resource, sys; size = int(sys.argv[1]);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size, size));"
        "os.execv(sys.argv[2], sys.argv[2:])"
    )
    return subprocess.run(
        [sys.executable, "-c", limit, str(kilobytes * 1024), *map(str, command)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def small_disk():
    """Runs a command with a disk of so many kB at a folder; skips where none can be had."""

    def run_on(folder, kilobytes, command):
        mount = f"mount -t tmpfs -o size={kilobytes}k none {folder}"
        if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True).returncode:
            pytest.skip("SKIPPED: no file system may be mounted here")
        return subprocess.run(
            ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$@"', "sh", *map(str, command)],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=300,
        )

    if shutil.which("unshare") is None:
        pytest.skip("SKIPPED: no unshare, so that no file system may be mounted")
    return run_on


@pytest.mark.slow
def test_training_on_a_full_disk_ends_in_one_line(small_disk, tiny_data_dir, tmp_path):
    for kilobytes in (600, 150):  # full in the second save, and before the first
        command = pretrain(tiny_data_dir, tmp_path / "run")
        line = one_storage_line(small_disk(tmp_path, kilobytes, command), threads_talk=True)
        assert str(tmp_path / "run") in line
        assert "the disk is full (0 MB free)" in line


@pytest.mark.slow
def test_a_checkpoint_that_lost_a_file_is_told_in_one_line(program, tiny_data_dir, tmp_path):
    workdir = tmp_path / "run"
    run(*pretrain(tiny_data_dir, workdir, "--config.keep=1"))  # no earlier one to fall back on
    (newest,) = (workdir / "checkpoints" / "4" / "state" / "d").iterdir()
    newest.unlink()
    probed = ["--dataset=simulated_psg", f"--data_dir={tiny_data_dir}"]
    for command in (
        ["launch.convert", f"--from={workdir}", f"--to={tmp_path / 'x.safetensors'}"],
        ["launch.probe", f"--checkpoint={workdir}", *probed, f"--workdir={tmp_path / 'probe'}"],
        ["launch.pretrain", *pretrain(tiny_data_dir, workdir, "--config.keep=1")[3:]],
    ):
        line = one_storage_line(program(*command), threads_talk=True)
        assert str(newest) in line
        assert "copy the whole again" in line


def test_what_threads_log_about_a_disk_is_held_back_and_said_at_the_end():
    code = (
        "import errno, threading\n"
        "from absl import logging\n"
        "from launch import programs\n"
        "def die(): raise OSError(errno.ENOSPC, 'No space left on device', '/d/x')\n"
        "def main(argv):\n"
        "    try: die()\n"
        "    except OSError: logging.exception('save failed')\n"
        "    thread = threading.Thread(target=die); thread.start(); thread.join()\n"
        "programs.run(main)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True
    )
    assert "/d/x: the disk is full" in one_storage_line(done)
