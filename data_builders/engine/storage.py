"""Where files are: a folder of this machine, or a bucket (gs://, s3://) through etils and fsspec.

A local path is a `pathlib.Path`, any other an `epath.Path`, which has the same methods. Readers and
the ArrayRecord writer know local files only: what they need is copied here first (`fetched`), and
what they wrote is copied there when it is whole (`written`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

import fsspec
from etils import epath

from sleepfm_jax.recordings import files

SCHEMES = ("gs", "s3", "az", "hf")
_BLOCK = 8 * 2**20

AnyPath = Path | epath.Path


def as_path(name: str | os.PathLike[str]) -> AnyPath:
    """The path of a file or folder, here or in a bucket.

    Raises:
        ValueError: a scheme that is not known.
    """
    text = os.fspath(name)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return Path(text)
    if scheme == "file":
        return Path(rest)
    if scheme not in SCHEMES:
        known = ", ".join(f"{s}://" for s in SCHEMES)
        raise ValueError(f"{text}: not a folder or one of {known}")
    return epath.Path(text)


def is_local(path: AnyPath) -> bool:
    """Is it a file or folder of this machine (or mounted on it)?"""
    return isinstance(path, Path)


def missing_driver(path: AnyPath) -> str | None:
    """Which package must be installed to reach a path, or None when it can be reached."""
    if not is_local(path):
        scheme = os.fspath(path).partition("://")[0]
        try:
            fsspec.get_filesystem_class(scheme)
        except (ImportError, ValueError) as error:
            return f"{scheme}:// cannot be reached: {error}"
    return None


def size(path: AnyPath) -> int:
    """Bytes of a file."""
    return path.stat().st_size if is_local(path) else path.stat().length


def stamp(path: AnyPath) -> tuple[int, int | str]:
    """Size of a file, and what changes when its content does: its time, or the bucket's version."""
    if is_local(path):
        stat = path.stat()
        return stat.st_size, stat.st_mtime_ns
    fs, name = fsspec.url_to_fs(os.fspath(path))
    return size(path), fs.ukey(name)


def listing(root: AnyPath) -> list[str]:
    """Every file below a folder, sorted, relative to it with forward slashes.

    Links to where nothing is are listed too: they are files that were not fetched, and a reader
    says so. Neither hidden files nor what is in hidden folders, as .git with its annex.
    """
    if is_local(root):
        found = _local_files(root)
    else:
        fs, top = fsspec.url_to_fs(os.fspath(root))
        found = (name[len(top.rstrip("/")) + 1 :] for name in fs.find(top))
    return sorted(n for n in found if not any(part.startswith(".") for part in n.split("/")))


def _local_files(root: Path) -> Iterator[str]:
    for folder, inner, names in os.walk(root):
        inner[:] = [name for name in inner if not name.startswith(".")]
        below = os.path.relpath(folder, root).replace(os.sep, "/") + "/"
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) or os.path.islink(path):
                yield below.removeprefix("./") + name


def unfetched(path: AnyPath) -> str | None:
    """Why a file that is listed has no content (`recordings.files.unfetched`), None where it has.

    In a bucket every file has.
    """
    return files.unfetched(path) if is_local(path) else None


@contextlib.contextmanager
def fetched(root: AnyPath, names: Iterable[str]) -> Iterator[Path]:
    """A local folder that holds these files of `root`: `root` itself, or a temporary copy."""
    if is_local(root):
        yield root
        return
    with tempfile.TemporaryDirectory(prefix="sleepfm_input_") as folder:
        for name in names:
            target = Path(folder) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy(root / name, target)
        yield Path(folder)


@contextlib.contextmanager
def written(target: AnyPath) -> Iterator[Path]:
    """A local path to write a file to; it appears at `target` whole when the block ends, or never.

    The temporary file has a name of its own: an orphan of a killed build may still be writing the
    same shard. A block that leaves no file there makes none at `target`.
    """
    if is_local(target):
        temporary = target.with_name(f"{target.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.partial")
        try:
            yield temporary
            if temporary.exists():
                _sync(temporary)
                temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        return
    with tempfile.TemporaryDirectory(prefix="sleepfm_output_") as folder:
        temporary = Path(folder) / target.name
        yield temporary
        if temporary.exists():
            _copy(temporary, target)  # an object appears in its bucket when it is complete


def write_text(target: AnyPath, text: str) -> None:
    """Writes a small file so that it is either whole or not there."""
    with written(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256(path: Path) -> str:
    """Of a local file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def move(source: AnyPath, target: AnyPath) -> None:
    """Gives a file another name in the same store (a bucket copies it)."""
    if is_local(source):
        source.replace(target)
    else:
        fs, old = fsspec.url_to_fs(os.fspath(source))
        fs.mv(old, fsspec.url_to_fs(os.fspath(target))[1])


def children(folder: AnyPath) -> list[AnyPath]:
    """What is directly in a folder; nothing when there is no such folder."""
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []


def remove_tree(folder: AnyPath) -> None:
    """Removes a folder with all that is in it, if it exists."""
    if is_local(folder):
        shutil.rmtree(folder, ignore_errors=not folder.exists())
    elif folder.exists():
        folder.rmtree()


def _copy(source: AnyPath, target: AnyPath) -> None:
    with source.open("rb") as reading, target.open("wb") as writing:
        shutil.copyfileobj(reading, writing, _BLOCK)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
