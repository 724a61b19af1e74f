"""A night as a model staged it, and how its classes stand to the five stages of the AASM."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from sleepfm_jax.signals import SLEEP_EPOCH_SECONDS, UNSCORED
from sleepfm_jax.signals.stages import class_of_stage

NOT_STAGED = "?"
"""What files call a sleep_epoch without any signal."""


@dataclasses.dataclass(frozen=True)
class StagedNight:
    """One recording and what a model says of it.

    Attributes:
      name: of its files, below the output folder, without an ending.
      file: the recording, as it was given.
      start: of the recording, where it says so.
      classes: K names; "N1+N2" are two stages in one.
      probabilities: float32 [E, K], one row a 30-s sleep_epoch from the recording's start.
      staged: bool [E]; False where no signal that was used has anything but gaps.
      signals: {signal: label of its channel in the file} of those that were used.
      absent: signals that the model knows and that were not to be had.
      scored: int [E] indices into `signals.STAGES`, -1 unscored, of the file or of a hypnogram
        beside it; None where there is none.
      notes: what a reader should know of this night.
      about: what else stats.json is to say: the model, the program, the file.
    """

    name: str
    file: str
    start: datetime | None
    classes: tuple[str, ...]
    probabilities: np.ndarray
    staged: np.ndarray
    signals: Mapping[str, str]
    absent: tuple[str, ...] = ()
    scored: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def predicted(self) -> np.ndarray:
        """int [E]: indices into the classes, -1 where nothing was staged."""
        return np.where(self.staged, self.probabilities.argmax(axis=1), UNSCORED)

    @property
    def hours(self) -> float:
        return len(self.probabilities) * SLEEP_EPOCH_SECONDS / 3600

    def words(self) -> list[str]:
        """The class of every sleep_epoch, or `NOT_STAGED`."""
        return [self.classes[k] if k >= 0 else NOT_STAGED for k in self.predicted]

    def scored_classes(self) -> np.ndarray | None:
        """What was scored, int [E], as indices into the classes; -1 unscored."""
        if self.scored is None:
            return None
        table = np.array([*class_of_stage(self.classes), UNSCORED])
        return table[self.scored.astype(int)]  # -1 is the last


def runs(words: Sequence[str]) -> list[tuple[float, float, str]]:
    """(onset, duration, word) in seconds of each run of equal words, one a sleep_epoch."""
    found, epoch = [], 0
    for word, group in itertools.groupby(words):
        length = len(list(group))
        onset = float(epoch * SLEEP_EPOCH_SECONDS)
        found.append((onset, float(length * SLEEP_EPOCH_SECONDS), word))
        epoch += length
    return found
