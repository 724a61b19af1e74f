"""The section of a report's page about stages from subsets of signals."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sleepfm_jax.metrics.predictions import Predictions
from sleepfm_jax.metrics.sleep_statistics import STATISTICS
from sleepfm_jax.metrics.staging import MEDIAN, night_statistics
from sleepfm_jax.report import figures as common
from sleepfm_jax.report import figures_curves, figures_nights
from sleepfm_jax.report.from_predictions import median_night
from sleepfm_jax.report.results import bracket, number
from sleepfm_jax.report.staging import figures, published, stored

_DIFFERENCES = "differences"
_MINUTES = ("TST", "SE", "SOL", "WASO", "REM_latency")


def staging(results: Mapping[str, Any], workdir: Path, folder: Path) -> dict[str, Any]:
    """{} where no subset was scored in this folder."""
    section = results.get(stored.SECTION)
    if not isinstance(section, Mapping) or not section:
        return {}
    predictions, problems = stored.load_all(workdir)
    models: list[str] = []
    for subsets in section.values():
        for rows in subsets.values():
            models += [m for m in rows if m != _DIFFERENCES and m not in models]
    models.sort(key=lambda name: name == stored.SCORER)
    cohorts = []
    for cohort, subsets in section.items():
        rows = {
            signals: {m: row for m, row in found.items() if m != _DIFFERENCES}
            for signals, found in subsets.items()
        }
        cohorts.append(_cohort(cohort, rows, subsets, models, predictions.get(cohort, {}), folder))
    cohorts.sort(key=lambda one: one["unseen"])
    return {"cohorts": cohorts, "problems": problems, "paper": published.PAPER}


def _cohort(
    cohort: str,
    rows: dict[str, dict[str, Mapping]],
    subsets: Mapping[str, Mapping],
    models: list[str],
    predictions: Mapping[str, Mapping[str, Predictions]],
    folder: Path,
) -> dict[str, Any]:
    slug = re.sub(r"[^A-Za-z0-9_-]+", "_", cohort)
    beside = {
        signals: one
        for signals, found in rows.items()
        for row in list(found.values())[:1]
        if (one := published.beside(cohort, signals, row["classes"]))
    }
    some = [row for found in rows.values() for row in found.values()]
    classes = list(some[0]["classes"])
    each = [
        f"{signals}, {model}: {number(row['kappa'])}"
        for signals, found in rows.items()
        for model, row in found.items()
    ]
    alt = f"Kappa of each model on each subset of signals. {'; '.join(each)}."
    drawn = common.save(
        folder, f"staging-{slug}-subsets", alt, figures.subsets, rows, models, beside
    )
    return {
        "name": cohort,
        "unseen": any(row.get("unseen") for row in some),
        "classes": classes,
        "figure": drawn,
        "lines": [
            _line(signals, model, row)
            for signals, found in rows.items()
            for model, row in found.items()
        ],
        "published": [
            f"{signals}: {number(one.kappa)}, {one.variant}; {one.note}; {one.people:,} people"
            for signals, one in beside.items()
        ],
        "reasons": sorted({r for row in some for r in (row.get("reasons") or {}).values()}),
        "differences": [
            _difference(signals, one)
            for signals, found in subsets.items()
            for one in found.get(_DIFFERENCES, {}).values()
        ],
        "closer": _closer(slug, rows, predictions, models, folder),
    }


def _line(signals: str, model: str, row: Mapping) -> dict:
    ci95 = row["ci95"]
    return {
        "signals": signals,
        "model": model + (", unseen" if row.get("unseen") else ""),
        "kappa": number(row["kappa"]),
        "interval": bracket(ci95.get("kappa")),
        "median": number(row[MEDIAN]),
        "median_interval": bracket(ci95.get(MEDIAN)),
        "accuracy": number(row["accuracy"]),
        "f1": number(row["f1"]),
        "by_class": [number(row["f1_by_class"].get(name)) for name in row["classes"]],
        "people": f"{row['subjects']:,}",
        "nights": f"{row['nights']:,}",
        "seeds": len(row["seeds"]),
    }


def _difference(signals: str, one: Mapping[str, Any]) -> dict[str, Any]:
    a, b = one["pair"]
    median = (one.get("metrics") or {}).get(MEDIAN, {})
    return {
        "signals": signals,
        "name": f"{a} \N{MINUS SIGN} {b}",
        "value": f"{number(one['value'], signed=True)} {bracket(one.get('ci95'), True)}".rstrip(),
        "median": f"{number(median.get('value'), signed=True)} "
        f"{bracket(median.get('ci95'), True)}".rstrip(),
        "seeds": " ".join(number(v, signed=True) for v in one.get("per_seed") or []),
        "claim": "holds" if one.get("claim") else f"no: {one.get('no_claim')}",
    }


def _closer(
    slug: str,
    rows: Mapping[str, Mapping[str, Mapping]],
    predictions: Mapping[str, Mapping[str, Predictions]],
    models: list[str],
    folder: Path,
) -> dict[str, Any]:
    """One model and subset in detail: the first model, on the most signals it was asked with."""
    chosen = next(
        (
            (signals, model)
            for model in models
            for signals in sorted(rows, key=lambda s: (s != "all", -s.count("+")))
            if model in rows[signals] and model in predictions.get(signals, {})
        ),
        None,
    )
    if chosen is None:
        return {"problem": "staging/ holds no predictions of this cohort: no pictures of nights."}
    signals, model = chosen
    row, found = rows[signals][model], predictions[signals][model]
    whose = f"{model} from {signals}"
    right = [
        f"{name} {row['confusion'][k][k]} of {sum(row['confusion'][k])}"
        for k, name in enumerate(row["classes"])
    ]
    alt = f"Confusion matrix of {whose}. Predicted right: {', '.join(right)}."
    name = f"staging-{slug}-confusion"
    arguments = (np.array(row["confusion"], int), list(row["classes"]), whose)
    drawn = [common.save(folder, name, alt, figures_curves.confusion, *arguments)]
    said = row["agreement"]
    biases = [f"{STATISTICS[n]} {number(said[n]['bias'], 1)}" for n in figures.SHOWN if n in said]
    alt = f"Predicted minus scored against their mean, a dot a night. Bias: {', '.join(biases)}."
    arguments = (night_statistics(found), said)
    name = f"staging-{slug}-agreement"
    agreement = common.save(folder, name, alt, figures.agreement, *arguments)
    night = median_night(found)
    alt = (
        f"Scored hypnogram over the predicted one of person {night.person}, recording "
        f"{night.recording}; under them the stacked probabilities."
    )
    name = f"staging-{slug}-night"
    return {
        "whose": whose,
        "figures": drawn,
        "agreement": {"figure": agreement, "lines": _agreement_lines(said, row["classes"])},
        "night": {
            "figure": common.save(folder, name, alt, figures_nights.night, night),
            "whose": f"person {night.person}, recording {night.recording}",
            "accuracy": number(night.accuracy),
        },
    }


def _agreement_lines(said: Mapping[str, Mapping], classes) -> list[dict[str, Any]]:
    lines = []
    for name in (*_MINUTES, *classes):
        one = said.get(name)
        if one is None:
            continue
        title = STATISTICS.get(name, f"time in {name}")
        cells = []
        for key in ("bias", "low", "high"):
            bounds = one["ci95"].get(key)
            interval = f"[{bounds[0]:+.1f}, {bounds[1]:+.1f}]" if bounds else ""
            cells.append((number(one[key], 1, signed=True), interval))
        lines.append(
            {
                "name": f"{title}, {'%' if name == 'SE' else 'min'}",
                "cells": cells,
                "nights": one["nights"],
                "left_out": one["left_out"],
            }
        )
    return lines
