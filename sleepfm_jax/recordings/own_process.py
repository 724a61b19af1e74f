"""Readers that a damaged file can kill, in a process of their own: one child, for all such files.

SciPy's reader of MATLAB files, the HDF5 library and FLAC's are C code that trusts the bytes that it
is given; of some damage they die, and so would the build with all that it has read. The child
starts with the first such file, stays for the next ones, and is replaced when it dies. Its samples
come through a socket; channels that stay in their file until they are asked for are read there.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.recording import Channel, FileChannel, Recording

# Without an answer for so long, and the time that a slow disk takes for the file, a reader hangs.
_PATIENCE, _SLOWEST = 600.0, 1e6  # s, bytes a second
_COMMAND = "import sys; from sleepfm_jax.recordings import own_process as own; own.serve(sys.argv)"


@dataclass(frozen=True)
class _Call:
    """A reader, by its module and name when it is sent, and what it is called with."""

    function: Callable[..., Any]
    path: Path
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]

    def __call__(self) -> Any:
        return self.function(self.path, *self.arguments, **self.options)


@dataclass(frozen=True)
class _Remote:
    """The samples of a channel that the child reads each time they are asked for."""

    call: _Call
    channel: int

    def __call__(self) -> np.ndarray:
        return _ask(self.call, self.channel)


def in_own_process(
    function: Callable[..., Any], path: Path, *arguments: Any, **options: Any
) -> Any:
    """`function(path, *arguments, **options)`, computed by the child.

    Args:
      function: of a module, so that it pickles; so must what it is given and gives.

    Raises:
      RecordingError: the child died of it, or gave no answer; and what the function raises.
    """
    return _ask(_Call(function, Path(path), arguments, options), None)


def _ask(call: _Call, channel: int | None) -> Any:
    for attempt in (1, 2):
        with _LOCK:
            child = _child()
            try:
                return child.ask(call, channel)
            except _Died as died:
                # What kills from outside is a lack of memory, which may have passed.
                if attempt == 2 or died.how != "SIGKILL":
                    raise RecordingError(call.path, died.reason()) from None
    raise AssertionError


class _Died(Exception):
    """The child ended, or had to be ended, while it read."""

    def __init__(self, how: str):
        super().__init__(how)
        self.how = how

    def reason(self) -> str:
        if self.how == "SIGKILL":
            return (
                "the process that read it was killed twice (SIGKILL, as when memory runs out): it "
                "needs more memory than there is"
            )
        return (
            f"the process that read it ended ({self.how}): the file is damaged in a way that its "
            "reader does not survive; copy or export it again"
        )


# --- this side ------------------------------------------------------------------------------------

_LOCK = threading.Lock()
_CHILD: _Child | None = None


def _child() -> _Child:
    """The child of this very process: a fork must not talk to its parent's."""
    global _CHILD
    if _CHILD is None or _CHILD.owner != os.getpid() or not _CHILD.alive():
        _CHILD = _Child()
    return _CHILD


class _Child:
    def __init__(self):
        ours, theirs = socket.socketpair()
        root = str(Path(__file__).resolve().parents[2])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        # One thread: workers are as many as cores.
        environment = {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _COMMAND, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=os.environ | environment,
            )
        self._connection = Connection(ours.detach())
        self.owner = os.getpid()

    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, call: _Call, channel: int | None) -> Any:
        """What the child answers.

        Raises:
          _Died: it does not; and what the call raises.
        """
        try:
            self._connection.send((call, channel))
            patience = _PATIENCE
            with contextlib.suppress(OSError):  # its reader says what is wrong with it
                patience += call.path.stat().st_size / _SLOWEST
            if not self._connection.poll(patience):
                raise _Died(f"no answer for {patience:.0f} s")
            answer, failed = self._connection.recv()
            if isinstance(answer, Recording) and channel is None:
                for part in answer.channels:
                    if not isinstance(part, FileChannel):
                        part.samples = self._samples()
        except (EOFError, ConnectionError):
            raise _Died(self._how_it_ended()) from None
        except BaseException:  # interrupted: its answer would be taken for the next one
            self.stop()
            raise
        if failed:
            raise answer
        return answer

    def _samples(self) -> np.ndarray:
        samples = np.empty(self._connection.recv(), np.float32)
        if samples.size:
            self._connection.recv_bytes_into(memoryview(samples).cast("B"))
        return samples

    def _how_it_ended(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)  # the socket ends a moment before the process does
        self.stop()
        code = self._process.returncode
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def leave(self) -> None:
        self._connection.close()

    def stop(self) -> None:
        self._connection.close()
        self._process.kill()
        self._process.wait()


@atexit.register
def _stop() -> None:
    if _CHILD is not None and _CHILD.owner == os.getpid():
        _CHILD.stop()


def _forget() -> None:
    """After a fork: the socket is the parent's, and a lock may be held by a thread of it."""
    global _LOCK
    _LOCK = threading.Lock()
    if _CHILD is not None:
        _CHILD.leave()


os.register_at_fork(after_in_child=_forget)


# --- the child ------------------------------------------------------------------------------------


def serve(argv: list[str]) -> None:
    """The life of the child: it answers until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    connection = Connection(int(argv[1]))
    kept: tuple[_Call, Recording] | None = None  # whose channels are still in its file
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            call, channel = connection.recv()
            arrays: list[np.ndarray] = []
            try:
                if channel is None:
                    kept = None
                    answer = call()
                    if isinstance(answer, Recording):
                        answer, kept, arrays = _packed(call, answer)
                else:
                    if kept is None or kept[0] != call:
                        kept = call, call()
                    answer = kept[1].channels[channel].samples
            except Exception as error:
                connection.send((_portable(error), True))
                continue
            connection.send((answer, False))
            del answer
            while arrays:  # one by one, so that it is here or there and not twice
                samples = np.ascontiguousarray(arrays.pop(0), np.float32)
                connection.send(samples.shape)
                if samples.size:
                    connection.send_bytes(memoryview(samples).cast("B"))


def _packed(
    call: _Call, recording: Recording
) -> tuple[Recording, tuple[_Call, Recording] | None, list[np.ndarray]]:
    """(what is sent first, what is kept here, the samples that are sent behind it)."""
    channels, arrays = [], []
    for number, c in enumerate(recording.channels):
        about = (c.label, c.name, c.modality, c.sfreq, c.unit)
        if isinstance(c, FileChannel):
            channels.append(FileChannel(*about, _Remote(call, number), c.notes))
        else:
            arrays.append(c.samples)
            channels.append(Channel(*about, None, c.notes))
    sent = dataclasses.replace(recording, channels=channels)
    return sent, (call, recording) if len(arrays) < len(channels) else None, arrays


def _portable(error: Exception) -> Exception:
    """The error, or what it says where it cannot be sent."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
