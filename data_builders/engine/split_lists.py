"""Published lists of which recording is in which split, taken as they are, leaks and all.

A list is one of

- a folder with a list of recordings' names a split, one a line: train.txt, val.txt, test.txt, each
  of which may be missing (wav2sleep publishes these);
- a table (.csv, .tsv) with a column `recording`, `file`, `path` or `name`, and a column `split`;
- JSON: {"train": [names], …} or {name: split}.

A name is a recording's file, with its folders or without, with its ending or without, in any case.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

from data_builders.engine import storage
from data_builders.engine.splits import SPLITS
from data_builders.engine.work_unit import Source
from sleepfm_jax.data import people
from sleepfm_jax.errors import BuildError, LeakError

COLUMNS = ("recording", "file", "path", "name", "session_id", "filename")
"""Of a table: what a recording may stand under, the first one that is there."""

ALIASES = {split: split for split in SPLITS} | {
    **dict.fromkeys(("training",), "train"),
    **dict.fromkeys(("val", "valid", "dev"), "validation"),
    **dict.fromkeys(("testing", "eval"), "test"),
}
NOT_LISTED = "in no split of the list"
_ENDING = re.compile(r"\.(edf|bdf|gdf|vhdr|set|hea|mat|npz|h5|hdf5|parquet)$")
_MARK = re.compile(r"\.issues$")  # how wav2sleep marks a recording, before the ending
_SHOWN = 3


def read(path: storage.AnyPath) -> dict[str, str]:
    """{recording, as `key` writes it: train, validation or test}.

    Raises:
        BuildError: no such list, none that can be read, a split that is none, a recording in two
            splits, or nobody in it.
    """
    found: dict[str, str] = {}
    try:
        for name, split in _pairs(path):
            if not name.strip():
                continue
            if split.strip().lower() not in ALIASES:
                raise BuildError(f"--split_list={path}: {name}: split {split!r} is no split")
            mine = found.setdefault(key(name), ALIASES[split.strip().lower()])
            if mine != ALIASES[split.strip().lower()]:
                raise BuildError(f"--split_list={path}: {name} is in {mine} and in {split}")
    except (OSError, UnicodeDecodeError, csv.Error, ValueError, TypeError, AttributeError) as error:
        raise BuildError(f"--split_list={path}: cannot be read ({error})") from error
    if not found:
        raise BuildError(f"--split_list={path}: no recording in it")
    return found


def key(name: str) -> str:
    """A recording's name as lists are compared by: lower case, without its file's ending."""
    text = str(name).strip().replace("\\", "/").lower().removeprefix("./")
    return _MARK.sub("", _ENDING.sub("", text))


def _pairs(path: storage.AnyPath) -> Iterator[tuple[str, str]]:
    """(recording, split) as the list says them."""
    if path.is_dir():
        files = [p for p in storage.children(path) if p.name.endswith(".txt")]
        splits = [(p, p.name.removesuffix(".txt").lower()) for p in files]
        splits = [(p, split) for p, split in splits if split in ALIASES]
        if not splits:
            raise ValueError("no train.txt, val.txt or test.txt in this folder")
        for file, split in splits:
            yield from ((line, split) for line in _text(file).splitlines())
        return
    text, ending = _text(path), path.suffix.lower()
    if ending == ".json":
        for name, said in json.loads(text).items():
            yield from ((name, said),) if isinstance(said, str) else ((n, name) for n in said)
        return
    if ending not in (".csv", ".tsv"):
        raise ValueError("expected a folder of train.txt, val.txt, test.txt; or .csv, .tsv, .json")
    reader = csv.DictReader(io.StringIO(text), delimiter="\t" if ending == ".tsv" else ",")
    header = {(name or "").strip().lower(): name for name in reader.fieldnames or []}
    column = next((header[name] for name in COLUMNS if name in header), None)
    if column is None or "split" not in header:
        raise ValueError(f"columns are {', '.join(header) or 'none'}: wanted recording and split")
    for row in reader:
        yield row[column] or "", row[header["split"]] or ""


def _text(path: storage.AnyPath) -> str:
    return path.read_bytes().decode("utf-8-sig")


def apply(
    sources: Sequence[Source], path: storage.AnyPath
) -> tuple[tuple[Source, ...], tuple[str, ...]]:
    """The recordings with the splits that a list gives them, and notes.

    A recording that is not listed gets a `problem` and is not built.

    Raises:
        BuildError: see `read`; none of the recordings is listed, or one entry means several.
    """
    listed = read(path)
    used: dict[str, list[str]] = {}
    changed, absent = [], 0
    for source in sources:
        names = _names(source)
        entry = next((name for name in names if name in listed), None)
        if source.problem is not None:
            changed.append(source)
        elif entry is None:
            absent += 1
            changed.append(dataclasses.replace(source, split="", problem=NOT_LISTED))
        else:
            used.setdefault(entry, []).append(source.path)
            changed.append(dataclasses.replace(source, split=listed[entry]))
    for entry, paths in used.items():
        if len(paths) > 1:
            raise BuildError(
                f"--split_list={path}: {entry} may be {' or '.join(paths[:_SHOWN])}: list paths"
            )
    if not used:
        raise BuildError(
            f"--split_list={path}: none of its {len(listed)} recordings (such as "
            f"{next(iter(listed))}) is here: they are called like {sources[0].path}"
        )
    known = {name for source in sources for name in _names(source)}
    missing = [name for name in listed if name not in known]
    notes = [f"splits are those of the list {path.name}"]
    if absent:
        notes.append(f"{absent} recordings are {NOT_LISTED} {path.name}: not built")
    if missing:
        notes.append(
            f"{len(missing)} of the {len(listed)} recordings of the list {path.name} are not here "
            f"(first: {missing[0]})"
        )
    return tuple(changed), tuple(notes)


def _names(source: Source) -> tuple[str, ...]:
    """What a list may call a recording, the most exact one first."""
    exact = key(source.path)
    return tuple(dict.fromkeys((exact, key(source.recording), PurePosixPath(exact).name)))


def leak(places: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """{subject: splits} of the people in more than one split."""
    return people.in_two(places)


def describe(found: dict[str, list[str]], total: int) -> str:
    """A leak in words: how many people, between which splits, and who the first are."""
    between: dict[str, int] = {}
    for splits in found.values():
        where = " and ".join(split for split in SPLITS if split in splits)
        between[where] = between.get(where, 0) + 1
    counts = ", ".join(f"{n} in {where}" for where, n in sorted(between.items()))
    return f"{len(found)} of {total} people are in two splits ({counts}): {people.some(found)}"


def refuse(sources: Sequence[Source], path: storage.AnyPath) -> None:
    """Refuses a list that puts a person into two splits.

    Raises:
        LeakError: how many, who, where, and the option that builds it all the same.
    """
    pairs = [(s.subject, s.split) for s in sources if s.problem is None]
    if found := leak(pairs):
        raise LeakError(
            f"--split_list={path}: {describe(found, len({s for s, _ in pairs}))}. Figures on them "
            "are optimistic. --allow_leaks builds it as it was published, and the records say so"
        )


def told(manifest_subjects: dict[str, set[str]], name: str) -> tuple[dict[str, Any], list[str]]:
    """Metadata and notes of records whose splits are a list's.

    Args:
        manifest_subjects: real names by split. name: of the list.
    """
    places = [(s, split) for split, names in manifest_subjects.items() for s in names]
    found = leak(places)
    metadata = {"split_list": name, "people_in_two_splits": len(found)}
    if not found:
        return metadata, [f"nobody is in two splits of the list {name}"]
    total = len({s for s, _ in places})
    return metadata, [f"the list {name} leaks: {describe(found, total)}"]
