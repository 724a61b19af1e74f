"""The figures of transfer rows → transfer.csv, gains.csv, label_efficiency.csv and text.

Nothing is scored here: figures come from `metrics.scoring`, by way of results.json.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sleepfm_jax.report.results import (
    METRICS,
    MORE_METRICS,
    bracket,
    fixed_width,
    number,
)

SCORES = (
    *("task", "condition", "mode", "metric", "value", "low", "high", "people", "seeds"),
    "predicted_sign",
)
FRACTIONS = (*SCORES[:3], "label_fraction", *SCORES[3:])
GAINS = (
    *("task", "condition", "against", "mode", "metric", "gain", "low", "high", "people", "seeds"),
    *("claim", "predicted_sign", "as_predicted"),
)

Rows = Mapping[str, Mapping[str, Any]]


def score_lines(task: str, rows: Rows) -> Iterator[dict[str, Any]]:
    """A line a metric of each row, the task's own first; with its label fraction."""
    for row in rows.values():
        how = row["how"]
        own = how["metric"]
        others = [m for m in (*METRICS, *MORE_METRICS) if m != own]
        for metric in (own, *others):
            if metric not in row:
                continue
            low, high = (row["ci95"].get(metric) or (None, None))[:2]
            yield {
                "task": task,
                "condition": how["condition"],
                "mode": how["mode"],
                "label_fraction": how["label_fraction"],
                "metric": metric,
                "value": row[metric],
                "low": low,
                "high": high,
                "people": row["subjects"],
                "seeds": len(row["seeds"]),
                "predicted_sign": how["predicted_sign"],
            }


def gain_lines(task: str, rows: Rows, differences: Rows) -> Iterator[dict[str, Any]]:
    """A line a difference of the task's own metric, of all labels."""
    for pair, one in differences.items():
        a, _, b = pair.partition("-")
        if a not in rows or b not in rows:
            continue
        how, other = rows[a]["how"], rows[b]["how"]
        if how["label_fraction"] != 1 or other["label_fraction"] != 1:
            continue
        to_scratch = other["condition"] == "scratch"
        sign = how["predicted_sign"] if to_scratch else ""
        low, high = one.get("ci95") or (None, None)
        against = other["condition"] + ("" if other["mode"] == how["mode"] else f" {other['mode']}")
        yield {
            "task": task,
            "condition": how["condition"],
            "against": against,
            "mode": how["mode"],
            "metric": one.get("metric", how["metric"]),
            "gain": one.get("value"),
            "low": low,
            "high": high,
            "people": one.get("subjects"),
            "seeds": len(rows[a]["seeds"]),
            "claim": "yes" if one.get("claim") else "no",
            "predicted_sign": sign,
            "as_predicted": as_predicted(sign, low, high),
        }


def as_predicted(sign: str, low: float | None, high: float | None) -> str:
    """ "yes" or "no"; "" where nothing was predicted, or no interval can tell."""
    if not sign or low is None or high is None:
        return ""
    held = {"+": low > 0, "-": high < 0, "0": low <= 0 <= high}[sign]
    return "yes" if held else "no"


def text(scores: list[dict[str, Any]], gains: list[dict[str, Any]]) -> str:
    """The tasks' own metric of each row, and the gains, in fixed-width text."""
    own: dict[str, str] = {}
    for line in scores:
        own.setdefault(line["task"], line["metric"])
    table = [["task", "condition", "mode", "labels", "metric", "value", "people", "seeds"]]
    for line in scores:
        if line["metric"] == own[line["task"]]:
            bounds = bracket((line["low"], line["high"]))
            value = f"{number(line['value'])} {bounds}".rstrip()
            names = ("task", "condition", "mode")
            share = f"{100 * line['label_fraction']:g} %"
            counts = [str(line["people"]), str(line["seeds"])]
            table.append([*(line[n] for n in names), share, line["metric"], value, *counts])
    parts = [fixed_width(table, right=2)]
    table = [["task", "gain of", "over", "mode", "value", "claim", "predicted", "as predicted"]]
    for line in gains:
        value = f"{number(line['gain'], signed=True)} {bracket((line['low'], line['high']), True)}"
        names = ("task", "condition", "against", "mode")
        said = [line[n] for n in ("claim", "predicted_sign", "as_predicted")]
        table.append([*(line[n] for n in names), value.rstrip(), *said])
    if gains:
        parts.append(fixed_width(table))
    if any("twin" in line["task"].partition(":")[2] for line in scores):
        parts.append("Twins are simulated: none of their numbers stands beside a published one.")
    return "\n\n".join(parts)
