"""Where each sleep archive keeps its nights, how it calls people, and who scored them how."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

from sleepfm_jax.errors import SimulationError
from sleepfm_jax.simulation.archives import scorers
from sleepfm_jax.simulation.archives.scorers import Scored

_LETTERS = "W123R"  # of stages in hypnograms.csv; ? where unscored


@dataclasses.dataclass(frozen=True)
class Place:
    """Where one night goes and how it is written; paths are relative to the tree."""

    subject: str  # as the archive's file names call the person
    visit: int
    path: str
    montage: str
    dialect: str  # of DIALECTS
    annotations: tuple[str, ...]  # one file for each writer of the dialect; () for none
    plus: bool = False  # EDF+
    record_seconds: int = 1


@dataclasses.dataclass(frozen=True)
class SimulatedNight:
    """A night on disk, and what the generator drew."""

    place: Place
    scored: Scored

    @property
    def letters(self) -> str:
        """Stages, a character a sleep_epoch."""
        return "".join(_LETTERS[stage] if stage >= 0 else "?" for stage in self.scored.stages)


Writer = Callable[[Path, Scored], None]
# Writers of each dialect, the one that the builder reads first.
DIALECTS: dict[str, tuple[Writer, ...]] = {
    "nsrr": (scorers.write_nsrr, scorers.write_profusion),
    "stg": (scorers.write_wsc_stg,),
    "allscore": (scorers.write_wsc_allscore,),
    "sleep_edf": (scorers.write_sleep_edf,),
    "dreams": (scorers.write_dreams,),
    "arousal": (functools.partial(scorers.write_arousal, sfreq=200),),
}
AASM = ("mesa", "chat", "cinc2018")  # scored without a stage 4


def _nsrr(subject: str, visit: int, stem: str, partition: str, montage: str) -> Place:
    at = f"{partition}/{stem}" if partition else stem
    events = "polysomnography/annotations-events"
    return Place(
        subject,
        visit,
        f"polysomnography/edfs/{at}.edf",
        montage,
        "nsrr",
        (f"{events}-nsrr/{at}-nsrr.xml", f"{events}-profusion/{at}-profusion.xml"),
    )


def _shhs(index: int) -> Iterator[Place]:
    subject = f"{200001 + index}"
    for visit in (1, 2)[: 2 - index % 2]:  # every second one came again
        name = f"shhs{visit}"
        yield _nsrr(subject, visit, f"{name}-{subject}", name, name)


def _mesa(index: int) -> Iterator[Place]:
    subject = f"{1 + index:04d}"
    yield _nsrr(subject, 1, f"mesa-sleep-{subject}", "", "mesa")


def _mros(index: int) -> Iterator[Place]:
    subject = f"aa{1 + index:04d}"
    for visit in (1, 2)[: 2 - index % 2]:
        name = f"visit{visit}"
        yield _nsrr(subject, visit, f"mros-{name}-{subject}", name, f"mros{visit}")


def _cfs(index: int) -> Iterator[Place]:
    subject = f"{800002 + index}"
    yield _nsrr(subject, 1, f"cfs-visit5-{subject}", "", "cfs")


def _chat(index: int) -> Iterator[Place]:
    subject = f"{300001 + index}"
    if index % 3 == 2:
        stem = f"chat-baseline-nonrandomized-{subject}"
        yield _nsrr(subject, 1, stem, "nonrandomized", "chat")
        return
    for visit, name in enumerate(("baseline", "followup")[: 2 - index % 3], 1):
        yield _nsrr(subject, visit, f"chat-{name}-{subject}", name, "chat")


def _ccshs(index: int) -> Iterator[Place]:
    subject = f"{1800001 + index}"
    yield _nsrr(subject, 1, f"ccshs-trec-{subject}", "", "ccshs")


def _wsc(index: int) -> Iterator[Place]:
    subject = f"{10119 + 7 * index}"
    for visit in range(1, 2 + index % 3):
        stem = f"polysomnography/wsc-visit{visit}-{subject}-nsrr"
        old = visit == 1  # recorded and scored on the older system
        dialect, montage = ("stg", "wsc_heritage") if old else ("allscore", "wsc_comet")
        annotation = f"{stem}.{dialect}.txt"
        yield Place(subject, visit, f"{stem}.edf", montage, dialect, (annotation,))


def _sleep_edf(index: int) -> Iterator[Place]:
    study, number = ("SC4", "ST7")[index % 2], index // 2
    if number > 99:
        raise SimulationError("sleep_edf has two digits for a person: at most 200 subjects")
    cassette = study == "SC4"
    folder, letter, scorer = (
        ("sleep-cassette", "E", "C") if cassette else ("sleep-telemetry", "J", "P")
    )
    for night in (1, 2):
        stem = f"{folder}/{study}{number:02d}{night}{letter}"
        yield Place(
            f"{study}{number:02d}",
            night,
            f"{stem}0-PSG.edf",
            "sleep_edf_sc" if cassette else "sleep_edf_st",
            "sleep_edf",
            (f"{stem}{scorer}-Hypnogram.edf",),
            plus=True,
            record_seconds=30 if cassette else 10,
        )


def _dreams(index: int) -> Iterator[Place]:
    subject = f"excerpt{1 + index}"
    path = f"DatabaseSpindles/{subject}.edf"
    annotation = f"DatabaseSpindles/Hypnogram_{subject}.txt"
    yield Place(subject, 1, path, "dreams", "dreams", (annotation,))


def _cinc2018(index: int) -> Iterator[Place]:
    test = index % 4 == 3
    subject = f"{'te' if test else 'tr'}{3 + index // 1000:02d}-{index % 1000:04d}"
    stem = f"{'test' if test else 'training'}/{subject}/{subject}"
    annotations = () if test else (f"{stem}.arousal",)  # the test set's are kept back
    yield Place(subject, 1, f"{stem}.hea", "cinc2018", "arousal", annotations)


ARCHIVES: dict[str, Callable[[int], Iterator[Place]]] = {
    "shhs": _shhs,
    "mesa": _mesa,
    "mros": _mros,
    "cfs": _cfs,
    "chat": _chat,
    "wsc": _wsc,
    "ccshs": _ccshs,
    "sleep_edf": _sleep_edf,
    "dreams": _dreams,
    "cinc2018": _cinc2018,
}


def write_annotations(tree: Path, place: Place, scored: Scored) -> None:
    """Writes what the archive's scorer would have written about a night."""
    for path, write in zip(place.annotations, DIALECTS[place.dialect]):
        write(tree / path, scored)
