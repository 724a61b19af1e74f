"""What the builders of labelled wake EEG share: recordings found by name, official splits, people.

A builder says what it reads from a path (`found`) and how a recording's labels become clips
(`read`). Rates are those of the files until the records are made; no filter is applied.
"""

from __future__ import annotations

import abc
import dataclasses
import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any, ClassVar

from data_builders.engine import storage
from data_builders.engine.builder import Plan, RecordsBuilder
from data_builders.engine.options import Option, numbers
from data_builders.engine.splits import by_subject
from data_builders.engine.work_unit import Source
from sleepfm_jax.errors import BuildError

# Of the subjects: 10 % validation and 10 % test, or 10 % of the training subjects where the archive
# has its own test set (arXiv 2605.02500).
FRACTIONS = (0.8, 0.1, 0.1)
FRACTIONS_OF_TRAIN = (0.9, 0.1, 0.0)

TUH_NAME = re.compile(r"(?P<subject>[0-9a-z]{8})_s\d+\w*_t\d+", re.IGNORECASE)
"""What TUH calls a recording: subject, session, part."""
TUH_COHORT = "tuh"
"""Whose subjects the TUH's corpora have: one person has the same eight letters in all of them."""

SIGNALS = {
    "filter": "none beyond the resampling's",
    "normalisation": (
        "z-scored per channel and recording, mean and sd kept: the published recipe's input is "
        "clip(physical, -50, 50) / 10, in uV"
    ),
}
"""What every such dataset says about its signals."""
METADATA = {**SIGNALS, "patch_samples": 128}
"""The same, and the patch that the published recipe cuts them into."""


@dataclasses.dataclass(frozen=True)
class Found:
    """What a recording's path says."""

    subject: str
    official: str | None = None  # train or test, where the archive says so
    labels: tuple[float, ...] = ()  # of the whole recording
    files: tuple[str, ...] = ()  # that its labels are read from
    problem: str | None = None


class WakeEegBuilder(RecordsBuilder, skip_registration=True):
    """Base class of the builders of labelled wake EEG: a class a clip (or `--label_kind=none`).

    Args:
        split_fractions: train, validation and test of the subjects that the archive has in no test
            set of its own; None: 10 % in each that is to be drawn.
        kwargs: as for every builder (`RecordsBuilder`).
    """

    OPTIONS: ClassVar[dict[str, Option]] = {
        "split_fractions": Option(
            "Fractions in train, validation and test of the subjects that are in no test set of "
            "the archive's own. [default: 0.8,0.1,0.1; beside an official test set 0.9,0.1,0]",
            type=numbers,
        )
    }
    CLASSES: ClassVar[tuple[str, ...]]
    EXAMPLE: ClassVar[str]  # of a recording's path
    CLIP_SECONDS = 60.0
    NOTES: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *, split_fractions: Sequence[float] | None = None, **kwargs: Any):
        self.split_fractions = split_fractions
        super().__init__(**kwargs)
        if split_fractions:  # otherwise a dataset that was begun before there was a choice goes on
            self._original_state |= {"split_fractions": tuple(split_fractions)}

    @abc.abstractmethod
    def found(self, path: str, files: frozenset[str]) -> Found | None:
        """What a recording's path, relative to the source, says; None: it is none of these."""

    def plan(self) -> Plan:
        root = self.require_source()
        if self.label_kind not in (None, "classification", "none"):
            raise BuildError(
                f"--label_kind={self.label_kind}: {self.name} is for classification, or none"
            )
        listed = storage.listing(root)
        files = frozenset(listed)
        recordings = [p for p in listed if PurePosixPath(p).suffix.lower() == ".edf"]
        found = {path: self.found(path, files) for path in recordings}
        known = {path: f for path, f in found.items() if f is not None}
        if not known:
            others = f" but {len(recordings)} other EDF files" if recordings else ""
            raise BuildError(
                f"--source={root}: no {self.EXAMPLE} in this folder or below it{others}"
            )
        splits = self._splits(known)
        tested = {f.subject for f in known.values() if f.official == "test"}
        sources = []
        for path, said in found.items():
            name = path.removesuffix(PurePosixPath(path).suffix)
            if said is None:
                reason = f"its path is not like {self.EXAMPLE}"
                sources.append(Source(path, "", name, "", problem=reason))
                continue
            problem = said.problem
            missing = [file for file in said.files if file not in files]
            if missing and problem is None:
                problem = f"missing file: {' and '.join(missing)}"
            if problem is None and said.official == "train" and said.subject in tested:
                problem = f"its subject {said.subject} is in the archive's test set too: left out"
            sources.append(
                Source(
                    path=path,
                    subject=said.subject,
                    recording=name,
                    split="test" if said.official == "test" else splits[said.subject],
                    labels=() if self.label_kind == "none" else said.labels,
                    files=said.files,
                    problem=problem,
                )
            )
        if all(s.problem for s in sources):
            raise BuildError(
                f"--source={root}: none of {len(sources)} recordings can be built; the first, "
                f"{sources[0].path}: {sources[0].problem}"
            )
        if self.label_kind == "none":
            return Plan(tuple(sources), "none", (), self.NOTES, self.metadata())
        return Plan(tuple(sources), "classification", self.CLASSES, self.NOTES, self.metadata())

    def metadata(self) -> dict[str, Any]:
        """Entries of the dataset's metadata beyond the engine's."""
        return dict(METADATA)

    def _splits(self, known: dict[str, Found]) -> dict[str, str]:
        """The split of every subject that is not in the archive's own test set."""
        official = any(f.official for f in known.values())
        drawn = {f.subject for f in known.values() if f.official != "test"}
        fractions = self.split_fractions or (FRACTIONS_OF_TRAIN if official else FRACTIONS)
        try:
            return by_subject(drawn, self.seed, tuple(fractions))
        except ValueError as error:
            raise BuildError(f"--split_fractions: {error}") from error


def folders_of(path: str) -> tuple[str, ...]:
    """Names of the folders above a file, in lower case, the outermost first."""
    return tuple(part.lower() for part in PurePosixPath(path).parts[:-1])


def only(names: tuple[str, ...], choices: tuple[str, ...]) -> str | None:
    """The one of `choices` among a path's folders; None when there is none or more than one."""
    present = [choice for choice in choices if choice in names]
    return present[0] if len(present) == 1 else None
