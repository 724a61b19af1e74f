"""A BIDS folder: which files are recordings, whose they are, and which tables speak of them.

Only the small tables of the whole dataset are read here. A bucket answers each question slowly, so
everything else is found by name in the one listing of the folder.

https://bids-specification.readthedocs.io
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from data_builders.edf_folder.recording_table import Row, check, split_named
from data_builders.engine import storage
from sleepfm_jax.errors import BuildError
from sleepfm_jax.recordings.bids.tables import Table, parse_table
from sleepfm_jax.recordings.person import Person, described

DESCRIPTION = "dataset_description.json"
CHANNELS, EVENTS, EVENTS_JSON = "channels.tsv", "events.tsv", "events.json"
# Of OpenNeuro's datasets: one a participant, under sourcedata/.
SLEEP_STAGES = "sleep-stage.tsv"
_SLEEP_STAGES = re.compile(r"sourcedata/(?:.*/)?(sub-[A-Za-z0-9]+)[-_]sleep-stage\.tsv")
_PARTICIPANTS = "participants.tsv"
_PARTICIPANTS_JSON = "participants.json"
# Folders of the root that hold no recordings of this dataset.
_PASSED_OVER = ("derivatives", "sourcedata")
_NO_RECORDINGS = ("code", "stimuli")
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


@functools.cache
def entities(name: str) -> Mapping[str, str]:
    """The entities of a file's name: {"subject": "01", "task": "sleep"}; {} where it has none."""
    from mne_bids import get_entities_from_fname  # imports mne: about a second

    found = get_entities_from_fname(PurePosixPath(name).name, on_error="ignore")
    return {key: value for key, value in found.items() if value is not None}


class Layout:
    """The recordings and tables of a BIDS folder, by name.

    Attributes:
        recordings: paths of what lies where recordings lie, and of files that may be recordings
            but lie or are named otherwise (`problem`), sorted.
        passed_over: how many recordings lie in folders that are not built.
    """

    def __init__(self, files: Iterable[str], suffixes: tuple[str, ...]):
        visible = [f for f in files if not any(p.startswith(".") for p in f.split("/"))]
        found = [f for f in visible if PurePosixPath(f).suffix.lower() in suffixes]
        top = {f: f.split("/")[0] for f in found}
        self.recordings = sorted(f for f in found if top[f] not in (*_PASSED_OVER, *_NO_RECORDINGS))
        self.passed_over = sum(t in _PASSED_OVER for t in top.values())
        self._tables: dict[tuple[str, str], list[str]] = {}  # by (folder, kind of table)
        self._scored: dict[str, list[str]] = {}  # by participant
        for file in sorted(visible):
            if scored := _SLEEP_STAGES.fullmatch(file):
                self._scored.setdefault(scored[1], []).append(file)
            folder, _, name = file.rpartition("/")
            for kind in (CHANNELS, EVENTS, EVENTS_JSON):
                if name == kind or name.endswith(f"_{kind}"):
                    self._tables.setdefault((folder, kind), []).append(file)

    @functools.cached_property
    def problems(self) -> dict[str, str]:
        """Why a recording cannot be built, by path, where its name or place says so."""
        found = {path: _misplaced(path) for path in self.recordings}
        return {path: problem for path, problem in found.items() if problem}

    def sidecars(self, path: str) -> tuple[tuple[str, ...], str | None]:
        """(the tables that speak of a recording, why they cannot be told apart or None).

        By the inheritance principle: tables in the recording's folder or above it whose entities
        are among its own. Of `channels.tsv` and `events.tsv` the most specific one, of
        `events.json` all, the most general first. Then the participant's table of sleep stages
        under sourcedata/, if there is one.
        """
        chosen: list[str] = []
        for kind in (CHANNELS, EVENTS, EVENTS_JSON):
            ranked = self._applicable(path, kind)
            if kind == EVENTS_JSON:
                chosen += [file for _, file in ranked]
            elif ranked:
                best = [file for rank, file in ranked if rank == ranked[-1][0]]
                if len(best) > 1:
                    return (), f"{best[0]} and {best[1]} speak of it alike: leave one"
                chosen += best
        scored = self._scored.get(str(participant(path)), [])
        if len(scored) > 1:
            return (), f"{scored[0]} and {scored[1]} speak of it alike: leave one"
        return (*chosen, *scored), None

    def _applicable(self, path: str, kind: str) -> list[tuple[tuple[int, int], str]]:
        """The tables of a kind that apply, with their rank, the most general first."""
        own = entities(path).items()
        ranked = []
        folders = [p.as_posix() for p in PurePosixPath(path).parents]  # the last one is "."
        for depth, folder in enumerate(reversed(folders)):
            for file in self._tables.get(("" if folder == "." else folder, kind), ()):
                theirs = entities(file).items()
                if theirs <= own:
                    ranked.append(((depth, len(theirs)), file))
        return sorted(ranked)


def participant(path: str) -> str | None:
    """The participant_id of a recording, by its name: `sub-01`."""
    label = entities(path).get("subject")
    return None if label is None else f"sub-{label}"


def _misplaced(path: str) -> str | None:
    *folders, name = path.split("/")
    stem = PurePosixPath(name).stem
    place = [f for f in folders if not f.startswith("ses-")]
    found = entities(name)
    if len(place) != 2 or not place[0].startswith("sub-") or place[1] != "eeg":
        return "a BIDS recording of EEG lies in sub-LABEL/eeg/ or sub-LABEL/ses-LABEL/eeg/"
    if not stem.endswith("_eeg") or "subject" not in found:
        return "a BIDS recording of EEG is named sub-LABEL[_ses-LABEL]_task-LABEL_eeg"
    for folder, entity, prefix in ((place[0], "subject", "sub-"), (folders[1], "session", "ses-")):
        told = found.get(entity)
        if told is not None and folder.startswith(prefix) and folder != f"{prefix}{told}":
            return f"lies in {folder}/, but its name says {prefix}{told}: whose is it?"
    return None


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
