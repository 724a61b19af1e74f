"""How few channels keep 95 % of a task's score?

After launch.transfer in RUN:

  python -m launch.ablate_channels --workdir=RUN --data_dir=DATA --tasks=tuab:twin \\
      --condition=pretrained_pe
  python -m launch.report --workdir=RUN --paper

The fine-tuned models of the tasks' cells, each with its best weights, are asked again about the
people that they were scored on, with some of the channels alone; nothing is trained. For each
number of channels (--counts) --combinations are drawn without repeats, all where there are fewer;
with --order=greedy they are the farthest-first order over the electrodes, from different starts.
ECG goes by leads. RUN/channels.csv has the score of each combination in the task's own metric;
RUN/channels.json also the mean of each count, the fewest channels that keep 95 % of the score with
all channels by both readings (the first count that does; the first from which on all larger ones
do too), and intervals over combinations and people. What a model said is kept: the same command
goes on where it was stopped. Exit code 0 means that both files are there.
"""

from __future__ import annotations

import argparse
import shlex

from absl import app, flags

from launch import programs

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run of launch.transfer.")
_DATA_DIR = flags.DEFINE_string(
    "data_dir", "", "Folder that launch.build wrote datasets to; that of launch.transfer if empty."
)
_TASKS = flags.DEFINE_list("tasks", None, "Tasks, as launch.transfer was asked for them.")
_CONDITION = flags.DEFINE_string("condition", "pretrained_pe", "Whose models.")
_MODE = flags.DEFINE_string("mode", "finetune", "In which mode they were trained.")
_COUNTS = flags.DEFINE_list("counts", [], "Numbers of channels; empty: each.")
_COMBINATIONS = flags.DEFINE_integer(
    "combinations", 5, "Combinations of channels for each number.", lower_bound=2
)
_ORDER = flags.DEFINE_enum(
    "order", "random", ["random", "greedy"], "How channels are chosen: see above."
)
_SEED = flags.DEFINE_integer("seed", 0, "Of the combinations and of the intervals.")


def main(argv: list[str]) -> int:
    """See the module's docstring."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: flags begin with --")
    try:
        counts = [int(count) for count in _COUNTS.value]
    except ValueError as error:
        raise app.UsageError("--counts: expected numbers, separated by commas") from error
    from sleepfm_jax import ablation, finetuned, folders, row_models
    from sleepfm_jax.report.paper import figures

    workdir = folders.local(_WORKDIR.value, "--workdir")
    row = f"{_CONDITION.value}.{_MODE.value}"
    for task in _TASKS.value:
        about = row_models.about(workdir, task, row)
        found = ablation.ablate(
            workdir,
            folders.local(_DATA_DIR.value or _data_dir(about.get("command", "")), "--data_dir"),
            task,
            row,
            row_models.metric_of(about),
            row_models.parts_of(workdir, task, row, finetuned.load),
            counts=counts,
            combinations=_COMBINATIONS.value,
            order=_ORDER.value,
            seed=_SEED.value,
        )
        ablation.write(workdir, {task: found})
        print(f"{task}: {found['metric']} {found['full']['value']:.3f} with all channels")
        for one in found["counts"]:
            ends = "[{:.3f}, {:.3f}]".format(*one["ci95"]) if one["ci95"] else ""
            print(f"  {one['count']:3d} channels  {one['value']:.3f} {ends}".rstrip())
        print(f"  {', '.join(figures.fewest(found))}")
    print(workdir / "channels.json")
    return 0


def _data_dir(command: str) -> str:
    """What launch.transfer was told."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--data_dir", default="")
    found = parser.parse_known_args(shlex.split(command))[0].data_dir
    if not found:
        raise app.UsageError("--data_dir not given, and the predictions do not say it")
    return found


if __name__ == "__main__":
    flags.mark_flags_as_required(["workdir", "tasks"])
    programs.run(main, loads_batches=True)
