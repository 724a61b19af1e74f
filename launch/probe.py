"""Linear probe: what do frozen features know about a labelled dataset?

Example, with a run of launch.pretrain in RUN and a dataset built by launch.build under DATA:

  python -m launch.probe --checkpoint=RUN --dataset=eegmat --data_dir=DATA --workdir=RUN

One affine layer is fitted on three kinds of frozen features: the pretrained encoder's (in
evaluation mode; each clip is embedded once), those of the same encoder before training, and a
plain baseline (EEG band powers, heart-rate statistics). Its L2 is chosen on validation
subjects. Subjects never cross splits: the dataset's own splits where it has them, 5-fold cross-
validation by subject otherwise; and nobody is scored whom the checkpoint was pretrained on (it
carries their pseudonyms). Figures are balanced accuracy, AUROC, F1 and kappa, with 95 % bootstrap
intervals over subjects. They go to WORKDIR/results.json and WORKDIR/report/index.html, and a table
is printed. Exit code 0 means that they are there.
"""

from __future__ import annotations

import time

from absl import app, flags

from launch import programs

_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "Workdir of a run of launch.pretrain, or its checkpoints folder."
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
_SEED = flags.DEFINE_integer("seed", 0, "Of the random encoder, the folds and the bootstrap.")


def main(argv: list[str]) -> int:
    """See the module's docstring."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: flags begin with --")
    from sleepfm_jax import folders, probe
    from sleepfm_jax.data import datasets
    from sleepfm_jax.report import page as report
    from sleepfm_jax.report import run_folder

    workdir = folders.local(_WORKDIR.value, "--workdir")
    begun = time.perf_counter()
    name, rows = probe.probe(
        _CHECKPOINT.value,
        _DATA_DIR.value,
        _DATASET.value,
        channels=_CHANNELS.value,
        exclude_pretrained=_EXCLUDE_PRETRAINED.value,
        seed=_SEED.value,
    )
    workdir.mkdir(parents=True, exist_ok=True)
    run_folder.copy_build_reports(
        workdir, datasets.open_records(_DATA_DIR.value, [_DATASET.value], "train")
    )
    update = {
        "probes": {name: rows},
        "seconds": {f"probe {name}": time.perf_counter() - begun},
        "versions": report.versions(),
    }
    report.merge_results(workdir, update)
    page = report.write_report(workdir)
    print(report.text_table(update))
    print(f"{workdir / 'results.json'}\n{page}")
    return 0


if __name__ == "__main__":
    flags.mark_flags_as_required(["checkpoint", "dataset", "data_dir", "workdir"])
    programs.run(main, loads_batches=True)
