"""The folder of a dataset while it is built, and how it gets its name.

Finished shards wait in `DIR/NAME/.1.0.0.building`. When all are there they get TFDS's names, the
metadata is written beside them, and the folder becomes `DIR/NAME/1.0.0`. A build that is killed at
any moment loses no finished shard: names given are written down first, and taken back by the next
build. In a bucket, where folders have no name to change, files move one by one and
dataset_info.json comes last: without it there is no dataset.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Iterator, Mapping, Sequence

import tensorflow_datasets as tfds

from data_builders.engine import storage
from data_builders.engine.splits import SPLITS
from data_builders.engine.work_unit import UnitResult
from sleepfm_jax.errors import FolderInUse

_NAMES = "names.json"  # of shards on their way: {final name: the unit's name}
_LOCK = "lock"


def exists(final: storage.AnyPath) -> bool:
    """Is there a dataset (or, locally, anything at all)?"""
    return final.exists() if storage.is_local(final) else (final / "dataset_info.json").exists()


@contextlib.contextmanager
def staging(final: storage.AnyPath, keys: Sequence[str]) -> Iterator[storage.AnyPath]:
    """The folder for unfinished work on `final`, locked, with nothing in it but finished shards.

    Args:
        keys: of the units that this build is made of; what belongs to others is removed.

    Raises:
        FolderInUse: another build is at work in it.
    """
    folder = _staging_folder(final)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        _take_names_back(final, folder)
        wanted = {f"unit-{key}{suffix}" for key in keys for suffix in (".json", ".array_record")}
        for path in storage.children(folder):
            if path.is_dir():
                storage.remove_tree(path)
            elif path.name not in wanted | {_LOCK}:
                path.unlink()
        yield folder


def discard(final: storage.AnyPath) -> None:
    """Removes the folder for unfinished work."""
    storage.remove_tree(_staging_folder(final))


def tidy(final: storage.AnyPath) -> None:
    """Removes what a build left beside its dataset when it was killed at the very end."""
    if _staging_folder(final).exists():
        with contextlib.suppress(FolderInUse), staging(final, ()):
            discard(final)


def publish(
    final: storage.AnyPath,
    folder: storage.AnyPath,
    info: tfds.core.DatasetInfo,
    results: Sequence[UnitResult],
    documents: Mapping[str, str],
) -> None:
    """Names the shards, writes metadata and documents, and puts everything at `final`.

    Args:
        folder: the staging folder, with all shards.
        results: of all units, in the order of the shards.
        documents: further text files by name.
    """
    local = storage.is_local(final)
    target = folder / "dataset" if local else final
    if not local:
        storage.remove_tree(final)
    target.mkdir(parents=True, exist_ok=True)
    moves, splits = _names(info.name, target, results)
    storage.write_text(folder / _NAMES, json.dumps(moves))
    for name, unit in moves.items():
        storage.move(folder / unit, target / name)
    for name, text in documents.items():
        storage.write_text(target / name, text)
    info.set_splits(tfds.core.SplitDict(splits))
    info.write_to_directory(target)
    if local:
        storage.remove_tree(final)
        target.rename(final)
    discard(final)


def _staging_folder(final: storage.AnyPath) -> storage.AnyPath:
    return final.with_name(f".{final.name}.building")


@contextlib.contextmanager
def _locked(folder: storage.AnyPath) -> Iterator[None]:
    """Of two builds into one local folder, the second is told; the lock ends with its process."""
    if not storage.is_local(folder):
        yield
        return
    with (folder / _LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FolderInUse(f"another build is at work in {folder}: wait for it") from error
        yield


def _names(
    name: str, target: storage.AnyPath, results: Sequence[UnitResult]
) -> tuple[dict[str, str], list[tfds.core.SplitInfo]]:
    """{final name: unit's name} of every shard, and the TFDS split infos that belong to them."""
    moves, infos = {}, []
    for split in SPLITS:
        done = [r for r in results if r.split == split and r.length]
        if not done:
            continue
        template = tfds.core.ShardedFileTemplate(
            data_dir=target, dataset_name=name, split=split, filetype_suffix="array_record"
        )
        for i, result in enumerate(done):
            path = template.sharded_filepath(shard_index=i, num_shards=len(done))
            moves[path.name] = result.shard
        infos.append(
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=[r.length for r in done],
                num_bytes=sum(r.num_bytes for r in done),
                filename_template=template,
            )
        )
    return moves, infos


def _take_names_back(final: storage.AnyPath, folder: storage.AnyPath) -> None:
    """A build that was killed while it named its shards: they are units again."""
    if not (folder / _NAMES).exists():
        return
    local = storage.is_local(final)
    target = folder / "dataset" if local else final
    if local or not exists(final):  # else it had finished, and they are a dataset's
        for name, unit in json.loads((folder / _NAMES).read_text(encoding="utf-8")).items():
            if (target / name).exists():
                storage.move(target / name, folder / unit)
    (folder / _NAMES).unlink()
