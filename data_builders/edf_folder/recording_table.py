"""table.csv: what a person says about the recordings of a folder."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Callable
from pathlib import Path

from data_builders.engine import storage
from data_builders.engine.splits import SPLITS
from sleepfm_jax.data import people
from sleepfm_jax.errors import BuildError
from sleepfm_jax.recordings.person import Person

FILENAMES = ("table.csv", "table.tsv")
"""A folder's own table, the first one where it has both."""
COLUMNS = ("path", "subject", "split", "label", "hypnogram")
_SPLIT_NAMES = {s: s for s in SPLITS} | {
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "eval": "test",
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One recording of the table; "" where the table says nothing."""

    path: str  # relative to the source folder, with forward slashes
    subject: str
    split: str
    label: str
    hypnogram: str
    person: Person = dataclasses.field(default_factory=Person)


def find(root: storage.AnyPath) -> storage.AnyPath | None:
    """The folder's own table.csv or table.tsv, or None."""
    for name in FILENAMES:
        if (root / name).is_file() or storage.unfetched(root / name):  # which `read` refuses
            return root / name
    return None


def read(
    table: storage.AnyPath,
    label_column: str | None = None,
    subject_of: Callable[[str], str] = lambda path: Path(path).stem,
) -> tuple[list[Row], list[str]]:
    """Reads a table (comma-separated, or tab-separated when it ends in .tsv).

    Args:
        label_column: the column of the labels; `label` when None.
        subject_of: from a recording's path to its subject, where the table names none.

    Returns:
        The rows, and the names of columns that mean nothing here.

    Raises:
        BuildError: no `path` column or no `label_column`, a path twice, an unknown split, a subject
            in two splits, or a split for some rows only.
    """
    if reason := storage.unfetched(table):
        raise BuildError(f"--table={table}: {reason}")
    if not table.is_file():
        raise BuildError(f"--table={table}: there is no such file")
    delimiter = "\t" if table.suffix.lower() == ".tsv" else ","
    try:
        # Not opened as text: a table may lie in a bucket, whose files know no newline="".
        with io.StringIO(table.read_bytes().decode("utf-8-sig"), newline="") as file:
            reader = csv.DictReader(file, delimiter=delimiter)
            header = [(name or "").strip() for name in reader.fieldnames or []]
            reader.fieldnames = [name.lower() for name in header]
            raw = [
                {k: (v or "").strip() for k, v in r.items() if isinstance(k, str)} for r in reader
            ]
    except UnicodeDecodeError as error:
        raise BuildError(f"{table}: not UTF-8 text ({error}); save the table as UTF-8") from error
    if "path" not in (reader.fieldnames or []):
        raise BuildError(
            f"{table}: no column named path; its columns are {', '.join(header) or 'none'}. "
            f"Wanted: {', '.join(COLUMNS)} (only path is needed), separated by "
            f"{'tabs' if delimiter != ',' else 'commas'}"
        )
    label = (label_column or "label").lower()
    if label_column and label not in reader.fieldnames:
        raise BuildError(
            f"--label_column={label_column}: {table} has no such column; its columns are "
            f"{', '.join(header)}"
        )
    known = {*COLUMNS, label} - ({"label"} if label != "label" else set())
    unknown = [name for name in header if name.lower() not in known]
    rows = [
        _row(values, line, table, label, subject_of)
        for line, values in enumerate(raw, 2)
        if any(values.values())
    ]
    if not rows:
        raise BuildError(f"{table}: the table has no rows")
    check(rows, table)
    return rows, unknown


def _row(
    values: dict[str, str],
    line: int,
    table: storage.AnyPath,
    label: str,
    subject_of: Callable[[str], str],
) -> Row:
    fields = {name: values.get(name, "") for name in COLUMNS} | {"label": values.get(label, "")}
    if not fields["path"]:
        raise BuildError(f"{table}, line {line}: no path")
    fields["path"] = Path(fields["path"].replace("\\", "/")).as_posix()
    fields["split"] = split_named(fields["split"], f"{table}, line {line}")
    fields["subject"] = fields["subject"] or subject_of(fields["path"])
    return Row(**fields)


def split_named(text: str, where: str) -> str:
    """The split that a cell names, "" for a blank one.

    Raises:
        BuildError: it names none; `where` is the table and its line.
    """
    if not text:
        return ""
    split = _SPLIT_NAMES.get(text.lower())
    if split is None:
        raise BuildError(f"{where}: split {text!r} is none of {', '.join(SPLITS)}")
    return split


def check(rows: list[Row], table: storage.AnyPath) -> None:
    """Refuses rows that contradict each other.

    Raises:
        BuildError: a path twice, or a split for some rows only.
        LeakError: a subject in two splits.
    """
    seen: set[str] = set()
    for row in rows:
        if row.path in seen:
            raise BuildError(f"{table}: {row.path} is listed twice")
        seen.add(row.path)
    people.refuse_shared(
        ((r.subject, r.split) for r in rows if r.split),
        where=table,
        advice="Give all recordings of a subject one split",
    )
    blank = [r.path for r in rows if not r.split]
    if blank and len(blank) < len(rows):
        raise BuildError(
            f"{table}: {len(blank)} rows have no split while others do (first: {blank[0]}): give "
            "every row a split, or none to split by subject"
        )
