"""Train what a configuration names: contrastive pretraining, or any other objective.

Example, on datasets built by launch.build under DATA:

  python -m launch.pretrain --config=configs/pretrain_simulated.py --data_dir=DATA --workdir=RUN

A configuration file states the experiment; `FILE:VARIANT` picks one of its variants (`:smoke` runs
in seconds), and `--config.KEY=VALUE` changes one value, for example --config.steps=500 or
--config.model.layers=4. Killed or stopped, the same command goes on where it was last saved, on
any number of hosts. RUN then holds checkpoints/, metrics.jsonl, tensorboard/, results.json and
report/index.html. Exit code 0 means that training reached its last step and all of this is there.

Several hosts: start the same command on each, with --coordinator, --num_processes and --process_id
(or none of them on TPU pods and Slurm, with --distributed); launch/local_hosts.sh plays it on one
machine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import app, flags, logging
from ml_collections import config_flags

from launch import hosts, programs

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Experiment: FILE[:variant], for example configs/pretrain_simulated.py:smoke."
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder that launch.build wrote datasets to. [default: WORKDIR/data]"
)
flags.adopt_module_key_flags(hosts)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of this run; made if it does not exist.")


_WHOLE = ("evaluations", "retrieval")
"""Of results.json: what another run of the evaluations replaces as a whole."""


def pretrain(
    config: Mapping[str, Any], data_dir: str, workdir: str, command: str = ""
) -> dict[str, Any]:
    """Trains, and leaves in workdir what `sleepfm_jax.train.train` says, what the run was made of,
    what evaluators kept (predictions/DATASET/ROW.npz), results.json and report/. Returns what was
    added to results.json."""
    import jax

    from sleepfm_jax import train
    from sleepfm_jax.data import datasets
    from sleepfm_jax.metrics import predictions
    from sleepfm_jax.report import page, results, run_folder
    from sleepfm_jax.report.made_by import made_by

    def begun(config, records):
        run_folder.write_inputs(Path(workdir), config, records)

    update = train.train(config, data_dir, workdir, begun)
    update["versions"] = results.versions()
    for row, figures in update["evaluations"].items():
        for name in [n for n, v in figures.items() if isinstance(v, predictions.Predictions)]:
            kept = figures.pop(name)
            if jax.process_index() == 0:
                about = {**kept.about, **made_by(command)}
                # "predictions.ECG" of a row "test" is the row "test.ECG".
                path = predictions.path_of(
                    workdir, about["dataset"], row + name.removeprefix("predictions")
                )
                predictions.save(path, dataclasses.replace(kept, about=about))
        # The report's headline is that of the first row; the rest stays under its row's name.
        if "retrieval" in figures and "retrieval" not in update:
            update["retrieval"] = figures.pop("retrieval") | {
                "how": {
                    "datasets": {
                        name: datasets.fingerprint(data_dir, name)
                        for name in config["data"]["datasets"]
                    },
                    "split": config["evaluators"][row]["split"],
                    "step": update["step"],
                    "seed": config["seed"],
                    **made_by(command),
                }
            }
    if jax.process_index() == 0:
        # As a whole: what another evaluation left out or scored is not of this one.
        results.merge_results(workdir, update, replace=[k for k in _WHOLE if k in update])
        page.write_report(workdir)
    return update


def main(argv: list[str]) -> int:
    """See the module's docstring."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: flags begin with --")
    hosts.start_jax()
    data_dir = _DATA_DIR.value or f"{_WORKDIR.value}/data"
    command = programs.command("launch.pretrain")
    found = pretrain(_CONFIG.value.to_dict(), data_dir, _WORKDIR.value, command)
    if "retrieval" in found:
        for part, among in (("within_person", "a person's night"), ("across_people", "everybody")):
            figures = found["retrieval"][part]
            logging.info(
                "retrieval among clips of %s: top-1 %.3f (chance %.4f, identity alone %.3f)",
                among,
                figures["top1"],
                figures["chance"],
                figures["identity_alone"],
            )
    logging.info("report: %s/report/index.html", _WORKDIR.value)
    return 0


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir"])
    programs.run(main, loads_batches=True)
