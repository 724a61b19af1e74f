"""Built datasets: their folders, their records, and what must be alike to use them together."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from sleepfm_jax import folders
from sleepfm_jax.data import people, provenance
from sleepfm_jax.data.record import Record, decode
from sleepfm_jax.errors import DatasetError

MADE_ALIKE = ("sfreq", "preprocessing")
"""Entries of the metadata in which records must agree to feed one model; clips that stand in one
batch must agree in clip_seconds too."""


def check_made_alike(
    one: Mapping[str, Any],
    other: Mapping[str, Any],
    names: tuple[str, str],
    *,
    same_clips: bool = False,
) -> None:
    """THE rule of what may be used together: datasets in training, a dataset with a checkpoint.

    Args:
      one, other: metadata of what there is, and of what is to go with it.
      names: of both, for the message.
      same_clips: they share batches, so that clips must be of one length.

    Raises:
      DatasetError: names what differs, with both values.
    """
    for key in (*MADE_ALIKE, *(("clip_seconds",) if same_clips else ())):
        if one[key] != other[key]:
            raise DatasetError(
                f"{names[1]}: {key} is {other[key]!r}, but {names[0]} has {one[key]!r}: build them "
                "alike to use them together"
            )


class Records:
    """Random access to the records of one split of one or more datasets of the same clip format.

    Datasets with other classes can be pretrained on together: records then come without labels.

    Attributes:
      name: of the datasets and split, for messages.
      metadata: sfreq, clip_seconds, label_kind, classes, preprocessing … as the builder of the
        first one wrote them; metadata_of: folder → its own.
    """

    def __init__(self, folders: Sequence[Path], split: str):
        self.split, self.folders = split, list(folders)
        self.name = f"{', '.join(map(str, folders))}: split {split!r}"
        self._sources, metadata = [], []
        for folder in self.folders:
            builder = tfds.builder_from_directory(folder)
            if split not in builder.info.splits:
                raise DatasetError(
                    f"{folder}: no split {split!r}; it has {sorted(builder.info.splits)}"
                )
            self._sources.append(builder.as_data_source(split))
            metadata.append(provenance.with_label_kind(builder.info.metadata or {}))
        self.metadata = metadata[0]
        self.metadata_of = dict(zip(self.folders, metadata))
        for folder, other in self.metadata_of.items():
            names = str(self.folders[0]), str(folder)
            check_made_alike(self.metadata, other, names, same_clips=True)
        kinds = [(other["label_kind"], list(other["classes"])) for other in metadata]
        self._labelled = all(kind == kinds[0] for kind in kinds)
        self._ends = np.cumsum([len(source) for source in self._sources])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Record:
        record, _ = self.with_classes(index)
        return record if self._labelled else dataclasses.replace(record, labels=record.labels[:0])

    def with_classes(self, index: int) -> tuple[Record, Sequence[str]]:
        """A record with its labels, also where the datasets have other classes, and their names."""
        which = int(np.searchsorted(self._ends, index, side="right"))
        start = self._ends[which - 1] if which else 0
        record = decode(self._sources[which][int(index - start)])
        return record, self.metadata_of[self.folders[which]]["classes"]

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
        """Pseudonyms of the people in this split (see `data.people`)."""
        return set().union(*(people.read(folder).of_split(self.split) for folder in self.folders))

    def person_of(self, index: int) -> str:
        """Pseudonym of the person of a record."""
        return self._whose[index][0]

    def recording_of(self, index: int) -> str:
        """What tells the recording of a record from all others of these datasets."""
        return self._whose[index][1]

    @functools.cached_property
    def _whose(self) -> list[tuple[str, str]]:
        """Person and recording of each record: from the build reports, whose recordings are in the
        records' order."""
        found: list[tuple[str, str]] = []
        for number, (folder, source) in enumerate(zip(self.folders, self._sources)):
            who, mine = people.read(folder), []
            if (folder / provenance.FILENAME).exists():
                for recording in provenance.load(folder)["recordings"]:
                    if recording["split"] == self.split and recording["clips"]:
                        whose = who.pseudonym(recording["subject"]), recording["path"]
                        mine += [whose] * recording["clips"]
            if len(mine) != len(source):
                records = (decode(source[i]) for i in range(len(source)))
                mine = [(who.pseudonym(record.subject), record.recording) for record in records]
            # Two datasets of one cohort may call two recordings alike.
            found += [(person, f"{number}/{recording}") for person, recording in mine]
        return found

    @property
    def clip_samples(self) -> int:
        """T as stored."""
        return round(self.metadata["sfreq"] * self.metadata["clip_seconds"])


def find_dataset(data_dir: str | Path, name: str) -> Path:
    """The folder of the newest version of a built dataset: data_dir/name/**/dataset_info.json.

    Raises:
      ConfigError: a bucket.
      DatasetError: nothing built there; the message says what is.
    """
    data_dir = folders.local(data_dir, "data_dir")
    root = data_dir / name
    found = sorted(root.glob("**/dataset_info.json"), key=lambda p: _version(p.parent.name))
    if not found:
        there = sorted({p.relative_to(data_dir).parts[0] for p in _infos(data_dir)})
        raise DatasetError(
            f"no dataset {name!r} under {data_dir}"
            + (f" (there: {', '.join(there)})" if there else "")
            + f": build it with `python -m launch.build --dataset={name} --source=… "
            f"--data_dir={data_dir}`"
        )
    return found[-1].parent


def check_no_leak(
    data_dir: str | Path, names: Sequence[str], earlier: frozenset[str] = frozenset()
) -> None:
    """Nobody of the training splits of the named datasets is in another split of any of them.

    Args:
      earlier: pseudonyms of whom the weights had been trained on before; nor is any of these.

    Raises:
      LeakError: says how many are, and where: two datasets of one cohort, split apart.
    """
    found = {name: people.read(find_dataset(data_dir, name)) for name in names}
    people.refuse_leak_between(found, earlier)


def has_split(data_dir: str | Path, name: str, split: str) -> bool:
    """Does the named dataset have this split, with at least one record in it?"""
    splits = tfds.builder_from_directory(find_dataset(data_dir, name)).info.splits
    return split in splits and splits[split].num_examples > 0


def count(data_dir: str | Path, names: Sequence[str], split: str) -> int:
    """Clips of a split, over all of the named datasets that have it."""
    infos = [tfds.builder_from_directory(find_dataset(data_dir, name)).info for name in names]
    return sum(info.splits[split].num_examples for info in infos if split in info.splits)


def identities(data_dir: str | Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What tells each of the named datasets from another build of it, as JSON: version, splits with
    their bytes and the clips of each shard, and the build's own fingerprint where it left one.

    Not where it lies: a copy is the same dataset.
    """
    found = {}
    for name in names:
        folder = find_dataset(data_dir, name)
        info = tfds.builder_from_directory(folder).info
        found[name] = {"version": str(info.version)}
        for split, about in sorted(info.splits.items()):
            found[name][f"clips in the shards of {split}"] = list(about.shard_lengths)
            found[name][f"bytes of {split}"] = about.num_bytes
        if (folder / provenance.FILENAME).exists():
            said = provenance.load(folder).get("spec", {})
            found[name]["fingerprint of the build"] = said.get("fingerprint")
    return found


def fingerprint(data_dir: str | Path, name: str) -> str:
    """Of `identities`, 16 hexadecimal digits: to say which build a figure is of."""
    said = json.dumps(identities(data_dir, [name])[name], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def open_records(data_dir: str | Path, names: Sequence[str], split: str) -> Records:
    """The records of one split of the named datasets, one after the other."""
    return Records([find_dataset(data_dir, name) for name in names], split)


def _infos(root: Path):
    return root.glob("*/**/dataset_info.json") if root.is_dir() else ()


def _version(name: str) -> tuple:
    parts = name.split(".")
    return tuple(int(p) for p in parts) if all(p.isdigit() for p in parts) else (-1,)
