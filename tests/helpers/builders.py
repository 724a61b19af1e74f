"""Builders whose readers fail on purpose, in a module that worker processes can import."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from pathlib import Path
from typing import ClassVar

from data_builders.edf_folder import edf_folder_dataset_builder
from data_builders.engine import runners
from data_builders.engine.work_unit import Source
from sleepfm_jax.recordings.read import Recording

EdfFolder = edf_folder_dataset_builder.Builder
SMALL = {"sfreq": 64, "clip_seconds": 30}
LIVES = "lives.txt"  # beside the recordings: how often reading deadly.edf kills


def read_or_die(root: Path, source: Source) -> Recording:
    """As edf_folder, but while deadly.edf has lives it kills its reader, like a lack of memory."""
    lives = root / LIVES
    if source.path == "deadly.edf" and int(lives.read_text()) > 0:
        lives.write_text(str(int(lives.read_text()) - 1))
        os.kill(os.getpid(), signal.SIGKILL)
    return edf_folder_dataset_builder.read(root, source)


def read_slowly(root: Path, source: Source) -> Recording:
    """As edf_folder, but it takes its time ($SLOW_READER seconds)."""
    time.sleep(float(os.environ.get("SLOW_READER", "0.1")))
    return edf_folder_dataset_builder.read(root, source)


class Deadly(EdfFolder, skip_registration=True):
    """Two recordings a unit, read by `read_or_die`."""

    VERSION = EdfFolder.VERSION
    UNIT_RECORDINGS: ClassVar[int] = 2
    read = staticmethod(read_or_die)


class Slow(EdfFolder, skip_registration=True):
    """One recording a unit, read by `read_slowly`."""

    VERSION = EdfFolder.VERSION
    UNIT_RECORDINGS: ClassVar[int] = 1
    read = staticmethod(read_slowly)


def build(cls, source, data_dir, run=runners.in_this_process, lines=None, **options):
    """Builds into data_dir; its lines of progress go to `lines`."""
    builder = cls(source=source, data_dir=data_dir, **(SMALL | options))
    builder.download_and_prepare(run=run, progress=None if lines is None else lines.append)
    return builder


def hashes(folder) -> dict[str, str]:
    """Every file below a folder with the hash of its content."""
    files = sorted(p for p in Path(folder).rglob("*") if p.is_file())
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files
    }
