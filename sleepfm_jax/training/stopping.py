"""When a run is asked to stop before its last step."""

from __future__ import annotations

import signal

import jax

from sleepfm_jax.training.checkpoint import Checkpoints


class StopSignal:
    """SIGTERM asks a run to save and leave.

    One process catches it itself. Among several the cluster's preemption notice is shared through
    jax.distributed, so that all save at the same step.
    """

    def __init__(self):
        self._asked = False
        self._alone = jax.process_count() == 1
        if self._alone:
            self._before = signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, *_):
        self._asked = True

    def requested(self, checkpoints: Checkpoints, step: int) -> bool:
        """Has this step become the last? The same answer on every process."""
        return self._asked if self._alone else checkpoints.preempted(step)

    def restore(self) -> None:
        """Give the signal back."""
        if self._alone:
            signal.signal(signal.SIGTERM, self._before)
