"""An archive's own table of who was recorded: age, sex or family by subject or recording."""

from __future__ import annotations

import csv
from collections.abc import Iterator

from data_builders.engine import storage
from sleepfm_jax.recordings.person import Person, described


def read(table: storage.AnyPath, *, key: str, age: str, sex: str) -> dict[str, Person]:
    """{who, in lower case: person} of a CSV file; {} where there is none that can be read.

    Nothing is built from it, so its faults stop no build.

    Args:
        key, age, sex: names of its columns, in any case.
    """
    people = {}
    for who, row in _rows(table, key):
        people[who] = described(row.get(age.lower(), ""), row.get(sex.lower(), ""))
    return people


def column_of(table: storage.AnyPath, *, key: str, column: str) -> dict[str, str]:
    """{who, in lower case: entry} of a CSV file, without blank ones; {} where there is none that
    can be read.

    Args:
        key, column: names of its columns, in any case.
    """
    rows = ((who, row.get(column.lower(), "").strip()) for who, row in _rows(table, key))
    return {who: entry for who, entry in rows if entry}


def _rows(table: storage.AnyPath, key: str) -> Iterator[tuple[str, dict[str, str]]]:
    """(who, entries by column) of the rows that name somebody; names in lower case."""
    if storage.unfetched(table) or not table.is_file():
        return
    lines = table.read_bytes().decode("utf-8-sig", "replace").splitlines()
    try:
        rows = list(csv.reader(lines))
    except csv.Error:
        return
    header = [name.strip().lower() for name in rows[0]] if rows else []
    for cells in rows[1:]:
        row = dict(zip(header, cells))
        who = row.get(key.lower(), "").strip().lower()
        if who:
            yield who, row
