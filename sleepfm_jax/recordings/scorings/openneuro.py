"""`sub-01-sleep-stage.tsv`: the stages of all of a person's recordings in one table (ds003768).

    subject  session            epoch_start_time_sec  30-sec_epoch_sleep_stage
    1        task-sleep_run-1   0                     W
    1        task-sleep_run-1   30                    1 (uncertain)

Such tables lie under `sourcedata/` of OpenNeuro's datasets, where BIDS has no rule for them.
"""

from __future__ import annotations

import re
from pathlib import Path

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.scorings.scoring import Scoring, Span, seconds
from sleepfm_jax.signals import SLEEP_EPOCH_SECONDS, UNSCORED, parse_stage

Lines = list[tuple[int, str]]

_STAGE = "30-sec_epoch_sleep_stage"
_ONSET = "epoch_start_time_sec"
_STAGES = {"1": 1, "2": 2, "3": 3, "4": 3, "unscorable": UNSCORED, "": UNSCORED, "n/a": UNSCORED}


def understands(lines: Lines) -> bool:
    """Whether the lines are such a table."""
    return bool(lines) and {_STAGE, _ONSET} <= set(_cells(lines[0][1].lower()))


def scoring(path: Path, lines: Lines, recording: str) -> Scoring:
    """Stages of one recording.

    Args:
      recording: what the recording's file is called, without its ending: its session is the one
        whose parts (`task-sleep`, `run-1`) are all in this name. A table of one session needs none.

    Raises:
      RecordingError: no session, or more than one, is the recording's; a wrong row.
    """
    found = sessions(path, lines)
    alone = len(found) == 1 and (not recording or "" in found)
    own = list(found) if alone else sessions_of(found, recording)
    if len(own) != 1:
        which = "several of its sessions are" if own else "none of its sessions is"
        has = ", ".join(found) or "none"
        raise RecordingError(path, f"{which} that of {recording or '?'!r}: it has {has}")
    return found[own[0]]


def sessions_of(found: dict[str, Scoring], recording: str) -> list[str]:
    """The sessions whose parts are all in a recording's name."""
    parts = _parts(recording)
    return [session for session in found if (own := _parts(session)) and own <= parts]


def sessions(path: Path, lines: Lines) -> dict[str, Scoring]:
    """The scoring of each session, in the table's order; one called "" where none is named.

    Raises:
      RecordingError: a row without a time, or whose stage is none.
    """
    head = _cells(lines[0][1].lower())
    at = {name: head.index(name) for name in (_STAGE, _ONSET, "session") if name in head}
    spans: dict[str, list[Span]] = {}
    uncertain: dict[str, int] = {}
    for number, text in lines[1:]:
        cells = _cells(text)
        cells += [""] * (len(head) - len(cells))
        row = {name: cells[i] for name, i in at.items()}
        session = row.get("session", "")
        onset = seconds(row[_ONSET])
        if onset is None:
            raise RecordingError(path, f"line {number}: {row[_ONSET][:20]!r} are no seconds")
        word, doubt = re.fullmatch(r"(.*?)\s*(\(uncertain\))?", row[_STAGE].lower()).groups()
        stage = _STAGES.get(word, parse_stage(word))
        if stage is None:
            raise RecordingError(path, f"line {number}: {row[_STAGE][:40]!r} is not a sleep stage")
        uncertain[session] = uncertain.get(session, 0) + (doubt is not None)
        spans.setdefault(session, []).append(
            (onset, SLEEP_EPOCH_SECONDS, UNSCORED if doubt else stage)
        )
    return {
        session: Scoring(
            "OpenNeuro sleep-stage",
            rows,
            notes=[f"{n} sleep_epochs that the scorer calls uncertain are left unscored"]
            if (n := uncertain[session])
            else [],
        )
        for session, rows in spans.items()
    }


def _cells(text: str) -> list[str]:
    return [cell.strip().strip('"').strip() for cell in text.split("\t")]


def _parts(name: str) -> set[str]:
    """The parts of a name between underscores, numbers without leading zeros."""
    return {re.sub(r"(?<=-)0+(?=\d)", "", part) for part in name.split("_") if part}
