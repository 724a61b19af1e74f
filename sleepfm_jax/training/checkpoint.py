"""Checkpoints: the whole state and what is said about it, saved with Orbax while training goes on.

A checkpoint is CHECKPOINTS/STEP with `state` (the pytree of `training.state.TrainState`) and
`about` (JSON): the configuration, how the records were made, whom it was trained on (pseudonyms,
those of what it was initialised from included; absent where that does not say), and the data
position.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath

from sleepfm_jax.errors import CheckpointError


class Checkpoints:
    """The checkpoints of one run, in one folder, one sub-folder a step.

    A checkpoint is written beside its final name and renamed when complete: a run killed while
    saving finds the one before. Every process of a run calls every method.

    Args:
      keep: the newest ones that stay.
      read_only: for whoever looks at a run that may be going on: nothing is cleaned up or written,
        a save in flight least of all.
    """

    def __init__(self, folder: str | Path, *, keep: int = 2, read_only: bool = False):
        self.folder = Path(folder).absolute()
        self._read_only = read_only
        if read_only:
            # Orbax warns of each consequence of what is asked for here.
            with _only_errors():
                options = ocp.CheckpointManagerOptions(read_only=True)
                self._manager = ocp.CheckpointManager(self.folder, options=options)
            return
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, enable_async_checkpointing=True, cleanup_tmp_directories=True
        )
        self._manager = ocp.CheckpointManager(self.folder, options=options)

    def latest(self) -> int | None:
        """The newest complete step, or None."""
        return self._manager.latest_step()

    def save(self, step: int, state: Any, about: dict[str, Any]) -> None:
        """Start saving; returns at once.

        Args:
          state: pytree of global arrays.
          about: JSON; see the module's docstring.
        """
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state), about=ocp.args.JsonSave(about)
            ),
            force=True,
        )

    def restore(self, step: int, like: Any) -> tuple[Any, dict[str, Any]]:
        """The state at a step, placed as `like` is (arrays or ShapeDtypeStructs), and what was said
        about it.

        Raises:
          CheckpointError: the checkpoint does not fit `like`.
        """
        target = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like
        )
        args = ocp.args.Composite(
            state=ocp.args.StandardRestore(target), about=ocp.args.JsonRestore()
        )
        try:
            restored = self._manager.restore(step, args=args)
        except (ValueError, KeyError, TypeError) as error:
            raise self._misfit(step, error) from error
        return restored.state, restored.about

    def restore_parts(self, step: int, like: dict[str, Any]) -> dict[str, Any]:
        """Some fields of the state, such as {"params": …, "batch_stats": …}: no optimiser is needed
        to read what it was trained to.

        Args:
          like: ShapeDtypeStructs with shardings.

        Raises:
          CheckpointError: the checkpoint does not fit `like`.
        """
        args = ocp.args.PyTreeRestore(
            item=like,
            restore_args=ocp.checkpoint_utils.construct_restore_args(like),
            partial_restore=True,
        )
        try:
            # Not by the manager: it keeps to the first way in which a state was read.
            return ocp.PyTreeCheckpointHandler().restore(self._state_folder(step), args=args)
        except (ValueError, KeyError, TypeError) as error:
            raise self._misfit(step, error) from error

    def shapes(self, step: int) -> dict[str, Any]:
        """What the state of a step holds: nested dictionaries with `shape` and `dtype` leaves; a
        list's places are keys "0", "1", …"""
        return ocp.PyTreeCheckpointHandler().metadata(self._state_folder(step)).tree

    def about(self, step: int) -> dict[str, Any]:
        """What was said about a checkpoint, without its arrays.

        Raises:
          CheckpointError: no checkpoint of that step.
        """
        there = sorted(self._manager.all_steps())
        if step not in there:
            known = ", ".join(map(str, there))
            raise CheckpointError(f"{self.folder}: no checkpoint of step {step}; there are {known}")
        args = ocp.args.Composite(about=ocp.args.JsonRestore())
        return self._manager.restore(step, args=args).about

    def wait(self) -> None:
        """Until what was started is on disk."""
        self._manager.wait_until_finished()

    def preempted(self, step: int) -> bool:
        """Did the cluster announce the end of any process? All processes hear the same answer."""
        return self._manager.reached_preemption(step)

    def close(self) -> None:
        """Finish and release."""
        if not self._read_only:
            self._manager.wait_until_finished()
        self._manager.close()

    def _state_folder(self, step: int) -> epath.Path:
        return epath.Path(self.folder) / str(step) / "state"

    def _misfit(self, step: int, error: Exception) -> CheckpointError:
        return CheckpointError(
            f"{self.folder}: the checkpoint of step {step} does not fit this model: {error}"
        )


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
      CheckpointError: no such folder, or no complete checkpoint in it.
    """
    folder = Path(folder)
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
