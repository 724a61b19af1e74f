"""Sleep stages from the files that hold them, one a 30-s sleep_epoch on the recording's time axis.

Every dialect becomes a `Scoring`: spans (onset, duration, stage) and events, in seconds. A
sleep_epoch takes the stage that covers most of it, the earlier one of two that cover as much.
What no span covers is unscored.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.files import MAX_DAYS, Annotation, read_head, read_text
from sleepfm_jax.recordings.formats.edf_bytes import open_edf
from sleepfm_jax.recordings.formats.wfdb_annotations import wfdb_scoring
from sleepfm_jax.recordings.recording import Recording
from sleepfm_jax.recordings.scorings import (
    alice,
    noxturnal,
    openneuro,
    plain_text,
    somnomedics,
    wsc,
    xml_files,
    yasa,
)
from sleepfm_jax.recordings.scorings.scoring import Scoring, Span
from sleepfm_jax.recordings.scorings.xlsx import xlsx_scoring
from sleepfm_jax.signals import SLEEP_EPOCH_SECONDS, STAGES, UNSCORED, parse_stage

_MAX_LINES = MAX_DAYS * 86_400 // 5  # DREAMS has the most, one every 5 s


@dataclass
class Hypnogram:
    """A scorer's file laid onto a recording."""

    stages: np.ndarray  # int8 [E], one a 30-s sleep_epoch from the recording's start; -1 unscored
    events: list[Annotation]  # what was scored besides stages, from the recording's start
    dialect: str
    notes: list[str]


def read_hypnogram(path: str | Path, *, start: datetime | None, duration: float) -> np.ndarray:
    """Stages int8 [E] (-1 unscored), one a 30-s sleep_epoch: `read_stages(...).stages`."""
    return read_stages(path, start=start, duration=duration).stages


def read_stages(
    path: str | Path, *, start: datetime | None, duration: float, recording: str = ""
) -> Hypnogram:
    """Stages and scored events of one file, on the time axis of a recording.

    `start` and `duration` (s) are the recording's; `recording` is what its file is called, for
    tables of several recordings. The dialect is found by content: EDF+ annotations (Sleep-EDF,
    HMC, CAP), NSRR XML, Profusion XML, Philips RML, the WSC's `.stg.txt` and `.allscore.txt`,
    Noxturnal event CSV, SOMNOmedics' sleep profile, Alice's exports, YASA's CSV, OpenNeuro's
    `sleep-stage.tsv`, a table with a header, one stage a line or one character a sleep_epoch,
    DREAMS `[Hypnogram]`, `.xlsx` (ISRUC), WFDB annotations (CinC 2018 `.arousal`). UCDDB's
    `ucddb002_stage.txt` alone is known by its name: its numbers mean other stages. A file with a
    start time of its own is placed by it; a sleep_epoch that the file does not reach is unscored.

    Raises:
      RecordingError: not a hypnogram, an unknown stage (with its line), numbers or dates that
      could mean two things, or a file that does not overlap the recording.
    """
    path = Path(path)
    if not (math.isfinite(duration) and 0 <= duration <= MAX_DAYS * 86_400):
        raise ValueError(f"duration must be 0 to {MAX_DAYS} days in seconds, not {duration}")
    return lay(path, _scoring(path, start, recording), start=start, duration=duration)


def score(recording: Recording, hypnogram: str | Path) -> Recording:
    """Gives a recording the stages of a hypnogram file and adds its events to the annotations.

    Raises:
      RecordingError: see `read_stages`.
    """
    scored = read_stages(
        hypnogram,
        start=recording.start,
        duration=recording.duration,
        recording=Path(recording.path).stem,
    )
    recording.stages = scored.stages
    recording.annotations = sorted(recording.annotations + scored.events, key=lambda a: a.onset)
    recording.notes += scored.notes
    return recording


def lay(path: Path, scoring: Scoring, *, start: datetime | None, duration: float) -> Hypnogram:
    """Lays what a file says, with one span at least, onto a recording that lasts `duration` s.

    Raises:
      RecordingError: the scoring does not overlap the recording.
    """
    offset, notes = scoring.offset(start)
    notes = scoring.notes + notes
    spans = [(onset + offset, length, stage) for onset, length, stage in scoring.spans]
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
    events = [Annotation(e.onset + offset, e.duration, e.text) for e in scoring.events]
    return Hypnogram(stages_from_spans(spans, duration), events, scoring.dialect, notes)


def _scoring(path: Path, start: datetime | None, recording: str) -> Scoring:
    """The file's scoring, with one span at least."""
    head = read_head(path, 4096)
    if head[:8] in (b"\xffBIOSEMI", b"0       "):
        scoring = _edf_scoring(path)
    elif head[:4] == b"PK\x03\x04":
        scoring = xlsx_scoring(path)
    elif path.suffix == ".arousal":
        scoring = wfdb_scoring(path)
    elif b"\x00" in head and head[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        if not path.with_suffix(".hea").is_file():
            raise RecordingError(
                path, "is neither an EDF+ nor a text hypnogram, nor .xlsx, nor WFDB's .arousal"
            )
        scoring = wfdb_scoring(path)
    else:
        text = read_text(path, "hypnogram")
        if text.lstrip().startswith("<"):
            scoring = xml_files.xml_scoring(path, text)
        else:
            scoring = _text_scoring(path, lines_of(path, text), start, recording)
    if not scoring.spans:
        raise RecordingError(path, "no sleep stage in it: an empty hypnogram")
    return scoring


def lines_of(path: Path, text: str) -> list[tuple[int, str]]:
    """(number in the file, stripped text) of the lines that are not blank.

    Raises:
      RecordingError: more than any night has.
    """
    lines = [(i, line.strip()) for i, line in enumerate(text.splitlines(), 1) if line.strip()]
    if len(lines) > _MAX_LINES:
        raise RecordingError(path, f"has {len(lines)} lines: too many for a hypnogram")
    return lines


def _text_scoring(
    path: Path, lines: list[tuple[int, str]], start: datetime | None, recording: str
) -> Scoring:
    if openneuro.understands(lines):
        return openneuro.scoring(path, lines, recording)
    for dialect in (wsc, noxturnal, somnomedics, yasa, alice):
        if dialect.understands(lines):
            return dialect.scoring(path, lines, start)
    return plain_text.scoring(path, lines)


def _edf_scoring(path: Path) -> Scoring:
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
    scoring = Scoring("EDF+", spans, relative=False, notes=notes)
    scoring.events = [a for a in annotations if parse_stage(a.text) is None]
    if edf.start is not None and any("two start dates" in note for note in edf.notes):
        # Sleep-EDF: the evening's date beside a time past midnight. Neither is to be relied on.
        scoring.clock = edf.start.time()
    else:
        scoring.start = edf.start
    return scoring


def spans_from_annotations(annotations: Iterable[Annotation]) -> list[Span]:
    """The annotations that name a sleep stage. Without a duration a stage lasts until the next one.

    Bare `W`, `R` and `?` count only beside an annotation that is unmistakably a stage: an R alone
    may be the R wave of an ECG.
    """
    scored = [(a, stage) for a in annotations if (stage := parse_stage(a.text)) is not None]
    if not any(len(a.text.strip()) > 1 for a, _ in scored):
        return []
    scored.sort(key=lambda pair: pair[0].onset)
    spans: list[Span] = []
    following = later = math.inf  # onset of the annotation after this one, and of the next moment
    for annotation, stage in reversed(scored):
        if following > annotation.onset:
            later = following
        following = annotation.onset
        length = annotation.duration
        if length <= 0:
            length = (later if later < math.inf else following + SLEEP_EPOCH_SECONDS) - following
        spans.append((annotation.onset, length, stage))
    return spans[::-1]


def num_sleep_epochs(duration: float) -> int:
    """Sleep epochs begun in `duration` seconds; the last may be partial."""
    return max(0, math.ceil(duration / SLEEP_EPOCH_SECONDS - 1e-6))


def stages_from_spans(spans: Iterable[Span], duration: float) -> np.ndarray:
    """Spans in seconds from the recording's start -> int8 [E], E = `num_sleep_epochs(duration)`."""
    epochs = num_sleep_epochs(duration)
    codes = len(STAGES) + 1  # the last column counts unscored seconds
    seconds = np.zeros((epochs, codes))
    first = np.full((epochs, codes), np.inf)
    whole = np.zeros((epochs + 1, codes), np.int64)  # +1 and -1 where a run of whole ones turns
    for onset, length, stage in spans:
        start, stop = max(onset, 0.0), min(onset + length, duration)
        if stop <= start:
            continue
        column = stage if stage >= 0 else codes - 1
        head, tail = int(start // SLEEP_EPOCH_SECONDS), num_sleep_epochs(stop) - 1
        if tail < head:  # a sliver of less than a microsecond
            continue
        for epoch in {head, tail}:
            begin = epoch * SLEEP_EPOCH_SECONDS
            overlap = min(stop, begin + SLEEP_EPOCH_SECONDS) - max(start, begin)
            if overlap > 0:
                seconds[epoch, column] += overlap
                first[epoch, column] = min(first[epoch, column], max(start, begin))
        if tail > head + 1:
            whole[head + 1, column] += 1
            whole[tail, column] -= 1
    begins = SLEEP_EPOCH_SECONDS * np.arange(epochs)
    covered = whole.cumsum(axis=0)[:epochs]
    seconds += SLEEP_EPOCH_SECONDS * covered
    first = np.where(covered > 0, begins[:, None], first)
    lengths = np.minimum(SLEEP_EPOCH_SECONDS, duration - begins)
    seconds[:, -1] += np.maximum(0.0, lengths - seconds.sum(axis=1))
    leading = seconds >= seconds.max(axis=1, keepdims=True) - 1e-6
    winner = np.where(leading, first, np.inf).argmin(axis=1)
    # Where nothing but the uncovered rest leads, every `first` is infinite.
    winner[~np.isfinite(np.where(leading, first, np.inf)).any(axis=1)] = codes - 1
    return np.where(winner == codes - 1, UNSCORED, winner).astype(np.int8)
