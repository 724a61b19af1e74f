"""What every reader shares: its error, annotations, the limits of a sane recording, text files."""

from __future__ import annotations

import codecs
import os
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sleepfm_jax.errors import RecordingError

# A header that claims more is damaged: its clock would have us allocate years of signal.
MAX_DAYS = 31
# Nothing measures people outside of these; a header that says otherwise is damaged.
MIN_SFREQ, MAX_SFREQ = 1e-2, 1e6  # the slowest that there are come once in 30 s
# Samples that may be filled in between the pieces of a recording with gaps: 512 MiB of float32.
MAX_GAP_SAMPLES = 2**27

# What stands in place of a file whose content git-annex or git-LFS has not fetched: the name that
# the annex gives it (where links cannot be had, or the file is unlocked), or a few lines.
_ANNEX = re.compile(rb"(?:\.\./)*(?:\.git)?/?annex/objects/")
_LFS = b"version https://git-lfs.github.com/"
_MARK = 64  # bytes from which both are known

_MAX_TEXT_BYTES = 8_000_000  # a night scored by hand has some hundred kilobytes


@dataclass
class Annotation:
    """A remark; seconds from the recording's start, duration 0.0 where none is given."""

    onset: float
    duration: float
    text: str


def read_head(path: Path, size: int) -> bytes:
    """The first bytes of a file, which may be empty.

    Raises:
      RecordingError: the file is missing, a folder, not to be opened, or its content was not
      fetched (`unfetched`).
    """
    try:
        if path.is_dir():
            raise RecordingError(path, "is a folder, not a file")
        with path.open("rb") as file:
            raw = file.read(max(size, _MARK))
    except FileNotFoundError:
        raise RecordingError(path, unfetched(path) or "no such file") from None
    except (OSError, ValueError) as error:  # no permission, a name too long or with a zero in it
        raise RecordingError(path, f"cannot be opened ({error})") from error
    if reason := _pointer(path, raw[:_MARK]):
        raise RecordingError(path, reason)
    return raw[:size]


def unfetched(path: Path) -> str | None:
    """Why a file that is listed has no content here, None where it has: for `datalad`, git-LFS.

    A link to where nothing is, or a small file that stands for the content of another.
    """
    try:
        with path.open("rb") as file:
            return _pointer(path, file.read(_MARK))
    except FileNotFoundError:
        if not path.is_symlink():
            return None
    except (OSError, ValueError):
        return None
    target = os.readlink(path)
    if _ANNEX.search(os.fsencode(target)):
        return _not_fetched(path, "git-annex")
    return f"is a link to {target}, where nothing is: copy or fetch the file itself"


def _pointer(path: Path, head: bytes) -> str | None:
    if _ANNEX.match(head):
        return _not_fetched(path, "git-annex")
    if head.startswith(_LFS):
        return (
            "is a pointer of git-LFS, its content was not fetched: fetch it first "
            f"(`git lfs pull --include={path.name}`)"
        )
    return None


def _not_fetched(path: Path, by: str) -> str:
    return f"its content is in {by} and was not fetched: fetch it first (`datalad get {path.name}`)"


def size_of(path: Path) -> int:
    """Bytes of a file that must be there and hold something.

    Raises:
      RecordingError: the file is missing, a folder or empty.
    """
    if not read_head(path, 1):
        raise RecordingError(path, "is empty (0 bytes); copy it again")
    return path.stat().st_size


def read_text(path: Path, what: str, limit: int = _MAX_TEXT_BYTES) -> str:
    """The text of a small file: UTF-8 or UTF-16 with a byte order mark, else Latin-1.

    Raises:
      RecordingError: the file is missing, a folder, larger than `limit` bytes or not text.
    """
    raw = read_head(path, limit + 1)
    if len(raw) > limit:
        raise RecordingError(path, f"is larger than {limit / 1e6:g} MB: too large for a {what}")
    if raw[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        text = raw.decode("utf-16", errors="replace")
    else:
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = raw.decode("latin-1")
    if "\x00" in text:
        raise RecordingError(path, f"is not text, so it is no {what} of a kind known here")
    return text


def shift(start: datetime | None, seconds: float) -> datetime | None:
    """`start` moved by some seconds; None stays None, and so does a moment out of the calendar."""
    try:
        return None if start is None else start + timedelta(seconds=seconds)
    except OverflowError:
        return None
