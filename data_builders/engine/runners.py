"""How work units are run: here, on processes of this machine, or as an Apache Beam pipeline.

A runner is called with units and a folder and yields their results in any order. Whichever it is,
the folder holds the same bytes afterwards: a unit is a pure function, and nothing but its name,
lengths, hashes and reports comes back.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import importlib
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection
from typing import Any

from data_builders.engine import storage, work_unit
from data_builders.engine.work_unit import UnitResult, WorkUnit
from sleepfm_jax.data.memory import keep_freed_memory
from sleepfm_jax.errors import RunnerError

Runner = Callable[[Sequence[WorkUnit], storage.AnyPath], Iterator[UnitResult]]


def in_this_process(units: Sequence[WorkUnit], directory: storage.AnyPath) -> Iterator[UnitResult]:
    """One unit after the other, here: for small data and for debuggers."""
    for unit in units:
        yield work_unit.build_unit(unit, directory)


@dataclasses.dataclass
class Processes:
    """A pool of worker processes on this machine.

    A worker may be killed under way, most often because memory ran out. Its unit is then tried
    again at the end, alone, so that all of the memory is its own. If it is killed once more, the
    recording that it was reading is quarantined and the unit built without it: one file cannot stop
    a cohort, and no recording is lost because its neighbours were large. An error outside of any
    recording (a full disk, a bug) stops the build.

    Args:
        num_workers: processes at most.
        tell: called with a line when a worker was killed.
    """

    num_workers: int
    tell: Callable[[str], None] | None = None

    def __call__(
        self, units: Sequence[WorkUnit], directory: storage.AnyPath
    ) -> Iterator[UnitResult]:
        todo = collections.deque((unit, {}) for unit in units)
        alone: collections.deque[tuple[WorkUnit, dict[str, str]]] = collections.deque()
        workers: list[_Worker] = []
        try:
            while todo or alone or any(w.unit for w in workers):
                last = not todo and not any(w.unit for w in workers)  # only `alone` is left
                queue, limit = (alone, 1) if last else (todo, self.num_workers)
                workers = self._staffed(workers, limit, len(queue), directory)
                for worker in workers:
                    if queue and not worker.unit and sum(bool(w.unit) for w in workers) < limit:
                        worker.give(*queue.popleft(), alone=last)
                for worker in _ready(workers):
                    result = worker.take()
                    if result is not None:
                        yield result
                    elif not worker.alive():
                        workers.remove(worker)
                        if worker.unit:
                            alone.append(self._after_death(worker))
        finally:
            _stop(workers)

    def _staffed(
        self, workers: list[_Worker], limit: int, waiting: int, directory: storage.AnyPath
    ) -> list[_Worker]:
        """As many workers as there is work for; the idle ones beyond the limit are sent home."""
        busy = [w for w in workers if w.unit]
        idle = [w for w in workers if not w.unit]
        wanted = max(0, min(limit - len(busy), waiting))
        _stop(idle[wanted:])
        fresh = [_Worker(directory) for _ in range(wanted - len(idle))]
        return busy + idle[:wanted] + fresh

    def _after_death(self, worker: _Worker) -> tuple[WorkUnit, dict[str, str]]:
        """What is to be tried next of the unit that a worker was killed with."""
        how = worker.how_it_ended()
        if not worker.started or (worker.alone and worker.reading is None):
            raise RunnerError(
                f"a worker process ended ({how}) before it read anything: see the lines above, or "
                "build in one process (--num_workers=0) to find out why"
            )
        if not worker.alone:
            verdict = "its unit is tried again at the end, alone"
        else:
            verdict = "quarantined"
            worker.refused[worker.reading] = (
                f"the process that read it ended twice, the second time alone ({how}): the file is "
                "damaged in a way that the reader does not survive, or needs more memory than there"
                " is"
            )
        if self.tell:
            self.tell(f"a worker ended ({how}) while reading {worker.reading}: {verdict}")
        return worker.unit, worker.refused


class _Worker:
    """One process, and what it is doing."""

    def __init__(self, directory: storage.AnyPath):
        context = multiprocessing.get_context("spawn")  # safe beside threads, of whatever library
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, os.fspath(directory)), daemon=True
        )
        self._process.start()
        theirs.close()
        self.unit: WorkUnit | None = None
        self.refused: dict[str, str] = {}
        self.started = self.alone = False
        self.reading: str | None = None

    @property
    def waitables(self) -> tuple[Any, Any]:
        """What becomes ready when there is news of the worker."""
        return self._pipe, self._process.sentinel

    def give(self, unit: WorkUnit, refused: dict[str, str], *, alone: bool) -> None:
        self.unit, self.refused, self.alone, self.reading = unit, refused, alone, None
        with contextlib.suppress(OSError):  # it died just now: seen where all ends are
            self._pipe.send((unit, refused))

    def take(self) -> UnitResult | None:
        """The result, if it is there; before that, what the worker is reading.

        Raises:
            RunnerError: the unit failed outside of any recording.
        """
        try:
            while self._pipe.poll():
                kind, value = self._pipe.recv()
                self.started = True
                if kind == "reading":
                    self.reading = value
                elif kind == "done":
                    self.unit = None
                    return value
                else:
                    raise RunnerError(f"a work unit failed outside of any recording:\n{value}")
        except (EOFError, ConnectionError):
            self._process.join()  # the pipe ends a moment before the process does
        return None

    def alive(self) -> bool:
        return self._process.is_alive()

    def how_it_ended(self) -> str:
        code = self._process.exitcode
        if code == -signal.SIGKILL:
            return "SIGKILL, as when memory runs out"
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def ask_to_stop(self) -> None:
        self._process.terminate()

    def stop(self) -> None:
        self._process.join(timeout=5)
        self._process.kill()  # shards appear whole or not at all, whenever it ends
        self._process.join()
        self._pipe.close()


def _stop(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        worker.ask_to_stop()
    for worker in workers:
        worker.stop()


def _ready(workers: Sequence[_Worker]) -> list[_Worker]:
    """The workers of which there is news; waits until there are some."""
    news = set(connection.wait([w for worker in workers for w in worker.waitables]))
    return [worker for worker in workers if news & set(worker.waitables)]


def _serve(pipe: connection.Connection, directory: str) -> None:
    """The life of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # temporary files are removed on the way
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_freed_memory()
    folder = storage.as_path(directory)
    pipe.send(("reading", None))
    while True:
        unit, refused = pipe.recv()
        try:
            result = work_unit.build_unit(
                unit, folder, refused, lambda p: pipe.send(("reading", p))
            )
        except Exception:
            pipe.send(("failed", traceback.format_exc()))
        else:
            pipe.send(("done", result))


def _end_with_parent() -> None:
    """A worker whose parent was killed would go on, beside the ones of the next build."""
    multiprocessing.parent_process().join()
    os._exit(1)


@dataclasses.dataclass
class Beam:
    """An Apache Beam pipeline: units go out, and each result is read from beside its shard.

    The folder must be reachable by every worker (a shared file system, or a bucket), and so must
    the source and this package. A worker that is killed is the runner's to replace.

    Args:
        runner: DirectRunner, DataflowRunner, SparkRunner, FlinkRunner …
        options: Beam's own flags, like "--project=…".

    Raises:
        RunnerError: Beam is not installed.
    """

    runner: str
    options: Sequence[str] = ()

    def __post_init__(self) -> None:
        try:
            importlib.import_module("apache_beam")
        except ImportError as error:
            raise RunnerError(
                f"--runner={self.runner} needs Apache Beam ({error}): pip install -e .[beam]"
            ) from error

    def __call__(
        self, units: Sequence[WorkUnit], directory: storage.AnyPath
    ) -> Iterator[UnitResult]:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions

        options = PipelineOptions([f"--runner={self.runner}", *self.options])
        try:
            with beam.Pipeline(options=options) as pipeline:
                _ = (
                    pipeline
                    | "Units" >> beam.Create(units)
                    | "Spread" >> beam.Reshuffle()  # or one worker would take them all
                    | "Build" >> beam.Map(_build_into, os.fspath(directory))
                )
        except Exception as error:
            raise RunnerError(
                f"the Beam pipeline failed: {type(error).__name__}: {error}"
            ) from error
        for unit in units:
            yield work_unit.read_result(unit, directory)


def _build_into(unit: WorkUnit, directory: str) -> str:
    return work_unit.build_unit(unit, storage.as_path(directory)).key
