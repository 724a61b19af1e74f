"""Sleep stages from the files that hold them, one a 30-s sleep_epoch on the recording's time axis.

Every dialect becomes spans (onset, duration, stage) in seconds; a sleep_epoch takes the stage
that covers most of it, the earlier one of two that cover as much. What no span covers is
unscored.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import numpy as np

from sleepfm_jax.data.edf import Annotation, RecordingError, open_edf
from sleepfm_jax.signals import SLEEP_EPOCH_SECONDS, STAGES, UNSCORED, parse_stage

Span = tuple[float, float, int]  # onset, duration, stage

_MAX_TEXT_BYTES = 10_000_000
# DREAMS writes a number every 5 s; negative: movement or unknown.
_DREAMS_SECONDS = 5
_DREAMS_CODES = {5: 0, 4: 4, 3: 1, 2: 2, 1: 3, 0: 3}
# Numbers, one a sleep_epoch, as AASM and R&K software write them: 4 is R&K's S4, 5 is REM.
_NUMBER_CODES = {0: 0, 1: 1, 2: 2, 3: 3, 4: 3, 5: 4}
_LETTER_CODES = {"s1": 1, "s2": 2, "s3": 3, "s4": 3, "m": UNSCORED, "u": UNSCORED, "nan": UNSCORED}


def num_sleep_epochs(duration: float) -> int:
    """Sleep epochs begun in `duration` seconds; the last may be partial."""
    return max(0, math.ceil(duration / SLEEP_EPOCH_SECONDS - 1e-6))


def stages_from_spans(spans: Iterable[Span], duration: float) -> np.ndarray:
    """Spans in seconds from the recording's start -> int8 [E], E = `num_sleep_epochs(duration)`."""
    epochs = num_sleep_epochs(duration)
    codes = len(STAGES) + 1  # the last column counts unscored seconds
    seconds = np.zeros((epochs, codes))
    first = np.full((epochs, codes), np.inf)
    for onset, length, stage in spans:
        start, stop = max(onset, 0.0), min(onset + length, duration)
        if stop <= start:
            continue
        column = stage if stage >= 0 else codes - 1
        for epoch in range(int(start // SLEEP_EPOCH_SECONDS), num_sleep_epochs(stop)):
            begin = epoch * SLEEP_EPOCH_SECONDS
            overlap = min(stop, begin + SLEEP_EPOCH_SECONDS) - max(start, begin)
            if overlap > 0:
                seconds[epoch, column] += overlap
                first[epoch, column] = min(first[epoch, column], max(start, begin))
    lengths = np.minimum(SLEEP_EPOCH_SECONDS, duration - SLEEP_EPOCH_SECONDS * np.arange(epochs))
    seconds[:, -1] += np.maximum(0.0, lengths - seconds.sum(axis=1))
    leading = seconds >= seconds.max(axis=1, keepdims=True) - 1e-6
    winner = np.where(leading, first, np.inf).argmin(axis=1)
    # Where nothing but the uncovered rest leads, every `first` is infinite.
    winner[~np.isfinite(np.where(leading, first, np.inf)).any(axis=1)] = codes - 1
    return np.where(winner == codes - 1, UNSCORED, winner).astype(np.int8)


def spans_from_annotations(annotations: Iterable[Annotation]) -> list[Span]:
    """The annotations that name a sleep stage. Without a duration a stage lasts until the next one.

    Bare `W`, `R` and `?` count only beside an annotation that is unmistakably a stage: an R alone
    may be the R wave of an ECG.
    """
    scored = [(a, stage) for a in annotations if (stage := parse_stage(a.text)) is not None]
    if not any(len(a.text.strip()) > 1 for a, _ in scored):
        return []
    spans = []
    for i, (annotation, stage) in enumerate(scored):
        length = annotation.duration
        if length <= 0:
            later = (a.onset for a, _ in scored[i + 1 :] if a.onset > annotation.onset)
            length = next(later, annotation.onset + SLEEP_EPOCH_SECONDS) - annotation.onset
        spans.append((annotation.onset, length, stage))
    return spans


def read_hypnogram(path: str | Path, *, start: datetime | None, duration: float) -> np.ndarray:
    """Stages int8 [E] (-1 unscored), one a 30-s sleep_epoch from the recording's start.

    `start` and `duration` (s) are the recording's. Dialects: an EDF+ annotation file (`Sleep
    stage N2`), placed by the start times of both files; a text file of one stage a line or one
    character a sleep_epoch (W N1 N2 N3 R, or numbers 0 W, 1, 2, 3, 4 N3, 5 REM); DREAMS'
    `[Hypnogram]`, a number every 5 s. A sleep_epoch the file does not reach is unscored.

    Raises:
      RecordingError: not a hypnogram, an unknown stage (with its line), numbers that could mean
      two things, or a file that does not overlap the recording.
    """
    return read_hypnogram_and_notes(path, start=start, duration=duration)[0]


def read_hypnogram_and_notes(
    path: str | Path, *, start: datetime | None, duration: float
) -> tuple[np.ndarray, list[str]]:
    """`read_hypnogram`, and what a person should know about how it was placed."""
    path = Path(path)
    if path.is_file() and path.stat().st_size >= 256:
        with path.open("rb") as file:
            magic = file.read(8)
        if magic == b"\xffBIOSEMI" or magic == b"0       ":
            spans, notes = _edf_spans(path, start)
        else:
            spans, notes = _text_spans(path)
    else:
        spans, notes = _text_spans(path)
    begin = min(onset for onset, _, _ in spans)
    end = max(onset + length for onset, length, _ in spans)
    if end <= 0 or begin >= duration:
        raise RecordingError(
            path,
            f"the hypnogram covers {begin:g} to {end:g} s of a recording of {duration:g} s: they "
            f"do not overlap; is it another night's?",
        )
    if begin > 0 or end < duration - SLEEP_EPOCH_SECONDS:
        notes.append(
            f"hypnogram covers {begin:g} to {end:g} s of {duration:g} s: the rest is unscored"
        )
    elif end > duration + SLEEP_EPOCH_SECONDS:
        notes.append(f"hypnogram goes on for {end - duration:g} s after the recording: not used")
    return stages_from_spans(spans, duration), notes


def _edf_spans(path: Path, start: datetime | None) -> tuple[list[Span], list[str]]:
    edf = open_edf(path)
    _, annotations, damaged = edf.annotations()
    notes = list(edf.notes)
    if damaged:
        notes.append(f"{damaged} annotations of the hypnogram could not be read")
    spans = spans_from_annotations(annotations)
    if not spans:
        texts = sorted({a.text for a in annotations})[:8]
        raise RecordingError(
            path, f"no sleep stage among its {len(annotations)} annotations (such as {texts})"
        )
    if start is None or edf.start is None:
        notes.append("a start time is missing: the hypnogram is taken to begin with the recording")
        return spans, notes
    offset = (edf.start - start).total_seconds()
    return [(onset + offset, length, stage) for onset, length, stage in spans], notes


def _text_spans(path: Path) -> tuple[list[Span], list[str]]:
    lines = _lines(path)
    comments = [text for _, text in lines if text.startswith("#")]
    rows = [(number, text) for number, text in lines if not text.startswith("#")]
    if rows and rows[0][1].lower().startswith("[hypnogram"):
        return _dreams_spans(path, rows[1:]), []
    if rows and rows[0][1].lower() in ("stage", "stages", "hypnogram", "sleep_stage"):
        rows = rows[1:]
    if len(rows) == 1 and len(rows[0][1]) > 1 and parse_stage(rows[0][1]) is None:
        number, text = rows[0]
        pieces = re.split(r"[\s,;]+", text) if re.search(r"[\s,;]", text) else list(text)
        rows = [(number, piece) for piece in pieces if piece]
    if not rows:
        raise RecordingError(path, "no sleep stage in it: an empty hypnogram")
    codes = _codes(path, [text for _, text in rows], comments)
    spans = []
    for i, (number, text) in enumerate(rows):
        if text.lower() not in codes:
            raise RecordingError(
                path,
                f"line {number}: {text[:40]!r} is not a sleep stage; expected one stage a line, "
                f"W N1 N2 N3 R or numbers 0 to 5",
            )
        spans.append((i * SLEEP_EPOCH_SECONDS, SLEEP_EPOCH_SECONDS, codes[text.lower()]))
    return spans, []


def _lines(path: Path) -> list[tuple[int, str]]:
    """(number, text) of the lines that are not blank."""
    if not path.exists():
        raise RecordingError(path, "no such hypnogram file")
    if not path.is_file():
        raise RecordingError(path, "is a folder, not a hypnogram")
    if path.stat().st_size > _MAX_TEXT_BYTES:
        raise RecordingError(path, "is larger than 10 MB: not a hypnogram")
    raw = path.read_bytes()
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = raw.decode("utf-16", errors="replace")
    else:
        text = raw.decode("utf-8-sig", errors="replace")
    if "\x00" in text:
        raise RecordingError(path, "is neither an EDF+ nor a text hypnogram")
    # Fields in quotes are how spreadsheets export text.
    lines = ((i, line.strip().strip("\"'")) for i, line in enumerate(text.splitlines(), 1))
    return [(i, line) for i, line in lines if line]


def _dreams_spans(path: Path, rows: list[tuple[int, str]]) -> list[Span]:
    spans = []
    for i, (number, text) in enumerate(rows):
        value = int(text) if re.fullmatch(r"-?\d+", text) else None
        if value is None or value > 5:
            raise RecordingError(
                path, f"line {number}: {text[:40]!r} is not a DREAMS stage (5 W, 4 REM, 3, 2, 1, 0)"
            )
        stage = _DREAMS_CODES.get(value, UNSCORED)
        spans.append((i * _DREAMS_SECONDS, _DREAMS_SECONDS, stage))
    if not spans:
        raise RecordingError(path, "no sleep stage in it: an empty hypnogram")
    return spans


def _codes(path: Path, texts: list[str], comments: list[str]) -> dict[str, int]:
    """What each distinct token of a text hypnogram means; unknown ones are left out."""
    tokens = {text.lower() for text in texts}
    legend = {
        int(number): stage
        for comment in comments
        for number, word in re.findall(r"(-?\d+)\s*[:=]\s*([A-Za-z]\w*)", comment)
        if (stage := parse_stage(word)) is not None
    }
    codes: dict[str, int] = {}
    numbers: set[int] = set()
    for token in tokens:
        stage = parse_stage(token)
        if stage is None:
            stage = _LETTER_CODES.get(token)
        if stage is not None:
            codes[token] = stage
        elif re.fullmatch(r"-?\d(?:\.0*)?", token):
            number = int(float(token))
            numbers.add(number)
            default = UNSCORED if number < 0 or number > 5 else _NUMBER_CODES[number]
            codes[token] = legend.get(number, default)
    only_numbers = len(numbers) == len(tokens)
    if only_numbers and 4 in numbers and 5 not in numbers and 4 not in legend:
        raise RecordingError(
            path,
            "numbers with 4 but without 5: 4 may be REM (YASA) or stage 4 (R&K); say which in its "
            "first line, '# 4: REM' or '# 4: N3'",
        )
    return codes
