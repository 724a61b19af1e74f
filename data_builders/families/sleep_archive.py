"""What the builders of sleep archives share: recordings and their scorers' files, found by name.

An archive's builder says how its recordings are named (`NAME`), whose each is (`subject_of`) and
which files may hold its stages (`annotations_of`). Where the files lie below the source folder does
not matter, so a part of an archive, or its folders in another order, builds as well.
"""

from __future__ import annotations

import abc
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import ClassVar

import numpy as np

from data_builders.engine import storage
from data_builders.engine.builder import Plan, RecordsBuilder
from data_builders.engine.splits import by_subject
from data_builders.engine.work_unit import Source
from sleepfm_jax.errors import BuildError
from sleepfm_jax.recordings.read import Recording, read_recording, score
from sleepfm_jax.signals import STAGES, identify

NOT_SCORED = "no annotation file: nothing is scored"
ONLY_SLEEP = (
    "2 hours of sleep or more and all of it N2: scored as sleep and wake only, so N2 may be any "
    "sleep"
)
_TWO_HOURS = 240  # sleep_epochs


def read(root: Path, source: Source, *, meant: Mapping[str, str] | None = None) -> Recording:
    """Reads one recording at its native rates with the stages of its annotation file.

    Args:
        meant: as in `name_channels`, for labels that are not known at all: these signals are then
            read, and looked at for faults, as what they are.

    Raises:
        RecordingError: the recording or its annotation file cannot be read; a night is not built
            with stages that may be wrong.
    """
    recording = read_recording(
        root / source.path,
        subject=source.subject,
        recording=source.recording,
        modalities=_modalities(meant or {}),
    )
    if source.hypnogram is not None:
        score(recording, root / source.hypnogram)
    elif recording.stages is None:
        recording.notes.append(NOT_SCORED)
    if recording.stages is not None and is_only_sleep(recording.stages):
        recording.notes.append(ONLY_SLEEP)
    return recording


def name_channels(recording: Recording, meant: Mapping[str, str]) -> Recording:
    """Names channels whose labels say less than the archive's documentation does.

    Args:
        meant: label in lower case → what it means, as a label that says so (`c4-a1`). An
            underscore is a blank.
    """
    spoken = {_spoken(label): meaning for label, meaning in meant.items()}
    names = {channel.name for channel in recording.channels}
    for channel in recording.channels:
        meaning = spoken.get(_spoken(channel.label))
        if meaning is None or (identity := identify(meaning)).name in names:
            continue
        names.add(identity.name)
        channel.name, channel.modality = identity.name, identity.modality
        channel.notes.append(f"{meaning}, says the archive's documentation")
    return recording


def _spoken(label: str) -> str:
    """A label in lower case, with single blanks for underscores and runs of blanks."""
    return " ".join(label.lower().replace("_", " ").split())


def _modalities(meant: Mapping[str, str]) -> dict[str, str] | None:
    """{label: modality} of the labels meant, with a blank and with an underscore."""
    return {
        label.replace(" ", mark): identify(meaning).modality
        for label, meaning in meant.items()
        for mark in " _"
    } or None


def is_only_sleep(stages: np.ndarray) -> bool:
    """Was a night scored as sleep and wake only, sleep written as N2? int8 [E]."""
    asleep = stages[stages > 0]
    return len(asleep) >= _TWO_HOURS and bool((asleep == STAGES.index("N2")).all())


class ByName:
    """Paths of files by their name, in any case; iterates over the names in lower case."""

    def __init__(self, paths: Iterable[str]):
        self._paths: dict[str, tuple[str, ...]] = {}
        for path in paths:
            name = PurePosixPath(path).name.lower()
            self._paths[name] = (*self._paths.get(name, ()), path)

    def __getitem__(self, name: str) -> tuple[str, ...]:
        """The paths of the files of a name, () where there is none."""
        return self._paths.get(name.lower(), ())

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)


class SleepArchiveBuilder(RecordsBuilder, skip_registration=True):
    """Base class of the builders of sleep archives. label_kind is staging.

    Splits are by subject: the archive's own where there is one (`official_split`), else drawn from
    the subjects' names and the seed, so that all nights of a person are in one split.
    """

    NAME: ClassVar[re.Pattern[str]]  # of a recording's file name, in full and any case
    EXAMPLE: ClassVar[str]  # what such a name looks like, for messages
    SUFFIXES: ClassVar[tuple[str, ...]] = (".edf",)
    ANNOTATION: ClassVar[re.Pattern[str]]  # of an annotation file's name
    NOTES: ClassVar[tuple[str, ...]] = ()  # of every plan
    read = staticmethod(read)

    @abc.abstractmethod
    def subject_of(self, name: re.Match[str]) -> str:
        """The person of a recording, from its file name."""

    @abc.abstractmethod
    def annotations_of(self, name: re.Match[str], files: ByName) -> Sequence[str]:
        """Paths of the files that hold a recording's stages: the best kind that is there.

        More than one may contradict each other: the recording is quarantined.
        """

    def files_of(self, path: str, name: re.Match[str], files: ByName) -> tuple[str, ...]:
        """Further files that a recording is read from."""
        return ()

    def official_split(self, path: str) -> str | None:
        """The split that the archive gives a recording, or None."""
        return None

    def families_of(self, root: storage.AnyPath, listed: Sequence[str]) -> Mapping[str, str]:
        """{subject: family} of those who have relatives in the archive: these share a split.

        Args:
            listed: every file below `root`.
        """
        return {}

    def plan(self) -> Plan:
        root = self.require_source()
        if self.label_kind not in (None, "staging", "none"):
            raise BuildError(f"--label_kind={self.label_kind}: {self.name} is for staging, or none")
        listed = storage.listing(root)
        files = ByName(listed)
        candidates = [p for p in listed if p.lower().endswith(self.SUFFIXES)]
        candidates = [p for p in candidates if not self.ANNOTATION.fullmatch(PurePosixPath(p).name)]
        named = {p: self.NAME.fullmatch(PurePosixPath(p).name) for p in candidates}
        known = {p: match for p, match in named.items() if match is not None}
        if not known:
            found = f" but {len(candidates)} others" if candidates else ""
            raise BuildError(
                f"--source={root}: no recording named like {self.EXAMPLE} in this folder or below "
                f"it{found}"
            )
        official = {p: self.official_split(p) for p in known}
        family = self.families_of(root, listed)
        undecided = [self.subject_of(m) for p, m in known.items() if official[p] is None]
        drawn = by_subject((family.get(s, s) for s in undecided), self.seed)
        sources, used = [], set()
        for path in candidates:
            match = known.get(path)
            if match is None:
                reason = f"not named like {self.EXAMPLE}"
                sources.append(Source(path, "", path, "", problem=reason))
                continue
            subject, annotations = self.subject_of(match), self.annotations_of(match, files)
            used.update(annotations)
            sources.append(
                Source(
                    path=path,
                    subject=subject,
                    recording=PurePosixPath(path).stem,
                    split=official[path] or drawn[family.get(subject, subject)],
                    hypnogram=annotations[0] if annotations else None,
                    files=self.files_of(path, match, files),
                    problem=_problem(path, files, annotations),
                )
            )
        built = [s for s in sources if s.problem is None]
        if not built:
            raise BuildError(
                f"--source={root}: none of {len(candidates)} recordings can be built; the first, "
                f"{sources[0].path}: {sources[0].problem}"
            )
        spare = [p for p in listed if self.ANNOTATION.fullmatch(PurePosixPath(p).name)]
        spare = [p for p in spare if p not in used and not self.is_extra(p, files)]
        return Plan(
            tuple(sources),
            "none" if self.label_kind == "none" else "staging",
            notes=(*self.NOTES, *self.notes_on(family, built), *_notes(built, spare)),
        )

    def notes_on(self, family: Mapping[str, str], built: Sequence[Source]) -> Sequence[str]:
        """What to say of `families_of`."""
        return ()

    def is_extra(self, path: str, files: ByName) -> bool:
        """Does an annotation file that was not chosen belong to a recording all the same?"""
        return False


def _problem(path: str, files: ByName, annotations: Sequence[str]) -> str | None:
    """Why a recording cannot be built, where the names of the files say so."""
    twins = files[PurePosixPath(path).name]
    if twins[0] != path:
        return f"a second file of this name: {twins[0]} is built"
    if len(annotations) > 1:
        return f"{len(annotations)} annotation files for it: {', '.join(annotations)}; leave one"
    return None


def _notes(built: Sequence[Source], spare: Sequence[str]) -> list[str]:
    notes = []
    unscored = [s.path for s in built if s.hypnogram is None]
    if unscored:
        notes.append(
            f"{len(unscored)} of {len(built)} recordings have no annotation file (first: "
            f"{unscored[0]}): built without stages"
        )
    if spare:
        notes.append(
            f"{len(spare)} annotation files belong to no recording that is here (first: {spare[0]})"
        )
    return notes
