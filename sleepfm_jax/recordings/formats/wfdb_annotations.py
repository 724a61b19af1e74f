"""WFDB annotation files (`.atr`, `.arousal`): beats, events, and the stages of CinC 2018.

The MIT format: 16-bit words, six bits of code over ten bits of time since the last annotation,
with pseudo-codes for longer times and for notes. https://physionet.org/physiotools/wag/annot-5.htm
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.files import MAX_DAYS, Annotation, read_head
from sleepfm_jax.recordings.scorings.scoring import Scoring, until_next
from sleepfm_jax.signals import SLEEP_EPOCH_SECONDS, UNSCORED, parse_stage

_MAX_BYTES = 50_000_000
_SKIP, _NUM, _SUB, _CHN, _AUX = 59, 60, 61, 62, 63
# Letters of the annotation codes, as every WFDB program prints them.
SYMBOLS = (
    dict(enumerate("NLRaVFJASEj/Q~", 1))
    | {16: "|", 18: "s", 19: "T", 20: "*", 21: "D", 22: '"', 23: "=", 24: "p", 25: "B", 26: "^"}
    | {27: "t", 28: "+", 29: "u", 30: "?", 31: "!", 32: "[", 33: "]", 34: "e", 35: "n", 36: "@"}
    | {37: "x", 38: "f", 39: "(", 40: ")", 41: "r"}
)


@dataclass(frozen=True)
class WfdbAnnotation:
    """One annotation: its sample, its code's letter, the text beside it (often empty)."""

    sample: int
    symbol: str
    note: str


def read_wfdb_annotations(path: str | Path) -> tuple[list[WfdbAnnotation], float | None]:
    """(annotations in the file's order, ticks per second where the file says them).

    Raises:
      RecordingError: the file is missing, is not in WFDB's format, or ends inside an annotation.
    """
    path = Path(path)
    raw = read_head(path, _MAX_BYTES + 1)
    if len(raw) > _MAX_BYTES:
        raise RecordingError(path, f"is larger than {_MAX_BYTES / 1e6:.0f} MB: no WFDB annotations")
    found: list[WfdbAnnotation] = []
    ticks = None
    at = sample = 0
    while True:
        if at + 2 > len(raw):
            raise RecordingError(
                path, "is not a WFDB annotation file, or a truncated one: it has no end mark"
            )
        word = raw[at] | raw[at + 1] << 8
        code, step = word >> 10, word & 0x3FF
        at += 2
        if word == 0:
            if raw[at:].strip(b"\x00"):
                raise RecordingError(path, "is not a WFDB annotation file: more after its end")
            break
        if code == _SKIP:
            # a 32-bit interval, its high half first
            sample += int.from_bytes(raw[at : at + 2], "little", signed=True) << 16
            sample += int.from_bytes(raw[at + 2 : at + 4], "little")
            at += 4
        elif code == _AUX:
            note = raw[at : at + step].split(b"\x00")[0].decode("utf-8", errors="replace").strip()
            at += step + step % 2
            if found:
                last = found[-1]
                found[-1] = WfdbAnnotation(last.sample, last.symbol, note)
        elif code in (_NUM, _SUB, _CHN):
            pass
        elif code == 0:  # no annotation: it only moves the clock
            sample += step
        elif code < 50:
            sample += step
            found.append(WfdbAnnotation(sample, SYMBOLS.get(code, f"[{code}]"), ""))
        else:
            raise RecordingError(path, f"is not a WFDB annotation file: unknown code {code}")
    # Remarks of the writing program, ahead of all else at sample 0.
    while found and found[0].note.startswith("## "):
        told = re.fullmatch(r"## time resolution:\s*(\d{1,9}(?:\.\d{1,9})?)", found.pop(0).note)
        ticks = float(told[1]) if told else ticks
    return found, ticks


def events_of(
    annotations: list[WfdbAnnotation], sfreq: float, start: int = 0
) -> tuple[list[Annotation], list[str]]:
    """Annotations in seconds, and what was odd. `(event` and `event)` become one with a duration.

    A note goes before the symbol as the text.
    """
    events: list[Annotation] = []
    open_events: dict[str, list[Annotation]] = {}
    unpaired = 0
    for annotation in annotations:
        onset = (annotation.sample - start) / sfreq
        note = annotation.note
        closing = re.fullmatch(r"([A-Za-z]\w+)\)", note)
        if closing:
            begun = open_events.get(closing[1])
            if begun:
                event = begun.pop()
                event.duration = max(0.0, onset - event.onset)
            else:
                unpaired += 1
            continue
        opening = re.fullmatch(r"\(([A-Za-z]\w+_\w+)", note)  # `(AFIB` opens a rhythm, no event
        event = Annotation(onset, 0.0, opening[1] if opening else note or annotation.symbol)
        if opening:
            open_events.setdefault(opening[1], []).append(event)
        events.append(event)
    unpaired += sum(map(len, open_events.values()))
    return events, [f"{unpaired} events lack their beginning or their end"] if unpaired else []


def wfdb_scoring(path: Path) -> Scoring:
    """Stages and events of an annotation file such as CinC 2018's `.arousal`.

    Each stage (W, N1, N2, N3, R) lasts until the next. The rate is the file's own or that of the
    header beside it; the last stage lasts until the header's end, or for one sleep_epoch.

    Raises:
      RecordingError: not an annotation file, one without stages, or one without a known rate.
    """
    annotations, ticks = read_wfdb_annotations(path)
    header = _header_beside(path)
    length = None
    if header is not None:
        sfreq, samples = header
        length = samples / sfreq if samples else None
        ticks = ticks or sfreq
    if not ticks or ticks > 1e6:
        raise RecordingError(
            path, f"its sampling rate is not known: put the record's {path.stem}.hea beside it"
        )
    changes, others = [], []
    for annotation in annotations:
        stage = parse_stage(annotation.note)
        if annotation.note.lower() == "undefined":
            stage = UNSCORED
        if stage is None:
            others.append(annotation)
        elif abs(annotation.sample / ticks) > MAX_DAYS * 86_400:
            raise RecordingError(path, f"a stage at sample {annotation.sample}: damaged times")
        else:
            changes.append((annotation.sample / ticks, stage))
    if not changes:
        raise RecordingError(
            path, f"no sleep stage (W, N1, N2, N3, R) among its {len(annotations)} annotations"
        )
    last = max(onset for onset, _ in changes)
    end = length if length and length > last else last + SLEEP_EPOCH_SECONDS
    events, notes = events_of(others, ticks)
    return Scoring("WFDB annotations", until_next(changes, end), events, notes=notes)


def _header_beside(path: Path) -> tuple[float, int] | None:
    """(Hz, samples or 0) of the record's header, where one lies beside its annotations."""
    header = path.with_suffix(".hea")
    if not (header.is_file() or header.is_symlink()):  # a link to nothing is told of below
        return None
    text = read_head(header, 10_000).decode("latin-1")
    for line in text.splitlines():
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        sfreq = re.match(r"\d+(\.\d+)?", fields[2]) if len(fields) > 2 else None
        samples = fields[3] if len(fields) > 3 and fields[3].isdigit() else "0"
        if sfreq and float(sfreq[0]) > 0:
            return float(sfreq[0]), int(samples[:15])
        return None
    return None
