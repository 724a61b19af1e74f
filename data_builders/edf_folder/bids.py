"""A BIDS folder: what its tables of the whole dataset say of recordings and of people.

Which files are recordings, and which tables speak of each: `sleepfm_jax.recordings.bids.layout`.

https://bids-specification.readthedocs.io
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from data_builders.edf_folder.recording_table import Row, check, split_named
from data_builders.engine import storage
from sleepfm_jax.errors import BuildError
from sleepfm_jax.recordings.bids.layout import (
    CHANNELS,
    DESCRIPTION,
    EVENTS,
    EVENTS_JSON,
    SLEEP_STAGES,
    Layout,
    participant,
)
from sleepfm_jax.recordings.bids.tables import Table, parse_table
from sleepfm_jax.recordings.person import Person, described

__all__ = [
    "CHANNELS",
    "DESCRIPTION",
    "EVENTS",
    "EVENTS_JSON",
    "SLEEP_STAGES",
    "Layout",
    "participant",
    "rows",
    "version",
]

_PARTICIPANTS = "participants.tsv"
_PARTICIPANTS_JSON = "participants.json"
# Columns of participants.tsv that say which participants are one person, where a night has a
# participant of its own (`pid` in Bitbrain's ds005555).
_PERSON = ("subject", "pid")


def version(root: storage.AnyPath, files: Iterable[str]) -> str | None:
    """The BIDS version that a folder's dataset_description.json gives; None: it is no BIDS folder.

    Raises:
        BuildError: there is such a file, but it is no JSON object.
    """
    if DESCRIPTION not in files:
        return None
    path = root / DESCRIPTION
    if reason := storage.unfetched(path):
        raise BuildError(f"{path}: {reason}")
    try:
        document = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise BuildError(
            f"{path} is no JSON ({error}): correct it to build a BIDS folder, or take it away to "
            "build the folder as any other"
        ) from error
    if not isinstance(document, dict):
        raise BuildError(f"{path} is no JSON object, as BIDS asks for")
    found = document.get("BIDSVersion")
    return None if found is None else str(found)


# --- participants.tsv -----------------------------------------------------------------------------


def rows(
    root: storage.AnyPath,
    files: Iterable[str],
    layout: Layout,
    label_column: str | None,
    notes: list[str],
) -> list[Row]:
    """A row for each recording that is named as it should be, as a table would give it.

    The subject is the participant, or the person where participants.tsv tells participants of one
    person; the label is that of `label_column`, if any; the split that of a column `split`.

    Raises:
        BuildError: a wrong participants.tsv, or none where labels are asked for.
    """
    paths = [path for path in layout.recordings if path not in layout.problems]
    people = _participants(root, files, label_column)
    if people is None:
        return [Row(path, str(participant(path)), "", "", "") for path in paths]
    table, by_id = people
    blank: Mapping[str, str] = {}
    person = next((c for name in _PERSON if (c := table.column(name)) is not None), None)
    split = table.column("split")
    label = None if label_column is None else table.column(label_column)
    years = _in_years(root, files)
    found = []
    for path in paths:
        who = str(participant(path))
        line, cells = by_id.get(who, (0, blank))
        where = f"{root / _PARTICIPANTS}, line {line}"
        found.append(
            Row(
                path,
                (cells.get(person, "") if person else "") or who,
                split_named(cells.get(split, ""), where) if split else "",
                cells.get(label, "") if label else "",
                "",
                _person(table, cells, years),
            )
        )
    check(found, root / _PARTICIPANTS)
    notes += _people_notes(paths, by_id, person, found)
    return found


def _participants(
    root: storage.AnyPath, files: Iterable[str], label_column: str | None
) -> tuple[Table, dict[str, tuple[int, dict[str, str]]]] | None:
    """(participants.tsv, its rows by participant_id); None where there is none."""
    path = root / _PARTICIPANTS
    if _PARTICIPANTS not in files:
        if label_column is not None:
            raise BuildError(f"--label_column={label_column}: {path} is not there to look it up")
        return None
    if reason := storage.unfetched(path):
        raise BuildError(f"{path}: {reason}")
    try:
        table = parse_table(path.read_bytes().decode("utf-8-sig"))
    except ValueError as error:  # not UTF-8 either
        raise BuildError(f"{path}: {error}") from error
    columns = ", ".join(table.columns) or "none"
    key = table.column("participant_id")
    if key is None:
        raise BuildError(f"{path}: no column named participant_id; its columns are {columns}")
    if label_column is not None and table.column(label_column) is None:
        raise BuildError(
            f"--label_column={label_column}: {path} has no such column; its columns are {columns}"
        )
    by_id: dict[str, tuple[int, dict[str, str]]] = {}
    for number, cells in table.rows:
        if not cells[key]:
            raise BuildError(f"{path}, line {number}: no participant_id")
        who = "sub-" + cells[key].removeprefix("sub-")
        if who in by_id:
            raise BuildError(f"{path}, line {number}: {who} is there twice")
        by_id[who] = number, cells
    return table, by_id


def _person(table: Table, cells: Mapping[str, str], years: bool) -> Person:
    age = table.column("age") if years else None
    sex = table.column("sex") or table.column("gender")
    return described(cells.get(age, "") if age else "", cells.get(sex, "") if sex else "")


def _in_years(root: storage.AnyPath, files: Iterable[str]) -> bool:
    """Are ages in years, as BIDS has them unless participants.json says another unit?"""
    if _PARTICIPANTS_JSON not in files or storage.unfetched(root / _PARTICIPANTS_JSON):
        return True
    try:
        said = json.loads((root / _PARTICIPANTS_JSON).read_bytes().decode("utf-8-sig"))
        unit = str(said.get("age", {}).get("Units", "years"))
    except (ValueError, AttributeError, RecursionError):
        return True  # it says nothing
    return unit.strip().lower() in ("y", "yr", "yrs", "year", "years", "n/a", "")


def _people_notes(
    paths: list[str], by_id: Mapping[str, Any], person: str | None, found: list[Row]
) -> list[str]:
    notes = []
    here = {str(participant(path)) for path in paths}
    absent = [who for who in by_id if who not in here]
    if absent:
        notes.append(
            f"{len(absent)} of {len(by_id)} participants of {_PARTICIPANTS} have no recording "
            f"here (first: {absent[0]})"
        )
    unlisted = [path for path in paths if participant(path) not in by_id]
    if unlisted:
        notes.append(
            f"{len(unlisted)} recordings are of participants that {_PARTICIPANTS} does not list "
            f"(first: {unlisted[0]})"
        )
    if person is not None:
        notes.append(
            f"column {person} of {_PARTICIPANTS} says who is one person: {len(here)} participants "
            f"are {len({row.subject for row in found})} subjects"
        )
    return notes
