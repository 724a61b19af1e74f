"""table.csv: what a person says about the recordings of a folder."""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path

from data_builders import storage
from data_builders.engine import BuildError
from data_builders.subject_splits import SPLITS, in_two_splits

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


def find(root: storage.AnyPath) -> storage.AnyPath | None:
    """The folder's own table.csv or table.tsv, or None."""
    for name in ("table.csv", "table.tsv"):
        if (root / name).is_file():
            return root / name
    return None


def read(table: storage.AnyPath) -> tuple[list[Row], list[str]]:
    """Reads a table (comma-separated, or tab-separated when it ends in .tsv).

    Returns:
        The rows, and the names of columns that mean nothing here.

    Raises:
        BuildError: no `path` column, a path twice, an unknown split, a subject in two splits, or a
            split for some rows only.
    """
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
    unknown = [name for name in header if name.lower() not in COLUMNS]
    rows = [_row(values, line, table) for line, values in enumerate(raw, 2) if any(values.values())]
    if not rows:
        raise BuildError(f"{table}: the table has no rows")
    _check(rows, table)
    return rows, unknown


def _row(values: dict[str, str], line: int, table: storage.AnyPath) -> Row:
    fields = {name: values.get(name, "") for name in COLUMNS}
    if not fields["path"]:
        raise BuildError(f"{table}, line {line}: no path")
    fields["path"] = Path(fields["path"].replace("\\", "/")).as_posix()
    if fields["split"]:
        split = _SPLIT_NAMES.get(fields["split"].lower())
        if split is None:
            raise BuildError(
                f"{table}, line {line}: split {fields['split']!r} is none of {', '.join(SPLITS)}"
            )
        fields["split"] = split
    fields["subject"] = fields["subject"] or Path(fields["path"]).stem
    return Row(**fields)


def _check(rows: list[Row], table: storage.AnyPath) -> None:
    seen: set[str] = set()
    for row in rows:
        if row.path in seen:
            raise BuildError(f"{table}: {row.path} is listed twice")
        seen.add(row.path)
    shared = in_two_splits((r.subject, r.split) for r in rows if r.split)
    if shared:
        found = "; ".join(
            f"{s} in {' and '.join(splits)}" for s, splits in list(shared.items())[:5]
        )
        raise BuildError(
            f"{table}: {len(shared)} subjects are in two splits ({found}): results would be "
            "optimistic. Give all recordings of a subject one split"
        )
    blank = [r.path for r in rows if not r.split]
    if blank and len(blank) < len(rows):
        raise BuildError(
            f"{table}: {len(blank)} rows have no split while others do (first: {blank[0]}): give "
            "every row a split, or none to split by subject"
        )
