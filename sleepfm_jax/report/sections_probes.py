"""The section of a report's page about probes."""

from __future__ import annotations

from pathlib import Path

from sleepfm_jax.report import figures, figures_scores
from sleepfm_jax.report.results import (
    METRICS,
    ROW_NAMES,
    interval,
    is_difference,
    is_finite,
    number,
    probes_of,
    task_name,
    with_interval,
)


def probes(results: dict, folder: Path) -> dict:
    probes = probes_of(results)
    if not probes:
        return {"problem": "results.json holds no probe results."}
    shown = [m for m in METRICS if any(m in f for rows in probes.values() for f in rows.values())]
    tasks = []
    for task, rows in probes.items():
        lines, remarks = [], {}
        for name, row in rows.items():
            title = ROW_NAMES.get(name, name)
            signed = is_difference(name)
            cells = [
                {"value": number(row.get(m), signed=signed), "interval": interval(row, m, signed)}
                for m in shown
            ]
            counts = {"subjects": row.get("subjects", ""), "examples": row.get("examples", "")}
            lines.append({"name": title, "cells": cells, "difference": signed, **counts})
            said = [row["protocol"]] if row.get("protocol") else []
            if row.get("l2") is not None:
                said.append(f"L2 {row['l2']}")
            remarks[title] = [*said, *(row.get("notes") or [])]
        tasks.append({"title": task_name(task), "rows": lines, "remarks": remarks})
    return {
        "metrics": [METRICS[m] for m in shown],
        "tasks": tasks,
        "figures": [
            figure
            for metric in ("balanced_accuracy", "auroc")
            if (figure := _interval_figure(probes, metric, folder)) is not None
        ],
    }


def _interval_figure(probes: dict, metric: str, folder: Path) -> dict | None:
    drawn, said = {}, []
    for task, rows in probes.items():
        kept = {
            name: row
            for name, row in rows.items()
            if not is_difference(name) and is_finite(row.get(metric))
        }
        if kept:
            drawn[task_name(task)] = kept
            each = [
                f"{ROW_NAMES.get(name, name)} {with_interval(row, metric, False)}"
                for name, row in kept.items()
            ]
            said.append(f"{task_name(task)}: {', '.join(each)}")
    if not drawn:
        return None
    alt = f"{METRICS[metric]} with 95 % intervals. {'. '.join(said)}."
    label = f"{METRICS[metric]}, 95 % interval over subjects"
    return figures.save(folder, metric, alt, figures_scores.intervals, drawn, metric, label)
