"""What became of people after their recordings: a table of times to events, and rows that hold it.

A CSV file (or .tsv) with a line a person, and these columns, in any order; others are passed over:

    subject       as the dataset names the person
    cohort        whose subject that is (splits.json of a dataset says); may be left out, or empty,
                  where the datasets in use are of one cohort
    age           years at the recording; may be left out, or empty
    sex           F or M; may be left out, or empty
    NAME_time     from the recording to the event NAME or, where that was not seen, to the end of
                  the follow-up; 0 or more, of one unit in the whole table
    NAME_event    1: the event was seen at that time; 0: until then it was not (censored)

Both cells of an event empty: nothing is known of it, as of somebody who had the disease before.
Who is not in the table is left out, and counted.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from sleepfm_jax import folders
from sleepfm_jax.data import people
from sleepfm_jax.data.datasets import Records
from sleepfm_jax.data.examples import Batch, Examples
from sleepfm_jax.errors import DatasetError
from sleepfm_jax.recordings.person import age_of, sex_of
from sleepfm_jax.signals.layout import FollowUp

_SEX = {"": math.nan, "female": 0.0, "male": 1.0}


class Followed(NamedTuple):
    """One person of a table.

    Attributes:
      times: float32 [K], in the table's unit; 0 where nothing is known.
      events: float32 [K]: 1 seen, 0 censored, NaN nothing is known.
      demographics: float32 [2]: age in years; 0 female, 1 male; NaN unknown.
    """

    times: np.ndarray
    events: np.ndarray
    demographics: np.ndarray


class FollowedUp:
    """The rows of other examples, with what became of their people; see `examples.Examples`.

    A batch also holds times, events float32 [B, K] and demographics float32 [B, 2], as `Followed`
    has them; of a filling row, and of somebody who is not in the table, nothing is known.

    Raises:
      DatasetError: the table cannot be read (`read`), has none of the people of the rows, or does
        not say whose its subjects are where these are of several cohorts.
    """

    def __init__(self, base: Examples, records: Records, asked: FollowUp):
        self.base, self.name, self.metadata = base, base.name, base.metadata
        self._known = known(records, asked)
        k = len(asked.labels)
        self._nobody = Followed(
            np.zeros(k, np.float32), np.full(k, np.nan, np.float32), np.full(2, np.nan, np.float32)
        )

    def __len__(self) -> int:
        return len(self.base)

    def batch(self, indices: np.ndarray, coins: Sequence[Any] | None = None) -> Batch:
        """As the base's, with the three."""
        batch, found = self.base.batch(indices, coins), []
        for index in np.asarray(indices):
            person = self.base.person_of(int(index)) if index >= 0 else ""
            found.append(self._known.get(person, self._nobody))
        return batch | {name: np.stack(x) for name, x in zip(Followed._fields, zip(*found))}

    def __getattr__(self, name: str) -> Any:
        """Whose rows these are, and all else, is the base's."""
        if name == "base":  # not made yet
            raise AttributeError(name)
        return getattr(self.base, name)


def events_of(rows: Any, records: Records, asked: FollowUp) -> np.ndarray:
    """float32 [N, K], the events of the people of some rows; NaN where nothing is known.

    Says how many people are not in the table.

    Args:
      rows: have `person_of`: the records, or nights of them.

    Raises:
      DatasetError: as `FollowedUp`.
    """
    there = known(records, asked)
    person = [rows.person_of(i) for i in range(len(rows))]
    if missing := len(set(person) - set(there)):
        count = len(set(person))
        logging.warning(
            "%s: %d of %d people are not in %s and are left out",
            *(records.name, missing, count, asked.table),
        )
    nothing = np.full(len(asked.labels), np.nan, np.float32)
    found = [there[who].events if who in there else nothing for who in person]
    return np.stack(found) if found else np.zeros((0, len(nothing)), np.float32)


def known(records: Records, asked: FollowUp) -> dict[str, Followed]:
    """{pseudonym: what became of them} of whom the table has in the cohorts of these records.

    Raises:
      DatasetError: as `FollowedUp`.
    """
    cohorts = sorted({people.read(folder).cohort for folder in records.folders})
    found = {}
    for (cohort, subject), followed in read(asked.table, asked.labels).items():
        if not cohort and len(cohorts) > 1:
            raise DatasetError(
                f"{asked.table}: subject {subject!r} has no cohort, but {records.name} are of "
                f"{', '.join(cohorts)}: add a column cohort with these names"
            )
        if not cohort or cohort in cohorts:
            found[people.subject_hash(cohort or cohorts[0], subject)] = followed
    mine = records.subjects()
    if not mine & set(found):
        raise DatasetError(
            f"{asked.table}: none of its subjects of {', '.join(cohorts)} ({len(found)}) is among "
            f"the {len(mine)} people of {records.name}: its column subject has to hold the names "
            "that the dataset was built with"
        )
    return found


def identity(asked: FollowUp | None) -> dict[str, dict[str, Any]]:
    """{"times to events": what tells the table from others}, as `datasets.identities`; {} where
    nothing is asked of one.

    Raises:
      DatasetError: as `read`.
    """
    if asked is None:
        return {}
    told = read(asked.table, asked.labels)
    people_told = [[*who, *(x.tobytes().hex() for x in told[who])] for who in sorted(told)]
    digest = hashlib.sha256(json.dumps(people_told).encode()).hexdigest()
    return {"times to events": {"table": digest}}


def read(path: str, labels: Sequence[str]) -> Mapping[tuple[str, str], Followed]:
    """{(cohort or "", subject): what became of them}. A file is read once in a process.

    Raises:
      DatasetError: no such file, a column that is not there, somebody twice, or a cell that is not
        what its column holds: names line and column.
    """
    if not path:
        raise DatasetError(
            "config.objective.table is '': expected the path of a CSV file with columns subject, "
            + ", ".join(f"{label}_time, {label}_event" for label in labels[:2])
        )
    file = folders.local(path, "config.objective.table")
    if not file.is_file():
        raise DatasetError(f"config.objective.table={path}: there is no such file")
    return _read(file, tuple(labels), file.stat().st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _read(file: Path, labels: tuple[str, ...], _written: int) -> dict[tuple[str, str], Followed]:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{file}: not UTF-8 text ({error}); save the table as UTF-8") from error
    delimiter = "\t" if file.suffix.lower() == ".tsv" else ","
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    reader.fieldnames = header = [(name or "").strip() for name in reader.fieldnames or []]
    wanted = ["subject", *(f"{label}_{part}" for label in labels for part in ("time", "event"))]
    if missing := [name for name in wanted if name not in header]:
        raise DatasetError(
            f"{file}: no column {', '.join(missing)}; its columns are {', '.join(header) or 'none'}"
        )
    found: dict[tuple[str, str], Followed] = {}
    for raw in reader:
        cells = {name: (raw[name] or "").strip() for name in header}
        where = f"{file}, line {reader.line_num}"
        if not any(cells.values()):
            continue
        who = cells.get("cohort", ""), cells["subject"]
        if not who[1]:
            raise DatasetError(f"{where}: no subject")
        if who in found:
            raise DatasetError(f"{where}: subject {who[1]!r} is there twice")
        found[who] = _followed(cells, labels, where)
    if not found:
        raise DatasetError(f"{file}: the table has no rows")
    return found


def _followed(cells: Mapping[str, str], labels: Sequence[str], where: str) -> Followed:
    pairs = [_time_and_event(cells, label, where) for label in labels]
    age, sex = cells.get("age", ""), cells.get("sex", "")
    if age and age_of(age) is None:
        raise DatasetError(f"{where}, column age: {age!r} is not an age in years")
    if sex and not sex_of(sex):
        raise DatasetError(f"{where}, column sex: {sex!r} is neither F nor M")
    years = age_of(age) if age else math.nan
    return Followed(
        np.array([time for time, _ in pairs], np.float32),
        np.array([event for _, event in pairs], np.float32),
        np.array([years, _SEX[sex_of(sex)]], np.float32),
    )


def _time_and_event(cells: Mapping[str, str], label: str, where: str) -> tuple[float, float]:
    said, event = cells[f"{label}_time"], cells[f"{label}_event"]
    if not said and not event:
        return 0.0, math.nan
    try:
        time = float(said)
    except ValueError:
        time = math.nan
    if not (math.isfinite(time) and time >= 0):
        raise DatasetError(
            f"{where}, column {label}_time: {said!r} is not a time; expected a number of 0 or more "
            "(or both cells of the event empty)"
        )
    if event not in ("0", "1"):
        raise DatasetError(
            f"{where}, column {label}_event: {event!r} is neither 1 (seen) nor 0 (censored)"
        )
    return time, float(event)
