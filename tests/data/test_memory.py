"""Freed memory is kept: what is allocated again and again is not cleared anew by the kernel."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys

if sys.argv[1] == "keep":
    from sleepfm_jax.data.memory import keep_freed_memory
    assert keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(200):
    first, second, third = bytearray(2**20), bytearray(2**20), bytearray(2**20)
    for array in (first, second, third):
        array[::4096] = b"x" * 256
    del first, second, third, array
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="SKIPPED: another C library")
def test_pages_are_not_asked_for_again_and_again(root):
    def faults(how):
        command = [sys.executable, "-c", PROGRAM, how]
        return int(subprocess.run(command, cwd=root, check=True, capture_output=True).stdout)

    assert faults("keep") < faults("as it is") / 10
