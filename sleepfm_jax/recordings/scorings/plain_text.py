"""Hypnograms as plain text: one stage a line or a character, DREAMS, tables with a header."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from pathlib import Path

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.files import Annotation
from sleepfm_jax.recordings.scorings.scoring import (
    STAGE_NUMBERS,
    Scoring,
    Span,
    per_epoch,
    seconds,
    until_next,
)
from sleepfm_jax.signals import SLEEP_EPOCH_SECONDS, UNSCORED, parse_stage

# DREAMS writes a number every 5 s; negative: movement or unknown.
_DREAMS_SECONDS = 5
_DREAMS_CODES = {5: 0, 4: 4, 3: 1, 2: 2, 1: 3, 0: 3}
# UCDDB (PhysioNet): one number a line, of which REM is 1; 6 artefact, 7 indeterminate, 8 unscored.
_UCDDB = re.compile(r"ucddb\w*_stage\.txt", re.IGNORECASE)
_UCDDB_CODES = {0: 0, 1: 4, 2: 1, 3: 2, 4: 3, 5: 3, **dict.fromkeys((6, 7, 8), UNSCORED)}
_UCDDB_NOTE = "UCDDB's numbers, by the file's name: 0 W, 1 REM, 2 S1, 3 S2, 4 S3, 5 S4"
_NUMBER = re.compile(r"-?\d(?:\.0*)?")
_LETTER_CODES = {"s1": 1, "s2": 2, "s3": 3, "s4": 3, "m": UNSCORED, "u": UNSCORED, "nan": UNSCORED}
# Columns of a table, by their name in lower case.
_STAGE_COLUMNS = ("stage", "stages", "sleep_stage", "sleep stage", "hypnogram", "staging")
_TEXT_COLUMNS = ("trial_type", "description", "event", "annotation", "label", "value")
_ONSET_COLUMNS = ("onset", "start", "start_time", "onset (s)", "start (s)")
_DURATION_COLUMNS = ("duration", "duration (s)", "length")
_EPOCH_COLUMNS = ("epoch", "epoch_number", "sleep_epoch", "epoch number")

Rows = list[tuple[int, dict[str, str]]]  # (number in the file, cells by kind of column)
Lines = list[tuple[int, str]]  # (number in the file, text) of the lines that are not blank


def scoring(path: Path, lines: Lines) -> Scoring:
    """Stages of a text file in any of this module's dialects.

    Raises:
      RecordingError: an unknown stage (with its line), or numbers that could mean two things.
    """
    comments = [text for _, text in lines if text.startswith("#")]
    rows = [(number, text) for number, text in lines if not text.startswith("#")]
    if rows and rows[0][1].lower().startswith("[hypnogram"):
        return Scoring("DREAMS", _dreams_spans(path, rows[1:]))
    if rows and (table := _table(path, rows, comments)) is not None:
        return table
    # Fields in quotes are how spreadsheets export text.
    rows = [(number, text.strip("\"'")) for number, text in rows]
    if rows and rows[0][1].lower() in _STAGE_COLUMNS:
        rows = rows[1:]
    if len(rows) == 1 and len(rows[0][1]) > 1 and parse_stage(rows[0][1]) is None:
        number, text = rows[0]
        pieces = re.split(r"[\s,;]+", text) if re.search(r"[\s,;]", text) else list(text)
        rows = [(number, piece) for piece in pieces if piece]
    if not rows:
        raise RecordingError(path, "no sleep stage in it: an empty hypnogram")
    texts = [text for _, text in rows]
    if _UCDDB.fullmatch(path.name) and all(re.fullmatch(r"\d", text) for text in texts):
        return _ucddb(path, rows)
    notes = number_notes(texts, comments)
    return Scoring("text", per_epoch(_stages(path, rows, comments)), notes=notes)


def _ucddb(path: Path, rows: Lines) -> Scoring:
    for number, text in rows:
        if int(text) not in _UCDDB_CODES:
            raise RecordingError(path, f"line {number}: {text!r} is not a stage of UCDDB (0 to 8)")
    stages = [_UCDDB_CODES[int(text)] for _, text in rows]
    return Scoring("UCDDB", per_epoch(stages), notes=[_UCDDB_NOTE])


def _stages(path: Path, rows: Lines, comments: list[str]) -> list[int]:
    """The stage that each row names."""
    codes = stage_codes(path, {text for _, text in rows}, comments)
    for number, text in rows:
        if text.lower() not in codes:
            raise RecordingError(
                path,
                f"line {number}: {text[:40]!r} is not a sleep stage; expected one stage a line, "
                f"W N1 N2 N3 R or numbers 0 to 5",
            )
    return [codes[text.lower()] for _, text in rows]


def stage_codes(path: Path, texts: set[str], comments: list[str]) -> dict[str, int]:
    """What each distinct token (in lower case) means; unknown ones are left out.

    Raises:
      RecordingError: nothing but numbers, of which 4 could be REM or stage 4.
    """
    tokens = {text.lower() for text in texts}
    legend = _legend(comments)
    codes: dict[str, int] = {}
    numbers: set[int] = set()
    for token in tokens:
        stage = parse_stage(token)
        if stage is None:
            stage = _LETTER_CODES.get(token)
        if stage is not None:
            codes[token] = stage
        elif _NUMBER.fullmatch(token):
            number = int(float(token))
            numbers.add(number)
            codes[token] = legend.get(number, STAGE_NUMBERS.get(number, UNSCORED))
    only_numbers = len(numbers) == len(tokens)
    if only_numbers and 4 in numbers and 5 not in numbers and 4 not in legend:
        raise RecordingError(
            path,
            "numbers with 4 but without 5: 4 may be REM (YASA) or stage 4 (R&K); say which in its "
            "first line, '# 4: REM' or '# 4: N3'",
        )
    return codes


def _legend(comments: Iterable[str]) -> dict[int, int]:
    """{number: stage} of comments such as `# 0: Wake, 4: REM`."""
    return {
        int(number): stage
        for comment in comments
        for number, word in re.findall(r"(-?\d{1,3})\s*[:=]\s*([A-Za-z]\w*)", comment)
        if (stage := parse_stage(word)) is not None
    }


def number_notes(texts: Iterable[str], comments: Iterable[str] = ()) -> list[str]:
    """Which coding `stage_codes` assumes of stages that are numbers alone; [] of all others."""
    tokens = set(texts)
    if not tokens or not all(_NUMBER.fullmatch(token) for token in tokens):
        return []
    numbers, legend = {int(float(token)) for token in tokens}, _legend(comments)
    if numbers <= set(legend):
        return []
    return [
        "its stages are bare numbers, taken for 0 W, 1 N1, 2 N2, 3 and 4 N3, 5 REM, others unscored"
        + (" (what its comments say goes before)" if legend else "")
    ]


def _dreams_spans(path: Path, rows: Lines) -> list[Span]:
    stages = []
    for number, text in rows:
        value = int(text) if re.fullmatch(r"-?\d{1,3}", text) else None
        if value is None or value > 5:
            raise RecordingError(
                path, f"line {number}: {text[:40]!r} is not a DREAMS stage (5 W, 4 REM, 3, 2, 1, 0)"
            )
        stages.append(_DREAMS_CODES.get(value, UNSCORED))
    return per_epoch(stages, _DREAMS_SECONDS)


# --- tables ---------------------------------------------------------------------------------------


def _table(path: Path, rows: Lines, comments: list[str]) -> Scoring | None:
    """A table whose header names a column of stages or of texts with onsets; None for no table."""
    delimiter = next((d for d in "\t;," if d in rows[0][1]), None)
    if delimiter is None:
        return None
    header = [cell.lower() for cell in _cells(rows[0][1], delimiter)]
    column = {
        kind: next((header.index(name) for name in names if name in header), None)
        for kind, names in (
            ("stage", _STAGE_COLUMNS),
            ("text", _TEXT_COLUMNS),
            ("onset", _ONSET_COLUMNS),
            ("duration", _DURATION_COLUMNS),
            ("epoch", _EPOCH_COLUMNS),
        )
    }
    timed = column["onset"] is not None
    if column["stage"] is None and not (timed and column["text"] is not None):
        return None
    body: list[tuple[int, dict[str, str]]] = []
    for number, text in rows[1:]:
        cells = _cells(text, delimiter)
        if len(cells) < len(header):
            cells += [""] * (len(header) - len(cells))
        body.append((number, {k: cells[i] for k, i in column.items() if i is not None}))
    if timed:
        return _timed_table(path, body, comments)
    return _epoch_table(path, body, comments)


def _cells(text: str, delimiter: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([text], delimiter=delimiter), [])]
    except csv.Error:  # a field past csv's limit of 128 KiB
        return [text]


def _timed_table(path: Path, body: Rows, comments: list[str]) -> Scoring:
    """Rows of (onset, duration, stage or event), such as BIDS `events.tsv`."""
    texts = {cells["stage"] for _, cells in body if cells.get("stage")}
    codes = stage_codes(path, {cells["stage"] for _, cells in body if "stage" in cells}, comments)
    changes: list[tuple[float, int]] = []
    spans: list[Span] = []
    events = []
    for number, cells in body:
        onset = seconds(cells["onset"])
        length = seconds(cells.get("duration"))
        if onset is None or (length is not None and length < 0):
            raise RecordingError(
                path,
                f"line {number}: onset {cells['onset'][:20]!r} and duration "
                f"{cells.get('duration', '')[:20]!r} are not seconds",
            )
        text = cells.get("stage") or cells.get("text", "")
        stage = codes.get(text.lower()) if cells.get("stage") else parse_stage(text)
        if stage is None and cells.get("stage"):
            raise RecordingError(path, f"line {number}: {text[:40]!r} is not a sleep stage")
        if stage is None:
            events.append(Annotation(onset, length or 0.0, text))
        elif length:
            spans.append((onset, length, stage))
        else:
            changes.append((onset, stage))
    if changes and spans:
        raise RecordingError(path, f"{len(changes)} of its stages have no duration, others do")
    if changes:
        spans = until_next(changes, max(onset for onset, _ in changes) + SLEEP_EPOCH_SECONDS)
    return Scoring("table of onsets", spans, events, notes=number_notes(texts, comments))


def _epoch_table(path: Path, body: Rows, comments: list[str]) -> Scoring:
    """Rows of (number of the sleep_epoch, stage); the numbers may begin at 0 or at 1."""
    rows = [(number, cells["stage"]) for number, cells in body]
    if not rows:
        return Scoring("table of sleep_epochs", [])
    stages = _stages(path, rows, comments)
    notes = number_notes((text for _, text in rows), comments)
    numbered = [cells.get("epoch", "") for _, cells in body]
    if not any(numbered):
        return Scoring("table of sleep_epochs", per_epoch(stages), notes=notes)
    if not all(re.fullmatch(r"\d{1,6}", n) for n in numbered):
        raise RecordingError(path, "a number in its epoch column is not a whole number")
    epochs = [int(n) for n in numbered]
    if len(set(epochs)) < len(epochs):
        raise RecordingError(path, "two rows have the same epoch number")
    base = min(1, min(epochs))
    spans = [
        ((epoch - base) * SLEEP_EPOCH_SECONDS, SLEEP_EPOCH_SECONDS, stage)
        for epoch, stage in zip(epochs, stages)
    ]
    if min(epochs) > 1:
        notes.append(f"its first epoch is {min(epochs)}, counted from 1")
    return Scoring("table of sleep_epochs", spans, notes=notes)
