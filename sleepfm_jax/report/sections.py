"""The sections of a report's page: what was read, as the plain values that the template shows.

Each returns a dict; {"problem": why} where there is nothing to show. Figures are drawn into the
report's folder and returned with their words for those who do not see them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sleepfm_jax.data.provenance import expand
from sleepfm_jax.report import figures, retrieval_section
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

_MOST_RECORDINGS = 100  # whose channels are listed; a page of thousands helps nobody


def _figure(folder: Path, name: str, alt: str, draw, *arguments) -> dict[str, str]:
    """Draws a figure for light and dark pages, saves both, and returns what the page needs."""
    sources = {}
    for theme, suffix in ((figures.LIGHT, ""), (figures.DARK, "-dark")):
        data = figures.png(draw, theme, *arguments)
        (folder / f"{name}{suffix}.png").write_bytes(data)
        sources[theme.name] = "data:image/png;base64," + base64.b64encode(data).decode("ascii")
    return {"name": name, "alt": alt, **sources}


def headline(results: dict, series: dict, builds: list) -> dict:
    """The few figures a reader looks for first: {"tiles": [{"label", "value", "detail"}]}."""
    tiles = []
    if found := retrieval_section.tile(results):
        tiles.append(_tile(*found))
    for task, rows in probes_of(results).items():
        main = "pretrained" if "pretrained" in rows else next(iter(rows))
        metric = next((m for m in METRICS if is_finite(rows[main].get(m))), None)
        if metric is None:
            continue
        others = [
            f"{ROW_NAMES.get(name, name).lower()} {number(row[metric])}"
            for name, row in rows.items()
            if name != main and not is_difference(name) and is_finite(row.get(metric))
        ]
        label = f"{task_name(task)}, {METRICS[metric]}"
        value = number(rows[main][metric])
        tiles.append(_tile(label, value, interval(rows[main], metric), *others))
    if series:
        last = max(int(steps[-1]) for steps, _ in series.values())
        speed = series.get("train/clips_per_second")
        pace = f"{np.nanmedian(speed[1]):,.0f} clips a second" if speed else ""
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
        ("retrieval", "Retrieval top-1", ("within_person_top1", "train/top1")),
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
        drawn.append(_figure(folder, name, alt, figures.curves, chosen, title, level))
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


def clip(path: Path, folder: Path) -> dict:
    if not path.exists():
        return {"problem": f"{path.name} is missing, so there is no clip to show."}
    with np.load(path, allow_pickle=False) as stored:
        names, modalities = ([str(v) for v in stored[key]] for key in ("names", "modalities"))
        clip = figures.Clip(
            signals=np.asarray(stored["signals"], np.float64),
            names=names,
            modalities=modalities,
            sfreq=float(stored["sfreq"]),
            stages=np.asarray(stored["stages"], int).ravel(),
            subject=str(stored["subject"]),
        )
    if clip.signals.ndim != 2 or not len(clip.signals) == len(names) == len(modalities):
        raise ValueError(
            f"signals {clip.signals.shape}, {len(names)} names and {len(modalities)} modalities "
            "do not fit"
        )
    start, stop = clip.excerpt()
    groups: dict[str, list[str]] = {}
    for c in clip.order():
        name = figures.MODALITY_NAMES.get(clip.modalities[c], clip.modalities[c])
        groups.setdefault(name, []).append(clip.names[c])
    channels = "; ".join(f"{name}: {', '.join(members)}" for name, members in groups.items())
    alt = f"Stacked traces from {start:.0f} to {stop:.0f} s of one clip. {channels}."
    seconds = clip.signals.shape[1] / clip.sfreq
    return {
        "figure": _figure(folder, "example_clip", alt, figures.example_clip, clip),
        "caption": (
            f"Subject {clip.subject}, {seconds:g} s at {clip.sfreq:g} Hz, {len(names)} channels; "
            f"{stop - start:.0f} s are shown. Each trace is scaled to its own row; a break in a "
            "trace is a gap in the recording."
        ),
    }


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
    return _figure(folder, metric, alt, figures.intervals, drawn, metric, label)


def build(name: str, report: Any) -> dict:
    recordings, totals = expand(report)["recordings"], report.get("totals") or {}
    bad = [r for r in recordings if r["status"] != "built"]
    listed = [r for r in recordings if r.get("channels")]
    plain = {k: v for k, v in totals.items() if not isinstance(v, (dict, list))}
    modalities = totals.get("channels_by_modality") or {}
    return {
        "name": name,
        "totals": {k.replace("_", " "): f"{v:,}" for k, v in plain.items()},
        "splits": totals.get("splits") or {},
        "labels": totals.get("labels") or {},
        "modalities": {figures.MODALITY_NAMES.get(m, m): n for m, n in modalities.items()},
        "spec": _flat(report.get("spec") or {}),
        "quarantined": [
            {"path": r["path"], "reason": r.get("reason") or "no reason was recorded"} for r in bad
        ],
        "recordings": [
            {
                "path": r["path"],
                "subject": r.get("subject", ""),
                "clips": r.get("clips", ""),
                "notes": r.get("notes") or [],
                "channels": [
                    {
                        **{k: c.get(k, "") for k in ("label", "name", "modality", "sfreq", "unit")},
                        "notes": "; ".join(c.get("notes") or []),
                    }
                    for c in r["channels"]
                ],
            }
            for r in listed[:_MOST_RECORDINGS]
        ],
        "unlisted": max(0, len(listed) - _MOST_RECORDINGS),
    }


def config(config: dict) -> dict:
    return {"rows": _flat(config)}


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


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """{"a": {"b": 1}} -> {"a.b": "1"}."""
    rows = {}
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            rows.update(_flat(item, f"{prefix}{key}."))
        else:
            rows[f"{prefix}{key}"] = item if isinstance(item, str) else json.dumps(item)
    return rows
