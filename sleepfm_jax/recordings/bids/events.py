"""`events.tsv` of BIDS: sleep stages where it holds any, and everything else as annotations.

BIDS fixes the columns onset and duration (s) and leaves open how stages are written. A column holds
sleep stages when its words say so (`Sleep stage N2`, or N1 beside R), when a `Levels` of an
`events.json` says so of its values, or when its name does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.bids.tables import Table, read_table
from sleepfm_jax.recordings.files import Annotation, read_text
from sleepfm_jax.recordings.recording import Recording
from sleepfm_jax.recordings.scorings.hypnogram import lay
from sleepfm_jax.recordings.scorings.plain_text import number_notes, stage_codes
from sleepfm_jax.recordings.scorings.scoring import Scoring, Span, seconds, until_next
from sleepfm_jax.signals import SLEEP_EPOCH_SECONDS, UNSCORED, parse_stage

# Columns by their names in lower case, the surest first. What a machine scored (`stage_ai`) is not
# among them.
_NAMED = ("sleep_stage", "sleep_stages", "sleepstage", "hypnogram")
_BITBRAIN = ("stage_hum", "majority")  # of ds005555: the consensus of its scorers
_MAYBE = ("stage", "stages", "staging")
_TEXTS = ("trial_type", "event_type", "description", "event", "annotation", "label", "value")
_BITBRAIN_CODES = {"0": 0, "1": 1, "2": 2, "3": 3, "4": 4, "8": UNSCORED, "-2": UNSCORED}
_NUMBER = re.compile(r"-?\d+(\.0*)?")

Codes = dict[str, int]  # what each value of a column means as a stage
Levels = Mapping[str, Mapping[str, str]]  # {column: {value: its meaning in words}}


def add_events(
    recording: Recording, path: str | Path, sidecars: Sequence[str | Path] = (), *, stages: bool
) -> None:
    """Adds what an `events.tsv` says to a recording.

    Args:
      recording: its stages are replaced where the table holds any.
      sidecars: the `events.json` files that apply, the most general first.
      stages: False where the stages come from elsewhere: they become annotations like the others.

    Raises:
      RecordingError: no such table, numbers that could be two stages, stages that do not overlap
      the recording, or a sidecar that is no JSON.
    """
    path = Path(path)
    scoring = read_events(path, read_levels(sidecars), stages=stages)
    if scoring.spans:
        laid = lay(path, scoring, start=recording.start, duration=recording.duration)
        recording.stages = laid.stages
        recording.notes += laid.notes
    else:
        recording.notes += scoring.notes
    # Who writes an events.tsv from a file's own annotations leaves them there.
    known = {(round(a.onset, 2), a.text) for a in recording.annotations}
    new = [a for a in scoring.events if (round(a.onset, 2), a.text) not in known]
    recording.annotations = sorted(recording.annotations + new, key=lambda a: a.onset)


def read_levels(sidecars: Sequence[str | Path]) -> dict[str, dict[str, str]]:
    """{column in lower case: {value: meaning}} of the `Levels` in JSON files; later ones win.

    Raises:
      RecordingError: a file that is no JSON object.
    """
    found: dict[str, dict[str, str]] = {}
    for sidecar in map(Path, sidecars):
        try:
            document = json.loads(read_text(sidecar, "JSON file"))
        except (json.JSONDecodeError, RecursionError) as error:
            raise RecordingError(sidecar, f"is no JSON ({error})") from error
        if not isinstance(document, dict):
            raise RecordingError(sidecar, "is no JSON object")
        for column, about in document.items():
            levels = about.get("Levels") if isinstance(about, dict) else None
            if isinstance(levels, dict):
                # A level is a text, or an object with a Description.
                texts = {
                    str(value): str(
                        level.get("Description", "") if isinstance(level, dict) else level
                    )
                    for value, level in levels.items()
                }
                found[column.lower()] = texts
    return found


def read_events(path: str | Path, levels: Levels, *, stages: bool = True) -> Scoring:
    """Stages and other events of an `events.tsv`, in seconds from the recording's start.

    Raises:
      RecordingError: no such table, or numbers that could be two stages.
    """
    path = Path(path)
    table = read_table(path, "onset")
    column, codes, notes = _stage_column(path, table, levels) if stages else (None, {}, [])
    onset_of, duration_of = table.column("onset"), table.column("duration")
    texts = [c for name in (*_TEXTS, *_MAYBE) if (c := table.column(name)) is not None]
    events: list[Annotation] = []
    scored: list[Span] = []
    lost = 0
    for _, cells in table.rows:
        onset = seconds(cells[onset_of])
        length = seconds(cells[duration_of]) if duration_of else None
        if onset is None or (length or 0.0) < 0:
            lost += 1
        elif column is not None and cells[column] in codes:
            # A marker of one sample is no stage of some milliseconds.
            lasting = length if length is not None and length >= 1 else 0.0
            scored.append((onset, lasting, codes[cells[column]]))
        else:
            text = next((cells[c] for c in texts if cells[c]), "").removeprefix("Comment/")
            events.append(Annotation(onset, length or 0.0, text))
    if lost:
        notes.append(f"{lost} rows of events.tsv give no time in seconds: not used")
    spans = _spans(path, scored)
    return Scoring("BIDS events", spans, events, notes=notes)


def _spans(path: Path, scored: list[Span]) -> list[Span]:
    """Stages with their durations; those without any last until the next one."""
    if not any(stage != UNSCORED for _, _, stage in scored):
        return []
    untimed = sum(length == 0 for _, length, _ in scored)
    if untimed and untimed < len(scored):
        raise RecordingError(path, f"{untimed} of its stages have no duration, others do")
    if not untimed:
        return scored
    end = max(onset for onset, _, _ in scored) + SLEEP_EPOCH_SECONDS
    return until_next([(onset, stage) for onset, _, stage in scored], end)


# --- which column, and what its values mean -------------------------------------------------------


def _stage_column(path: Path, table: Table, levels: Levels) -> tuple[str | None, Codes, list[str]]:
    """(the column of sleep stages, what its values mean, notes); None where there is none."""
    notes: list[str] = []
    for name in (*_NAMED, *_BITBRAIN, *_MAYBE, *_TEXTS):
        column = table.column(name)
        # Other people have a majority of something else.
        if column is None or (name in _BITBRAIN and not _by_sleep_epochs(table, column)):
            continue
        values = {cells[column] for _, cells in table.rows} - {""}
        codes = _codes(path, name, values, levels.get(column.lower(), {}), notes)
        if any(stage != UNSCORED for stage in codes.values()):
            unknown = sorted(values - set(codes))
            if unknown and name not in _TEXTS:
                notes.append(
                    f"{column} of events.tsv holds what is no sleep stage: {unknown[0][:40]!r}"
                )
            return column, codes, notes
    return None, {}, notes


def _by_sleep_epochs(table: Table, column: str) -> bool:
    """Do nine in ten of the rows that fill a column last 30 s?"""
    duration = table.column("duration")
    lengths = [seconds(cells.get(duration or "")) for _, cells in table.rows if cells[column]]
    return sum(length == SLEEP_EPOCH_SECONDS for length in lengths) >= 0.9 * max(len(lengths), 1)


def _codes(
    path: Path, name: str, values: set[str], levels: Mapping[str, str], notes: list[str]
) -> Codes:
    """What the values of a column mean; {} where it holds no sleep stages."""
    whole = {v: re.sub(r"(?<=\d)\.0*$", "", v) for v in values}  # pandas makes `2` into `2.0`
    told = {v: _level(levels[key]) for v in values for key in {v, whole[v]} if key in levels}
    if any(stage is not None for stage in told.values()):
        return {v: UNSCORED if stage is None else stage for v, stage in told.items()}
    if name in _BITBRAIN and set(whole.values()) <= set(_BITBRAIN_CODES):
        notes.append(
            f"the stages in {name} are bare numbers, taken for Bitbrain's: 0 W, 1 N1, 2 N2, 3 N3, "
            "4 REM, others unscored"
        )
        return {v: _BITBRAIN_CODES[number] for v, number in whole.items()}
    numeric = {v for v in values if _NUMBER.fullmatch(v)}
    if name in _NAMED:
        try:
            codes = stage_codes(path, values, [])
        except RecordingError as error:
            raise RecordingError(
                path,
                f"column {name}: numbers with 4 but without 5: 4 may be REM or stage 4 (N3); say "
                "which in an events.json, under Levels of this column",
            ) from error
        notes += number_notes(values)
        return {v: codes[v.lower()] for v in values if v.lower() in codes}
    if name in _MAYBE and values and numeric == values:
        notes.append(
            f"{name} of events.tsv holds numbers: sleep stages only where an events.json says, "
            "under Levels of this column, what they mean"
        )
        return {}
    # `Comment/Sleep stage N2` is how MNE hands on a BrainVision marker.
    texts = {v: v.removeprefix("Comment/") for v in values}
    words = {text: stage for text in texts.values() if (stage := parse_stage(text)) is not None}
    return {v: words[t] for v, t in texts.items() if t in words} if _are_sleep(words) else {}


def _are_sleep(words: Codes) -> bool:
    """Are these texts sleep stages beyond doubt? `R` may be right, `REM` remembered."""
    if any(re.match(r"(sleep|stage|stade)", v, re.IGNORECASE) for v in words):
        return True
    scored = {v: stage for v, stage in words.items() if stage != UNSCORED}
    return len(set(scored.values())) > 1 and any(len(v) > 1 for v in scored)


def _level(text: str) -> int | None:
    """The stage that a level's description names: `NonREM sleep stage 2 (N2)`, `REM sleep`."""
    for part in (text, *re.findall(r"\(([^)]*)\)", text), re.split(r"[(,;:.]", text)[0]):
        if (stage := parse_stage(part)) is not None:
            return stage
    found = re.match(r"(?:non|n)[\s-]*rem\D*([1-4])\b", text.strip(), re.IGNORECASE)
    return min(int(found[1]), 3) if found else None
