"""The sections of a report's page: what was read, as the plain values that the template shows.

Each returns a dict; {"problem": why} where there is nothing to show. Figures are drawn into the
report's folder and returned with their words for those who do not see them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sleepfm_jax.report import figures, figures_run, retrieval_section
from sleepfm_jax.report.results import (
    ROW_NAMES,
    differences_of,
    interval,
    is_finite,
    metric_name,
    number,
    probes_of,
)
from sleepfm_jax.report.sections_probes import headline_metric

_COMPARED = ("features", "random")  # rows beside the first in a headline; the table has all


def headline(results: dict, series: dict, builds: list) -> dict:
    """The few figures a reader looks for first: {"tiles": [{"label", "value", "detail"}]}."""
    tiles = []
    if found := retrieval_section.tile(results):
        tiles.append(_tile(*found))
    differences = differences_of(results)
    for dataset, rows in probes_of(results).items():
        main = "pretrained" if "pretrained" in rows else next(iter(rows))
        metric = headline_metric({main: rows[main]}, differences.get(dataset, {}), False)
        if metric is None or not is_finite(rows[main].get(metric)):
            continue
        others = [
            f"{ROW_NAMES.get(name, name).lower()} {number(row[metric])}"
            for name, row in rows.items()
            if name in _COMPARED and name != main and is_finite(row.get(metric))
        ]
        label = f"{dataset}, {metric_name(metric)}"
        value = number(rows[main][metric])
        tiles.append(_tile(label, value, interval(rows[main], metric), *others))
    if series:
        last = max(int(steps[-1]) for steps, _ in series.values())
        pace = ""
        for what, digits in (("clips", 0), ("nights", 2)):
            if speed := series.get(f"train/{what}_per_second"):
                pace = f"{np.nanmedian(speed[1]):,.{digits}f} {what} a second"
        tiles.append(_tile("Training steps", f"{last:,}", pace))
    totals = [report.get("totals") or {} for _, report in builds if isinstance(report, dict)]
    if totals:
        subjects = sum(t.get("subjects", 0) for t in totals)
        hours = sum(t.get("hours", 0) for t in totals)
        bad = sum(t.get("quarantined", 0) for t in totals)
        detail = [f"{hours:,.1f} recorded hours"] if hours else []
        tiles.append(_tile("Subjects built", f"{subjects:,}", *detail, f"{bad} quarantined"))
    return {"tiles": tiles}


def _tile(label: str, value: str, *details: str) -> dict[str, Any]:
    return {"label": label, "value": value, "details": [d for d in details if d]}


def training(series: dict, unreadable: int, results: dict, folder: Path) -> dict:
    found = ((results or {}).get("retrieval") or {}).get("within_person") or {}
    chance = found.get("chance")
    chance = chance if is_finite(chance) else None
    facts, drawn = [], []
    for key, (steps, values) in sorted(series.items()):
        finite = np.flatnonzero(np.isfinite(values))
        if not finite.size:
            continue
        first, last = finite[0], finite[-1]
        best = finite[(np.argmin if key.endswith("loss") else np.argmax)(values[finite])]
        facts.append(
            {
                "name": key,
                "first": number(values[first]),
                "last": number(values[last]),
                "median": number(float(np.median(values[finite]))),
                "best": number(values[best]) if key.endswith(("loss", "top1")) else "",
                "at": f"{int(steps[best]):,}" if key.endswith(("loss", "top1")) else "",
            }
        )
    if not facts:
        return {"problem": "metrics.jsonl holds no numbers yet."}
    for name, title, ending in (
        ("loss", "Loss", "/loss"),
        ("retrieval", "Retrieval top-1 within a night", "within_person_top1"),
    ):
        chosen = {key: line for key, line in series.items() if key.endswith(ending)}
        chosen = {key: line for key, line in chosen.items() if np.isfinite(line[1]).any()}
        if not chosen:
            continue
        level = chance if name == "retrieval" else None
        alt = f"{title} against the training step. " + " ".join(
            _said(*item) for item in chosen.items()
        )
        alt += f" Chance is {number(level)}." if level is not None else ""
        drawn.append(figures.save(folder, name, alt, figures_run.curves, chosen, title, level))
    return {"figures": drawn, "facts": facts, "unreadable": unreadable}


def evaluations(results: dict) -> dict:
    """What the evaluators said after the last step: {"rows": {name: value}}."""
    rows = {}
    for row, found in (results.get("evaluations") or {}).items():
        for name, value in found.items():
            inner = value.items() if isinstance(value, dict) else [("", value)]
            for key, figure in inner:
                if is_finite(figure):
                    rows[f"{row}/{name}{'_' if key else ''}{key}"] = number(figure)
    return {"rows": rows}


def _said(key: str, line: tuple[np.ndarray, np.ndarray]) -> str:
    """A curve in words, for those who do not see it."""
    steps, values = line
    first, last = np.flatnonzero(np.isfinite(values))[[0, -1]]
    return (
        f"{key}: {number(values[first])} at step {int(steps[first])}, "
        f"{number(values[last])} at step {int(steps[last])}."
    )


def pairs(results: dict, key: str) -> dict:
    if not results.get(key):
        return {"problem": f"results.json holds no {key}."}
    return {"rows": {str(k): str(v) for k, v in results[key].items()}}


def seconds(results: dict) -> dict:
    seconds = results.get("seconds")
    if not seconds:
        return {"problem": "results.json holds no seconds per step."}
    rows = [(str(k), float(v)) for k, v in seconds.items() if is_finite(v)]
    most = max((v for _, v in rows), default=0.0) or 1.0
    shown = [{"name": k, "time": _duration(v), "share": round(100 * v / most, 1)} for k, v in rows]
    return {"rows": shown, "total": _duration(sum(v for _, v in rows))}


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
