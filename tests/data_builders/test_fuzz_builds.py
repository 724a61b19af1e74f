"""A cohort of damaged recordings only: every one is in the report, built or with a reason."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_damaged_recordings_are_records_or_in_quarantine(root):
    program = root / "tests" / "data_builders" / "fuzz_builds.py"
    done = subprocess.run(
        [sys.executable, program, "--cases=110", "--seed=7"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    report = json.loads(done.stdout)
    assert report["failures"] == []
    statuses = [
        sum(c.get(s, 0) for c in report["counts"].values()) for s in ("built", "quarantined")
    ]
    assert sum(statuses) == 110 and min(statuses) > 20
