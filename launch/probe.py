"""Linear probe: what do frozen features know about a labelled dataset?

Example, with a run of launch.pretrain in RUN and a dataset built by launch.build under DATA:

  python -m launch.probe --checkpoint=RUN --dataset=eegmat --data_dir=DATA --workdir=RUN

One affine layer is fitted on frozen features: of the pretrained encoder (in evaluation mode; each
clip is embedded once), of untrained encoders (--seeds of them), of the tokenizer alone, and of a
plain pipeline; with --mispaired also of an encoder pretrained on modalities of other people. Its
L2 is chosen on validation subjects. Subjects never cross splits: the dataset's own splits where it
has them (validation cut from training subjects where only a test split is official), otherwise
5-fold cross-validation by subject; and nobody is scored whom a checkpoint was pretrained on (it
carries their pseudonyms).

Each row leaves its predictions in WORKDIR/predictions/DATASET/ROW.npz. All figures are computed
from these: metrics with 95 % intervals over subjects where there are enough of them, paired
differences, and what chance looks like (--permutations). They go to WORKDIR/results.json and
WORKDIR/report/index.html, and a table is printed. Exit code 0 means that they are there.
"""

from __future__ import annotations

import time

from absl import app, flags

from launch import programs

_CHECKPOINT = flags.DEFINE_list(
    "checkpoint",
    None,
    "Workdir of a run of launch.pretrain, or its checkpoints folder. Several, separated by commas, "
    "are runs that differ by their seed.",
)
_MISPAIRED = flags.DEFINE_list(
    "mispaired", [], "Likewise, of runs with --config.data.mispaired: the control of the pairing."
)
_DATASET = flags.DEFINE_string("dataset", None, "Name of a dataset that launch.build built.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder that launch.build wrote datasets to.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for results.json and report/.")
_CHANNELS = flags.DEFINE_enum(
    "channels",
    "all",
    ["all", "trained"],
    "All channels of a recording, or as many of each modality as pretraining saw at once.",
)
_EXCLUDE_PRETRAINED = flags.DEFINE_bool(
    "exclude_pretrained",
    False,
    "Leave out the subjects that the checkpoint was pretrained on, instead of refusing to score "
    "them.",
)
_SEED = flags.DEFINE_integer("seed", 0, "The first of the seeds.")
_SEEDS = flags.DEFINE_integer(
    "seeds",
    5,
    "How many untrained encoders; and how often folds or validation subjects are drawn, where the "
    "dataset leaves them open.",
    lower_bound=1,
)
_PERMUTATIONS = flags.DEFINE_integer(
    "permutations", 20, "Fits on labels permuted over subjects; 0: none.", lower_bound=0
)


def main(argv: list[str]) -> int:
    """See the module's docstring."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: flags begin with --")
    from sleepfm_jax import folders, probe
    from sleepfm_jax.data import datasets
    from sleepfm_jax.report import page as report
    from sleepfm_jax.report import run_folder
    from sleepfm_jax.report.results import recompute

    workdir = folders.local(_WORKDIR.value, "--workdir")
    begun = time.perf_counter()
    probe.probe(
        _CHECKPOINT.value,
        _DATA_DIR.value,
        _DATASET.value,
        workdir,
        mispaired=_MISPAIRED.value,
        channels=_CHANNELS.value,
        exclude_pretrained=_EXCLUDE_PRETRAINED.value,
        seeds=_SEEDS.value,
        permutations=_PERMUTATIONS.value,
        seed=_SEED.value,
        command=programs.command("launch.probe"),
    )
    run_folder.copy_build_reports(
        workdir, datasets.open_records(_DATA_DIR.value, [_DATASET.value], "train")
    )
    found = recompute(workdir)
    name = _DATASET.value
    update = {
        "seconds": {f"probe {name}": time.perf_counter() - begun},
        "versions": report.versions(),
    }
    report.merge_results(workdir, update)
    page = report.write_report(workdir)
    mine = {key: {name: rows[name]} for key, rows in found.items() if name in rows}
    print(report.text_table(mine))
    print(f"{workdir / 'results.json'}\n{page}")
    return 0


if __name__ == "__main__":
    flags.mark_flags_as_required(["checkpoint", "dataset", "data_dir", "workdir"])
    programs.run(main, loads_batches=True)
