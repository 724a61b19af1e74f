"""Where things lie in a BIDS folder: which files are recordings, which tables speak of each.

Everything is found by name in one listing of the folder: a bucket answers each question slowly.

https://bids-specification.readthedocs.io
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

DESCRIPTION = "dataset_description.json"
CHANNELS, EVENTS, EVENTS_JSON = "channels.tsv", "events.tsv", "events.json"
# Of OpenNeuro's datasets: one a participant, under sourcedata/.
SLEEP_STAGES = "sleep-stage.tsv"
_SLEEP_STAGES = re.compile(r"sourcedata/(?:.*/)?(sub-[A-Za-z0-9]+)[-_]sleep-stage\.tsv")
# Folders of the root that hold no recordings of this dataset.
_PASSED_OVER = ("derivatives", "sourcedata")
_NO_RECORDINGS = ("code", "stimuli")


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
