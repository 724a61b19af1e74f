"""Nights as examples: the clips of each recording → one row of a batch.

Nothing is stored a second time: a night is made from its clips when it is asked for, and the last
ones that were made are kept in memory.
"""

from __future__ import annotations

import functools
import threading
from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from sleepfm_jax.data.clip_examples import check_labels
from sleepfm_jax.data.datasets import Records
from sleepfm_jax.data.examples import Batch, View
from sleepfm_jax.data.nights import signals as night_signals
from sleepfm_jax.data.nights.index import Known, nights_of
from sleepfm_jax.errors import DatasetError, RecordingError
from sleepfm_jax.recordings.read import Recording
from sleepfm_jax.signals import UNSCORED
from sleepfm_jax.signals.night_layout import NightLayout

CACHE = 1.0
"""GiB of nights that are kept."""

_LENGTHS = 14  # of rows, at most: so many shapes are compiled


class _Row(NamedTuple):
    """A stretch of a night, of sleep_epochs start to stop: mostly all of it."""

    night: int
    start: int
    stop: int


class NightExamples:
    """Every night of one split of one or more datasets that has a signal of the layout; see
    `examples.Examples`.

    A batch is what `signals.night_layout` says. Where coins are given (training), E is at most
    `layout.sleep_epochs`, and a longer night gives a stretch that its coin draws. Otherwise nights
    are whole, up to `layout.longest`; one that is longer still is several rows, one after the
    other. E is the same for every batch of a split, and no longer than its longest night needs,
    rounded up to a fourteenth of `layout.longest`.

    Args:
      cache: GiB of nights that are kept in memory.

    Raises:
      DatasetError: no night has any of the signals, or none of the layout's labels is a class of
        any of the datasets.
    """

    def __init__(self, records: Records, layout: NightLayout, cache: float = CACHE):
        self.records, self.layout = records, layout
        self.name, self.metadata = records.name, records.metadata
        self.nights = nights_of(records)
        usable = [i for i, night in enumerate(self.nights) if self._has_signals(night)]
        self._check(usable)
        self._rows = [
            _Row(i, start, min(start + layout.longest, self.nights[i].sleep_epochs))
            for i in usable
            for start in range(0, self.nights[i].sleep_epochs, layout.longest)
        ]
        self.sleep_epochs = _padded(layout, max(row.stop - row.start for row in self._rows))
        self._made = _Kept(int(cache * 2**30))
        if layout.labels:
            check_labels(records, layout.labels)

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, indices: np.ndarray, coins: Sequence[Any] | None = None) -> Batch:
        """See `examples.Examples`; a coin draws where in a longer night the row is."""
        indices = np.asarray(indices)
        e = self.sleep_epochs if coins is None else min(self.sleep_epochs, self.layout.sleep_epochs)
        batch = self._empty(indices, e)
        for place, index in enumerate(indices):
            if index < 0:
                continue
            row = self._rows[index]
            made, start = self._night(row.night), row.start
            length = min(e, row.stop - row.start)
            if coins is not None and (spare := row.stop - row.start - length):
                start += int(np.random.default_rng(coins[place]).integers(spare + 1))
            self._fill(batch, place, made, start, length)
        if self.layout.labels:
            nothing = np.full((1, len(self.layout.labels)), np.nan, np.float32)
            batch["labels"] = np.concatenate([self.labels, nothing])[indices]  # -1: nothing
        return batch

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """float32 [N, K], of each row: those of its recording, by the layout's names; NaN where
        unknown."""
        first = [self._first(index) for index in range(len(self))]
        return self.records.labels_of(self.layout.labels)[first]

    def why_left_out(self, index: int, kinds: Sequence[str]) -> str:
        """The first of some kinds of `night_layout.LEFT_OUT` that a row's night is; "" if none."""
        stages = self.nights[self._rows[index].night].stages
        scored = sum(stages.values())
        found = {
            "unscored": not scored,
            "no_n1_n3_rem": scored and not (stages["N1"] + stages["N3"] + stages["REM"]),
        }
        return next((kind for kind in kinds if found[kind]), "")

    def people(self) -> set[str]:
        """Pseudonyms of whom the nights are from."""
        return {self.person_of(index) for index in range(len(self))}

    def person_of(self, index: int) -> str:
        """Pseudonym of the person of a night."""
        return self.records.person_of(self._first(index))

    def recording_of(self, index: int) -> str:
        """What tells a night from all others."""
        return self.records.recording_of(self._first(index))

    def dataset_of(self, index: int) -> int:
        """Which of the records' datasets a night is from."""
        return self.records.dataset_of(self._first(index))

    def stored_recording_of(self, index: int) -> str:
        """The recording's name as its records have it."""
        return self.records[self._first(index)].recording

    def clip_number_of(self, index: int) -> int:
        """A row's number in its night: 0, unless the night is longer than `layout.longest`."""
        return self._rows[index].start // self.layout.longest

    def _first(self, index: int) -> int:
        """The row's first record."""
        return self.nights[self._rows[index].night].first

    def _night(self, number: int) -> dict[str, np.ndarray]:
        """A whole night as it is kept in memory."""
        if (made := self._made.get(number)) is None:
            made = self._make(self.nights[number])
            self._made.put(number, made)
        return made

    # What a night is made into, and how that becomes a row: `tokens.TokenNights` has its own.

    def _make(self, known: Known) -> dict[str, np.ndarray]:
        """A whole night, normalised, with its stages."""
        night = night_signals.night_of_records(
            [self.records[known.first + i] for i in range(known.count)],
            self.metadata["sfreq"],
            known.sleep_epochs,
            self.layout.names,
        )
        return _made(night, self.layout)

    def _empty(self, indices: np.ndarray, e: int) -> Batch:
        return _empty(self.layout, indices, e)

    def _fill(
        self, batch: Batch, place: int, made: dict[str, np.ndarray], start: int, length: int
    ) -> None:
        _fill(batch, place, made, self.layout, start, length)

    def _has_signals(self, night: Known) -> bool:
        return bool(set(night.signals) & set(self.layout.names))

    def _check(self, usable: Sequence[int]) -> None:
        wanted = ", ".join(self.layout.names)
        if not usable:
            there = ", ".join(dict.fromkeys(x for n in self.nights for x in n.labels)) or "none"
            raise DatasetError(
                f"{self.name}: no usable signal: no night has any of {wanted} (its channels: "
                f"{there}); rename the channels, or add their names to "
                "sleepfm_jax/signals/aliases.py"
            )
        if missing := len(self.nights) - len(usable):
            logging.warning(
                "%s: %d of %d nights have none of %s and are left out",
                self.name,
                missing,
                len(self.nights),
                wanted,
            )


def rows_of(
    recording: Recording, layout: NightLayout, sfreq: float = night_signals.SFREQ
) -> tuple[night_signals.Night, list[Batch]]:
    """A recording that was just read as the rows that its records would give, whole.

    Args:
      sfreq: Hz of the datasets that the model was trained on (`metadata`).

    Returns:
      The night, which says what was found; and batches of one row (see `signals.night_layout`), one
      after the other, one for each `layout.longest` sleep_epochs. index is 0.

    Raises:
      RecordingError: it has no signal of the layout.
    """
    causal = layout.normalisation == "causal"
    night = night_signals.night_of_recording(recording, layout.names, causal, sfreq)
    made, there, found = _made(night, layout), len(night.stages), []
    if len(made) == 1:
        raise RecordingError(
            recording.path,
            f"no usable signal: {', '.join(night.signals)} (channel "
            f"{', '.join(night.channels.values())}) is flat, or shorter than what resampling needs",
        )
    for start in range(0, there, layout.longest):
        length = min(layout.longest, there - start)
        batch = _empty(layout, np.zeros(1, int), _padded(layout, length))
        _fill(batch, 0, made, layout, start, length)
        found.append(batch)
    return night, found


def _made(night: night_signals.Night, layout: NightLayout) -> dict[str, np.ndarray]:
    """A whole night, normalised, with its stages."""
    return night_signals.row(night, layout) | {"stages": night.stages}


def _padded(layout: NightLayout, sleep_epochs: int) -> int:
    """E of rows that hold so many."""
    unit = max(1, layout.longest // _LENGTHS)
    return min(layout.longest, -(-sleep_epochs // unit) * unit)


def _empty(layout: NightLayout, indices: np.ndarray, e: int) -> Batch:
    """A batch of E sleep_epochs without anything in it."""
    b = len(indices)
    signals = {f"signal/{name}": np.zeros((b, e * n), np.float32) for name, n in layout.signals}
    return signals | {
        "present": np.zeros((b, len(layout.signals)), bool),
        "epoch_mask": np.zeros((b, e), bool),
        "stages": np.full((b, e), UNSCORED, np.int32),
        "index": indices.astype(np.int32),
    }


def _fill(
    batch: Batch,
    place: int,
    made: dict[str, np.ndarray],
    layout: NightLayout,
    start: int,
    length: int,
) -> None:
    """A row: so many sleep_epochs of a night, from one on."""
    for column, (name, samples) in enumerate(layout.signals):
        if (key := f"signal/{name}") in made:
            piece = made[key][start * samples : (start + length) * samples]
            batch[key][place, : len(piece)] = piece
            batch["present"][place, column] = piece.any()  # all gap here: it is not there
    batch["epoch_mask"][place, :length] = True
    batch["stages"][place, :length] = made["stages"][start : start + length]


def without(examples: Any, kinds: Sequence[str]) -> Any:
    """The rows of nights, or of a view of them, that are none of some kinds of
    `night_layout.LEFT_OUT`; says how many are.

    Raises:
      DatasetError: nothing is left.
    """
    base, indices = examples, np.arange(len(examples))
    while isinstance(base, View):
        base, indices = base.base, base.indices[indices]
    why = [base.why_left_out(int(index), kinds) for index in indices]
    kept = [i for i, reason in enumerate(why) if not reason]
    if len(kept) == len(examples):
        return examples
    counts = Counter(reason for reason in why if reason)
    said = ", ".join(f"{count} {reason}" for reason, count in counts.items())
    if not kept:
        raise DatasetError(
            f"{examples.name}: every night is left out of training ({said}): "
            "config.data.nights_left_out"
        )
    logging.warning(
        "%s: %d of %d nights are left out of training (%s)",
        examples.name,
        len(examples) - len(kept),
        len(examples),
        said,
    )
    return View(examples, kept)


class _Kept:
    """The nights that were asked for last, up to so many bytes; for several threads."""

    def __init__(self, limit: int):
        self._limit, self._bytes = limit, 0
        self._lock = threading.Lock()
        self._held: OrderedDict[int, dict[str, np.ndarray]] = OrderedDict()

    def get(self, number: int) -> dict[str, np.ndarray] | None:
        with self._lock:
            if number in self._held:
                self._held.move_to_end(number)
            return self._held.get(number)

    def put(self, number: int, made: dict[str, np.ndarray]) -> None:
        with self._lock:
            if number in self._held:  # another thread made it, too
                return
            self._held[number] = made
            self._bytes += _size(made)
            while self._bytes > self._limit:
                _, oldest = self._held.popitem(last=False)
                self._bytes -= _size(oldest)


def _size(made: dict[str, np.ndarray]) -> int:
    return sum(array.nbytes for array in made.values())
