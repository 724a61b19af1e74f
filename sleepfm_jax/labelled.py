"""A labelled dataset: its splits, its people, its examples, and frozen features of them."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import functools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import logging
from tqdm import tqdm

from sleepfm_jax import experiment, signals
from sleepfm_jax.data import datasets, people
from sleepfm_jax.data.examples import View
from sleepfm_jax.data.record import Record
from sleepfm_jax.errors import DatasetError
from sleepfm_jax.metrics import plain_features
from sleepfm_jax.pretrained import Pretrained

BATCH_SIZE = 32

MIN_VALID = 0.5
"""A clip or sleep_epoch with a smaller share of valid patches is no example."""

FEATURES = "features"
"""Name of what a plain pipeline measures."""

RAW = "raw tokens of "
"""In front of an encoder's name: the mean of its tokenizer's tokens alone."""


class Labels(NamedTuple):
    """N examples: person (pseudonym), recording, clip, sleep_epoch (-1: the clip), label."""

    person: np.ndarray
    recording: np.ndarray
    clip: np.ndarray
    sleep_epoch: np.ndarray
    label: np.ndarray


class Gathered(NamedTuple):
    """Attributes:
    examples: of each split. features: name → split → float [N, F], the same examples for all.
    left_out: split → reason → how many.
    """

    examples: dict[str, Labels]
    features: dict[str, dict[str, np.ndarray]]
    left_out: dict[str, dict[str, int]]


class Labelled:
    """One labelled dataset and features of its examples.

    Args:
      data_dir, dataset: a built dataset with labels or stages.
      channels: "all" channels of a recording, or as many of each modality as were "trained" with
        at once, spread evenly over the montage. The encoder takes any number.
      exclude_pretrained: leave out people that an encoder was trained on, instead of refusing.

    Attributes:
      protocol: "splits": its own; "test": an official test split, validation to be cut from its
        training people; "cross-validation": neither.

    Raises:
      DatasetError: not built, or without labels.
    """

    def __init__(
        self,
        data_dir: str | Path,
        dataset: str,
        channels: str = "all",
        exclude_pretrained: bool = False,
    ):
        self.name, self.channels, self.exclude_pretrained = dataset, channels, exclude_pretrained
        folder = datasets.find_dataset(data_dir, dataset)
        validation, test = (
            datasets.has_split(data_dir, dataset, split) for split in ("validation", "test")
        )
        if test:
            self.protocol = "splits" if validation else "test"
            splits = ("train", "validation", "test") if validation else ("train", "test")
            self.scored = splits[1:]
        else:  # without a test split nobody was set apart to be scored: everybody is, in turn
            self.protocol = "cross-validation"
            splits = ("train", "validation") if validation else ("train",)
            self.scored = splits
        self.records = {split: datasets.Records([folder], split) for split in splits}
        self.people = people.read(folder)
        self.fingerprint = datasets.fingerprint(data_dir, dataset)
        metadata = self.records["train"].metadata
        self.label_kind, self.classes = metadata["label_kind"], list(metadata["classes"])
        if self.label_kind == "none":
            raise DatasetError(
                f"{folder}: no stages and no labels to probe: give hypnograms, or a table with a "
                "label column, when building it"
            )
        self.staging = self.label_kind == "staging"
        if self.staging:
            self.classes = list(signals.STAGES)
        self.clip_seconds = float(metadata["clip_seconds"])

    def gather(
        self, encoders: Mapping[str, Pretrained], *, raw_tokens_of: str | None = None
    ) -> Gathered:
        """Features of every labelled example.

        An encoder's are, for each modality, the clip's vector and the mean of its tokens (staging:
        of the tokens of the sleep_epoch), side by side; zeros where a recording lacks a modality.
        FEATURES are what a plain pipeline measures (`metrics.plain_features`). Examples that are
        mostly gaps are left out of all alike.

        Args:
          raw_tokens_of: name of the encoder whose tokenizer's tokens are averaged, too.

        Raises:
          LeakError: an encoder was trained on people of the splits that are scored.
          DatasetError: no labelled example in a split, or another preprocessing.
        """
        for encoder in encoders.values():
            encoder.check_made_alike(self.records["train"].metadata, self.records["train"].name)
        leaked = self._leaked(encoders.values())
        found = Gathered({}, collections.defaultdict(dict), {})
        for split, records in self.records.items():
            rows = _Rows(self, records, leaked if split in self.scored else frozenset())
            features = {FEATURES: rows.plain()}
            for name, encoder in encoders.items():
                raw = name == raw_tokens_of
                embedded = rows.embedded(self.with_slots(encoder), f"{split}: {name}", raw=raw)
                features[name], tokens = embedded
                if raw:
                    features[RAW + name] = tokens
            usable = [i for i in range(len(rows.places)) if all(x[i] is not None
                      for name, x in features.items() if name in encoders)]  # fmt: skip
            if not usable:
                raise DatasetError(f"{records.folders[0]}: no labelled example in split {split!r}")
            if missing := len(rows.places) - len(usable):
                rows.left_out["examples that are mostly gaps"] = missing
            found.left_out[split] = dict(rows.left_out)
            for reason, count in rows.left_out.items():
                logging.info("%s: left out: %d %s", split, count, reason)
            found.examples[split] = rows.labels(usable)
            for name, x in features.items():
                found.features[name][split] = np.stack([x[i] for i in usable])
        return _in_one(found) if self.protocol == "cross-validation" else found

    def _leaked(self, encoders: Iterable[Pretrained]) -> frozenset[str]:
        """People to be left out: those of the scored splits that an encoder was trained on."""
        trained: set[str] = set()
        for encoder in encoders:
            if encoder.people is None:
                logging.warning(people.NOT_TOLD)
            trained |= encoder.people or set()
        scored = {split: self.records[split].subjects() for split in self.scored}
        what = "the checkpoint's pretraining"
        if not self.exclude_pretrained:
            advice = "--exclude_pretrained leaves them out"
            people.refuse_leak(trained, scored, what_trained=what, advice=advice)
        found = people.leaked(trained, scored)
        if found:
            words = people.describe_leak(found, scored, what_trained=what)
            logging.warning("%s; they are left out", words)
        return frozenset(found)

    def with_slots(self, encoder: Pretrained) -> Pretrained:
        """The encoder with a slot for every channel of the dataset, unless as trained is asked."""
        if self.channels == "trained":
            return encoder
        names = encoder.model.layout.modalities
        return encoder.with_slots(tuple((name, self._most.get(name, 0) or 1) for name in names))

    def calibrated(self, encoder: Pretrained) -> Pretrained:
        """The encoder with batch statistics of the training split (no label is looked at)."""
        asked = self.with_slots(encoder)
        examples = experiment.make_examples(self.records["train"], asked.model.layout)
        return dataclasses.replace(asked.calibrated(examples), model=encoder.model)

    @functools.cached_property
    def _most(self) -> dict[str, int]:
        """The most channels of each modality that a recording has."""
        most: dict[str, int] = collections.Counter()
        for records in self.records.values():
            for modalities in records.modalities():
                for name, count in collections.Counter(modalities).items():
                    most[name] = max(most[name], count)
        return most

    def labels_of(self, record: Record) -> list[tuple[int, Any]]:
        """(sleep_epoch, or -1 for the clip; label) of each example in a record."""
        if self.staging:
            scored = np.flatnonzero(record.stages != signals.UNSCORED)
            return [(int(epoch), int(record.stages[epoch])) for epoch in scored]
        if self.label_kind == "multilabel":
            return [(-1, record.labels)] if np.isfinite(record.labels).any() else []
        known = np.isfinite(record.labels).all()
        return [(-1, int(np.argmax(record.labels)))] if known else []

    def windows(self, patches: int) -> list[np.ndarray]:
        """Which patches are of each sleep_epoch (staging), or of the clip; bool [S] each."""
        if not self.staging:
            return [np.ones(patches, bool)]
        middle = (np.arange(patches) + 0.5) * self.clip_seconds / patches
        epoch_of = (middle // signals.SLEEP_EPOCH_SECONDS).astype(int)
        count = int(np.ceil(self.clip_seconds / signals.SLEEP_EPOCH_SECONDS - 1e-9))
        return [epoch_of == epoch for epoch in range(count)]


def _in_one(found: Gathered) -> Gathered:
    """All splits as "train": what is cross-validated."""
    if len(found.examples) == 1:
        return found
    columns = zip(*found.examples.values())
    return Gathered(
        {"train": Labels(*(np.concatenate(column) for column in columns))},
        {name: {"train": np.concatenate(list(x.values()))} for name, x in found.features.items()},
        found.left_out,
    )


class _Rows:
    """The labelled examples of one split, in the records' order, and features of them."""

    def __init__(self, data: Labelled, records: datasets.Records, leaked: frozenset[str]):
        self.data, self.records = data, records
        self.left_out: dict[str, int] = collections.Counter()
        self.places: list[tuple[int, int]] = []  # (record, sleep_epoch or -1)
        self._examples: list[tuple] = []
        self._plain: list[np.ndarray] = []
        nights: dict[str, list[tuple[float, np.ndarray, int]]] = collections.defaultdict(list)
        with concurrent.futures.ThreadPoolExecutor(_cores()) as pool:
            read = pool.map(lambda i: self._read(i, leaked), range(len(records)))
            shown = tqdm(
                read, total=len(records), desc=f"{records.split}: {FEATURES}", mininterval=1.0
            )
            seen = set()
            for i, (who, start, labels, measured) in enumerate(shown):
                if who[0] in leaked:
                    seen.add(who[0])
                    continue
                if missing := (len(measured) if data.staging else 1) - len(labels):
                    what = (
                        "sleep_epochs without a stage" if data.staging else "clips without a label"
                    )
                    self.left_out[what] += missing
                for window, row in enumerate(measured):
                    epoch = window if data.staging else -1
                    place = -1
                    if epoch in labels:
                        place = len(self.places)
                        self.places.append((i, epoch))
                        self._examples.append((*who, epoch, labels[epoch]))
                        self._plain.append(row)
                    if data.staging:
                        seconds = start + window * signals.SLEEP_EPOCH_SECONDS
                        nights[who[1]].append((seconds, row, place))
        if seen:
            self.left_out["people that a checkpoint was trained on"] = len(seen)
        for night in nights.values():
            self._put_into_context(*zip(*night))

    def _read(self, i: int, leaked: frozenset[str]):
        """(person, recording, clip), start in s, labels by sleep_epoch and plain features of a
        record; nothing of somebody who is left out."""
        record = self.records[i]
        who = (self.data.people.pseudonym(record.subject), record.recording, record.clip)
        if who[0] in leaked:
            return who, record.start, {}, []
        labels = dict(self.data.labels_of(record))
        measured: list[np.ndarray] = []
        if labels or self.data.staging:  # an unscored sleep_epoch is its neighbours' context
            measured = plain_rows(record, self.records.metadata["sfreq"], self.data.staging)
        return who, record.start, labels, measured

    def _put_into_context(self, seconds, rows, places) -> None:
        """The rows of one recording, which see their neighbours."""
        within = plain_features.with_context(np.stack(rows), np.array(seconds))
        for place, row in zip(places, within.astype(np.float32)):
            if place >= 0:
                self._plain[place] = row

    def plain(self) -> list[np.ndarray]:
        return self._plain

    def labels(self, chosen: list[int]) -> Labels:
        return Labels(*(np.array(column) for column in zip(*(self._examples[i] for i in chosen))))

    def embedded(self, encoder: Pretrained, what: str, *, raw: bool):
        """Features of each example (None: mostly gaps), and where asked its mean raw token."""
        source = experiment.make_examples(self.records, encoder.model.layout)
        kept = sorted({i for i, _ in self.places})
        asked = ("clip", "tokens", *(["raw_tokens"] if raw else []))
        view = View(source, kept)
        outputs = encoder.embed(view, batch_size=BATCH_SIZE, outputs=asked)
        of_record: dict[int, tuple] = {}
        for i, out in tqdm(outputs, total=len(view), desc=what, mininterval=1.0):
            mask = out["token_mask"]  # [M, S]
            windows = self.data.windows(mask.shape[1])
            of_record[i] = tuple(
                [_mean_tokens(out[name], mask, mine) for mine in windows]
                for name in asked if name != "clip"
            ) + (out["clip"],)  # fmt: skip
        features, tokens = [], []
        for i, epoch in self.places:
            mean, clip = of_record[i][0][max(epoch, 0)], of_record[i][-1]
            features.append(None if mean is None else np.concatenate([mean, clip], axis=1).ravel())
            if raw:
                token = of_record[i][1][max(epoch, 0)]
                tokens.append(None if token is None else token.ravel())
        return features, tokens


def _cores() -> int:
    """As many threads are worth it: most time is in NumPy and SciPy, which let others work."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _mean_tokens(tokens: np.ndarray, mask: np.ndarray, mine: np.ndarray) -> np.ndarray | None:
    """Mean over the valid patches among `mine`, [M, S, D] → [M, D]; None: mostly gaps."""
    if mask[:, mine].any(0).mean() < MIN_VALID:
        return None
    weight = (mask & mine).astype(np.float32)[..., None]  # [M, S, 1]
    return (tokens * weight).sum(1) / np.maximum(weight.sum(1), 1)


def plain_rows(record: Record, sfreq: float, staging: bool) -> list[np.ndarray]:
    """Plain features of each sleep_epoch (staging), or of the clip."""
    x, valid = record.physical(), record.valid()
    names, modalities = record.channel_names, record.modalities
    if staging:
        found = plain_features.staging_features(
            x, valid, record.positions, modalities, names, sfreq
        )
        return list(found)
    window = x.shape[1] / sfreq
    brain = plain_features.wake_features(x, valid, record.positions, modalities, sfreq, window)
    leads = [i for i, modality in enumerate(modalities) if modality == "ecg"]
    heart = plain_features.heart_features(x[leads], valid[leads], [names[i] for i in leads], sfreq)
    return [np.concatenate([brain[0], heart])]
