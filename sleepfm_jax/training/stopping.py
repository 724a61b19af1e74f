"""When a run is asked to stop before its last step."""

from __future__ import annotations

import signal
import threading
from types import TracebackType

import jax
from jax.experimental import multihost_utils


class Interrupted(Exception):
    """An evaluation that a request to stop cut short: what it had found is dropped."""


class StopSignal:
    """SIGTERM asks a run to save and leave. A context: outside it SIGTERM ends the process.

    A process alone catches it itself. Among several, jax.distributed catches it and all hear of it
    at the same call of `requested`, which is why each makes the same calls. Python hears of a
    signal when XLA has compiled what it compiles: then, not sooner, the run ends.
    """

    def __init__(self):
        self._asked = False
        self._calls = 0
        self._alone = jax.process_count() == 1
        self._before = None

    def __enter__(self) -> StopSignal:
        if self._alone and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
            self._before = None

    def _ask(self, *_):
        self._asked = True

    def requested(self) -> bool:
        """Is this the place to stop? The same answer on every process; once True, ask no more."""
        if self._alone:
            return self._asked
        self._calls += 1
        # A sync point is met by one number of a rising sequence: steps alone would not do, since
        # evaluations have batches.
        return multihost_utils.reached_preemption_sync_point(self._calls)

    def check(self) -> None:
        """Interrupted where `requested`: within an evaluation."""
        if self.requested():
            raise Interrupted


def told(step: int, resumed_at: int) -> str:
    """What a run that was asked to stop says: what is saved, and what the same command will do."""
    if step > resumed_at:
        return f"SIGTERM: saved at step {step}; run again to go on from there"
    if step:
        return f"SIGTERM: still at step {step}, which was saved before; run again to go on"
    return "SIGTERM: at step 0, with nothing to save; run again to begin"
