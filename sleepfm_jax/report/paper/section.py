"""The section of a report's page about transfer: the tasks, their gains and what was predicted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sleepfm_jax.report import figures as common
from sleepfm_jax.report.paper import figures, run_tables, table, write
from sleepfm_jax.report.results import metric_name


def transfer(workdir: Path, folder: Path) -> dict[str, Any]:
    """{} where launch.transfer never ran; published numbers are in the paper alone."""
    run = run_tables.read(workdir)
    if not run.tasks:
        broken = run.missing.get("transfer.csv", "")
        return {"problem": broken} if (workdir / "transfer.csv").exists() else {}
    mode = write.main_mode(run.tasks)
    shown = [c for c in run_tables.CONDITIONS if any(c in t.conditions(mode) for t in run.tasks)]
    rows = []
    for task in run.tasks:
        for of_mode in task.modes():
            there = task.conditions(of_mode)
            if set(there) & set(run_tables.CONDITIONS):
                cells = [_cell(there.get(condition)) for condition in shown]
                rows.append(_row(task, of_mode, cells))
    drawn = []
    for simulated, tasks in ((False, run.real()), (True, run.twins())):
        if tasks:
            name = "transfer-simulated" if simulated else "transfer"
            alt = f"Bars of {', '.join(task.title for task in tasks)}; the table has the numbers."
            drawn.append(common.save(folder, name, alt, figures.bars, tasks, mode))
    gains = table.gains(run)
    return {
        "conditions": [run_tables.CONDITIONS[condition] for condition in shown],
        "rows": rows,
        "gains": gains,
        "predictions": table.predictions(run),
        "simulated": bool(run.twins()),
        "figures": drawn,
    }


def _row(task: run_tables.TaskScores, mode: str, cells: list) -> dict[str, Any]:
    return {
        "name": task.title,
        "mode": mode.replace("_", " "),
        "metric": metric_name(task.metric),
        "cells": cells,
        "people": f"{task.people():,}" if task.people() else "",
    }


def _cell(score: run_tables.Score | None) -> dict[str, str]:
    value, _, interval = table.with_interval(score).partition(" ") if score else ("", "", "")
    return {"value": value, "interval": interval}
