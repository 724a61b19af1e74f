"""Cells: one training each, in a folder named after all that it is a function of.

WORKDIR/cells/KEY is the training's workdir. When it has ended, predictions/ROW.npz and done.json
are there, and of its weights the best. Whoever holds the lock of a cell works on it; the lock ends
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

from sleepfm_jax import train
from sleepfm_jax.errors import DatasetError, StorageError
from sleepfm_jax.metrics import predictions as files
from sleepfm_jax.metrics.predictions import Predictions
from sleepfm_jax.pretrained import Pretrained
from sleepfm_jax.report.results import replace_file
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
    """

    key: str
    rows: Mapping[str, str]

    def make(self, folder: Path) -> tuple[dict[str, Predictions], dict[str, Any]]:
        """Predictions of every row, and what else is to be said of it."""


def digest(facts: Any) -> str:
    """16 hexadecimal digits of anything that JSON can say."""
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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
        numbers = {k: v for k, v in self.config.items() if k not in _FREE}
        numbers["data"] = {k: v for k, v in numbers["data"].items() if k not in _FREE_DATA}
        numbers["initialise_from"] = self.encoder.fingerprint if self.encoder else ""
        return digest([numbers, self.data])

    def make(self, folder: Path) -> tuple[dict[str, Predictions], dict[str, Any]]:
        """Trains, from the cell's last checkpoint if there is one."""
        config = with_end_rows(self.config, self.asked)
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
    try:
        done = json.loads((folder / DONE).read_text())
        return all(done["rows"].get(name) == print_ for name, print_ in cell.rows.items())
    except (OSError, ValueError, KeyError, AttributeError):
        return False


def work(root: Path, cell: Cell) -> bool | None:
    """Makes a cell that is not finished, if nobody else is at work on it.

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
        if (folder / DONE).exists():  # of fewer rows, or other data: its weights are half gone
            _remove(folder)
        with _said_to(folder / "log.txt"):
            rows, about = cell.make(folder)
        for name, one in rows.items():
            files.save(folder / files.FOLDER / f"{name}.npz", one)
        said = {"rows": dict(cell.rows), **about}
        replace_file(folder / DONE, json.dumps(said, indent=2, sort_keys=True) + "\n")
        if (folder / "best").is_dir():  # the best weights are what anybody asks for later
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
