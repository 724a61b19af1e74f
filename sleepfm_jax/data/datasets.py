"""Built datasets: their folders, their records, and what must be alike to use them together."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from sleepfm_jax import folders
from sleepfm_jax.data import people, provenance
from sleepfm_jax.data.record import FIELDS, Record, decode
from sleepfm_jax.errors import DatasetError

MADE_ALIKE = ("sfreq", "preprocessing")
"""Entries of the metadata in which records must agree to feed one model; clips that stand in one
batch must agree in clip_seconds too."""

ALL = "all"
"""The split that is every split of a dataset, one after the other."""


class Told(NamedTuple):
    """What N records say of themselves beside their signals.

    Attributes:
      recording: N names, as stored. clip: int [N], numbers in the recording.
      labels: float32 [N, K], 0, 1 and NaN (unknown), of the K classes of the dataset.
    """

    recording: list[str]
    clip: np.ndarray
    labels: np.ndarray


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
    """Random access to the records of one split (or `ALL`) of one or more datasets of the same clip
    format.

    Datasets with other classes can be pretrained on together: records then come without labels.

    Attributes:
      name: of the datasets and split, for messages.
      metadata: sfreq, clip_seconds, label_kind, classes, preprocessing … as the builder of the
        first one wrote them; metadata_of: folder → its own.
    """

    def __init__(self, folders: Sequence[Path], split: str):
        self.split, self.folders = split, list(folders)
        self.name = f"{', '.join(map(str, folders))}: split {split!r}"
        self._sources, self._parts, metadata = [], [], []  # parts: (number of the folder, split)
        for number, folder in enumerate(self.folders):
            builder = tfds.builder_from_directory(folder)
            there = builder.info.splits
            if split not in there and split != ALL:
                raise DatasetError(f"{folder}: no split {split!r}; it has {sorted(there)}")
            parts = [s for s in sorted(there) if there[s].num_examples] if split == ALL else [split]
            self._sources += [builder.as_data_source(part) for part in parts]
            self._parts += [(number, part) for part in parts]
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
        folder = self.folders[self._parts[which][0]]
        return record, self.metadata_of[folder]["classes"]

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
        found = [people.read(self.folders[number]).of_split(part) for number, part in self._parts]
        return set().union(*found)

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
        for (number, split), source in zip(self._parts, self._sources):
            folder = self.folders[number]
            who, mine = people.read(folder), []
            if (folder / provenance.FILENAME).exists():
                for recording in provenance.load(folder)["recordings"]:
                    if recording["split"] == split and recording["clips"]:
                        whose = who.pseudonym(recording["subject"]), recording["path"]
                        mine += [whose] * recording["clips"]
            if len(mine) != len(source):
                records = (decode(source[i]) for i in range(len(source)))
                mine = [(who.pseudonym(record.subject), record.recording) for record in records]
            # Two datasets of one cohort may call two recordings alike.
            found += [(person, f"{number}/{recording}") for person, recording in mine]
        return found

    def dataset_of(self, index: int) -> int:
        """Which of `folders` a record is from."""
        which = int(np.searchsorted(self._ends, index, side="right"))
        return self._parts[which][0]

    @functools.cached_property
    def told_of_recordings(self) -> list[Mapping[str, Any]] | None:
        """What the build reports say of each recording with clips, in the records' order: "clips",
        "hours", "stages" (sleep_epochs of each), "channels". None where one has no such report.
        """
        found: list[Mapping[str, Any]] = []
        for (number, split), source in zip(self._parts, self._sources):
            if not (self.folders[number] / provenance.FILENAME).exists():
                return None
            told = provenance.load(self.folders[number])["recordings"]
            mine = [entry for entry in told if entry["split"] == split and entry["clips"]]
            clips = sum(entry["clips"] for entry in mine)
            if clips != len(source) or any("stages" not in entry for entry in mine):
                return None
            found += mine
        return found

    def stored_recording_of(self, index: int) -> str:
        """The recording's name as the record has it."""
        return self._told[0][index]

    def clip_number_of(self, index: int) -> int:
        """A record's number in its recording."""
        return int(self._told[1][index])

    @functools.cached_property
    def _told(self) -> tuple[list[str], np.ndarray]:
        """Name of the recording, and number in it, of each record."""
        found = [told(self.folders[number], split) for number, split in self._parts]
        names = [name for part in found for name in part.recording]
        return names, np.concatenate([part.clip for part in found])

    def labels_of(self, names: Sequence[str]) -> np.ndarray:
        """float32 [N, K]: the labels of each record by these names; NaN where unknown, and where
        the record's dataset has no such label."""
        found = []
        for number, split in self._parts:
            classes = list(self.metadata_of[self.folders[number]]["classes"])
            stored = told(self.folders[number], split).labels
            mine = np.full((len(stored), len(names)), np.nan, np.float32)
            for place, name in enumerate(names):
                if name in classes:
                    mine[:, place] = stored[:, classes.index(name)]
            found.append(mine)
        return np.concatenate(found)

    @property
    def clip_samples(self) -> int:
        """T as stored."""
        return round(self.metadata["sfreq"] * self.metadata["clip_seconds"])


def told(folder: Path, split: str) -> Told:
    """What every record of one split says of itself. They are read once in a process."""
    return _told(folder, split, (folder / "dataset_info.json").stat().st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _told(folder: Path, split: str, _built: int) -> Told:
    source = tfds.builder_from_directory(folder).as_data_source(split)
    names, clips, labels = [], [], []
    for i in range(len(source)):
        stored = source[i]
        record = {key: FIELDS[key].decode(stored[key]) for key in ("recording", "clip", "labels")}
        names.append(record["recording"])
        clips.append(record["clip"])
        labels.append(record["labels"])
    return Told(names, np.array(clips, np.int64), np.stack(labels) if labels else np.zeros((0, 0)))


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
    return count(data_dir, [name], split) > 0


def count(data_dir: str | Path, names: Sequence[str], split: str) -> int:
    """Clips of a split, over all of the named datasets that have it."""
    infos = [tfds.builder_from_directory(find_dataset(data_dir, name)).info for name in names]
    return sum(
        about.num_examples
        for info in infos
        for name, about in info.splits.items()
        if split in (name, ALL)
    )


def identities(data_dir: str | Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What tells each of the named datasets from another build of it, as JSON: version, splits with
    their bytes and the clips of each shard, and the build's own fingerprint where it left one.

    Not where it lies: a copy is the same dataset.
    """
    return {name: _identity(find_dataset(data_dir, name)) for name in names}


def _identity(folder: Path) -> dict[str, Any]:
    info = tfds.builder_from_directory(folder).info
    found: dict[str, Any] = {"version": str(info.version)}
    for split, about in sorted(info.splits.items()):
        found[f"clips in the shards of {split}"] = list(about.shard_lengths)
        found[f"bytes of {split}"] = about.num_bytes
    if (folder / provenance.FILENAME).exists():
        said = provenance.load(folder).get("spec", {})
        found["fingerprint of the build"] = said.get("fingerprint")
    return found


def fingerprint(data_dir: str | Path, name: str) -> str:
    """Of `identities`, 16 hexadecimal digits: to say which build a figure is of."""
    return fingerprint_of_folder(find_dataset(data_dir, name))


def fingerprint_of_folder(folder: Path) -> str:
    """`fingerprint` of the dataset in a folder."""
    said = json.dumps(_identity(folder), sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def open_records(data_dir: str | Path, names: Sequence[str], split: str) -> Records:
    """The records of one split of the named datasets, one after the other."""
    return Records([find_dataset(data_dir, name) for name in names], split)


def _infos(root: Path):
    return root.glob("*/**/dataset_info.json") if root.is_dir() else ()


def _version(name: str) -> tuple:
    parts = name.split(".")
    return tuple(int(p) for p in parts) if all(p.isdigit() for p in parts) else (-1,)
