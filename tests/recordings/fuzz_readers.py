"""Opens damaged files of every format; what is not a recording must be a RecordingError.

    python tests/recordings/fuzz_readers.py --cases=2000 --seed=0 [--files night.edf ...]

A case fails where a reader raises anything else, takes over 10 s, needs over 2 GB, dies, or
returns a recording that contradicts itself. Files are opened in worker processes with those limits.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # when run as a program

import numpy as np

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.read import Recording, read_recording
from sleepfm_jax.recordings.scorings.hypnogram import num_sleep_epochs, read_stages
from tests.helpers import broken_files

SECONDS, BYTES = 10, 2 << 30
NIGHT = 300.0  # s, of the recording that stage files are read for
OWN_PROCESS = ("eeglab", "hdf5")
STAGE_FILES = ("nsrr", "profusion", "rml", "wfdb stages")


def check(recording: Recording) -> None:
    """What every recording promises."""
    assert recording.channels and recording.duration > 0, "an empty recording"
    for channel in recording.channels:
        samples = channel.samples
        assert samples.dtype == np.float32 and samples.ndim == 1, channel.label
        assert not np.isinf(samples).any(), f"{channel.label}: an infinite sample"
        assert 1e-2 <= channel.sfreq <= 1e6, f"{channel.label}: {channel.sfreq} Hz"
        length = abs(len(samples) - recording.duration * channel.sfreq)
        assert length <= 1 + 1e-6 * len(samples), f"{channel.label}: {length} samples too many"
    if recording.stages is not None:
        check_stages(recording.stages, recording.duration)
    onsets = [a.onset for a in recording.annotations]
    assert np.isfinite(onsets).all(), "an annotation at no time"


def check_stages(stages: np.ndarray, duration: float) -> None:
    assert stages.dtype == np.int8 and len(stages) == num_sleep_epochs(duration)
    assert ((stages >= -1) & (stages <= 4)).all()


def open_case(kind: str, path: Path) -> str:
    """`read`, `refused`, or what went wrong."""
    started = time.monotonic()
    try:
        if kind.partition(" of ")[0] in STAGE_FILES:
            check_stages(read_stages(path, start=None, duration=NIGHT).stages, NIGHT)
        else:
            check(read_recording(path, subject="s"))
        outcome = "read"
    except RecordingError as error:
        outcome = "refused" if str(path.parent) in str(error) else f"no path in {error!s:.200}"
    except BaseException:
        lines = traceback.format_exc().strip().splitlines()
        outcome = " | ".join(line.strip() for line in lines[-5:])
    return outcome if time.monotonic() - started <= SECONDS else f"slow, then {outcome}"


def damaged(kind: str, sound: tuple[Path, ...], seed: tuple[int, int], folder: Path) -> Path:
    """A damaged copy of a sound file in `folder`, with the files it needs."""
    rng = np.random.default_rng(seed)
    target = sound[0]
    for path in sound[1:]:
        shutil.copy(path, folder / path.name)
    raw = target.read_bytes()
    ways = broken_files.mutations(kind)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        if len(raw) > 4:
            try:
                raw = ways[rng.integers(len(ways))](raw, rng)
            except (ValueError, IndexError):  # nothing left to damage in this way
                raw = broken_files.bit_flips(raw, rng)
    (folder / target.name).write_bytes(raw)
    return folder / target.name


def work(connection, sound: dict[str, tuple[Path, ...]], seed: int, keep: Path | None) -> None:
    """Opens the cases that come through the connection, until None comes."""
    resource.setrlimit(resource.RLIMIT_DATA, (BYTES, BYTES))

    def hang(*_) -> None:
        raise TimeoutError("a hang")

    warnings.simplefilter("error")
    kinds = list(sound)
    for kind, paths in sound.items():  # libraries are imported before the clock runs
        if paths:
            open_case(kind, paths[0])
    signal.signal(signal.SIGALRM, hang)
    while (case := connection.recv()) is not None:
        kind = kinds[case % len(kinds)]
        with tempfile.TemporaryDirectory() as folder:
            path = damaged(kind, sound[kind], (seed, case), Path(folder))
            signal.alarm(SECONDS + 1)
            started = time.monotonic()
            outcome = open_case(kind, path)
            spent = time.monotonic() - started
            signal.alarm(0)
            if outcome not in ("read", "refused") and keep is not None:
                shutil.copytree(folder, keep / f"case_{case}", dirs_exist_ok=True)
        if kind in OWN_PROCESS:  # a successor starts now, not while the clock of a case runs
            open_case(kind, sound[kind][0])
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        connection.send((case, kind, outcome, peak, spent))


class Worker:
    """One process with its connection; it is replaced when it dies or hangs."""

    def __init__(self, arguments: tuple):
        self.arguments = arguments
        self.start()

    def start(self) -> None:
        self.connection, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=work, args=(theirs, *self.arguments))
        self.process.start()
        theirs.close()

    def give(self, case: int) -> None:
        self.connection.send(case)
        self.case, self.since = case, time.monotonic()

    def result(self) -> tuple | None:
        """The result of its case, None while it works; a new process where the old one is lost."""
        try:
            if self.connection.poll(0.01):
                return self.connection.recv()
        except EOFError:
            self.process.join(5)
            what = f"the process died ({self.process.exitcode})"
        else:
            if time.monotonic() - self.since < SECONDS + 5:
                return None
            self.process.kill()
            what = "a hang that no signal ends"
        self.start()
        return self.case, "?", what, 0.0, time.monotonic() - self.since


def run(
    sound: dict[str, tuple[Path, ...]],
    *,
    cases: int,
    seed: int,
    workers: int,
    keep: Path | None = None,
) -> dict:
    """Outcomes of `cases` damaged files: counts by kind, failures, most memory (MB) and time."""
    counts: dict[str, Counter] = {}
    failures, peak, slowest = [], 0.0, 0.0
    pool = [Worker((sound, seed, keep)) for _ in range(workers)]
    todo = iter(range(cases))
    busy = []
    for worker in pool:
        if (case := next(todo, None)) is not None:
            worker.give(case)
            busy.append(worker)
    while busy:
        for worker in list(busy):
            if (result := worker.result()) is None:
                continue
            case, kind, outcome, memory, spent = result
            peak, slowest = max(peak, memory), max(slowest, spent)
            fine = outcome in ("read", "refused")
            counts.setdefault(kind, Counter())[outcome if fine else "FAILED"] += 1
            if not fine:
                failures.append({"case": case, "kind": kind, "what": outcome})
            if (case := next(todo, None)) is None:
                busy.remove(worker)
            else:
                worker.give(case)
    for worker in pool:
        worker.connection.send(None)
        worker.process.join(5)
    return {
        "cases": cases,
        "seed": seed,
        "counts": {kind: dict(sorted(c.items())) for kind, c in sorted(counts.items())},
        "failures": failures,
        "peak_mb": round(peak),
        "slowest_s": round(slowest, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--files", type=Path, nargs="+", help="sound files to damage, not our own")
    parser.add_argument("--keep", type=Path, help="folder for the files of failed cases")
    arguments = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        files = arguments.files
        sound = (
            broken_files.real_files(files)
            if files
            else broken_files.write_sound_files(Path(folder))
        )
        report = run(
            sound,
            cases=arguments.cases,
            seed=arguments.seed,
            workers=arguments.workers,
            keep=arguments.keep,
        )
    report["seconds"] = round(time.monotonic() - started, 1)
    print(json.dumps(report, indent=1))
    sys.exit(bool(report["failures"]))


if __name__ == "__main__":
    main()
