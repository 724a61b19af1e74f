"""The programs of `launch`, without waiting for the same imports each time.

A helper process imports what they import, then forks a child for every command line that it is
told: a program in a process of its own, as people start it, half a second instead of five.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

HELPER = """
import json, os, runpy, sys, traceback
import data_builders.engine.builder, sleepfm_jax.simulation.cohorts
import sleepfm_jax.probe, sleepfm_jax.train

print("ready", flush=True)
for line in sys.stdin:
    name, arguments, out, err = json.loads(line)
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, path in ((1, out), (2, err)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.argv = [name, *arguments]
        code = 0
        try:
            runpy.run_module(name, run_name="__main__", alter_sys=True)
        except SystemExit as leaving:
            code = leaving.code or 0
            if not isinstance(code, int):
                code = print(code, file=sys.stderr) or 1
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class WarmPrograms:
    """`self("launch.build", "--dataset=…")` → what the program printed, and its exit code."""

    def __init__(self, root: Path, folder: Path):
        self._files = [os.fspath(folder / stream) for stream in ("out", "err")]
        self._helper = subprocess.Popen(
            [sys.executable, "-c", HELPER],
            cwd=root,
            env=os.environ | {"PYTHONPATH": os.fspath(root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._helper.stdout.readline() == "ready\n"

    def __call__(self, name: str, *arguments: object) -> subprocess.CompletedProcess:
        command = [name, [str(a) for a in arguments], *self._files]
        self._helper.stdin.write(json.dumps(command) + "\n")
        self._helper.stdin.flush()
        code = int(self._helper.stdout.readline())
        out, err = (Path(file).read_text(encoding="utf-8") for file in self._files)
        return subprocess.CompletedProcess([name, *arguments], code, out, err)

    def close(self) -> None:
        self._helper.communicate(timeout=20)
