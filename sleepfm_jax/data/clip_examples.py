"""Clips as examples: records → batches of fixed shape."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sleepfm_jax.data.datasets import Records
from sleepfm_jax.data.examples import Batch
from sleepfm_jax.data.record import Record
from sleepfm_jax.errors import DatasetError
from sleepfm_jax.signals.layout import PUBLISHED_UNIT, Layout

Choose = Callable[..., tuple[np.ndarray, np.ndarray]]
"""(record, layout, its coins or None) → int [n] of the record's channels, int [n] of slots."""

MIN_VALID = 0.5
"""A patch with a smaller share of real samples is masked."""


class ClipExamples:
    """Every clip of one split of one or more datasets; see `examples.Examples`.

    A batch holds signals int16 [B, C, T], scale float32 [B, C] (and offset, for inputs in units),
    mask bool [B, C, S] (True = valid), positions float32 [B, C, 3] (NaN: none), stages int32
    [B, E], labels float32 [B, K] (0, 1, NaN: unknown), index int32 [B].

    Args:
      channel_dropout: probability that a channel is left out where coins are given; at least one of
        each modality stays.
      choose: which channels go to which slots; None: those of a slot's modality, `by_modality`.

    Raises:
      DatasetError: none of the layout's labels is a class of any of the datasets.
    """

    def __init__(
        self,
        records: Records,
        layout: Layout,
        channel_dropout: float = 0.0,
        choose: Choose | None = None,
    ):
        self.records, self.layout, self.channel_dropout = records, layout, channel_dropout
        self._choose = choose
        self.name, self.metadata = records.name, records.metadata
        self.patches = layout.patches(records.clip_samples)
        if layout.labels:
            check_labels(records, layout.labels)

    def __len__(self) -> int:
        return len(self.records)

    def batch(self, indices: np.ndarray, coins: Sequence[Any] | None = None) -> Batch:
        """See `examples.Examples`; a coin chooses among more channels than there are slots."""
        indices = np.asarray(indices)
        chosen = [self._record(max(int(i), 0)) for i in indices]  # a filling row is any record
        rngs = None if coins is None else [np.random.default_rng(coin) for coin in coins]
        batch = collate(chosen, self.layout, self.patches, rngs, self.channel_dropout, self._choose)
        batch["mask"] &= (indices >= 0)[:, None, None]
        batch["index"] = indices.astype(np.int32)
        return batch

    def _record(self, index: int) -> Record:
        """A record, its labels those of the layout."""
        if not self.layout.labels:
            return self.records[index]
        record, classes = self.records.with_classes(index)
        return dataclasses.replace(
            record, labels=labels_by_name(record.labels, classes, self.layout.labels)
        )

    def people(self) -> set[str]:
        """Pseudonyms of all people of the split."""
        return self.records.subjects()

    def person_of(self, index: int) -> str:
        """Pseudonym of the person of a clip."""
        return self.records.person_of(index)

    def recording_of(self, index: int) -> str:
        """What tells the recording of a clip from all others."""
        return self.records.recording_of(index)

    def dataset_of(self, index: int) -> int:
        """Which of the records' datasets a clip is from."""
        return self.records.dataset_of(index)

    def stored_recording_of(self, index: int) -> str:
        """The recording's name as the record has it."""
        return self.records.stored_recording_of(index)

    def clip_number_of(self, index: int) -> int:
        """A clip's number in its recording."""
        return self.records.clip_number_of(index)


def labels_by_name(stored: np.ndarray, classes: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """A record's labels [number of classes] as those wanted, float32 [K]; NaN where its dataset has
    no such class."""
    place = {name: i for i, name in enumerate(classes) if i < len(stored)}
    return np.array([stored[place[n]] if n in place else np.nan for n in wanted], np.float32)


def check_labels(records: Records, labels: Sequence[str]) -> None:
    """Raises DatasetError: none of the labels is a class of any of the datasets."""
    of_folder = {folder: about["classes"] for folder, about in records.metadata_of.items()}
    if not any(set(labels) & set(classes) for classes in of_folder.values()):
        there = "; ".join(
            f"{folder} has {', '.join(classes) or 'none'}" for folder, classes in of_folder.items()
        )
        raise DatasetError(
            f"none of the labels {', '.join(labels)} (config.objective.labels) is a class of any "
            f"dataset in use: {there}"
        )


def collate(
    records: Sequence[Record],
    layout: Layout,
    patches: int,
    rngs: Sequence[np.random.Generator] | None = None,
    channel_dropout: float = 0.0,
    choose: Choose | None = None,
) -> Batch:
    """Records to one batch of fixed shape.

    A recording with more channels of a modality than there are slots gives a random choice of them
    when `rngs` (one a record) are given (training), and otherwise ones spread evenly over its
    montage, so that eyes are among three of brain and eyes. With fewer, the slots left are masked;
    so are those of channels that `channel_dropout` leaves out, by the same `rngs`.

    Args:
      choose: another rule than `by_modality`.

    Returns:
      What `ClipExamples` says, without the index. The model's input is signals * scale for
      input_scaling "zscore"; signals * scale + offset, in units of 10 µV, for "published_uv".

    Raises:
      DatasetError: input in µV of a channel that is no voltage.
    """
    b, c, s = len(records), layout.channels, patches
    batch = {
        "signals": np.zeros((b, c, s * layout.patch_samples), np.int16),
        "scale": np.zeros((b, c), np.float32),
        "mask": np.zeros((b, c, s), bool),
        "positions": np.full((b, c, 3), np.nan, np.float32),
        "stages": np.stack([r.stages for r in records]).astype(np.int32),
        "labels": np.stack([r.labels for r in records]).astype(np.float32),
    }
    in_units = layout.input_scaling == "published_uv"
    if in_units:
        batch["offset"] = np.zeros((b, c), np.float32)
    for row, record in enumerate(records):
        coins = None if rngs is None else rngs[row]
        chosen, places = (choose or by_modality)(record, layout, coins)
        if rngs is not None and channel_dropout:
            kept = _kept(np.array(record.modalities)[chosen], channel_dropout, rngs[row])
            chosen, places = chosen[kept], places[kept]
        t = record.signals.shape[1]
        batch["signals"][row, places, :t] = record.signals[chosen]
        batch["positions"][row, places] = record.positions[chosen]
        batch["mask"][row, places] = _valid_patches(record, chosen, s, layout.patch_samples)
        scale = record.scale[chosen]
        if in_units:
            _check_voltages(record, chosen)
            scale = scale * record.sd[chosen] / PUBLISHED_UNIT
            batch["offset"][row, places] = record.mean[chosen] / PUBLISHED_UNIT
        batch["scale"][row, places] = scale
    return batch


def by_modality(record: Record, layout: Layout, rng) -> tuple[np.ndarray, np.ndarray]:
    """Which of the record's channels go to which of the batch's slots."""
    modalities = np.array(record.modalities)
    chosen, places, start = [], [], 0
    for modality, count in layout.slots:
        channels = np.flatnonzero((modalities == modality) & (record.sd > 0))
        if len(channels) > count:
            if rng is None:
                channels = channels[np.linspace(0, len(channels) - 1, count).round().astype(int)]
            else:
                channels = np.sort(rng.permutation(channels)[:count])
        chosen.append(channels)
        places.append(start + np.arange(len(channels)))
        start += count
    return np.concatenate(chosen), np.concatenate(places)


def _kept(modalities: np.ndarray, probability: float, rng: np.random.Generator) -> np.ndarray:
    """bool [n]: the channels that stay; of each modality the luckiest does in any case."""
    luck = rng.random(len(modalities))
    kept = luck >= probability
    for modality in np.unique(modalities):
        mine = np.flatnonzero(modalities == modality)
        kept[mine[luck[mine].argmax()]] = True
    return kept


def _valid_patches(record: Record, chosen: np.ndarray, patches: int, length: int) -> np.ndarray:
    """bool [len(chosen), S]: patches with at least MIN_VALID real samples."""
    t, padded = record.signals.shape[1], patches * length
    if not len(record.gaps) and t == padded:
        return np.ones((len(chosen), patches), bool)
    valid = np.zeros((len(chosen), padded), bool)
    valid[:, :t] = record.valid()[chosen]
    return valid.reshape(len(chosen), patches, -1).mean(-1) >= MIN_VALID


def _check_voltages(record: Record, chosen: np.ndarray) -> None:
    for i in chosen:
        if record.units[i] != "uV":
            raise DatasetError(
                f"recording {record.recording}: channel {record.channel_labels[i]} is in "
                f"{record.units[i] or 'no unit'!r}, but input_scaling='published_uv' is for "
                f"voltages: leave {record.modalities[i]} out of config.data.slots, or use 'zscore'"
            )
