"""Readers for `in_own_process`, in a module that the child can import."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.recording import Channel, FileChannel, Recording


class Odd(Exception):
    """An error that cannot be sent."""

    def __init__(self, first, second):
        super().__init__("odd")


def recording(path: Path, lazy: bool = False) -> Recording:
    """Two channels of the numbers in a file and its opposite; `lazy`: read when asked for."""

    def channel(label: str, factor: float) -> Channel:
        def samples() -> np.ndarray:
            return np.loadtxt(path, dtype=np.float32, ndmin=1)[::1] * np.float32(factor)

        values = samples if lazy else samples()
        kind = FileChannel if lazy else Channel
        return kind(label, label, "bas", 1.0, "uV", values, ["a note"])

    return Recording(
        str(path), "s", "r", None, 3.0, [channel("C3", 1), channel("C4", -1)], [], None, ["noted"]
    )


def die(path: Path, how: int) -> None:
    os.kill(os.getpid(), how)


def leave(path: Path) -> None:
    os._exit(3)


def die_once(path: Path) -> str:
    """As where memory ran out for a moment."""
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def process_of(path: Path) -> tuple[int, str]:
    return os.getpid(), os.environ["OMP_NUM_THREADS"]


def fail(path: Path, kind: str) -> None:
    raise {
        "refused": RecordingError(path, "is no recording"),
        "key": KeyError("key"),
        "odd": Odd(1, 2),
    }[kind]


def sleep(path: Path, seconds: float) -> str:
    time.sleep(seconds)
    return "awake"
