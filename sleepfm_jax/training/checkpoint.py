"""Checkpoints: the whole state and what is said about it, saved with Orbax while training goes on.

A checkpoint is CHECKPOINTS/STEP with `state` (the pytree of `training.state.TrainState`) and
`about` (JSON): the configuration, how the records were made, whom it was trained on (pseudonyms,
those of what it was initialised from included; absent where that does not say), the data position,
and checksums of every array and of `about` itself. Older ones have no checksums, and are taken at
their word.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging as absl_logging
from etils import epath
from jax.experimental import multihost_utils

from sleepfm_jax import folders, late_answers
from sleepfm_jax.errors import CheckpointError, DamagedCheckpoint
from sleepfm_jax.training import checksums
from sleepfm_jax.training.paths import path_string

DAMAGED = "damaged"
"""STEP.damaged is what is left of a checkpoint that training could not read: nobody reads it."""
_SUMS = "checksums"
# What readers of files that are not as they were written raise. Tensorstore has ValueErrors only,
# those of a disk that refuses or of want of memory among them: these say nothing of the file.
_UNREADABLE = (
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    EOFError,
    FileNotFoundError,
    NotADirectoryError,
    IsADirectoryError,
)
_NOT_ITS_FAULT = ("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "ABORTED", "CANCELLED")


class _Manager(ocp.CheckpointManager):
    """Orbax's, but that it does not ask whether the cluster wants the run to stop.

    It asks with a step, the loop with a number of its own (`training.stopping`), and of two rising
    sequences in one place neither would meet the number at which all processes agreed to stop.
    """

    def reached_preemption(self, step: int) -> bool:
        return False


class Checkpoints:
    """The checkpoints of one run, in one folder, one sub-folder a step.

    A checkpoint is written beside its final name and renamed when complete: a run killed while
    saving finds the one before. What is read is compared with its checksums: see `newest` for what
    happens when they differ. Every process of a run calls every method.

    Args:
      keep: the newest ones that stay.
      read_only: for whoever looks at a run that may be going on: nothing is cleaned up, renamed or
        written, a save in flight least of all.
    """

    def __init__(self, folder: str | Path, *, keep: int = 2, read_only: bool = False):
        self.folder = folders.local(folder, "checkpoints").absolute()
        self._read_only = read_only
        if read_only:
            # Orbax warns of each consequence of what is asked for here.
            with _only_errors():
                options = ocp.CheckpointManagerOptions(read_only=True)
                self._manager = _Manager(self.folder, options=options)
            return
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, enable_async_checkpointing=True, cleanup_tmp_directories=True
        )
        self._manager = _Manager(self.folder, options=options)

    def latest(self) -> int | None:
        """The newest complete step, or None."""
        return self._manager.latest_step()

    def newest(self, read: Callable[[int], Any]) -> tuple[int, Any]:
        """The newest step that can be read, and what `read` made of it.

        A damaged one is passed over with a warning. Training (who may write) renames it, so that
        its step can be saved again.

        Args:
          read: step → anything, with `about`, `restore` and `restore_parts`.

        Raises:
          DamagedCheckpoint: there are steps, and all are damaged.
          CheckpointError: there is none, or what `read` raises otherwise.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        if not steps:
            raise CheckpointError(f"{self.folder}: no checkpoint")
        for place, step in enumerate(steps):
            try:
                return step, read(step)
            except DamagedCheckpoint as error:
                if place == len(steps) - 1:
                    others = ", and all newer ones are damaged too" if place else ""
                    raise DamagedCheckpoint(
                        f"{error}{others}: nothing is left to go on from; copy the folder again "
                        "from where there is another, or begin in an empty one"
                    ) from error
                before = f"that of step {steps[place + 1]} is taken instead"
                if self._read_only:
                    absl_logging.warning("%s; %s", error, before)
                else:
                    absl_logging.warning("%s; now %s; %s", error, self._set_aside(step), before)
        raise AssertionError

    def save(self, step: int, state: Any, about: dict[str, Any]) -> None:
        """Start saving; returns at once.

        Args:
          state: pytree of global arrays.
          about: JSON; see the module's docstring.
        """
        about = json.loads(json.dumps(about))
        sums = {"state": checksums.of_tree(state), "about": checksums.of_json(about)}
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state), about=ocp.args.JsonSave(about | {_SUMS: sums})
            ),
            force=True,
        )

    def restore(self, step: int, like: Any) -> tuple[Any, dict[str, Any]]:
        """The state at a step, placed as `like` is (arrays or ShapeDtypeStructs), and what was said
        about it.

        Raises:
          DamagedCheckpoint: not as it was written.
          CheckpointError: the checkpoint does not fit `like`.
        """
        about, sums = self._about(step)
        target = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like
        )
        handler, args = ocp.StandardCheckpointHandler(), ocp.args.StandardRestore(target)
        return self._read(step, sums, target, handler, args, whole=True), about

    def restore_parts(self, step: int, like: dict[str, Any]) -> dict[str, Any]:
        """Some fields of the state, such as {"params": …, "batch_stats": …}: no optimiser is needed
        to read what it was trained to.

        Args:
          like: ShapeDtypeStructs with shardings.

        Raises:
          DamagedCheckpoint: not as it was written.
          CheckpointError: the checkpoint does not fit `like`.
        """
        args = ocp.args.PyTreeRestore(
            item=like,
            restore_args=ocp.checkpoint_utils.construct_restore_args(like),
            partial_restore=True,
        )
        sums = self._about(step)[1]
        return self._read(step, sums, like, ocp.PyTreeCheckpointHandler(), args, whole=False)

    def shapes(self, step: int) -> dict[str, Any]:
        """What the state of a step holds: nested dictionaries with `shape` and `dtype` leaves; a
        list's places are keys "0", "1", …

        Raises:
          DamagedCheckpoint: it cannot be told.
        """
        with self._damage(step):
            return ocp.PyTreeCheckpointHandler().metadata(self._item(step, "state")).tree

    def about(self, step: int) -> dict[str, Any]:
        """What was said about a checkpoint, without its arrays.

        Raises:
          DamagedCheckpoint: not as it was written.
          CheckpointError: no checkpoint of that step.
        """
        return self._about(step)[0]

    def wait(self) -> None:
        """Until what was started is on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Finish and release."""
        if not self._read_only:
            self._manager.wait_until_finished()
        self._manager.close()

    def _item(self, step: int, name: str) -> epath.Path:
        return epath.Path(self.folder) / str(step) / name

    def _about(self, step: int) -> tuple[dict[str, Any], dict[str, str]]:
        """`about`, and the checksum of each array; {} of a checkpoint that has none."""
        there = sorted(self._manager.all_steps())
        if step not in there:
            known = ", ".join(map(str, there))
            raise CheckpointError(f"{self.folder}: no checkpoint of step {step}; there are {known}")
        with self._damage(step):
            about = ocp.JsonCheckpointHandler().restore(self._item(step, "about"))
            if not isinstance(about, dict):
                raise TypeError(f"about is {type(about).__name__}")
            sums = about.pop(_SUMS, None)
            if sums is None:
                return about, {}
            if checksums.of_json(about) != sums["about"]:
                raise ValueError("the checksum of `about` differs")
            return about, dict(sums["state"])

    def _read(self, step, sums, like, handler, args, *, whole: bool) -> Any:
        """`like` from the files of a step, compared with the checksums.

        Read by the handler, not through Orbax's manager: whose barriers would keep the others
        waiting for a process that finds a damaged file.
        """
        wanted = {path_string(p): x for p, x in jax.tree_util.tree_leaves_with_path(like)}
        self._check_fit(step, sums, wanted, whole=whole)
        with self._damage(step):
            found = handler.restore(self._item(step, "state"), args=args)
        if not sums:
            return found
        now = checksums.of_tree(found)  # the same on every process: no need to agree
        other = sorted(
            path
            for path, value in now.items()
            # Read as another type than it was stored in, it has other bits.
            if path in sums and sums[path] != value and sums[path].startswith(value[:-16])
        )
        if other:
            raise self._damaged(step, f"the checksum of {_some(other)} differs")
        return found

    def _check_fit(self, step, sums, wanted, *, whole: bool) -> None:
        if sums:
            stored = {path: checksums.shape_of(value) for path, value in sums.items()}
        else:
            leaves = jax.tree_util.tree_leaves_with_path(
                self.shapes(step), is_leaf=lambda x: hasattr(x, "shape")
            )
            stored = {path_string(p): tuple(x.shape) for p, x in leaves if hasattr(x, "shape")}
        said = [
            f"{path} has shape {stored[path]} there, {tuple(x.shape)} here"
            if path in stored
            else f"it has no {path}"
            for path, x in wanted.items()
            if stored.get(path) != tuple(x.shape)
        ]
        if whole:
            said += [f"there is no {path} here" for path in stored if path not in wanted]
        if said:
            raise CheckpointError(
                f"{self.folder}: the checkpoint of step {step} does not fit this model: "
                f"{_some(said, '; ')}"
            )

    @contextlib.contextmanager
    def _damage(self, step: int) -> Iterator[None]:
        """What cannot be read inside is DamagedCheckpoint, on every process at once."""
        error = None
        late_answers.expect()
        try:
            yield
        except Exception as caught:  # Orbax wraps errors in bare Exceptions
            error = caught
            while error.__cause__ is not None:
                error = error.__cause__
            blameless = any(word in str(error) for word in _NOT_ITS_FAULT)
            if blameless or not isinstance(error, _UNREADABLE):
                raise
            late_answers.let_go(caught)
        if jax.process_count() > 1:
            failed = multihost_utils.process_allgather(np.array(error is not None))
            if error is None and failed.any():
                which = int(np.flatnonzero(failed)[0])
                raise self._damaged(step, f"process {which} cannot read it")
        if error is not None:
            said = str(error).partition("[tensorstore_spec")[0].strip()  # pages of JSON from here
            raise self._damaged(step, f"{type(error).__name__}: {said[:300]}") from error

    def _damaged(self, step: int, what: str) -> DamagedCheckpoint:
        return DamagedCheckpoint(
            f"{self.folder}: the checkpoint of step {step} is damaged ({what})"
        )

    def _set_aside(self, step: int) -> Path:
        """Renames what cannot be read, so that nobody takes it for a checkpoint again."""
        source, number = self.folder / str(step), 1
        while (target := self.folder / f"{step}.{DAMAGED}{number if number > 1 else ''}").exists():
            number += 1
        multihost_utils.sync_global_devices("all have read the damaged checkpoint")
        if jax.process_index() == 0:
            os.rename(source, target)
        multihost_utils.sync_global_devices("the damaged checkpoint is set aside")
        self._manager.reload()
        return target


def _some(words: list[str], between: str = ", ", most: int = 3) -> str:
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return between.join(words[:most]) + more


@contextlib.contextmanager
def _only_errors() -> Iterator[None]:
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def open_existing(folder: str | Path) -> Checkpoints:
    """The checkpoints of a run, finished, interrupted or going on, to read.

    Args:
      folder: the run's `checkpoints` (or `best`) folder, or the run's workdir.

    Raises:
      ConfigError: a bucket.
      CheckpointError: no such folder, or no complete checkpoint in it.
    """
    folder = folders.local(folder, "checkpoint")
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such checkpoint folder")
    if (folder / "checkpoints").is_dir():
        folder = folder / "checkpoints"
    # Looked for by hand: Orbax's manager would take any folder, and leave its own files in it.
    if not any((step / "state").is_dir() for step in folder.iterdir() if step.name.isdigit()):
        names = ", ".join(sorted(p.name for p in folder.iterdir())[:6]) or "nothing"
        raise CheckpointError(
            f"{folder}: not a checkpoint folder: it holds {names}, and no <step>/state; give the "
            "workdir of a run of launch.pretrain, or its checkpoints folder"
        )
    return Checkpoints(folder, read_only=True)
