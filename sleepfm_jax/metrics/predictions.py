"""What a model said of labelled examples, and of whom: the file that every figure is computed from.

One file a row of the results, `WORKDIR/predictions/DATASET/ROW.npz`: the examples, the
probabilities of every repeat (seed), and how they were made. Tables, intervals, differences and
pictures are functions of such files alone, so a row can be checked, and made again, by anybody.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sleepfm_jax.errors import StorageError

FOLDER = "predictions"
VERSION = 1


@dataclasses.dataclass(frozen=True)
class Predictions:
    """N labelled examples, R repeats (seeds), K classes or labels.

    Attributes:
      person: str [N], pseudonyms. recording: str [N].
      clip, sleep_epoch: int [N], numbers in the recording and in the clip; sleep_epoch -1: the
        whole clip is the example.
      label: int [N], one class an example; or float [N, K] of 0, 1 and NaN (unknown).
      probabilities: float32 [R, N, K].
      seeds: int [R], what the folds or validation people of each repeat were drawn with; where the
        splits are given, the seed of its encoder. fold: int [R, N], which cross-validation fold
        the example was held out in; -1 with given splits.
      unweighted: float32 [R, N, K] of the same fit with all examples alike (`probabilities` are of
        the class-balanced one); None with several labels.
      thresholds: float32 [R, N, K] chosen on validation people, of each label; with two classes
        [R, N, 1], of the second class; None with more classes.
      permuted: labels of each repeat, [R, N] or [R, N, K], of a control whose labels were permuted
        over people; None: the labels are `label`.
      map: float32 [N, 2], the examples' features on their two principal axes, for a picture; of
        the pretrained row alone.
      about: how they were made, in JSON's types: row, dataset, dataset_fingerprint, label_kind
        ("staging", "classification", "multilabel"), classes [K], split ("test" or
        "cross-validation"), features, checkpoints, steps, weights, encoder_seeds, channels,
        input_scaling, left_out, command, commit, version, protocol, l2, notes; of trainings also
        recipe, equal for rows that differ by their condition alone.
    """

    person: np.ndarray
    recording: np.ndarray
    clip: np.ndarray
    sleep_epoch: np.ndarray
    label: np.ndarray
    probabilities: np.ndarray
    seeds: np.ndarray
    fold: np.ndarray
    about: Mapping[str, Any]
    unweighted: np.ndarray | None = None
    thresholds: np.ndarray | None = None
    permuted: np.ndarray | None = None
    map: np.ndarray | None = None

    def __post_init__(self):
        r, n, k = self.probabilities.shape
        wanted = {
            "person": (n,),
            "recording": (n,),
            "clip": (n,),
            "sleep_epoch": (n,),
            "label": (n,) if self.label.ndim == 1 else (n, k),
            "seeds": (r,),
            "fold": (r, n),
            "unweighted": (r, n, k),
            "thresholds": (r, n, 1 if self.label.ndim == 1 else k),
            "permuted": (r, *self.label.shape),
            "map": (n, 2),
        }
        for name, shape in wanted.items():
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise ValueError(f"{name} has shape {value.shape}, expected {shape}")
        if len(self.classes) != k:
            raise ValueError(f"{len(self.classes)} classes are named, probabilities have {k}")

    @property
    def classes(self) -> list[str]:
        """Names of the K classes or labels."""
        return list(self.about["classes"])

    def examples(self) -> tuple[np.ndarray, ...]:
        """What says which example each is; equal for two rows that scored the same."""
        return self.person, self.recording, self.clip, self.sleep_epoch

    def mean(self) -> np.ndarray:
        """Probabilities averaged over the repeats, float64 [N, K]."""
        return self.probabilities.astype(np.float64).mean(axis=0)


def path_of(workdir: str | os.PathLike[str], dataset: str, row: str) -> Path:
    """Where a row's file is."""
    return Path(workdir) / FOLDER / dataset / f"{row}.npz"


def save(path: str | os.PathLike[str], predictions: Predictions) -> None:
    """Writes a file, in one step: a program that is killed leaves the old one or the new one.

    Raises:
      ValueError: `about` is not JSON. OSError: the disk is full, or the folder not writable.
    """
    path = Path(path)
    save_rows(path.parent, {path.stem: predictions})


def save_rows(
    folder: str | os.PathLike[str], rows: Mapping[str, Predictions], gone: Iterable[str] = ()
) -> None:
    """Writes the files of several rows of a dataset, and removes those of rows that are no more.
    Nothing of before is touched until all that is new is on the disk: rows of two probes would be
    compared with each other.

    Raises:
      As `save`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = {name: folder / f".{name}.npz.{os.getpid()}" for name in rows}
    try:
        for name, temporary in written.items():
            _write(temporary, rows[name])
        for name in set(gone) - set(rows):
            (folder / f"{name}.npz").unlink(missing_ok=True)
        for name, temporary in written.items():
            os.replace(temporary, folder / f"{name}.npz")
    finally:
        for temporary in written.values():
            temporary.unlink(missing_ok=True)


def _write(path: Path, predictions: Predictions) -> None:
    arrays = {
        field.name: value
        for field in dataclasses.fields(predictions)
        if field.name != "about" and (value := getattr(predictions, field.name)) is not None
    }
    about = json.dumps({"predictions_version": VERSION, **predictions.about}, allow_nan=False)
    with open(path, "wb") as out:
        np.savez_compressed(out, about=np.array(about), **arrays)
        out.flush()
        os.fsync(out.fileno())


def load(path: str | os.PathLike[str]) -> Predictions:
    """The inverse of `save`.

    Raises:
      StorageError: there is no such file, it is damaged, or it is of a later version.
    """
    try:
        with open(path, "rb") as source, np.load(source, allow_pickle=False) as stored:
            about = json.loads(str(stored["about"]))
            arrays = {name: stored[name] for name in stored.files if name != "about"}
        if (version := about.pop("predictions_version")) > VERSION:
            raise ValueError(f"it is of version {version}, this program reads {VERSION}")
        return Predictions(about=about, **arrays)
    except Exception as error:  # zip, NumPy and JSON have many words for a damaged file
        raise StorageError(
            f"{path}: no predictions in it: {type(error).__name__}: {error}"
        ) from error


def load_all(
    workdir: str | os.PathLike[str],
) -> tuple[dict[str, dict[str, Predictions]], dict[tuple[str, str], str]]:
    """{dataset: {row: predictions}} of a workdir, and what could not be read, {(dataset, row): in
    words}."""
    found: dict[str, dict[str, Predictions]] = {}
    problems = {}
    for path in sorted((Path(workdir) / FOLDER).glob("*/*.npz")):
        try:
            found.setdefault(path.parent.name, {})[path.stem] = load(path)
        except StorageError as error:
            problems[path.parent.name, path.stem] = str(error)
    return found, problems
