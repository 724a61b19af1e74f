"""Records → fixed-shape batches, with Grain.

The stream is a pure function of (seed, step): each pass over the data is one global
permutation, cut into global batches; a process loads its own consecutive rows of each. Resuming
at a step, on any number of processes, therefore continues the same stream, and a row keeps its
place in the global batch (docs/design.md §5.7): consecutive rows keep the global array, and so
dropout's bits, the same on any number of hosts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grain
import numpy as np
import tensorflow_datasets as tfds

from sleepfm_jax import signals
from sleepfm_jax.data import people as subjects
from sleepfm_jax.data import provenance
from sleepfm_jax.data.clips import Record, decode
from sleepfm_jax.errors import DatasetError

MIN_VALID = 0.5
"""A patch with a smaller share of real samples is masked."""


@dataclasses.dataclass(frozen=True)
class BatchSpec:
    """The fixed shapes of a batch.

    Attributes:
      slots: channels kept of each modality, in order: (("bas", 10), ("resp", 7), …). C: their sum.
      patch_samples: P.
      clip_samples: T of the dataset; batches round it up to whole patches.
    """

    slots: tuple[tuple[str, int], ...]
    patch_samples: int
    clip_samples: int

    def __post_init__(self):
        for modality, count in self.slots:
            if modality not in signals.MODALITIES or count < 1:
                raise DatasetError(
                    f"slots name {modality!r}: {count}; expected a positive number of channels of "
                    f"{', '.join(signals.MODALITIES)}"
                )

    @property
    def channels(self) -> int:
        """C."""
        return sum(count for _, count in self.slots)

    @property
    def patches(self) -> int:
        """S."""
        return -(-self.clip_samples // self.patch_samples)


class Records:
    """Random access to the records of one split of one or more datasets of the same clip format.

    Datasets with other classes can be pretrained on together: records then come without labels.

    Attributes:
      metadata: sfreq, clip_seconds, task, classes, preprocessing … as the builder wrote them.
    """

    def __init__(self, folders: Sequence[Path], split: str):
        self.split, self.folders = split, list(folders)
        self._sources, metadata = [], []
        for folder in self.folders:
            builder = tfds.builder_from_directory(folder)
            if split not in builder.info.splits:
                raise DatasetError(
                    f"{folder}: no split {split!r}; it has {sorted(builder.info.splits)}"
                )
            self._sources.append(builder.as_data_source(split))
            metadata.append(dict(builder.info.metadata or {}))
        self.metadata = metadata[0]
        for folder, other in zip(self.folders, metadata):
            for key in ("sfreq", "clip_seconds"):
                if other[key] != self.metadata[key]:
                    raise DatasetError(
                        f"{folder}: {key} is {other[key]}, but {self.folders[0]} has "
                        f"{self.metadata[key]}: build them alike to use them together"
                    )
        kinds = [(other["task"], list(other["classes"])) for other in metadata]
        self._labelled = all(kind == kinds[0] for kind in kinds)
        self._ends = np.cumsum([len(source) for source in self._sources])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Record:
        which = int(np.searchsorted(self._ends, index, side="right"))
        start = self._ends[which - 1] if which else 0
        record = decode(self._sources[which][int(index - start)])
        return record if self._labelled else dataclasses.replace(record, labels=record.labels[:0])

    def modalities(self) -> Iterator[Sequence[str]]:
        """The modality of each channel, recording by recording, of all splits: from the build
        reports, or else from the records."""
        for folder in self.folders:
            if not (folder / provenance.FILENAME).exists():
                yield from (self[i].modalities for i in range(len(self)))
                return
            for recording in provenance.load(folder)["recordings"]:
                yield [channel["modality"] for channel in recording["channels"]]

    def subjects(self) -> set[str]:
        """Pseudonyms of the people in this split (see `data.subjects`)."""
        found = (people(folder)["subjects"].get(self.split, ()) for folder in self.folders)
        return {pseudonym for names in found for pseudonym in names}

    @property
    def clip_samples(self) -> int:
        """T as stored."""
        return round(self.metadata["sfreq"] * self.metadata["clip_seconds"])


def find_dataset(data_dir: str | Path, name: str) -> Path:
    """The folder of the newest version of a built dataset: data_dir/name/**/dataset_info.json.

    Raises:
      DatasetError: nothing built there; the message says what is.
    """
    root = Path(data_dir) / name
    found = sorted(root.glob("**/dataset_info.json"), key=lambda p: _version(p.parent.name))
    if not found:
        there = sorted({p.relative_to(data_dir).parts[0] for p in _infos(Path(data_dir))})
        raise DatasetError(
            f"no dataset {name!r} under {data_dir}"
            + (f" (there: {', '.join(there)})" if there else "")
            + f": build it with `python -m launch.build --dataset={name} --source=… "
            f"--data_dir={data_dir}`"
        )
    return found[-1].parent


def people(folder: Path) -> dict[str, Any]:
    """Whose subjects a dataset has, and who is in which split: its splits.json.

    Raises:
      DatasetError: it does not say.
    """
    try:
        return subjects.read_manifest(folder)
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{folder}: does not say who is in its splits ({error}): build it again"
        ) from error


def check_no_leak(data_dir: str | Path, names: Sequence[str]) -> None:
    """Nobody of the training splits of the named datasets is in another split of any of them.

    Raises:
      DatasetError: says how many are, and where: two datasets of one cohort, split apart.
    """
    found = {name: people(find_dataset(data_dir, name))["subjects"] for name in names}
    trained = {s for splits in found.values() for s in splits.get("train", ())}
    for name, splits in found.items():
        for split in splits.keys() - {"train"}:
            if leaked := trained.intersection(splits[split]):
                raise DatasetError(
                    f"{len(leaked)} subjects of {name}'s {split} split are in the training split "
                    f"of {' or '.join(names)}: {', '.join(sorted(leaked)[:5])}; their figures "
                    "would be optimistic. Build both with the same split, or use one"
                )


def has_split(data_dir: str | Path, name: str, split: str) -> bool:
    """Does the named dataset have this split, with at least one record in it?"""
    splits = tfds.builder_from_directory(find_dataset(data_dir, name)).info.splits
    return split in splits and splits[split].num_examples > 0


def open_records(data_dir: str | Path, names: Sequence[str], split: str) -> Records:
    """The records of one split of the named datasets, one after the other."""
    return Records([find_dataset(data_dir, name) for name in names], split)


def collate(
    records: Sequence[Record], spec: BatchSpec, rng: np.random.Generator | None = None
) -> dict[str, np.ndarray]:
    """Records to one batch of fixed shape.

    A recording with more channels of a modality than there are slots gives a random choice of them
    when `rng` is given (training), and otherwise ones spread evenly over its montage, so that eyes
    are among three of brain and eyes. With fewer, the slots left are masked.

    Returns:
      signals int16 [B, C, T], scale float32 [B, C] (z-score = signals * scale), mask bool [B, C, S]
      (True = valid), positions float32 [B, C, 3] (NaN: none), stages int32 [B, E], labels
      float32 [B, K].
    """
    b, c, s = len(records), spec.channels, spec.patches
    batch = {
        "signals": np.zeros((b, c, s * spec.patch_samples), np.int16),
        "scale": np.zeros((b, c), np.float32),
        "mask": np.zeros((b, c, s), bool),
        "positions": np.full((b, c, 3), np.nan, np.float32),
        "stages": np.stack([r.stages for r in records]).astype(np.int32),
        "labels": np.stack([r.labels for r in records]).astype(np.float32),
    }
    for row, record in enumerate(records):
        chosen, places = _choose(record, spec, rng)
        t = record.signals.shape[1]
        batch["signals"][row, places, :t] = record.signals[chosen]
        batch["scale"][row, places] = record.scale[chosen]
        batch["positions"][row, places] = record.positions[chosen]
        batch["mask"][row, places] = _valid_patches(record, chosen, spec)
    return batch


def train_batches(
    records: Records,
    spec: BatchSpec,
    *,
    batch_size: int,
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
    num_threads: int = 4,
    prefetch: int = 4,
) -> grain.DatasetIterator:
    """An endless, seekable iterator over this process's rows of each global batch.

    Its state (`get_state`, `set_state`) is {"next_index": step}, the same on every process. Batches
    are `collate`'s plus index int32 [B]: which record each row is.

    Raises:
      DatasetError: fewer records than a batch, or a batch that the processes cannot share evenly.
    """
    if len(records) < batch_size:
        raise DatasetError(
            f"{', '.join(map(str, records.folders))}: split {records.split!r} has {len(records)} "
            f"clips, fewer than one batch of {batch_size}: lower batch_size or build more"
        )
    if batch_size % process_count:
        raise DatasetError(
            f"a global batch of {batch_size} cannot be shared by {process_count} processes"
        )
    rows = batch_size // process_count
    mine = slice(process_index * rows, (process_index + 1) * rows)

    def load(step: int, indices: np.ndarray) -> dict[str, np.ndarray]:
        # One stream of choices a row, so that a row is the same whoever loads it.
        chosen = indices[mine]
        parts = [
            collate([records[index]], spec, np.random.default_rng((seed, step, mine.start + row)))
            for row, index in enumerate(chosen)
        ]
        batch = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        batch["index"] = chosen.astype(np.int32)
        return batch

    dataset = (
        grain.MapDataset.range(len(records))
        .shuffle(seed=seed)
        .batch(batch_size, drop_remainder=True)
        .repeat()
        .map_with_index(load)
    )
    options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=prefetch)
    return iter(dataset.to_iter_dataset(options))


def evaluation_batches(
    records: Records,
    spec: BatchSpec,
    *,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
    limit: int | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """One pass in order, the last batch filled up with masked rows (index -1).

    Args:
      limit: only this many records, spread evenly over the split.
    """
    order = np.arange(len(records))
    if limit is not None and limit < len(order):
        order = np.linspace(0, len(order) - 1, limit).astype(int)
    rows = batch_size // process_count
    mine = slice(process_index * rows, (process_index + 1) * rows)
    for first in range(0, len(order), batch_size):
        index = np.full(batch_size, -1, np.int32)
        chunk = order[first : first + batch_size]
        index[: len(chunk)] = chunk
        index = index[mine]
        # A filler row is any record with its mask switched off.
        batch = collate([records[max(i, 0)] for i in index], spec)
        batch["mask"] &= (index >= 0)[:, None, None]
        batch["index"] = index
        yield batch


def _choose(record: Record, spec: BatchSpec, rng) -> tuple[np.ndarray, np.ndarray]:
    """Which of the record's channels go to which of the batch's slots."""
    modalities = np.array(record.modalities)
    chosen, places, start = [], [], 0
    for modality, count in spec.slots:
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


def _valid_patches(record: Record, chosen: np.ndarray, spec: BatchSpec) -> np.ndarray:
    """bool [len(chosen), S]: patches with at least MIN_VALID real samples."""
    t, padded = record.signals.shape[1], spec.patches * spec.patch_samples
    if not len(record.gaps) and t == padded:
        return np.ones((len(chosen), spec.patches), bool)
    valid = np.zeros((len(chosen), padded), bool)
    valid[:, :t] = record.valid()[chosen]
    return valid.reshape(len(chosen), spec.patches, -1).mean(-1) >= MIN_VALID


def _infos(root: Path):
    return root.glob("*/**/dataset_info.json") if root.is_dir() else ()


def _version(name: str) -> tuple:
    parts = name.split(".")
    return tuple(int(p) for p in parts) if all(p.isdigit() for p in parts) else (-1,)
