"""Compute a run's figures anew from its predictions, write its report again, print both.

  python -m launch.report --workdir=RUN
  python -m launch.report --workdir=RUN --paper

RUN is the workdir of launch.pretrain, launch.probe, launch.transfer or of subsets of signals
(RUN/staging/). The report is
RUN/report/index.html, one page with everything in it; what is missing in RUN is said in its place.
With --paper also RUN/paper/: the transfer paper's figures and its table, ours beside the published
numbers, from what launch.transfer and launch.ablate_channels left in RUN. Exit code 0 means that it
is there.
"""

from __future__ import annotations

import json

from absl import app, flags

from launch import programs
from sleepfm_jax.errors import StorageError

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_SECONDS = flags.DEFINE_list(
    "seconds", [], "Steps done by other programs, to be listed too: 'build=31,simulate=17'."
)

_PAPER = flags.DEFINE_bool(
    "paper", False, "The transfer paper's figures 1-3 and its table too, into RUN/paper/."
)


def main(argv: list[str]) -> int:
    """See the module's docstring."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: flags begin with --")
    from sleepfm_jax import folders
    from sleepfm_jax.report import page as report
    from sleepfm_jax.report.results import recompute

    workdir = folders.local(_WORKDIR.value, "--workdir")
    there = ("results.json", "predictions", "staging", *(("transfer.csv",) if _PAPER.value else ()))
    if not any((workdir / name).exists() for name in there):
        raise StorageError(
            f"{workdir}: no results.json and no predictions: run launch.pretrain, launch.probe or "
            "launch.transfer"
        )
    try:
        seconds = {name: float(s) for name, s in (item.split("=") for item in _SECONDS.value)}
    except ValueError as error:
        raise app.UsageError("--seconds: expected NAME=NUMBER, separated by commas") from error
    if seconds:
        report.merge_results(workdir, {"seconds": seconds})
    recompute(workdir)
    if (workdir / "staging").is_dir():
        from sleepfm_jax.staging.tables import write_tables

        print(write_tables(workdir))
    if _PAPER.value:
        from sleepfm_jax.report.paper.write import write_paper

        print(f"Paper: {write_paper(workdir)}")
    page = report.write_report(workdir)
    results = json.loads((workdir / "results.json").read_text())
    print(report.text_table(results))
    for part, among in (("within_person", "a person's night"), ("across_people", "all people")):
        found = (results.get("retrieval") or {}).get(part) or {}
        if found.get("top1") is not None:
            print(
                f"Retrieval among the clips of {among}: top-1 {found['top1']:.3f}, "
                f"{found['top1'] / found['chance']:.1f} x chance, "
                f"identity alone {found['identity_alone']:.3f}"
            )
    if results.get("seconds"):
        print(", ".join(f"{name} {s:.0f} s" for name, s in results["seconds"].items()))
    print(f"Report: {page}")
    return 0


if __name__ == "__main__":
    flags.mark_flags_as_required(["workdir"])
    programs.run(main)
