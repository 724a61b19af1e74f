"""The seam between stored records and batches: a source of rows, and views of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from sleepfm_jax.errors import DatasetError

Batch = dict[str, np.ndarray]


class Examples(Protocol):
    """Rows of one fixed shape, in a fixed order. Implementations: `clip_examples.ClipExamples`,
    `nights.examples.NightExamples`, `nights.tokens.TokenNights`.

    Attributes:
      name: of the datasets and split, for messages.
      metadata: how the rows were made: sfreq, preprocessing, …
    """

    name: str
    metadata: Mapping[str, Any]

    def __len__(self) -> int: ...

    def batch(self, indices: np.ndarray, coins: Sequence[Any] | None = None) -> Batch:
        """Rows `indices` [B] as arrays [B, …], B leading in every one, among them index int32 [B].

        Args:
          indices: -1: a filling row, masked throughout.
          coins: one seed a row, of everything that is drawn for it (training); None: nothing is.
        """

    def people(self) -> set[str]:
        """Pseudonyms of whom the rows are from (`data.people`)."""

    def person_of(self, index: int) -> str:
        """Pseudonym of the person of one row."""

    def recording_of(self, index: int) -> str:
        """What tells the recording of one row from all others; a night, with its person."""

    def dataset_of(self, index: int) -> int:
        """Which of the datasets in use one row is from."""

    # Only of rows that have labels: `stored_recording_of`, the recording's name as it is stored,
    # and `clip_number_of`, the row's number in it.


class View:
    """Some rows of other examples, in an order of its own, repeated or not.

    A batch's `index` says which rows of the base they are.
    """

    def __init__(self, base: Examples, indices: Iterable[int], name: str = ""):
        self.base = base
        self.indices = np.fromiter(indices, np.int64)
        self.name = name or f"{len(self.indices)} of {base.name}"
        self.metadata = base.metadata
        if len(self.indices) and not 0 <= self.indices.min() <= self.indices.max() < len(base):
            raise IndexError(f"{self.name}: indices beyond the {len(base)} rows of {base.name}")

    def __len__(self) -> int:
        return len(self.indices)

    def batch(self, indices: np.ndarray, coins: Sequence[Any] | None = None) -> Batch:
        """As the base's."""
        indices = np.asarray(indices)
        mine = np.full(len(indices), -1, np.int64)
        mine[indices >= 0] = self.indices[indices[indices >= 0]]
        return self.base.batch(mine, coins)

    def people(self) -> set[str]:
        """Of these rows only."""
        return {self.base.person_of(int(index)) for index in np.unique(self.indices)}

    def person_of(self, index: int) -> str:
        """Of one of these rows."""
        return self.base.person_of(int(self.indices[index]))

    def recording_of(self, index: int) -> str:
        """Of one of these rows."""
        return self.base.recording_of(int(self.indices[index]))

    def dataset_of(self, index: int) -> int:
        """Of one of these rows."""
        return self.base.dataset_of(int(self.indices[index]))


def base_of(examples: Examples) -> Examples:
    """Whose rows the `index` of a batch says."""
    while isinstance(examples, View):
        examples = examples.base
    return examples


def spread(examples: Examples, limit: int) -> Examples:
    """At most `limit` rows, spread evenly over all."""
    if limit >= len(examples):
        return examples
    return View(examples, np.linspace(0, len(examples) - 1, limit).astype(int))


def whole_recordings(examples: Examples, limit: int) -> Examples:
    """At most `limit` rows: whole recordings of people spread evenly over all, of two at least.

    Everybody's first recording comes before anybody's second. Where not even two people's fit, it
    is rows spread evenly over the first recordings of two.
    """
    if limit >= len(examples):
        return examples
    of_person: dict[str, dict[str, list[int]]] = {}
    for row in range(len(examples)):
        recordings = of_person.setdefault(examples.person_of(row), {})
        recordings.setdefault(examples.recording_of(row), []).append(row)
    everybodys = [list(recordings.values()) for recordings in of_person.values()]
    kept: list[list[int]] = []
    left, number = limit, 0
    while nth := [recordings[number] for recordings in everybodys if len(recordings) > number]:
        chosen = _as_many_as_fit(nth, left)
        kept += chosen
        left -= sum(map(len, chosen))
        number += 1
        if len(chosen) < len(nth):
            break
    if len(kept) < min(2, len(everybodys)):
        share = max(1, limit // min(2, len(everybodys)))
        firsts = [recordings[0] for recordings in (everybodys[0], everybodys[-1])]
        kept = [[rows[i] for i in _evenly(len(rows), share)] for rows in firsts[-limit:]]
    return View(examples, sorted({row for rows in kept for row in rows}))


def _as_many_as_fit(recordings: Sequence[list[int]], limit: int) -> list[list[int]]:
    """The most recordings, spread evenly, that have no more than `limit` rows together."""
    rows = np.array([len(recording) for recording in recordings])
    for count in range(min(len(rows), limit), 0, -1):
        chosen = _evenly(len(rows), count)
        if rows[chosen].sum() <= limit:
            return [recordings[i] for i in chosen]
    return []


def _evenly(there: int, count: int) -> np.ndarray:
    """At most `count` of so many places, spread evenly."""
    return np.linspace(0, there - 1, min(there, count)).round().astype(int)


def with_people(examples: Examples, names: Iterable[str]) -> View:
    """The rows of some people (pseudonyms): a fold, a cohort without those left out."""
    wanted = frozenset(names)
    return View(examples, (i for i in range(len(examples)) if examples.person_of(i) in wanted))


def fraction_of_people(examples: Examples, fraction: float, seed: int) -> View:
    """The rows of a share of the people, at least one, drawn by their pseudonyms and the seed: a
    larger share holds the smaller ones.

    Raises:
      DatasetError: the fraction is not above 0 and at most 1.
    """
    if not 0 < fraction <= 1:
        raise DatasetError(f"a fraction of people must be above 0 and at most 1, not {fraction}")
    people = by_lot(examples.people(), seed)
    return with_people(examples, people[: max(1, round(fraction * len(people)))])


def by_lot(names: Iterable[str], seed: int) -> list[str]:
    """People in an order that is drawn by their pseudonyms and the seed: others who come or go do
    not change it."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())


def balanced(examples: Examples, classes: np.ndarray, seed: int) -> View:
    """Rows drawn with replacement so that every class is as frequent as the most frequent one.

    Args:
      classes: int [N], the class of each row; rows of a negative class are left out.
    """
    classes, rng = np.asarray(classes), np.random.default_rng(seed)
    if len(classes) != len(examples):
        raise ValueError(f"{len(classes)} classes for {len(examples)} rows")
    groups = [np.flatnonzero(classes == k) for k in np.unique(classes[classes >= 0])]
    most = max((len(group) for group in groups), default=0)
    extra = [rng.choice(group, most - len(group)) for group in groups]
    return View(examples, np.sort(np.concatenate([*groups, *extra, np.zeros(0, int)])))
