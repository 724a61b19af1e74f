"""How to cite a row: the figure with everything it was made from, as text to copy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sleepfm_jax.report.results import interval, is_finite, metric_name, number, row_name

_MOST_LISTED = 5


def citation(dataset: str, name: str, row: Mapping[str, Any], metric: str) -> str:
    """The text of one row; what is not known is said, not left out.

    Args:
      row: figures as in results.json, and `how`: `Predictions.about`.
    """
    how = row.get("how") if isinstance(row.get("how"), Mapping) else {}
    value = number(row.get(metric))
    if bounds := interval(row, metric):
        value += f", 95 % interval over people {bounds}"
    elif is_finite(row.get(metric)):
        reason = (row.get("reasons") or {}).get(metric)
        value += f", no interval ({reason or 'the reason was not recorded'})"
    seeds = (row.get("per_seed") or {}).get(metric) or []
    if len(seeds) > 1:
        value += f"; each seed {' '.join(map(number, seeds))}"
    lines = [
        ("row", f"{row_name(name)} ({name})"),
        ("dataset", f"{dataset}, fingerprint {_said(how.get('dataset_fingerprint'))}"),
        (metric_name(metric), value),
        ("people, examples", f"{_said(row.get('subjects'))}, {_said(row.get('examples'))}"),
        ("protocol", f"{_said(how.get('protocol'))}; scored on {_said(how.get('split'))}"),
        ("L2", _said(how.get("l2"))),
        ("features", _said(how.get("features"))),
        ("checkpoint", _said(how.get("checkpoints"))),
        ("step", _said(how.get("steps"))),
        ("weights", _said(how.get("weights"))),
        ("channels", _said(how.get("channels"))),
        ("input scaling", _said(how.get("input_scaling"))),
        ("left out", _said(how.get("left_out"))),
        ("command", _said(how.get("command"))),
        ("commit, version", f"{_said(how.get('commit'))}, {_said(how.get('version'))}"),
        ("predictions", f"predictions/{dataset}/{name}.npz"),
    ]
    width = max(len(key) for key, _ in lines)
    return "\n".join(f"{key:<{width}}  {text}" for key, text in lines)


def _said(value: Any) -> str:
    if value is None or value == "":
        return "not recorded"
    if isinstance(value, Mapping):
        return "; ".join(f"{k}: {_said(v)}" for k, v in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        each = list(dict.fromkeys(_said(v) for v in value))
        more = f" and {len(each) - _MOST_LISTED} more" if len(each) > _MOST_LISTED else ""
        return ", ".join(each[:_MOST_LISTED]) + more or "none"
    return value if isinstance(value, str) else json.dumps(value)
