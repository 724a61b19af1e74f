"""Which rows each part of a run has: training, validation, test, and what evaluators ask for.

A run takes the splits of its datasets, or, with `config.data.folds`, cross-validates by people over
all of their splits together. Where a layout names labels, rows without any known one are left out;
where it asks what became of people, those of whom nothing is known. Everything that is drawn is a
function of pseudonyms and seeds: another process, or a run that goes on, divides alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from sleepfm_jax.data import datasets, follow_up, people
from sleepfm_jax.data.examples import Examples, View, balanced, by_lot
from sleepfm_jax.data.mixture import mixed
from sleepfm_jax.data.nights.examples import without
from sleepfm_jax.errors import ConfigError
from sleepfm_jax.signals.layout import Layout
from sleepfm_jax.signals.night_layout import OF_NIGHTS, NightLayout

TRAIN, VALIDATION, TEST = "train", "validation", "test"

_UNLABELLED = -1
_OF_CLIPS = ("balanced", "channel_dropout", "mispaired")
"""Keys of `config.data` that say something of clips, and nothing of nights."""


class Division:
    """The rows of the parts of one run.

    Args:
      data_dir: where the datasets are.
      config: checked.
      layout: of the rows; its `labels` say what is labelled.
      make: (records, layout) → their rows; clips for training with `channel_dropout`, nights with
        `cache` (`experiment.make_examples`).

    Attributes:
      names: of the datasets that are trained on.
      records: those that the training rows are among.
      leaks: {"test of wsc": people of it who were trained on}, of datasets that
        `config.data.allow_leaks` names, where `check_no_leak` found any.

    Raises:
      ConfigError: the rows are nights, and something is asked for that only clips have.
      DatasetError: a dataset that is not built or lacks the training split, or datasets that were
        not made alike.
    """

    def __init__(
        self,
        data_dir: str | Path,
        config: Mapping[str, Any],
        layout: Layout | NightLayout,
        make: Callable[..., Examples],
    ):
        self._data_dir, self._layout, self._make = data_dir, layout, make
        self._data, self._seed = config["data"], config["seed"]
        self._opened: dict[tuple, datasets.Records] = {}
        self._found: dict[tuple, np.ndarray] = {}
        self._made: dict[int, Examples] = {}
        self._nights = layout.examples in OF_NIGHTS
        self.leaks: dict[str, int] = {}
        for key in _OF_CLIPS if self._nights else ():
            if self._data[key]:
                raise ConfigError(
                    f"config.data.{key} is {self._data[key]!r}, but the rows of this model are "
                    "nights: it is for clips"
                )
        self.names = tuple(self._data["datasets"])
        self.records = self._open(self.names, TRAIN)

    def training(self) -> Examples:
        """The rows that are trained on: of a share of the people, balanced or mixed by weights,
        without the nights that are left out, as is asked for.

        Raises:
          ConfigError: balanced rows of what has not one class a row, or weights that do not fit.
          DatasetError: no night is left.
        """
        dropout, weights = self._data["channel_dropout"], self._data["weights"]
        examples = self._rows(
            self.names, TRAIN, **({"channel_dropout": dropout} if dropout else {})
        )
        if self._nights and self._data["nights_left_out"]:
            examples = without(examples, self._data["nights_left_out"])
        if self._data["balanced"]:
            examples = balanced(examples, self._classes(), self._seed)
        if weights:
            examples = mixed(examples, weights, self._seed)
        return examples

    def rows(self, split: str, names: Sequence[str] = ()) -> Examples | None:
        """The rows of a split, or of "all"; None where there are none.

        Args:
          names: of datasets; those that are not the run's keep their own splits. (): the run's.

        Raises:
          DatasetError: they were not made as the training records were.
        """
        names = wanted = tuple(names) or self.names
        if not self._in_folds(names):
            names = tuple(n for n in wanted if datasets.has_split(self._data_dir, n, split))
        examples = self._rows(names, split) if names else ()
        if not len(examples):
            logging.info("no %s split in %s", split, list(wanted))
            return None
        datasets.check_made_alike(
            self.records.metadata, examples.metadata, (self.records.name, examples.name)
        )
        return examples

    def clips(self, split: str) -> int:
        """How many rows the run's datasets have of a split."""
        if self._data["folds"]:
            return len(self._chosen(self.names, split))
        if self._nights:
            return len(self.rows(split) or ())
        return datasets.count(self._data_dir, self.names, split)

    def check_no_leak(
        self, rows: Iterable[Mapping[str, Any]], earlier: frozenset[str] = frozenset()
    ) -> None:
        """Nobody is scored who was trained on, here or before; but of the datasets that
        `config.data.allow_leaks` names they are counted (`leaks`) and logged.

        Args:
          rows: of `config.evaluators`. All splits of the run's datasets are held to be scored,
            whether a row looks at them or not.
          earlier: pseudonyms of whom the weights had been trained on before.

        Raises:
          LeakError: how many, who and where.
        """
        allowed = self._data["allow_leaks"]
        if not self._data["folds"]:
            self._add(datasets.check_no_leak(self._data_dir, self.names, earlier, allowed))
        scored = self._scored(rows)
        self._add(
            people.refuse_leak(
                self._rows(self.names, TRAIN).people(),
                scored,
                what_trained=f"the training part of {' or '.join(self.names)}",
                advice="Score other people, or build both with the same split",
                allowed=allowed,
            )
        )
        self._add(
            people.refuse_leak(
                earlier,
                scored,
                what_trained="the training of what config.data.encoder or "
                "config.initialise_from names",
                advice="Score other people, or start from a run without them",
                allowed=allowed,
            )
        )

    def _add(self, found: Mapping[str, int]) -> None:
        for place, count in found.items():
            self.leaks[place] = max(count, self.leaks.get(place, 0))

    def _scored(self, rows: Iterable[Mapping[str, Any]]) -> dict[str, Iterable[str]]:
        """{where: pseudonyms} of what is scored besides the splits of the run's datasets."""
        found: dict[str, Iterable[str]] = {}
        if self._data["folds"]:
            for split in (VALIDATION, TEST):
                where = f"the {split} part of fold {self._data['fold']}"
                found[where] = self._rows(self.names, split).people()
        for row in rows:
            names, split = tuple(row["datasets"]) or self.names, row["split"]
            if names == self.names and split != datasets.ALL:
                continue
            for name in names:
                if name in self.names and split == TRAIN and not self._data["folds"]:
                    continue
                who = people.read(datasets.find_dataset(self._data_dir, name))
                parts = [who.of_split(split)] if split != datasets.ALL else who.splits.values()
                found[f"{split} of {name}"] = frozenset().union(*parts)
        return found

    def _rows(self, names: tuple[str, ...], split: str, **of_training: Any) -> Examples:
        examples = self._of(names, split, **of_training)
        chosen = self._chosen(names, split)
        if len(chosen) == len(examples):
            return examples
        what = f"{split}, {len(chosen)} {self._layout.examples} of {examples.name}"
        return View(examples, chosen, what)

    def _of(self, names: tuple[str, ...], split: str, **of_training: Any) -> Examples:
        """All rows of `_open`; nights are found, and kept in memory, once."""
        records = self._open(names, split)
        if not self._nights:
            return self._make(records, self._layout, **of_training)
        if id(records) not in self._made:
            cache = self._data["night_cache"]
            self._made[id(records)] = self._make(records, self._layout, cache=cache)
        return self._made[id(records)]

    def _chosen(self, names: tuple[str, ...], split: str) -> np.ndarray:
        """Which rows of `_of` are of a part: int [n], ascending."""
        if (names, split) not in self._found:
            self._found[names, split] = self._choose(names, split)
        return self._found[names, split]

    def _choose(self, names: tuple[str, ...], split: str) -> np.ndarray:
        records, data = self._open(names, split), self._data
        rows = self._of(names, split) if self._nights else records
        labels = self._labels(records, rows)
        chosen = np.arange(len(rows)) if labels is None else np.flatnonzero(_known(labels))
        folds = self._in_folds(names) and split != datasets.ALL
        fewer = names == self.names and split == TRAIN and data["label_fraction"] < 1
        if not (folds or fewer):
            return chosen
        person = np.array([rows.person_of(int(i)) for i in chosen], np.str_)
        stratum = strata(person, None if labels is None else labels[chosen])
        if folds:
            parts = {data["fold"]: TEST, (data["fold"] + 1) % data["folds"]: VALIDATION}
            fold_of = deal(stratum, data["folds"], data["fold_seed"])
            stratum = {w: s for w, s in stratum.items() if parts.get(fold_of[w], TRAIN) == split}
        mine = share(stratum, data["label_fraction"], self._seed) if fewer else list(stratum)
        return chosen[np.isin(person, mine)]

    def _labels(self, records: datasets.Records, rows: Any) -> np.ndarray | None:
        """float32 [N, K]; all NaN where a row's one class is none of these, or nobody knows what
        became of its person. None: no labels."""
        if self._layout.follow_up:
            return follow_up.events_of(rows, records, self._layout.follow_up)
        if not self._layout.labels:
            return None
        labels = rows.labels if self._nights else records.labels_of(self._layout.labels)
        if _kinds(records) == {"classification"}:
            labels[~(labels == 1).any(axis=1)] = np.nan
        return labels

    def _classes(self) -> np.ndarray:
        """int [n], the class of each training row."""
        kinds = _kinds(self.records)
        if kinds != {"classification"} or not self._layout.labels:
            has = (
                f"label_kind {' and '.join(sorted(kinds))}" if self._layout.labels else "no labels"
            )
            raise ConfigError(
                f"config.data.balanced is True, but the rows have {has}: only those of one class "
                "each (label_kind classification) can be balanced"
            )
        labels = self._labels(self.records, self.records)[self._chosen(self.names, TRAIN)]
        return np.nanargmax(labels, axis=1)

    def _in_folds(self, names: tuple[str, ...]) -> bool:
        return bool(self._data["folds"]) and names == self.names

    def _open(self, names: tuple[str, ...], split: str) -> datasets.Records:
        key = (names, datasets.ALL if self._in_folds(names) else split)
        if key not in self._opened:
            self._opened[key] = datasets.open_records(self._data_dir, *key)
        return self._opened[key]


def _known(labels: np.ndarray) -> np.ndarray:
    """bool [N]: rows with a known label."""
    return np.isfinite(labels).any(axis=1)


def _kinds(records: datasets.Records) -> set[str]:
    return {metadata["label_kind"] for metadata in records.metadata_of.values()}


def strata(person: np.ndarray, labels: np.ndarray | None) -> dict[str, int]:
    """{person: class} by which people are spread: of the classes that a person has, the one that
    fewest people have.

    Args:
      person: str [N], of each row.
      labels: float [N, K] of 0, 1 and NaN; None: everybody is of one stratum.
    """
    who, place = np.unique(person, return_inverse=True)
    if labels is None or not labels.shape[1]:
        return dict.fromkeys(who.tolist(), _UNLABELLED)
    has = np.zeros((len(who), labels.shape[1]), bool)
    np.logical_or.at(has, place, labels == 1)
    rarity = np.where(has, has.sum(axis=0), len(who) + 1)  # of what a person has not: no matter
    rarest = np.where(has.any(axis=1), rarity.argmin(axis=1), _UNLABELLED)
    return dict(zip(who.tolist(), rarest.tolist()))


def deal(stratum: Mapping[str, int], folds: int, seed: int) -> dict[str, int]:
    """{person: fold}: one after the other, stratum by stratum, each in an order drawn by pseudonyms
    and seed. Folds differ by one person at most, and by one of a stratum."""
    order = [who for members in _by_lot(stratum, seed) for who in members]
    return {who: place % folds for place, who in enumerate(order)}


def share(stratum: Mapping[str, int], fraction: float, seed: int) -> list[str]:
    """A share of the people, of every stratum alike and at least one of each, drawn by pseudonyms
    and seed: a larger share holds the smaller ones."""
    members = _by_lot(stratum, seed)
    ranked = sorted(
        (place / len(mine), number, who)
        for number, mine in enumerate(members)
        for place, who in enumerate(mine)
    )
    count = max(len(members), round(fraction * len(stratum)))
    return [who for *_, who in ranked[:count]]


def _by_lot(stratum: Mapping[str, int], seed: int) -> list[list[str]]:
    """The people of each stratum, in their drawn order."""
    groups: dict[int, list[str]] = {}
    for who in by_lot(stratum, seed):
        groups.setdefault(stratum[who], []).append(who)
    return [groups[number] for number in sorted(groups)]
