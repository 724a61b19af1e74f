"""What the disk refused, found in whatever a library wrapped it in, as one StorageError."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from sleepfm_jax.errors import SleepFMError, StorageError

_FULL = "make room there, or give another folder; what was saved before stays"
_WRITE = "give a folder that you may write to"
_LOST, _SHORT = -1, -2  # no errno: a file that another says should be there; numpy's tofile
_HINTS = {
    errno.ENOSPC: ("the disk is full", _FULL),
    errno.EDQUOT: ("the disk quota is used up", _FULL),
    errno.EFBIG: ("no file may grow that large here (ulimit -f, or the file system)", _FULL),
    _SHORT: ("not all could be written: the disk is full, or a limit reached", _FULL),
    errno.EROFS: ("this file system can only be read", _WRITE),
    errno.EACCES: ("permission denied", _WRITE + ", or read from"),
    errno.EPERM: ("not permitted", _WRITE + ", or read from"),
    errno.ENOENT: ("is not there, and cannot be made", "check the path"),
    _LOST: (
        "a file of this checkpoint or dataset is not there any more",
        "copy the whole again, or take another",
    ),
    errno.ENOTDIR: ("a part of this path is a file", "give a folder"),
    errno.EISDIR: ("is a folder", "give a file"),
    errno.EEXIST: ("a file is in the way", "give a folder, or move the file away"),
    errno.ENAMETOOLONG: ("the name is too long for this file system", "give a shorter one"),
    errno.EIO: ("the disk fails (input/output error)", "look at the disk, or give another folder"),
    errno.ESTALE: ("the network file system lost this file", "mount it again"),
}
# Never part of ordinary control flow: believed wherever in a chain of errors they are.
_CERTAIN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
# C++ libraries (tensorstore, ArrayRecord) and other processes hand on nothing but text. Their
# RESOURCE_EXHAUSTED alone says too little: XLA writes it too, where memory is short.
_CERTAIN_TEXTS = tuple(
    (re.compile(re.escape(os.strerror(number)), re.IGNORECASE), number) for number in _CERTAIN
) + ((re.compile(r"^\d+ requested and \d+ written$"), _SHORT),)
_STORE_TEXTS = (
    (re.compile(r"^PERMISSION_DENIED: .*(local )?file", re.DOTALL), errno.EACCES),
    (re.compile(r"^(NOT_FOUND|DATA_LOSS): .*(local )?file", re.DOTALL), _LOST),
    (re.compile(r"^FAILED_PRECONDITION: .*local file.*does not exist", re.DOTALL), _LOST),
)
_PATH = re.compile(r"""["'](/[^"'\n]+)["']""")
_SPEC = "[tensorstore_spec"  # pages of JSON from here on


def storage_error(error: BaseException, written: str | None = None) -> StorageError | None:
    """The error as a line that says which path and what to do; None if no disk had a part in it.

    Args:
        error: as it arrived: an OSError, or anything that was raised because of one, in groups too.
        written: where the program writes to, for errors that do not say which file.
    """
    if isinstance(error, StorageError):
        return error
    for one, meant in _chain(error):
        number, path = _understood(one, meant)
        if number is not None:
            return _in_one_line(number, path or written)
    return None


def _chain(error: BaseException) -> Iterator[tuple[BaseException, bool]]:
    """The error and all behind it; whether each is meant: raised, or named as the cause.

    An error that was merely being handled (`__context__`) may have been ordinary: a file looked
    for and not found.
    """
    todo, seen = [(error, True)], set()
    while todo:
        one, meant = todo.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one, meant
        if isinstance(one, BaseExceptionGroup):
            todo += [(inner, meant) for inner in one.exceptions]
        # An error of ours has looked at its cause, and says it better, unless that is certain.
        ours = isinstance(one, SleepFMError) and isinstance(one.__cause__, OSError)
        todo += [(one.__cause__, meant and not ours)] if one.__cause__ else []
        todo += [(one.__context__, False)] if one.__context__ else []


def _understood(error: BaseException, meant: bool) -> tuple[int | None, str | None]:
    """errno and path of one error, as far as it tells them."""
    if isinstance(error, OSError) and error.errno is not None:
        if error.errno in _CERTAIN or (meant and error.errno in _HINTS):
            # Of two names (a rename) the second is the one that could not be made.
            name = error.filename2 or error.filename
            return error.errno, os.fsdecode(name) if isinstance(name, str | bytes) else None
        return None, None
    text = str(error).partition(_SPEC)[0]
    texts = _CERTAIN_TEXTS
    if meant and not isinstance(error, SleepFMError | OSError):
        texts += _STORE_TEXTS
    for pattern, number in texts:
        if pattern.search(text):
            paths = [p for p in _PATH.findall(text) if not p.endswith(".py")]
            return number, paths[-1] if paths else None
    return None, None


def _in_one_line(number: int, path: str | None) -> StorageError:
    what, mend = _HINTS[number]
    if number in (errno.ENOSPC, errno.EDQUOT) and path:
        what += _room(path)
    return StorageError(f"{path or 'a file'}: {what}: {mend}")


def _room(path: str) -> str:
    """How much is free where a path is."""
    for folder in (Path(path), *Path(path).absolute().parents):
        try:
            return f" ({shutil.disk_usage(folder).free / 2**20:.0f} MB free)"
        except OSError:
            continue
    return ""
