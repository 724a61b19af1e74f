"""One table of staging from every subset of signals, of several models and their seeds.

  python -m launch.subsets --models=joint=RUN/joint_0,RUN/joint_1;ecg=RUN/ecg_0,RUN/ecg_1 \\
      --workdir=RUN

Each folder is the workdir of a run of launch.pretrain whose evaluators of kind staging kept their
predictions of a test split. Writes RUN/subsets.csv (model, cohort, signals, kappa, low, high,
people …), RUN/subset_gains.csv (differences on the same nights, paired by person; a model against
those that are named after it), their section of RUN/results.json and RUN/report/index.html, and
prints the tables. Exit code 0 means that they are there.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import app, flags

from launch import programs

_MODELS = flags.DEFINE_string(
    "models", None, "NAME=RUN,RUN…;NAME=…: models, and the runs of each, one a seed."
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the tables; made if it does not exist.")


def runs_of(text: str) -> dict[str, list[str]]:
    """{model: folders} of the flag.

    Raises:
        absl.app.UsageError: it cannot be read so.
    """
    found: dict[str, list[str]] = {}
    for part in filter(None, text.split(";")):
        name, given, folders = part.partition("=")
        if not (name.strip() and given and folders.strip()) or name.strip() in found:
            raise app.UsageError(f"--models: {part!r}: expected NAME=RUN,RUN…, each name once")
        found[name.strip()] = [folder for folder in folders.split(",") if folder]
    return found


def main(argv: Sequence[str]) -> int:
    """See the module's docstring."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: flags begin with --")
    from sleepfm_jax import folders
    from sleepfm_jax.report.page import write_report
    from sleepfm_jax.staging import rows, tables

    models = runs_of(_MODELS.value)
    workdir = folders.local(_WORKDIR.value, "--workdir")
    workdir.mkdir(parents=True, exist_ok=True)
    rows.save(workdir, rows.gather(models))
    print(tables.write_tables(workdir, list(models)))
    print(f"{workdir / 'subsets.csv'}\n{write_report(workdir)}")
    return 0


if __name__ == "__main__":
    flags.mark_flags_as_required(["models", "workdir"])
    programs.run(main)
