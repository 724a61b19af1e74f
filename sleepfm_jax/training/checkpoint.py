"""Checkpoints: the whole state and the data position, saved with Orbax while training goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from sleepfm_jax.errors import CheckpointError


class Checkpoints:
    """The checkpoints of one run, in one folder, one sub-folder a step.

    A checkpoint is written beside its final name and renamed when complete: a run killed while
    saving finds the one before. Every process of a run calls every method.
    """

    def __init__(self, folder: str | Path, *, keep: int = 2):
        self.folder = Path(folder).absolute()
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep, enable_async_checkpointing=True, cleanup_tmp_directories=True
            ),
        )

    def latest(self) -> int | None:
        """The newest complete step, or None."""
        return self._manager.latest_step()

    def save(self, step: int, state: Any, about: dict[str, Any]) -> None:
        """Start saving; returns at once.

        Args:
          state: pytree of global arrays.
          about: JSON: the configuration, the preprocessing, whom it was trained on (pseudonyms) and
            the data position.
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
        try:
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(target), about=ocp.args.JsonRestore()
                ),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{self.folder}: the checkpoint of step {step} does not fit this model: {error}"
            ) from error
        return restored.state, restored.about

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
        self._manager.wait_until_finished()
        self._manager.close()


def open_existing(folder: str | Path) -> Checkpoints:
    """The checkpoints of a finished or interrupted run.

    Args:
      folder: the run's `checkpoints` folder, or the run's workdir.

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
    return Checkpoints(folder)
