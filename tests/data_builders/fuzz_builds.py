"""Builds a dataset of damaged recordings only: each must be a record or a quarantine entry.

    python tests/data_builders/fuzz_builds.py --cases=2000 --seed=0

The damage is `tests/helpers/broken_files.py`'s: EDF, BDF and WFDB recordings, and stage files
beside a sound recording. Work units run in processes with 2 GB of memory, or in this one
(--num_workers=0). A case fails where it is not in the report, takes over 10 s from file to records,
or ends its process.
"""

from __future__ import annotations

import argparse
import collections
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import ClassVar

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # when run as a program

from data_builders.engine import report as build_report
from data_builders.engine import work_unit
from data_builders.engine.builder import Plan, RecordsBuilder
from data_builders.engine.splits import by_subject
from data_builders.engine.work_unit import Source
from sleepfm_jax.recordings.read import Recording, read_recording, score
from tests.helpers import broken_files
from tests.recordings import fuzz_readers

SECONDS, BYTES = fuzz_readers.SECONDS, fuzz_readers.BYTES
NIGHT = "night.edf"  # what damaged stage files are laid onto


def read(root: Path, source: Source) -> Recording:
    recording = read_recording(
        root / source.path, subject=source.subject, recording=source.recording
    )
    return recording if source.hypnogram is None else score(recording, root / source.hypnogram)


class Damaged(RecordsBuilder, skip_registration=True):
    """A folder a case, each a person, with one damaged file in it (`cases.json`)."""

    UNIT_RECORDINGS: ClassVar[int] = 20
    SFREQ: ClassVar[float] = 64.0
    CLIP_SECONDS: ClassVar[float] = 30.0
    read = staticmethod(read)

    def plan(self) -> Plan:
        cases = json.loads((self.source / "cases.json").read_text())
        splits = by_subject(cases, self.seed)
        return Plan(
            tuple(
                Source(path, name, name, splits[name], hypnogram=hypnogram)
                for name, (path, hypnogram) in cases.items()
            )
        )


def write_cases(folder: Path, cases: int, seed: int) -> dict[str, str]:
    """Damaged files, one a folder; the kind of each case."""
    sound = broken_files.write_sound_files(folder / "sound")
    listed, kinds = {}, {}
    for case in range(cases):
        kind = list(sound)[case % len(sound)]
        name = f"case_{case}"
        (folder / name).mkdir()
        path = fuzz_readers.damaged(kind, sound[kind], (seed, case), folder / name)
        if kind in fuzz_readers.STAGE_FILES:
            broken_files.write_edf(folder / name / NIGHT, records=round(fuzz_readers.NIGHT))
            listed[name] = (f"{name}/{NIGHT}", f"{name}/{path.name}")
        else:
            listed[name] = (f"{name}/{path.name}", None)
        kinds[name] = kind
    (folder / "cases.json").write_text(json.dumps(listed))
    return kinds


def timed(unit: work_unit.WorkUnit, directory: Path) -> tuple[work_unit.UnitResult, list, float]:
    """A unit's result, the seconds of each recording and the most memory so far (bytes)."""
    begun, ends = [], []

    def begin(path: str) -> None:
        ends.append(time.monotonic())
        # The process that reads such files starts before the clock does: it imports libraries.
        fuzz_readers.open_case("eeglab", Path(unit.root) / "sound" / "s.set")
        begun.append((path, time.monotonic()))

    result = work_unit.build_unit(unit, directory, begin=begin)
    ends.append(time.monotonic())
    seconds = [(path, end - at) for (path, at), end in zip(begun, ends[1:], strict=True)]
    return result, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (BYTES, BYTES))


class Timed:
    """Runs units in processes with little memory, and writes down how long recordings take."""

    def __init__(self, workers: int):
        self.workers, self.seconds, self.peak = workers, [], 0.0

    def __call__(self, units, directory):
        if self.workers == 0:
            for unit in units:
                yield self._noted(timed(unit, directory))
            return
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self.workers, context, limit_memory) as pool:
            for future in as_completed([pool.submit(timed, u, directory) for u in units]):
                yield self._noted(future.result())  # a process that died stops everything

    def _noted(self, done):
        result, seconds, peak = done
        self.seconds += seconds
        self.peak = max(self.peak, peak)
        return result


def run(cases: int, seed: int, workers: int) -> dict:
    """What became of every case; `failures` should be empty."""
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary) / "source"
        (source / "sound").mkdir(parents=True)
        kinds = write_cases(source, cases, seed)
        builder = Damaged(source=source, data_dir=Path(temporary) / "records")
        timing = Timed(workers)
        builder.download_and_prepare(run=timing)
        entries = build_report.load(builder.data_dir)["recordings"]
    found = collections.Counter(entry["path"].partition("/")[0] for entry in entries)
    failures = [f"{name}: {found[name]} entries" for name in kinds if found[name] != 1]
    counts: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    for entry in entries:
        counts[kinds[entry["path"].partition("/")[0]]][entry["status"]] += 1
        if (entry["status"] == "built") == bool(entry["reason"]):
            failures.append(f"{entry['path']}: {entry['status']}, {entry['reason']!r}")
        if entry["reason"].partition(":")[0] in ("MemoryError", "AssertionError", "TypeError"):
            failures.append(f"{entry['path']}: {entry['reason']}")
    failures += [f"{path}: {spent:.1f} s" for path, spent in timing.seconds if spent > SECONDS]
    return {
        "cases": cases,
        "seed": seed,
        "counts": {kind: dict(sorted(c.items())) for kind, c in sorted(counts.items())},
        "failures": failures,
        "peak_mb": round(timing.peak / 1e6),
        "slowest_s": round(max(spent for _, spent in timing.seconds), 2),
        "slowest": max(timing.seconds, key=lambda of: of[1])[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num_workers", type=int, default=2)
    started = time.monotonic()
    arguments = parser.parse_args()
    if arguments.num_workers == 0:
        limit_memory()
    report = run(arguments.cases, arguments.seed, arguments.num_workers)
    report["seconds"] = round(time.monotonic() - started, 1)
    print(json.dumps(report, indent=1))
    sys.exit(bool(report["failures"]))


if __name__ == "__main__":
    # By its full name: workers, and TFDS, look builders up by their module.
    from tests.data_builders import fuzz_builds

    fuzz_builds.main()
