"""The transfer paper's tasks: does pretraining on sleep improve what is not sleep?

Example, with two pretrainings A and B that differ by their seed, and archives built under DATA:

  python -m launch.transfer --tasks=tuab,tusl --conditions=scratch,pretrained,pretrained_pe \\
      --mode=finetune --folds=5 --seeds=3 --checkpoint=A,B --data_dir=DATA --workdir=RUN

A task is a file of configs/transfer, with the variant behind a colon: tuab:twin is its simulated
counterpart. Conditions are scratch, pretrained (starts from --checkpoint, no electrode positions),
pretrained_pe (the same, positions start fresh), pe_from_pretraining (from --checkpoint_pe, which
was pretrained with positions) and mispaired (from --mispaired: a control). Modes are finetune,
frozen_head (the encoder is frozen), probe (a linear probe of the frozen encoder) and scratch (of
the condition scratch alone). Seed s starts from checkpoint s, counted round.

Every training is a cell of its own under RUN/cells, named after its configuration, its data and
the encoder that it starts from: the same command goes on where it was killed, and given on several
machines that share RUN it is worked off by all of them. Tasks whose trainings are equal (ptbxl,
g12ec and cpsc train on CODE-15) share them. Before anything is trained all tasks are checked for
people who would be trained on and scored.

When the last cell is there, the tables are printed and written: RUN/transfer.csv (every metric, the
task's own first), RUN/gains.csv (paired differences, beside what was predicted of twins),
RUN/label_efficiency.csv, RUN/results.json, and RUN/report/index.html. All come from
RUN/predictions/TASK/CONDITION.MODE.npz. Exit code 0 means that they are there, or that other
workers are at the last cells and will write them.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import app, flags, logging

from launch import programs
from sleepfm_jax.errors import ConfigError

if TYPE_CHECKING:
    from sleepfm_jax.transfer import Task

CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "transfer"
_NOT_TASKS = ("__init__", "common", "laterality", "predicted", "pretraining")

_TASKS = flags.DEFINE_list("tasks", None, "Of configs/transfer, as tuab or tuab:twin.")
_CONDITIONS = flags.DEFINE_list(
    "conditions",
    ["scratch", "pretrained", "pretrained_pe"],
    "Of scratch, pretrained, pretrained_pe, pe_from_pretraining, mispaired.",
)
_MODE = flags.DEFINE_enum(
    "mode", "finetune", ["finetune", "frozen_head", "probe", "scratch"], "What is trained."
)
_FOLDS = flags.DEFINE_integer(
    "folds",
    None,
    "Cross-validation by people, of tasks without an official test set; 0: the splits that were "
    "built. [default: as the task says]",
    lower_bound=0,
)
_SEEDS = flags.DEFINE_integer("seeds", 3, "How many of each training.", lower_bound=1)
_CHECKPOINT = flags.DEFINE_list(
    "checkpoint", [], "Workdirs of pretraining without positions, that differ by their seed."
)
_CHECKPOINT_PE = flags.DEFINE_list("checkpoint_pe", [], "Likewise, with positions.")
_MISPAIRED = flags.DEFINE_list("mispaired", [], "Likewise, with --config.data.mispaired.")
_FRACTIONS = flags.DEFINE_list(
    "label_fraction", ["1"], "Shares of the training people, as .01,.1,1: label-efficiency curves."
)
_BASELINES = flags.DEFINE_bool(
    "baselines",
    False,
    "Also linear probes of untrained encoders, of the tokenizer alone, of plain features, and of "
    "what is pretrained.",
)
_INPUT_SCALING = flags.DEFINE_enum(
    "input_scaling",
    None,
    ["zscore", "published_uv"],
    "Of all tasks. [default: as the task says]",
)
_SET = flags.DEFINE_multi_string(
    "set", [], "KEY=VALUE of every task's configuration, as steps=50; may be repeated."
)
_PREDICTION = flags.DEFINE_enum(
    "prediction",
    "coupling 1",
    ["coupling 1", "coupling 0", "none"],
    "What was predicted of twins: that of pretraining on sleepers of this coupling.",
)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder that launch.build wrote datasets to.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of cells, predictions and tables.")


def known_tasks() -> list[str]:
    """Names that --tasks takes."""
    return sorted(p.stem for p in CONFIGS.glob("*.py") if p.stem not in _NOT_TASKS)


def find_task(name: str, prediction: str = "coupling 1") -> Task:
    """The task that NAME or NAME:VARIANT means.

    Args:
      prediction: what is predicted of twins; see the flag.

    Raises:
      ConfigError: there is no such task, or variant.
    """
    from sleepfm_jax.transfer import Task

    file, _, variant = name.partition(":")
    if file not in known_tasks():
        raise ConfigError(f"--tasks: no {file!r}; there are {', '.join(known_tasks())}")
    module = importlib.import_module(f"configs.transfer.{file}")
    try:
        config = module.get_config(variant).to_dict()
    except ValueError as error:
        raise ConfigError(f"--tasks={name}: {error}") from error
    about = module.TASK | getattr(module, "VARIANTS", {}).get(variant, {})
    return Task(
        name=name,
        dataset=about["dataset"],
        metric=about["metric"],
        labels=tuple(about.get("labels") or config["objective"]["labels"]),
        config=config,
        in_folds=about["split"] == "folds",
        signs=signs(file, prediction) if variant == "twin" else {},
    )


def signs(task: str, prediction: str) -> dict[str, str]:
    """What was predicted of a twin: condition → sign of its gain over scratch."""
    from configs.transfer import predicted
    from sleepfm_jax.simulation.body.pathology import VERSION

    said = predicted.SIGNS.get(task, {})
    if prediction == "none" or not said:
        return {}
    if predicted.VERSION != VERSION:
        logging.warning(
            "what was predicted is of version %d of the simulation, which is at %d: void",
            predicted.VERSION,
            VERSION,
        )
        return {}
    if prediction == "coupling 0":
        said = dict.fromkeys(said, predicted.CONTROLS["coupling 0"])
    return said | {"mispaired": predicted.CONTROLS["mispaired"]}


def changes(said: list[str]) -> tuple[tuple[str, Any], ...]:
    """(key, value) of each KEY=VALUE.

    Raises:
      app.UsageError: one has no "=".
    """
    found = []
    for item in said:
        key, given, text = item.partition("=")
        if not given:
            raise app.UsageError(f"--set={item}: expected KEY=VALUE")
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            value = text
        found.append((key, value))
    return tuple(found)


def processor() -> str:
    """Names the kind of processor: what is compiled for one may be illegal on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    able = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return hashlib.sha256(f"{platform.machine()} {able}".encode()).hexdigest()[:8]


def main(argv: list[str]) -> int:
    """See the module's docstring."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: flags begin with --")
    try:
        fractions = tuple(float(text) for text in _FRACTIONS.value)
    except ValueError as error:
        raise app.UsageError("--label_fraction: expected numbers, as .01,.1,1") from error
    from sleepfm_jax import folders

    workdir = folders.local(_WORKDIR.value, "--workdir")
    # Programs of equal shapes are compiled once, whatever cell and worker they are of.
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(workdir / "compiled" / processor()))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
    from sleepfm_jax import transfer
    from sleepfm_jax.report import page as report
    from sleepfm_jax.transfer.conditions import Encoders, Options

    begun = time.perf_counter()
    given = {
        "checkpoint": _CHECKPOINT.value,
        "checkpoint_pe": _CHECKPOINT_PE.value,
        "mispaired": _MISPAIRED.value,
    }
    plan = transfer.Plan(
        tasks=[find_task(name, _PREDICTION.value) for name in _TASKS.value],
        conditions=_CONDITIONS.value,
        mode=_MODE.value,
        encoders=Encoders.load(given),
        data_dir=folders.local(_DATA_DIR.value, "--data_dir"),
        workdir=workdir,
        options=Options(_FOLDS.value, _INPUT_SCALING.value, changes(_SET.value)),
        seeds=_SEEDS.value,
        fractions=fractions,
        baselines=_BASELINES.value,
        command=programs.command("launch.transfer"),
    )
    found = transfer.transfer(plan)
    if found is None:
        return 0
    seconds = {f"transfer, {_MODE.value}": time.perf_counter() - begun}
    report.merge_results(workdir, {"seconds": seconds, "versions": report.versions()})
    page = report.write_report(workdir)
    print(found)
    print(f"{workdir / 'transfer.csv'}\n{workdir / 'gains.csv'}\n{page}")
    return 0


if __name__ == "__main__":
    flags.mark_flags_as_required(["tasks", "data_dir", "workdir"])
    programs.run(main, loads_batches=True)
