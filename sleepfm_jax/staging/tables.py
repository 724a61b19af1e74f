"""Stored rows → subsets.csv, subset_gains.csv, the section of results.json, and text.

Every figure is computed here from WORKDIR/staging/ alone (`report.staging.stored`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from absl import logging

from sleepfm_jax.metrics.predictions import Predictions
from sleepfm_jax.metrics.staging import MEDIAN, staging_difference, staging_score
from sleepfm_jax.report.results import (
    RESULTS,
    bracket,
    fixed_width,
    merge_results,
    number,
    read_json,
    write_csv,
)
from sleepfm_jax.report.staging import published, stored

SUBSETS = (
    *("model", "cohort", "signals", "kappa", "low", "high", "people"),
    *("nights", "seeds", "unseen", "median_night_kappa", "median_low", "median_high"),
    *("accuracy", "f1", "classes", "published", "published_variant", "leaked"),
)
GAINS = (
    *("cohort", "signals", "model", "against", "metric", "gain", "low", "high", "people"),
    *("nights", "seeds", "unseen", "claim", "why_not"),
)
DIFFERENCES = "differences"

Section = Mapping[str, Mapping[str, Mapping[str, Any]]]


def write_tables(workdir: str | os.PathLike[str], order: Sequence[str] = ()) -> str:
    """Scores every stored row anew, writes the tables, and returns them as text.

    Args:
      order: of the models; each is compared with those after it. Others follow by name, a second
        scorer is the last. (): as results.json has them.

    Raises:
      ValueError: the present results.json cannot be read.
    """
    workdir = Path(workdir)
    found, problems = stored.load_all(workdir)
    order = order or _order_before(workdir)
    for problem in problems:
        logging.warning("%s", problem)
    section = {
        cohort: {signals: scored(rows, order) for signals, rows in _all_last(subsets)}
        for cohort, subsets in found.items()
    }
    lines, gains = list(subset_lines(section)), list(gain_lines(section))
    write_csv(workdir / "subsets.csv", SUBSETS, lines)
    write_csv(workdir / "subset_gains.csv", GAINS, gains)
    merge_results(workdir, {stored.SECTION: section}, replace=(stored.SECTION,))
    return text(lines, gains)


def _order_before(workdir: Path) -> list[str]:
    section = read_json(workdir / RESULTS)[0].get(stored.SECTION) or {}
    names = (m for subsets in section.values() for rows in subsets.values() for m in rows)
    return [name for name in dict.fromkeys(names) if name != DIFFERENCES]


def _all_last(subsets: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return sorted(subsets.items(), key=lambda item: (item[0] == "all", item[0]))


def scored(rows: Mapping[str, Predictions], order: Sequence[str] = ()) -> dict[str, Any]:
    """{model: figures} of one cohort and subset, with "differences" {"a-b": one} of all pairs on
    the same nights; a model is `unseen` where the cohort was not trained on."""
    known = [name for name in order if name in rows]
    others = sorted(set(rows) - set(known) - {stored.SCORER})
    names = [*known, *others, *([stored.SCORER] if stored.SCORER in rows else [])]
    found: dict[str, Any] = {}
    for name in names:
        trained_on = rows[name].about.get("trained_on")
        unseen = trained_on is not None and rows[name].about.get("dataset") not in trained_on
        leaked = sum(rows[name].about.get("leaks", {}).values())
        found[name] = staging_score(rows[name]) | {"unseen": unseen}
        if leaked:  # people of a published list who are in training too, and were let stand
            found[name]["leaked"] = leaked
    differences = {}
    for a, b in combinations(names, 2):
        try:
            differences[f"{a}-{b}"] = staging_difference(rows[a], rows[b]) | {"pair": [a, b]}
        except ValueError as error:  # other nights, another build
            reason = str(error)
            differences[f"{a}-{b}"] = {"pair": [a, b], "value": None, "no_claim": reason}
    return found | ({DIFFERENCES: differences} if differences else {})


def subset_lines(section: Section) -> Iterator[dict[str, Any]]:
    """A line a model, cohort and subset."""
    for cohort, subsets in section.items():
        for signals, rows in subsets.items():
            for model, row in rows.items():
                if model == DIFFERENCES:
                    continue
                low, high = row["ci95"]["kappa"] or (None, None)
                median_low, median_high = row["ci95"][MEDIAN] or (None, None)
                beside = published.beside(cohort, signals, row["classes"])
                beside = None if model == stored.SCORER else beside
                yield {
                    **{"model": model, "cohort": cohort, "signals": signals},
                    **{"kappa": row["kappa"], "low": low, "high": high},
                    **{"people": row["subjects"], "nights": row["nights"]},
                    **{"seeds": len(row["seeds"]), "unseen": "yes" if row["unseen"] else "no"},
                    MEDIAN: row[MEDIAN],
                    **{"median_low": median_low, "median_high": median_high},
                    **{"accuracy": row["accuracy"], "f1": row["f1"]},
                    "classes": len(row["classes"]),
                    "published": beside and beside.kappa,
                    "published_variant": beside and f"{beside.variant} ({beside.note})",
                    "leaked": row.get("leaked"),
                }


def _people(line: Mapping[str, Any]) -> str:
    """How many, and how many of them were trained on."""
    return f"{line['people']}" + (f" ({line['leaked']} trained on)" if line["leaked"] else "")


def gain_lines(section: Section) -> Iterator[dict[str, Any]]:
    """A line a difference, of the pooled κ and of the nights' median."""
    for cohort, subsets in section.items():
        for signals, rows in subsets.items():
            for one in rows.get(DIFFERENCES, {}).values():
                a, b = one["pair"]
                unseen = rows[a]["unseen"] or rows[b]["unseen"]
                seeds = min(len(rows[a]["seeds"]), len(rows[b]["seeds"]))
                for metric in ("kappa", MEDIAN):
                    found = one.get("metrics", {}).get(metric, one)
                    low, high = found.get("ci95") or (None, None)
                    yield {
                        **{"cohort": cohort, "signals": signals, "model": a, "against": b},
                        **{"metric": metric, "gain": found["value"], "low": low, "high": high},
                        **{"people": one.get("subjects"), "nights": one.get("nights")},
                        **{"seeds": seeds, "unseen": "yes" if unseen else "no"},
                        "claim": "yes" if found.get("claim") else "no",
                        "why_not": found.get("no_claim"),
                    }


def text(lines: Sequence[Mapping[str, Any]], gains: Sequence[Mapping[str, Any]]) -> str:
    """The tables in fixed-width text: cohorts that every model was trained on first, those that
    one or more never saw apart."""
    if not lines:
        return "No predictions of stages."
    unseen = {line["cohort"] for line in lines if line["unseen"] == "yes"}
    parts = []
    for title, apart in (("Cohorts that were trained on", False), ("Unseen by a model", True)):
        mine = [line for line in lines if (line["cohort"] in unseen) == apart]
        if not mine:
            continue
        head = ["cohort", "signals", "model", "unseen", "kappa", "median of nights"]
        table = [[*head, "accuracy", "F1", "published", "people", "seeds"]]
        for line in mine:
            table.append(
                [
                    *(line[name] for name in ("cohort", "signals", "model", "unseen")),
                    f"{number(line['kappa'])} {bracket((line['low'], line['high']))}".rstrip(),
                    number(line[MEDIAN]),
                    *(number(line[name]) for name in ("accuracy", "f1")),
                    f"{line['published']} {line['published_variant']}" if line["published"] else "",
                    _people(line),
                    str(line["seeds"]),
                ]
            )
        parts.append(f"{title}\n{fixed_width(table, right=2)}")
    pooled = [line for line in gains if line["metric"] == "kappa"]
    if pooled:
        table = [["cohort", "signals", "model", "over", "gain in kappa", "claim"]]
        for line in pooled:
            bounds = bracket((line["low"], line["high"]), True)
            table.append(
                [
                    *(line[name] for name in ("cohort", "signals", "model", "against")),
                    f"{number(line['gain'], signed=True)} {bounds}".rstrip(),
                    "holds" if line["claim"] == "yes" else f"no: {line['why_not']}",
                ]
            )
        parts.append(f"Differences on the same nights, paired by person\n{fixed_width(table)}")
    return "\n\n".join(parts)
