"""Hypnograms in XML: the NSRR's, Compumedics Profusion's, Philips' RML.

Parsed by defusedxml: a file with entities is refused before any of them is expanded.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

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

_RML_STAGES = {
    **{"Wake": 0, "NonREM1": 1, "NonREM2": 2, "NonREM3": 3, "NonREM4": 3, "REM": 4},
    **dict.fromkeys(("NotScored", "Movement", "Unknown"), UNSCORED),
}


def xml_scoring(path: Path, text: str) -> Scoring:
    """Stages and events of an XML file of one of the three dialects.

    Raises:
      RecordingError: not well-formed, with entities, of another dialect, an unknown stage, or a
      start or duration that is not a number.
    """
    # A declaration of the bytes' encoding says nothing about text that is decoded already.
    text = re.sub(r"^\s*<\?xml[^>]{0,200}\?>", "", text)
    try:
        root = fromstring(text)
    except DefusedXmlException as error:
        raise RecordingError(
            path,
            f"is XML with entities or other declarations that scorers do not write, and that can "
            f"hang a program ({type(error).__name__}): not read",
        ) from error
    except (ParseError, ValueError, RecursionError) as error:
        raise RecordingError(path, f"is not well-formed XML ({error}): export it again") from error
    for element in root.iter():  # names without their namespace
        if isinstance(element.tag, str):
            element.tag = element.tag.rpartition("}")[2]
    if root.tag == "PatientStudy":
        return _rml(path, root)
    stages = root.find("SleepStages")
    events = root.find("ScoredEvents")
    if events is not None and events.find("ScoredEvent/EventType") is not None:
        return _nsrr(path, events)
    if stages is not None:
        return _profusion(path, root, stages, events)
    raise RecordingError(
        path,
        f"is XML (<{root.tag[:40]}>), but neither an NSRR, a Profusion nor a Philips RML scoring",
    )


def _field(element: Element, name: str) -> str:
    return (element.findtext(name) or "").strip()


def _times(path: Path, element: Element, what: str) -> tuple[float, float]:
    """(Start, Duration) of an event, in seconds."""
    onset, length = seconds(_field(element, "Start")), seconds(_field(element, "Duration"))
    if onset is None or length is None or length < 0:
        raise RecordingError(
            path,
            f"event {what[:40]!r} starts at {_field(element, 'Start')[:20]!r} for "
            f"{_field(element, 'Duration')[:20]!r}: not seconds",
        )
    return onset, length


# --- NSRR -----------------------------------------------------------------------------------------


def _nsrr(path: Path, scored: Element) -> Scoring:
    """`EventType` `Stages|Stages`, `EventConcept` `Stage 2 sleep|2`, times from the recording."""
    spans: list[Span] = []
    events: list[Annotation] = []
    for event in scored.iter("ScoredEvent"):
        kind, concept = _field(event, "EventType"), _field(event, "EventConcept")
        if concept == "Recording Start Time":
            continue
        onset, length = _times(path, event, concept)
        if kind.split("|")[0].strip().lower() != "stages":
            events.append(Annotation(onset, length, concept.partition("|")[0]))
            continue
        number = re.fullmatch(r".*\|(\d{1,2})", concept)
        stage = parse_stage(concept)
        if stage is None and number:
            stage = STAGE_NUMBERS.get(int(number[1]))
        if stage is None:
            raise RecordingError(
                path, f"stage {concept[:40]!r} at {onset:g} s is not one of the NSRR's"
            )
        if number and STAGE_NUMBERS.get(int(number[1])) != stage:
            raise RecordingError(
                path, f"stage {concept[:40]!r} at {onset:g} s: its word and its number differ"
            )
        spans.append((onset, length, stage))
    if not spans:
        raise RecordingError(path, f"no sleep stage among its {len(events)} NSRR events")
    return Scoring("NSRR XML", spans, events)


# --- Profusion ------------------------------------------------------------------------------------


def _profusion(path: Path, root: Element, stages: Element, scored: Element | None) -> Scoring:
    """`SleepStage` numbers, one every `EpochLength` seconds from the recording's start."""
    length = seconds(root.findtext("EpochLength") or str(SLEEP_EPOCH_SECONDS))
    if length is None or not 1 <= length <= 120:
        raise RecordingError(
            path, f"EpochLength {_field(root, 'EpochLength')[:20]!r} is not 1 to 120 s"
        )
    codes = []
    for i, element in enumerate(stages.iter("SleepStage")):
        text = (element.text or "").strip()
        stage = STAGE_NUMBERS.get(int(text)) if re.fullmatch(r"-?\d{1,2}", text) else None
        if stage is None:
            raise RecordingError(
                path,
                f"SleepStage {i + 1} is {text[:20]!r}; expected 0 W, 1, 2, 3, 4, 5 REM, 6 movement "
                f"or 9 unscored",
            )
        codes.append(stage)
    events = []
    for event in scored.iter("ScoredEvent") if scored is not None else ():
        name = _field(event, "Name")
        events.append(Annotation(*_times(path, event, name), name))
    return Scoring("Profusion XML", per_epoch(codes, length), events)


# --- Philips RML ----------------------------------------------------------------------------------


def _rml(path: Path, root: Element) -> Scoring:
    """A stage wherever it changes, in seconds from `RecordingStart`.

    The user's staging goes before the machine's.
    """
    notes: list[str] = []
    staging = None
    for scorer in ("UserStaging", "MachineStaging"):
        staging = root.find(f"ScoringData/StagingData/{scorer}/NeuroAdultAASMStaging")
        if staging is not None and staging.find("Stage") is not None:
            if scorer == "MachineStaging":
                notes.append("staged by the machine: the file has no UserStaging")
            break
    else:
        raise RecordingError(
            path, "no NeuroAdultAASMStaging in it: a Philips study that nobody staged"
        )
    changes: list[tuple[float, int]] = []
    for element in staging.iter("Stage"):
        kind, onset = element.get("Type", ""), seconds(element.get("Start"))
        if onset is None or kind not in _RML_STAGES:
            raise RecordingError(
                path,
                f"stage {kind[:40]!r} at {element.get('Start', '')[:20]!r} s; expected Wake, "
                f"NonREM1 to 3, REM or NotScored at a number of seconds",
            )
        changes.append((onset, _RML_STAGES[kind]))
    sessions = root.findall("Acquisition/Sessions/Session")
    if len(sessions) > 1:
        notes.append(f"{len(sessions)} sessions: times are taken from the first one's start")
    start, end = None, None
    if sessions:
        end = seconds(sessions[0].findtext("Duration"))
        try:
            start = datetime.fromisoformat(_field(sessions[0], "RecordingStart"))
        except ValueError:
            pass
        else:
            start = start.replace(tzinfo=None)  # a clock on the wall, as in EDF
    last = max(onset for onset, _ in changes)
    end = max(end if end is not None else 0.0, last + SLEEP_EPOCH_SECONDS)
    events = []
    for element in root.findall("ScoringData/Events/Event"):
        onset, length = seconds(element.get("Start")), seconds(element.get("Duration"))
        kind = element.get("Type", "")
        if onset is None or length is None:
            raise RecordingError(path, f"event {kind[:40]!r} has no start or duration in seconds")
        events.append(Annotation(onset, length, kind))
    return Scoring(
        "Philips RML", until_next(changes, end), events, start=start, relative=False, notes=notes
    )
