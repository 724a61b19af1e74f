"""A run as launch.transfer leaves it, of numbers that nobody measured."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

METRIC = {"ptbxl": "f1", "g12ec": "f1", "cpsc": "f1", "tusl": "auroc"}
GAIN = {"scratch": 0.0, "pretrained": 0.04, "pretrained_pe": 0.05, "pe_from_pretraining": 0.03}


def made_run(folder: Path, tasks, *, signs=False) -> Path:
    """transfer.csv, gains.csv and label_efficiency.csv of tasks; those with ":" are twins."""
    transfer, gains, efficiency = [], [], []
    for number, task in enumerate(tasks):
        name, _, variant = task.partition(":")
        metric = METRIC.get(name, "balanced_accuracy")
        twin = bool(variant) or signs
        predicted = "" if not twin else "0" if name == "tuev" else "+"
        base = {"task": task, "mode": "finetune", "people": 150 + number, "seeds": 3}
        for condition, gain in GAIN.items():
            sign = "" if condition == "scratch" else predicted
            one = {**base, "condition": condition}
            for of, shift in ((metric, 0.0), ("kappa", -0.3)):
                value = 0.61 + 0.02 * number + gain + shift
                bounds = {"value": value, "low": value - 0.041, "high": value + 0.038}
                transfer.append({**one, "metric": of, **bounds, "predicted_sign": sign})
                for fraction in (1.0, 0.01, 0.1):
                    value = bounds["value"] + 0.05 * np.log10(fraction)
                    line = {**one, "metric": of, "label_fraction": fraction, "value": value}
                    efficiency.append({**line, "low": value - 0.05, "high": value + 0.05})
            if condition != "scratch":
                bounds = {"gain": gain, "low": gain - 0.02, "high": gain + 0.02}
                outcome = {"claim": True, "predicted_sign": sign, "as_predicted": ""}
                outcome["as_predicted"] = (sign == "+") if sign else ""
                gains.append({**one, "against": "scratch", "metric": metric, **bounds, **outcome})
    tables = {"transfer.csv": transfer, "gains.csv": gains, "label_efficiency.csv": efficiency}
    for name, rows in tables.items():
        with open(folder / name, "w", newline="") as out:
            writer = csv.DictWriter(out, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return folder


def made_ablation(metric: str) -> dict:
    """A task of channels.json: four channels, 95 % at two, and from three on."""
    values = [0.6, 0.77, 0.75, 0.8]
    counts = [
        {
            "count": count,
            "value": value,
            "ci95": [value - 0.05, value + 0.05],
            "combinations": 2,
            "possible": 6,
            "values": [value - 0.01, value + 0.01],
            "names": [["C3"], ["C4"]],
        }
        for count, value in enumerate(values, 1)
    ]
    return {
        "metric": metric,
        "condition": "pretrained_pe",
        "mode": "finetune",
        "order": "random",
        "channels": 4,
        "people": 150,
        "full": {"value": 0.8, "ci95": [0.75, 0.85]},
        "counts": counts,
        "fewest": {
            "first": {"count": 2, "interval": [1, 3], "reason": None},
            "sustained": {"count": 3, "interval": [2, 4], "reason": None},
        },
    }
