"""summary.csv and index.html: all staged nights of a folder, and what could not be staged."""

from __future__ import annotations

import csv
import importlib.resources
import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import markupsafe
import numpy as np

from sleepfm_jax.hypnogram import files
from sleepfm_jax.hypnogram.plot import top_down
from sleepfm_jax.metrics.sleep_statistics import STATISTICS

SUMMARY, PAGE = "summary.csv", "index.html"
STAGED, FAILED = "staged", "failed"

Stats = Mapping[str, Any]
"""Of one night: what its stats.json holds."""

_FIRST = ("name", "file", "status", "reason", "hours", "sleep_epochs", "not_staged")
_LAST = ("signals", "absent", "confidence", "scored_sleep_epochs", "kappa", "accuracy", "notes")
_COLUMNS = ("TST", "SE", "SOL", "REM_latency", "WASO")
_WIDTH, _ROW = 160, 6  # of a small hypnogram, in its own units


def write_summary(folder: Path, nights: Sequence[Stats], failed: Mapping[str, str]) -> Path:
    """A row a recording, those that failed too.

    Args:
      failed: {file: reason}.
    """
    names = list(dict.fromkeys(name for night in nights for name in night["statistics"]))
    text = io.StringIO()
    table = csv.DictWriter(text, [*_FIRST, *names, *_LAST], restval="", lineterminator="\n")
    table.writeheader()
    for night in nights:
        agreement = night["agreement"] or {}
        row = {name: night[name] for name in _FIRST if name in night}
        row |= {name: _blank(value) for name, value in night["statistics"].items()}
        row |= {name: _blank(agreement.get(name)) for name in ("kappa", "accuracy")}
        row |= {
            "status": STAGED,
            "signals": "+".join(night["signals"]),
            "absent": "+".join(night["absent"]),
            "confidence": _blank(night["confidence"]),
            "scored_sleep_epochs": _blank(agreement.get("sleep_epochs")),
            "notes": "; ".join(night["notes"]),
        }
        table.writerow(row)
    for file, reason in failed.items():
        table.writerow({"file": file, "status": FAILED, "reason": reason})
    return files.write_text(folder / SUMMARY, text.getvalue())


def write_page(
    folder: Path,
    nights: Sequence[Stats],
    failed: Mapping[str, str],
    *,
    title: str,
    model: Mapping[str, Any],
) -> Path:
    """A page over the nights; the plots stay in files of their own beside it.

    Args:
      nights: in the order to be shown.
      failed: {file: reason}.
      title: what was staged.
      model: what staged them: name → value.
    """
    shown = [_night(folder, night) for night in nights]
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(_resource("sleepfm_jax.hypnogram", "summary.html.j2"))
    html = template.render(
        title=title,
        written=f"{datetime.now():%Y-%m-%d %H:%M}",
        style=markupsafe.Markup(_resource("sleepfm_jax.report", "report_style.css.j2")),
        tiles=_tiles(nights, failed),
        columns=[_named(name) for name in _COLUMNS],
        nights=shown,
        scored=any(night["agreement"] for night in nights),
        failed=failed,
        model={name: value for name, value in model.items() if value not in (None, "")},
        summary=SUMMARY,
    )
    return files.write_text(folder / PAGE, html)


def _tiles(nights: Sequence[Stats], failed: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """(label, value, detail) of the few figures that are looked for first."""
    hours = sum(night["hours"] for night in nights)
    tiles = [("nights staged", f"{len(nights):,}", f"{hours:,.1f} hours")]
    tiles.append(("not staged", f"{len(failed):,}", "with their reasons below" if failed else ""))
    sleep = [night["statistics"]["TST"] for night in nights]
    sleep = [minutes / 60 for minutes in sleep if minutes is not None]
    if sleep:
        detail = f"{min(sleep):.1f} to {max(sleep):.1f} h"
        tiles.append(("total sleep time, median", f"{np.median(sleep):.1f} h", detail))
    kappas = [n["agreement"]["kappa"] for n in nights if n["agreement"]]
    kappas = [kappa for kappa in kappas if kappa is not None]
    if kappas:
        detail = (
            f"of {len(kappas)} scored nights: Cohen's κ, {min(kappas):.2f} to {max(kappas):.2f}"
        )
        tiles.append(("agreement, median", f"{np.median(kappas):.2f}", detail))
    return tiles


def _night(folder: Path, night: Stats) -> dict[str, Any]:
    """One night in words."""
    name, statistics = night["name"], night["statistics"]
    scored = night["scored_statistics"] or {}
    agreement = night["agreement"]
    endings = (files.CSV, files.EDF, files.STATS)
    written = [e for e in endings if (folder / f"{name}{e}").is_file()]
    plot = f"{name}{files.PLOT}"
    kappa = agreement and agreement["kappa"]
    rows = [
        (*_named(key), _number(value), _number(scored.get(key)) if scored else "")
        for key, value in statistics.items()
    ]
    return {
        "name": name,
        "file": night["file"],
        "hours": f"{night['hours']:.2f}",
        "start": (night["start"] or "").replace("T", " "),
        "signals": [(signal, label) for signal, label in night["signals"].items()],
        "absent": ", ".join(night["absent"]),
        "cells": [_number(statistics.get(key)) for key in _COLUMNS],
        "kappa": _number(kappa, 2) if agreement else "",
        "agreement": agreement
        and f"κ {_number(kappa, 2)}, accuracy {_number(agreement['accuracy'], 2)} over "
        f"{agreement['sleep_epochs']:,} scored sleep_epochs",
        "rows": rows,
        "scored": bool(scored),
        "confidence": _number(night["confidence"], 2),
        "not_staged": night["not_staged"],
        "notes": night["notes"],
        "plot": quote(plot) if (folder / plot).is_file() else None,
        "files": [(f"{Path(name).name}{e}", quote(f"{name}{e}")) for e in written],
        "small": markupsafe.Markup(small(folder / f"{name}{files.CSV}", night["classes"])),
    }


def small(path: Path, classes: Sequence[str]) -> str:
    """A hypnogram of a finger's width as SVG, from the night's CSV; "" where that is gone."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            words = [row["stage"] for row in csv.DictReader(file)]
    except (OSError, KeyError):
        return ""
    level = {classes[k]: place for place, k in enumerate(top_down(classes))}
    points, drawing = [], False
    for x, word in enumerate(words):
        if word not in level:
            drawing = False
            continue
        y = level[word] * _ROW + _ROW // 2
        points.append(f"{'L' if drawing else 'M'}{x} {y}H{x + 1}")
        drawing = True
    height = _ROW * len(classes)
    return (
        f'<svg class="small" viewBox="0 0 {max(len(words), 1)} {height}" width="{_WIDTH}" '
        f'height="{height}" preserveAspectRatio="none" aria-hidden="true">'
        f'<path d="{"".join(points)}" vector-effect="non-scaling-stroke"/></svg>'
    )


def _named(key: str) -> tuple[str, str]:
    """A statistic in words and its unit (`metrics.sleep_statistics`)."""
    if key.startswith("%"):
        return f"{key[1:]}, of the sleep", "%"
    return STATISTICS.get(key, key), "%" if key == "SE" else "min"


def _number(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _blank(value: Any) -> Any:
    return "" if value is None else value


def _resource(package: str, name: str) -> str:
    return importlib.resources.files(package).joinpath(name).read_text(encoding="utf-8")
