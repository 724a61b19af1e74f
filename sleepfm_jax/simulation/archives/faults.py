"""Faults as archives have them, done to a simulated one, and what is to become of each.

A fault is done to finished files, so that everything else about the night stays as it was. What a
builder should make of it is part of the fault: the recording is `quarantined` with a reason,
`repaired` (built, with what was saved) or `noted` (built, with a remark), and `expected` is a
regular expression that the recording's entry in the build report has to match.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sleepfm_jax.simulation.archives.layouts import SimulatedNight, write_annotations
from sleepfm_jax.simulation.body.noise import generator

_FAULTS = 5  # first element of the random key
QUARANTINED, REPAIRED, NOTED = "quarantined", "repaired", "noted"
# Widths of the fields of a signal in an EDF header, in their order.
_FIELDS = {
    **{"label": 16, "transducer": 80, "unit": 8, "physical_min": 8, "physical_max": 8},
    **{"digital_min": 8, "digital_max": 8, "prefilter": 80, "samples": 8},
}


@dataclasses.dataclass(frozen=True)
class Damage:
    """One damaged night: a row of faults.csv."""

    path: str  # of the recording in the build report
    fault: str
    outcome: str
    expected: str
    subject: str


class Tree:
    """A simulated night's files, to be damaged."""

    def __init__(self, tree: Path, night: SimulatedNight):
        self.tree, self.night = tree, night
        self.main = tree / night.place.path
        self.is_edf = self.main.suffix == ".edf"
        self.signal = self.main if self.is_edf else self.main.with_suffix(".mat")
        self.annotations = [tree / path for path in night.place.annotations]
        self.path = night.place.path

    # --- what is in the files

    def labels(self) -> list[str]:
        if not self.is_edf:
            lines = self.main.read_text(encoding="utf-8").splitlines()[1:]
            return [line.split(maxsplit=8)[8] for line in lines]
        raw = self.main.read_bytes()
        count = int(raw[252:256])
        return [raw[256 + 16 * i :][:16].decode().strip() for i in range(count)]

    def eeg(self) -> list[int]:
        """Numbers of two signals of EEG, the first ones whose label looks like it."""
        looks = re.compile(r"(EEG|[FCOTP]p?[1-4z])", re.IGNORECASE)
        found = [i for i, label in enumerate(self.labels()) if looks.match(label)]
        return found[:2]

    def _field(self, name: str, index: int) -> slice:
        count = int(self.main.read_bytes()[252:256])
        start = 256
        for field, width in _FIELDS.items():
            if field == name:
                return slice(start + width * index, start + width * (index + 1))
            start += width * count
        raise KeyError(name)

    # --- what is done to them

    def truncate(self, size: int) -> None:
        with self.signal.open("r+b") as file:
            file.truncate(size)

    def rename_signal(self, index: int, label: str) -> None:
        if self.is_edf:
            self._write_field("label", index, label)
            return
        lines = self.main.read_text(encoding="utf-8").splitlines()
        kept = lines[1 + index].rsplit(maxsplit=1)[0]
        lines[1 + index] = f"{kept} {label}"
        self.main.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _write_field(self, name: str, index: int, text: str) -> None:
        raw = bytearray(self.main.read_bytes())
        at = self._field(name, index)
        raw[at] = text.encode().ljust(at.stop - at.start)
        self.main.write_bytes(raw)

    def swap_limits(self, index: int) -> None:
        raw = self.main.read_bytes()
        low, high = (raw[self._field(f"physical_{end}", index)].decode() for end in ("min", "max"))
        self._write_field("physical_min", index, high)
        self._write_field("physical_max", index, low)

    def equal_limits(self, index: int) -> None:
        raw = self.main.read_bytes()
        self._write_field("physical_max", index, raw[self._field("physical_min", index)].decode())

    def flatten(self, index: int) -> None:
        """Every sample of a signal becomes 0."""
        raw = np.fromfile(self.signal, np.uint8)
        if self.is_edf:
            counts = [
                int(raw[self._field("samples", i)].tobytes()) for i in range(len(self.labels()))
            ]
            width, first, start = sum(counts), sum(counts[:index]), 256 * (1 + len(counts))
            number = counts[index]
        else:
            width, first, start, number = len(self.labels()), index, 24, 1
        samples = raw[start:].view("<i2").reshape(-1, width)
        samples[:, first : first + number] = 0
        raw.tofile(self.signal)

    def rescore(self, stages: np.ndarray) -> None:
        """Writes the night's annotation files again, with other stages."""
        scored = dataclasses.replace(self.night.scored, stages=stages.astype(np.int8))
        write_annotations(self.tree, self.night.place, scored)

    def replace_in_annotation(self, pattern: str, text: str) -> None:
        """Replaces the first match in the annotation file that builders read."""
        raw = self.annotations[0].read_text(encoding="utf-8")
        changed, count = re.subn(pattern, text, raw, count=1, flags=re.MULTILINE)
        if not count:
            raise ValueError(f"{self.annotations[0]}: no {pattern} to replace")
        self.annotations[0].write_text(changed, encoding="utf-8")


Outcome = tuple[str, str]


def _truncated(t: Tree) -> Outcome:
    t.truncate(int(0.6 * t.signal.stat().st_size) + 1)
    return REPAIRED, r"truncated: \d+ of \d+"


def _truncated_header(t: Tree) -> Outcome:
    t.truncate(300)
    return QUARANTINED, "truncated within the header"


def _empty(t: Tree) -> Outcome:
    t.truncate(0)
    return QUARANTINED, r"is empty \(0 bytes\)" if t.is_edf else r"\.mat"


def _missing_annotation(t: Tree) -> Outcome:
    for path in t.annotations:
        path.unlink()
    return NOTED, "no annotation file: nothing is scored"


def _second_best_annotation(t: Tree) -> Outcome:
    t.annotations[0].unlink()
    return REPAIRED, "the NSRR's XML is missing: stages are Profusion's"


def _swapped_limits(t: Tree) -> Outcome:
    index = t.eeg()[0]
    t.swap_limits(index)
    return NOTED, rf"^{re.escape(t.labels()[index])} .*polarity: the physical limits are swapped"


def _equal_limits(t: Tree) -> Outcome:
    index = t.eeg()[0]
    t.equal_limits(index)
    label = re.escape(t.labels()[index])
    return NOTED, f"signal '{label}' kept out: its physical limits are equal"


def _duplicate_labels(t: Tree) -> Outcome:
    first, second = t.eeg()
    label = t.labels()[first]
    t.rename_signal(second, label)
    return NOTED, rf"^{re.escape(label)} .*#2 .*2 channels are called"


def _flat(t: Tree) -> Outcome:
    index = t.eeg()[0]
    t.flatten(index)
    return NOTED, rf"^{re.escape(t.labels()[index])} .*flat"


def _unknown_label(t: Tree) -> Outcome:
    t.rename_signal(t.eeg()[0], "XX17")
    return NOTED, r"^XX17 .* other"


def _stages_short(t: Tree) -> Outcome:
    stages = t.night.scored.stages
    t.rescore(stages[: len(stages) // 2])
    return NOTED, "the rest is unscored"


def _stages_long(t: Tree) -> Outcome:
    stages = t.night.scored.stages
    t.rescore(np.concatenate([stages, np.full(20, 2, np.int8), np.zeros(20, np.int8)]))
    return NOTED, r"hypnogram goes on for \d+ s after the recording"


def _unknown_stage(t: Tree) -> Outcome:
    """A word or number that no scorer of this archive uses."""
    pattern, text, reason = {
        "nsrr": (
            r"(<EventType>Stages\|Stages</EventType>\n<EventConcept>)[^<]+",
            r"\1Stage X sleep|X",
            r"'Stage X sleep\|X'",
        ),
        "stg": (r"^(\d+)\t\d+", r"\1\t8x", "is not the number of a sleep_epoch"),
        "allscore": (r"STAGE - \S+", "STAGE - Q7", "is not a sleep stage"),
        "dreams": (r"^\d$", "8", "is not a sleep stage|8"),
    }[t.night.place.dialect]
    t.replace_in_annotation(pattern, text)
    return QUARANTINED, reason


def _contradiction(t: Tree) -> Outcome:
    """An annotation that contradicts itself or another."""
    dialect, path = t.night.place.dialect, t.annotations[0]
    stages = t.night.scored.stages
    if dialect == "nsrr":  # the word and the number of a stage differ
        concept = r"(<EventType>Stages\|Stages</EventType>\n<EventConcept>)[^<]+"
        t.replace_in_annotation(concept, r"\1Stage 2 sleep|5")
        return QUARANTINED, "its word and its number differ"
    if dialect == "sleep_edf":  # a second scorer's file
        shutil.copyfile(path, path.with_name(f"{path.name[:7]}W{path.name[8:]}"))
        return QUARANTINED, "2 annotation files for it"
    # WSC: the other system's file says something else
    other = {"stg": "allscore", "allscore": "stg"}[dialect]
    place = dataclasses.replace(
        t.night.place,
        dialect=other,
        annotations=(t.night.place.annotations[0].replace(f".{dialect}.", f".{other}."),),
    )
    scored = dataclasses.replace(t.night.scored, stages=((stages + 2) % 5).astype(np.int8))
    write_annotations(t.tree, place, scored)
    return QUARANTINED, "contradicts"


def _misnamed(t: Tree) -> Outcome:
    renamed = t.main.with_name(f"copy of {t.main.name}")
    t.main.rename(renamed)
    t.path = renamed.relative_to(t.tree).as_posix()
    return QUARANTINED, "not named like"


def _twin(t: Tree) -> Outcome:
    """The same file again in a folder that sorts behind its own."""
    twin = t.tree / "zz_downloads" / t.main.name
    twin.parent.mkdir(exist_ok=True)
    shutil.copyfile(t.main, twin)
    t.path = twin.relative_to(t.tree).as_posix()
    return QUARANTINED, "a second file of this name"


_ALWAYS = ("truncated", "empty", "missing_annotation", "flat", "duplicate_labels", "unknown_label")
_EDF = ("truncated_header", "swapped_limits", "equal_limits", "misnamed", "twin")
_ENDS = ("stages_short", "stages_long")
_WRONG = ("unknown_stage", "contradiction")
#: Which faults the nights of each dialect can have. Where a stage lasts until the next (WFDB), a
#: file cannot be too short.
FAULTS: dict[str, tuple[str, ...]] = {
    "nsrr": (*_ALWAYS, *_EDF, *_ENDS, *_WRONG, "second_best_annotation"),
    "stg": (*_ALWAYS, *_EDF, *_ENDS, *_WRONG),
    "allscore": (*_ALWAYS, *_EDF, *_ENDS, *_WRONG),
    "sleep_edf": (*_ALWAYS, *_EDF, *_ENDS, "contradiction"),
    "dreams": (*_ALWAYS, *_EDF, *_ENDS, "unknown_stage"),
    "arousal": (*_ALWAYS, "stages_long"),
}
_NEEDS_ANNOTATION = (*_ENDS, "unknown_stage", "contradiction", "missing_annotation")
_DO: dict[str, Callable[[Tree], Outcome]] = {
    "truncated": _truncated,
    "truncated_header": _truncated_header,
    "empty": _empty,
    "missing_annotation": _missing_annotation,
    "second_best_annotation": _second_best_annotation,
    "swapped_limits": _swapped_limits,
    "equal_limits": _equal_limits,
    "duplicate_labels": _duplicate_labels,
    "flat": _flat,
    "unknown_label": _unknown_label,
    "stages_short": _stages_short,
    "stages_long": _stages_long,
    "unknown_stage": _unknown_stage,
    "contradiction": _contradiction,
    "misnamed": _misnamed,
    "twin": _twin,
}


def inject(
    tree: Path, nights: Sequence[SimulatedNight], *, share: float, seed: int = 0, first: int = 0
) -> list[Damage]:
    """Damages a share of the nights of a finished tree, each with one fault.

    Each night gets the kind of its dialect that had the fewest nights so far, the `first` one
    first: few nights see many kinds.
    """
    draws = generator(_FAULTS, seed).random(len(nights))
    dealt: Counter[str] = Counter()
    damaged = []
    for night in (n for n, draw in zip(nights, draws) if draw < share):
        kinds = FAULTS[night.place.dialect]
        kinds = [*kinds[first % len(kinds) :], *kinds[: first % len(kinds)]]
        if not night.place.annotations:
            kinds = [kind for kind in kinds if kind not in _NEEDS_ANNOTATION]
        kind = min(kinds, key=dealt.__getitem__)
        dealt[kind] += 1
        t = Tree(tree, night)
        outcome, expected = _DO[kind](t)
        damaged.append(Damage(t.path, kind, outcome, expected, night.place.subject))
    return damaged
