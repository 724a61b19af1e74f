"""One table of staging from every subset of signals, of several models and their seeds.

  python -m launch.subsets --models="joint=RUN/joint_0,RUN/joint_1;ecg=RUN/ecg_0,RUN/ecg_1" \\
      --second_scorer="mesa=SCORINGS" --workdir=RUN

Each folder is the workdir of a run of launch.pretrain whose evaluators of kind staging kept their
predictions of a test split. Writes RUN/subsets.csv (model, cohort, signals, kappa, low, high,
people …), RUN/subset_gains.csv (differences on the same nights, paired by person; a model against
those that are named after it), their section of RUN/results.json and RUN/report/index.html, and
prints the tables.

--second_scorer names, of any of the cohorts, a folder with a second person's scoring of every night
of the test split, under the recordings' names: what people agree on, the ceiling, becomes the row
"second scorer" of every subset of that cohort. A later run without the flag keeps it. Exit code 0
means that the tables are there.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import app, flags

from launch import programs

_MODELS = flags.DEFINE_string(
    "models", None, "NAME=RUN,RUN…;NAME=…: models, and the runs of each, one a seed."
)
_SECOND_SCORER = flags.DEFINE_string(
    "second_scorer", "", "COHORT=FOLDER;COHORT=FOLDER…: hypnograms of a second person."
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


def scorings_of(text: str) -> dict[str, str]:
    """{cohort: folder} of the flag.

    Raises:
        absl.app.UsageError: it cannot be read so.
    """
    found: dict[str, str] = {}
    for part in filter(None, text.split(";")):
        cohort, given, folder = (piece.strip() for piece in part.partition("="))
        if not (cohort and given and folder) or cohort in found:
            raise app.UsageError(
                f"--second_scorer: {part!r}: expected COHORT=FOLDER, each cohort once"
            )
        found[cohort] = folder
    return found


def main(argv: Sequence[str]) -> int:
    """See the module's docstring."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: flags begin with --")
    from sleepfm_jax import folders
    from sleepfm_jax.report.page import write_report
    from sleepfm_jax.staging import rows, scorers, tables

    models, scorings = runs_of(_MODELS.value), scorings_of(_SECOND_SCORER.value)
    scorings = {
        cohort: folders.local(folder, "--second_scorer") for cohort, folder in scorings.items()
    }
    workdir = folders.local(_WORKDIR.value, "--workdir")
    workdir.mkdir(parents=True, exist_ok=True)
    found = rows.gather(models)
    rows.save(workdir, found | scorers.second_rows(found, scorings))
    print(tables.write_tables(workdir, list(models)))
    print(f"{workdir / 'subsets.csv'}\n{write_report(workdir)}")
    return 0


if __name__ == "__main__":
    flags.mark_flags_as_required(["models", "workdir"])
    programs.run(main)
