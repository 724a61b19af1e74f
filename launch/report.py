"""Write a run's report again and print its figures.

  python -m launch.report --workdir=RUN

RUN is the workdir of launch.pretrain and launch.probe. The report is RUN/report/index.html, one page
with everything in it; what is missing in RUN is said in its place.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from absl import app, flags

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")


def main(argv: list[str]) -> int:
    """See the module's docstring."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: flags begin with --")
    from sleepfm_jax import report

    workdir = Path(_WORKDIR.value)
    results = workdir / "results.json"
    if not results.exists():
        print(f"{workdir}: no results.json: run launch.pretrain or launch.probe", file=sys.stderr)
        return 1
    page = report.write_report(workdir)
    found = json.loads(results.read_text())
    print(report.text_table(found))
    print(page)
    return 0


if __name__ == "__main__":
    flags.mark_flags_as_required(["workdir"])
    app.run(main)
