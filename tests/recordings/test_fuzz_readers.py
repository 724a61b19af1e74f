"""The fuzzer of the readers: it sees every kind of failure, and finds none in them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import broken_files
from tests.recordings import fuzz_readers


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess:
    """A program of its own: jax's threads, which other tests start, do not survive a fork."""
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, cwd=root
    )


@pytest.mark.slow
def test_hundreds_of_damaged_files(root: Path):
    done = run(root, "tests/recordings/fuzz_readers.py", "--cases=700", "--seed=11")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    report = json.loads(done.stdout)
    assert report["failures"] == []
    assert report["peak_mb"] < 2048
    counts = report["counts"]
    assert len(counts) == 14
    assert sum(sum(c.values()) for c in counts.values()) == 700
    # the damage is neither harmless nor hopeless
    assert all(
        counts[kind]["read"] > 10 and counts[kind]["refused"] > 10 for kind in ("edf", "bdf")
    )


@pytest.mark.slow
def test_the_fuzzer_sees_what_it_looks_for(root: Path):
    """Readers that crash, hang (in Python and beyond), die, take memory, or return nonsense."""
    program = """
        import json, os, signal, time
        import numpy as np
        from tests.recordings import fuzz_readers as fuzz
        from sleepfm_jax.errors import RecordingError
        from sleepfm_jax.recordings.recording import Channel, Recording

        def planted(path, subject):
            case = int(path.read_text())
            if case == 1:
                return {}["a crash"]
            if case == 2:
                time.sleep(30)
            if case == 3:
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
                time.sleep(30)
            if case == 4:
                os._exit(9)
            if case == 5:
                np.ones(1 << 29)
            if case == 6:
                channel = Channel("C3", "C3", "bas", 10.0, "uV", np.full(10, np.inf, np.float32))
                return Recording("p", "s", "r", None, 1.0, [channel], [], None)
            raise RecordingError("elsewhere" if case == 7 else path, "refused")

        def numbered(kind, sound, seed, folder):
            (folder / "case").write_text(str(seed[1]))
            return folder / "case"

        fuzz.SECONDS, fuzz.read_recording, fuzz.damaged = 1, planted, numbered
        print(json.dumps(fuzz.run({"edf": ()}, cases=8, seed=0, workers=2)))
    """
    done = run(root, "-c", textwrap.dedent(program))
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout)
    what = {failure["case"]: failure["what"] for failure in report["failures"]}
    assert 0 not in what
    for case, cause in {
        **{1: "KeyError: 'a crash'", 2: "a hang", 3: "a hang that no signal ends"},
        **{4: "the process died (9)", 5: "Unable to allocate 4.00 GiB"},
        **{6: "C3: an infinite sample", 7: "no path in elsewhere"},
    }.items():
        assert cause in what[case]


def test_sound_files_are_what_they_are_called(tmp_path: Path):
    sound = broken_files.write_sound_files(tmp_path)
    for kind, paths in sound.items():
        assert fuzz_readers.open_case(kind, paths[0]) == "read"


@pytest.mark.parametrize(
    "way",
    [
        *(
            broken_files.bit_flips,
            broken_files.truncation,
            broken_files.splice,
            broken_files.numbers,
        ),
        *(broken_files.words, broken_files.edf_field, broken_files.edf_onsets),
    ],
)
def test_every_way_of_damage_changes_the_file(tmp_path: Path, way: broken_files.Mutation):
    raw = broken_files.write_discontinuous_edf(tmp_path / "a.edf").read_bytes()
    changed = sum(way(raw, np.random.default_rng(seed)) != raw for seed in range(50))
    assert changed >= 40
    same = [way(raw, np.random.default_rng(3)) for _ in range(2)]
    assert same[0] == same[1]  # a case can be opened again
