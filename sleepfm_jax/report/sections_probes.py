"""The section of a report's page about probes: each dataset's rows, differences and provenance."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sleepfm_jax.metrics import predictions, scoring
from sleepfm_jax.metrics.predictions import Predictions
from sleepfm_jax.report import figures, figures_scores, sections_examples
from sleepfm_jax.report.cite import citation
from sleepfm_jax.report.from_predictions import person_scores, several_labels
from sleepfm_jax.report.results import (
    METRICS,
    MORE_METRICS,
    ROW_NAMES,
    bracket,
    difference_name,
    differences_of,
    interval,
    is_difference,
    is_finite,
    metric_name,
    number,
    probes_of,
    row_name,
)


def probes(
    results: dict,
    problem: str | None,
    workdir: Path,
    folder: Path,
    without: frozenset[str] = frozenset(),
) -> dict:
    """All datasets that have figures, differences or predictions.

    Args:
      problem: what is wrong with results.json; said beside what the predictions show.
      without: names of what is shown elsewhere.
    """
    scored, differences = probes_of(results), differences_of(results)
    found, problems = predictions.load_all(workdir)
    found = {name: rows for name, rows in found.items() if name not in without}
    names = list(dict.fromkeys([*scored, *differences, *found]))
    if not names and not problems:
        return {"problem": problem or "results.json holds no probe results."}
    taken: set[str] = set()
    datasets = []
    for name in names:
        slug = _slug(name, taken)
        parts = (scored.get(name, {}), differences.get(name, {}), found.get(name, {}))
        datasets.append(_dataset(name, slug, *parts, folder))
    return {"problems": [*([problem] if problem else []), *problems.values()], "datasets": datasets}


def _slug(name: str, taken: set[str]) -> str:
    """A name that a file and an anchor can have, of its own."""
    slug = base = re.sub(r"[^A-Za-z0-9_-]+", "_", name) or "dataset"
    while slug in taken:
        slug = f"{base}-{len(taken)}"
    taken.add(slug)
    return slug


def _part(build: Callable[..., Any], *arguments) -> Any:
    """What `build` returns, or what is wrong: one broken file must not cost the rest."""
    try:
        return build(*arguments)
    except Exception as error:  # said on the page
        return {"problem": f"This could not be shown: {type(error).__name__}: {error}"}


def headline_metric(
    rows: Mapping[str, Mapping], differences: Mapping[str, Mapping], several: bool
) -> str | None:
    """The metric that pictures and citations are of: the differences', or the first that is had."""
    for one in differences.values():
        if isinstance(one.get("metric"), str):
            return one["metric"]
    order = ["auroc", *METRICS] if several else list(METRICS)
    return next((m for m in order if any(is_finite(r.get(m)) for r in rows.values())), None)


def _dataset(
    name: str,
    slug: str,
    rows: dict[str, dict],
    differences: dict[str, dict],
    found: dict[str, Predictions],
    folder: Path,
) -> dict:
    shown = {r: p for r, p in found.items() if r != scoring.CONTROL}
    shown = {r: shown[r] for r in (*ROW_NAMES, *shown) if r in shown}  # in the table's order
    for row, one in shown.items():  # a row knows how it was made even where results.json does not
        if row in rows:
            rows[row].setdefault("how", dict(one.about))
    several = any(several_labels(p) for p in shown.values())
    metric = headline_metric(rows, differences, several)
    main = next(iter(shown.values()), None)
    return {
        "name": name,
        "slug": slug,
        "about": _part(_about, rows, main),
        "table": _part(_table, rows),
        "classes": _part(_people_per_class, rows, main),
        "scores": _part(_scores, rows, shown, metric, slug, folder),
        "differences": _part(_differences, differences, slug, folder),
        "examples": [
            _part(draw, shown, slug, folder)
            for draw in (
                sections_examples.per_label,
                sections_examples.confusions,
                sections_examples.curves,
                sections_examples.night,
                sections_examples.maps,
            )
        ]
        if shown
        else [{"problem": f"predictions/{name}/ holds no predictions: no curves, nights or maps."}],
        "citations": _part(_citations, name, rows, metric),
    }


def _about(rows: dict, main: Predictions | None) -> str:
    how = dict(main.about) if main else next((r["how"] for r in rows.values() if "how" in r), {})
    parts = [str(how[k]) for k in ("label_kind", "protocol") if how.get(k)]
    if how.get("split"):
        parts.append(f"scored on {how['split']}")
    return "; ".join(parts)


def _table(rows: dict[str, dict]) -> dict:
    """The table of rows, the reasons for intervals that are not there, and the remarks."""
    if not rows:
        return {"problem": "results.json holds no figures of this dataset."}
    shown = [m for m in METRICS if any(m in row for row in rows.values())]
    reasons: list[str] = []
    lines, remarks, levels = [], [], []
    for name, row in rows.items():
        signed = is_difference(name)
        cells = []
        for m in shown:
            bounds = interval(row, m, signed)
            cell = {"value": number(row.get(m), signed=signed), "interval": bounds, "mark": ""}
            if m in row and not bounds:
                why = (row.get("reasons") or {}).get(m) or "the reason was not recorded"
                if why not in reasons:
                    reasons.append(why)
                cell |= {"interval": "n/a", "mark": str(reasons.index(why) + 1)}
            cells.append(cell)
        counts = {"subjects": row.get("subjects", ""), "examples": row.get("examples", "")}
        lines.append({"name": row_name(name), "cells": cells, "difference": signed, **counts})
        said = [row["protocol"]] if row.get("protocol") else []
        if row.get("l2") is not None:
            said.append(f"L2 {row['l2']}")
        said += row.get("notes") or []
        remarks += [f"{row_name(name)}: {note}" for note in said]
    main = next(iter(rows.values()))
    chance = main.get("chance") or {}
    if any(is_finite(chance.get(m)) for m in shown):
        levels.append(("Chance", [(_level(chance.get(m)), "") for m in shown]))
    control = main.get("permuted") or {}
    if any(m in control for m in shown):
        cells = [control.get(m) or {} for m in shown]
        cells = [(_level(c.get("mean")), bracket(c.get("band"))) for c in cells]
        levels.append(("Labels permuted over people", cells))
    return {
        "metrics": [METRICS[m] for m in shown],
        "rows": lines,
        "levels": levels,
        "reasons": reasons,
        "remarks": remarks,
        "more": _more(rows),
    }


def _level(value: Any) -> str:
    """Blank where a metric has no such level: that is not a figure that is missing."""
    return number(value) if is_finite(value) else ""


def _more(rows: dict[str, dict]) -> dict:
    """The figures beside the table: {"rows": names, "metrics": [(name, [(value, interval)])]}."""
    kept = {n: row for n, row in rows.items() if not is_difference(n)}
    lines = []
    for m in MORE_METRICS:
        if any(is_finite(row.get(m)) for row in kept.values()):
            each = [(number(row.get(m)), interval(row, m)) for row in kept.values()]
            lines.append((MORE_METRICS[m], each))
    for key, words in (("unweighted", "fit without class weights"), ("folds", "mean over folds")):
        every = [row.get(key) or {} for row in kept.values()]
        for m in dict.fromkeys(m for one in every for m in one):
            lines.append(
                (f"{metric_name(m)}, {words}", [(number(one.get(m)), "") for one in every])
            )
    return {"rows": [row_name(n) for n in kept], "metrics": lines}


def _people_per_class(rows: dict, main: Predictions | None) -> dict:
    """{"rows": [(class, people, examples)]} of the examples that are scored."""
    row = next((r for r in rows.values() if r.get("subjects_per_class")), None)
    if row is not None:
        people, examples = row["subjects_per_class"], row.get("examples_per_class") or {}
    elif main is not None:
        held = scoring.per_class(main)
        people, examples = held["subjects_per_class"], held["examples_per_class"]
    else:
        return {"rows": []}
    return {"rows": [(name, n, examples.get(name, "")) for name, n in people.items()]}


def _scores(
    rows: dict, shown: dict[str, Predictions], metric: str | None, slug: str, folder: Path
) -> dict:
    """The headline metric: intervals and seeds; and each person's own score."""
    drawn = []
    kept = {n: r for n, r in rows.items() if not is_difference(n) and is_finite(r.get(metric))}
    if kept:
        words = metric_name(metric)
        each = [f"{row_name(n)} {number(r[metric])} {interval(r, metric)}" for n, r in kept.items()]
        main = next(iter(kept.values()))
        alt = f"{words} with 95 % intervals. {', '.join(e.strip() for e in each)}."
        if is_finite(level := (main.get("chance") or {}).get(metric)):
            alt += f" Chance is {number(level)}."
        if band := bracket(((main.get("permuted") or {}).get(metric) or {}).get("band")):
            alt += f" With labels permuted over people, 95 % of the repeats are in {band}."
        arguments = (kept, metric, f"{words}, 95 % interval over people")
        name = f"probes-{slug}-scores"
        drawn.append(figures.save(folder, name, alt, figures_scores.scores, *arguments))
    own = {n: list(person_scores(p).values()) for n, p in shown.items()}
    own = {n: values for n, values in own.items() if values}
    if own:
        label = "each person's own balanced accuracy"
        each = [
            f"{row_name(n)}: {len(v)} people from {number(min(v))} to {number(max(v))}"
            for n, v in own.items()
        ]
        alt = f"{label}, a mark a person. {', '.join(each)}."
        name = f"probes-{slug}-people"
        drawn.append(figures.save(folder, name, alt, figures_scores.people, own, label))
    return {"figures": drawn}


def _differences(found: dict[str, dict], slug: str, folder: Path) -> dict:
    if not found:
        return {"problem": "results.json holds no paired differences of this dataset."}
    lines = []
    for key, one in found.items():
        bounds = bracket(one.get("ci95"), signed=True)
        seeds = [v for v in one.get("per_seed") or [] if is_finite(v)]
        lines.append(
            {
                "name": difference_name(key),
                "metric": metric_name(str(one.get("metric", ""))),
                "value": number(one.get("value"), signed=True),
                "interval": bounds or "n/a",
                "reason": "" if bounds else one.get("reason") or "the reason was not recorded",
                "seeds": ", ".join(number(v, signed=True) for v in seeds),
                "claim": "holds" if one.get("claim") is True else _why_not(one),
                "subjects": one.get("subjects", ""),
                "examples": one.get("examples", ""),
            }
        )
    drawn = {k: d for k, d in found.items() if is_finite(d.get("value"))}
    picture = None
    if drawn:
        said = [f"{line['name']} {line['value']} {line['interval']}" for line in lines]
        alt = f"Paired differences with 95 % intervals over people. {', '.join(said)}."
        metric = lines[0]["metric"] if len({line["metric"] for line in lines}) == 1 else "metric"
        label = f"difference in {metric}"
        name = f"probes-{slug}-differences"
        picture = figures.save(folder, name, alt, figures_scores.differences, drawn, label)
    return {"rows": lines, "figure": picture}


def _why_not(one: dict) -> str:
    return f"not shown: {one['no_claim']}" if one.get("no_claim") else "not shown"


def _citations(name: str, rows: dict, metric: str | None) -> dict:
    kept = {n: r for n, r in rows.items() if not is_difference(n)}
    if metric is None or not kept:
        return {"rows": []}
    return {"rows": [(row_name(n), citation(name, n, r, metric)) for n, r in kept.items()]}
