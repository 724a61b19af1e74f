"""Cells: one training each, in a folder named after all that it is a function of.

WORKDIR/cells/KEY is the training's workdir. When it has ended, predictions/ROW.npz and done.json
are there, and of its weights the best (of those that several tasks may ask the last, too, which a
run goes on from). Whoever holds the lock of a cell works on it; the lock ends
with its process, however that ends, and the next one goes on from the cell's last checkpoint.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import json
import logging as std_logging
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from absl import logging

from sleepfm_jax import pretrained, train
from sleepfm_jax.errors import CheckpointError, DatasetError, SleepFMError, StorageError
from sleepfm_jax.metrics import predictions as files
from sleepfm_jax.metrics.predictions import Predictions
from sleepfm_jax.pretrained import Pretrained
from sleepfm_jax.report.results import replace_file
from sleepfm_jax.training.checkpoint import open_existing
from sleepfm_jax.transfer.conditions import with_end_rows

FOLDER = "cells"
DONE = "done.json"
_LOCK = ".cell"
_FREE = ("mesh", "sharding_rules", "log_every", "save_every", "keep", "max_skipped_in_a_row")
_FREE_DATA = ("num_threads", "prefetch")
"""What changes no number."""


class Cell(Protocol):
    """What is made once, and by one worker.

    Attributes:
      key: names its folder. rows: name → fingerprint of the data that it is of.
      asked_of_others: other tasks may ask it, too, now or later.
    """

    key: str
    rows: Mapping[str, str]
    asked_of_others: bool

    def make(self, folder: Path) -> tuple[dict[str, Predictions], dict[str, Any]]:
        """Predictions of every row, and what else is to be said of it."""


def digest(facts: Any) -> str:
    """16 hexadecimal digits of anything that JSON can say."""
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def numbers_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a configuration changes numbers."""
    numbers = {k: v for k, v in config.items() if k not in _FREE}
    return numbers | {"data": {k: v for k, v in config["data"].items() if k not in _FREE_DATA}}


def _check_unchanged(encoder: Pretrained) -> None:
    """A training starts from the newest checkpoint, the cell is named after the one that was read.

    Raises:
      CheckpointError: the encoder was trained further since.
    """
    stored = open_existing(encoder.source)
    newest = stored.latest()
    stored.close()
    if newest == encoder.step:
        return
    if pretrained.load(encoder.source).fingerprint != encoder.fingerprint:
        raise CheckpointError(
            f"{encoder.source}: is at step {newest} now, and was at {encoder.step}: wait until it "
            "is trained, and start this again"
        )


@dataclasses.dataclass(frozen=True)
class Training:
    """A training, and what it is asked when it has ended.

    Attributes:
      data: fingerprint of the builds that it trains on.
      config: complete, its rows of `evaluators` those that are looked at while it runs.
      encoder: where it starts from; None: nowhere.
      asked: row → (datasets, split) (`conditions.with_end_rows`); rows: see `Cell`.
    """

    data_dir: Path
    data: str
    config: Mapping[str, Any]
    encoder: Pretrained | None
    asked: Mapping[str, tuple[tuple[str, ...], str]]
    rows: Mapping[str, str]

    @functools.cached_property
    def key(self) -> str:
        """Of the configuration, the data that it trains on, and the encoder."""
        numbers = numbers_of(self.config)
        numbers["initialise_from"] = self.encoder.fingerprint if self.encoder else ""
        return digest([numbers, self.data])

    @property
    def asked_of_others(self) -> bool:
        """Where what is tested was not trained on, another dataset may be tested, too."""
        return any(names for names, _ in self.asked.values())

    def make(self, folder: Path) -> tuple[dict[str, Predictions], dict[str, Any]]:
        """Trains, from the cell's last checkpoint if there is one."""
        config = with_end_rows(self.config, self.asked)
        if self.encoder is not None:
            _check_unchanged(self.encoder)
            # However the folder is called next time: a run goes on with the same configuration.
            config["initialise_from"] = str(Path(config["initialise_from"]).resolve())
        found = train.train(config, self.data_dir, folder)
        rows = {}
        for name in self.asked:
            said = found["evaluations"].get(name, {}).get("predictions")
            if said is None:
                raise DatasetError(
                    f"{', '.join(config['data']['datasets'])}: nobody in split "
                    f"{self.asked[name][1]!r} to ask ({name}); ask for folds, or build it with one"
                )
            rows[name] = said
        return rows, {"seconds": found["seconds"], "seed": config["seed"]}


def finished(folder: Path, cell: Cell) -> bool:
    """Is every row there, of the data as they are now?"""
    done = _done_rows(folder)
    return all(
        done.get(name) == print_ and (folder / files.FOLDER / f"{name}.npz").is_file()
        for name, print_ in cell.rows.items()
    )


def _done_rows(folder: Path) -> dict[str, str]:
    """Name → fingerprint of its data, of the rows that are made; {} of a cell that is not."""
    try:
        return dict(json.loads((folder / DONE).read_text())["rows"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def work(root: Path, cell: Cell) -> bool | None:
    """Makes a cell that is not finished, if nobody else is at work on it. Rows that it was asked
    for before stay: two commands that share a training need not know of each other.

    Returns:
      True: made. False: it was finished. None: another worker has it.
    """
    folder = root / FOLDER / cell.key
    if finished(folder, cell):
        return False
    folder.mkdir(parents=True, exist_ok=True)
    with _held(folder / _LOCK) as mine:
        if not mine:
            return None
        if finished(folder, cell):
            return False
        if (folder / DONE).exists() and not (folder / "checkpoints").is_dir():
            _remove(folder)  # what trained it is half gone
        before = _done_rows(folder)
        with _said_to(folder / "log.txt"):
            try:
                rows, about = cell.make(folder)
            except SleepFMError as error:  # of hundreds, which?
                error.args = (f"{folder}: {error}",)
                raise
        for name, one in rows.items():
            files.save(folder / files.FOLDER / f"{name}.npz", one)
        said = {"rows": {**before, **cell.rows}, **about}
        replace_file(folder / DONE, json.dumps(said, indent=2, sort_keys=True) + "\n")
        # The best weights are what anybody asks for later; by the last step's, a run goes on.
        if (folder / "best").is_dir() and not cell.asked_of_others:
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return True


def load(root: Path, cell: Cell, row: str) -> Predictions:
    """What a finished cell said.

    Raises:
      StorageError: it is not there.
    """
    return files.load(root / FOLDER / cell.key / files.FOLDER / f"{row}.npz")


@contextlib.contextmanager
def _held(path: Path) -> Iterator[bool]:
    """Whether the lock could be had; it is held until the end of the block."""
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError as error:
            logging.warning(
                "%s: this file system has no locks (%s): start one worker alone",
                path.parent,
                os.strerror(error.errno),
            )
        yield True


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Waits for whoever else is in such a block; its lock ends with its process."""
    with path.open("a+") as file:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove(folder: Path) -> None:
    """What a cell holds, but its lock."""
    for path in folder.iterdir():
        if path.name == _LOCK:
            continue
        try:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        except OSError as error:
            raise StorageError(f"{path}: cannot be removed: {error}") from error


@contextlib.contextmanager
def _said_to(path: Path) -> Iterator[None]:
    """What a training says, and its bar, go to a file: hundreds of them would hide the one bar that
    counts cells."""
    shown = logging.get_absl_handler()
    before = shown.level
    written = std_logging.FileHandler(path)
    logging.get_absl_logger().addHandler(written)
    shown.setLevel(std_logging.ERROR)
    try:
        with path.open("a") as out, contextlib.redirect_stderr(out):
            yield
    finally:
        shown.setLevel(before)
        logging.get_absl_logger().removeHandler(written)
        written.close()
