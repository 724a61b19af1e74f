"""One training in a workdir at a time: a lock that ends with its process, however that ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils

from sleepfm_jax.errors import WorkdirInUse

NAME = ".lock"
"""The file in a workdir. It stays; the lock on it does not."""

_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


@contextlib.contextmanager
def only_training(workdir: Path) -> Iterator[None]:
    """Makes the workdir and holds it; readers (probes, reports) are free to look.

    Every process of a run calls this, and goes on when the first one has the lock: the others work
    for the same run. Where a file system has no locks the run goes on with a warning.

    Raises:
      WorkdirInUse: another training holds it; on every process.
    """
    with contextlib.ExitStack() as held:
        refused = None
        if jax.process_index() == 0:
            workdir.mkdir(parents=True, exist_ok=True)
            try:
                held.enter_context(_locked(workdir / NAME))
            except WorkdirInUse as error:
                refused = error
        if multihost_utils.broadcast_one_to_all(np.array(refused is not None)):
            raise refused or WorkdirInUse(f"{workdir}: another training is at work in it")
        yield


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    # "a+" truncates nothing that the holder wrote; on NFS a lock wants a file open for writing.
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                logging.warning(
                    "%s: this file system has no locks (%s): see to it yourself that no other "
                    "training uses this workdir",
                    path.parent,
                    os.strerror(error.errno),
                )
                yield
                return
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            file.seek(0)
            who = file.readline().strip() or "another process"
            raise WorkdirInUse(
                f"{path.parent}: another training is at work in it ({who}): wait for it, stop it, "
                "or give another workdir"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield
