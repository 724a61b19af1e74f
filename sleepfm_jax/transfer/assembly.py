"""Rows of finished cells → predictions, tables and the section of results.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import logging

from sleepfm_jax.errors import StorageError
from sleepfm_jax.metrics import predictions as files
from sleepfm_jax.metrics.predictions import Predictions
from sleepfm_jax.report.made_by import made_by
from sleepfm_jax.report.results import merge_results, recompute, write_csv
from sleepfm_jax.transfer import cells, probes, rows, tables
from sleepfm_jax.transfer.cells import Cell, Training
from sleepfm_jax.transfer.conditions import BASELINES, CHOSEN, CONDITIONS, MODES, Task

if TYPE_CHECKING:
    from sleepfm_jax.transfer.drive import Plan

SECTION = "transfer"
"""Of results.json."""


def assemble(plan: Plan) -> str:
    """Rows of the finished cells, scored; tables of them and of the rows that were there before."""
    by_key = {cell.key: cell for cell in plan.cells}
    for task in plan.tasks:
        found: dict[str, Predictions] = {}
        for (name, condition, fraction), seeds in plan.trained.items():
            if name == task.name:
                row = _trained_row(plan, task, condition, fraction, seeds)
                found[row.about["row"]] = row
        if (cell := plan.probed.get(task.name)) is not None:
            for row in _probed_rows(plan, task, by_key[cell.key]):
                found[row.about["row"]] = row
        folder = files.path_of(plan.workdir, task.name, "any").parent
        files.save_rows(folder, found, gone=_stale(plan, task, folder))
    return write_tables(plan.workdir)


def _stale(plan: Plan, task: Task, folder: Path) -> list[str]:
    """Rows of another build of the data: they can stand beside nothing of this one."""
    known, stale = plan.task_print(task), []
    for path in folder.glob("*.npz"):
        try:
            build = files.load(path).about.get("dataset_fingerprint")
        except StorageError:
            continue  # written anew, or said by whoever scores it
        if build != known:
            logging.warning("%s: of another build of %s; removed", path, task.dataset)
            stale.append(path.stem)
    return stale


def _trained_row(
    plan: Plan,
    task: Task,
    condition: str,
    fraction: float,
    seeds: Mapping[int, Sequence[Training]],
) -> Predictions:
    row = plan.row_of(task)
    each = {
        seed: [
            rows.with_thresholds(
                cells.load(plan.workdir, one, row), cells.load(plan.workdir, one, CHOSEN)
            )
            for one in folds
        ]
        for seed, folds in seeds.items()
    }
    folds = task.folds(plan.options.folds)
    merged = rows.merge(each, in_folds=bool(folds))
    encoders = [one[0].encoder for one in seeds.values()]
    stored = [e for e in encoders if e is not None]
    config = next(iter(seeds.values()))[0].config
    scaling = config["data"]["input_scaling"]
    return rows.of_task(
        merged,
        task,
        {
            **_about(plan, task, condition, plan.trained_mode, fraction),
            "features": f"{config['objective']['head']} head, {plan.trained_mode}",
            "checkpoints": [e.source for e in stored],
            "steps": [e.step for e in stored],
            # A row from scratch has weights of its own with every seed.
            "weights": [e.fingerprint for e in stored] or [f"seed {seed}" for seed in seeds],
            "encoder_seeds": [e.config["seed"] for e in stored],
            "channels": ", ".join(f"{n} {m}" for m, n in config["data"]["slots"].items()),
            "input_scaling": scaling,
            "recipe": plan.recipe(task),
            "left_out": {},
            "l2": [],
            "notes": [],
            "split": "cross-validation" if folds else "test",
            "protocol": _protocol(task, folds),
        },
    )


def _protocol(task: Task, folds: int) -> str:
    figure = task.config["keep_best"]["figure"].partition("/")[2]
    ends = f"weights with the best {figure} of the validation people"
    if folds:
        return f"{folds} folds by person, the next one's people validate; {ends}"
    if task.scored_row[0]:
        return f"trained on {', '.join(task.trained_on)}, tested on all of {task.dataset}; {ends}"
    return f"the dataset's own splits by person; {ends}"


def _probed_rows(plan: Plan, task: Task, cell: Cell) -> list[Predictions]:
    found = []
    wanted = {c: probes.of_condition(c) for c in plan.conditions} if plan.mode == "probe" else {}
    wanted |= {name: name for name in plan.baseline_rows if name not in wanted}
    for name, row in wanted.items():
        for fraction in plan.fractions:
            one = rows.in_order(cells.load(plan.workdir, cell, probes.row_of(row, fraction)))
            scaling = plan.encoders.first()
            about = {
                **_about(plan, task, name, "probe", fraction),
                "encoder_seeds": [],
                "input_scaling": scaling.config["data"]["input_scaling"] if scaling else "",
            }
            if row == "features":
                about["input_scaling"] = "physical units"
            found.append(rows.of_task(one, task, about))
    return found


def _about(plan: Plan, task: Task, condition: str, mode: str, fraction: float) -> dict[str, Any]:
    """What the tables need of a row."""
    others = [] if condition in ("scratch", *BASELINES) else [("scratch", mode)]
    others += {
        "pretrained_pe": [("pretrained", mode)],
        "pe_from_pretraining": [("pretrained_pe", mode), ("pretrained", mode)],
        "pretrained": [("mispaired", mode)],
    }.get(condition, [])
    if condition not in BASELINES:
        others += [(name, "probe") for name in BASELINES]
    against = [rows.name_of(*pair, fraction) for pair in others]
    return {
        "row": rows.name_of(condition, mode, fraction),
        "task": task.name,
        "condition": condition,
        "mode": mode,
        "label_fraction": fraction,
        "metric": task.metric,
        "against": against,
        "predicted_sign": task.signs.get(condition, ""),
        "dataset": task.dataset,
        "dataset_fingerprint": plan.task_print(task),
        **made_by(plan.command),
    }


def write_tables(workdir: Path) -> str:
    """transfer.csv, gains.csv, label_efficiency.csv and the section of results.json, anew from the
    predictions of all rows in workdir; returns them as text."""
    found = recompute(workdir)
    scores, gains, section = [], [], {}
    for task, scored in found["probes"].items():
        mine = {name: row for name, row in scored.items() if row["how"].get("task") == task}
        if not mine:
            continue  # of launch.probe
        scores += tables.score_lines(task, _ordered(mine))
        differences = found["differences"].get(task, {})
        gains += tables.gain_lines(task, mine, differences)
        section[task] = {**{name: _short(row) for name, row in mine.items()}}
        section[task]["differences"] = differences
    whole = [line for line in scores if line["label_fraction"] == 1]
    write_csv(workdir / "transfer.csv", tables.SCORES, whole)
    write_csv(workdir / "gains.csv", tables.GAINS, gains)
    write_csv(workdir / "label_efficiency.csv", tables.FRACTIONS, scores)
    merge_results(workdir, {SECTION: section}, replace=(SECTION,))
    return tables.text(scores, gains)


def _ordered(mine: Mapping[str, Any]) -> dict[str, Any]:
    """The paper's order of conditions, baselines after; the largest fraction first."""
    order = [*CONDITIONS, *BASELINES]

    def place(name: str) -> tuple:
        how = mine[name]["how"]
        return MODES.index(how["mode"]), order.index(how["condition"]), -how["label_fraction"]

    return {name: mine[name] for name in sorted(mine, key=place)}


def _short(row: Mapping[str, Any]) -> dict[str, Any]:
    """A score without its making: that is under `probes`."""
    return {k: v for k, v in row.items() if k not in ("how", "calibration", "confusion")}
