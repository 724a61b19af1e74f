"""The sections of a report's page about data: one clip, each build, and the configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sleepfm_jax.data.provenance import expand
from sleepfm_jax.report import figures, figures_run

_FEW = 5  # people, below which age and sex of a split are not shown
_MOST_RECORDINGS = 100  # whose channels are listed; a page of thousands helps nobody


def clip(path: Path, folder: Path) -> dict:
    if not path.exists():
        return {"problem": f"{path.name} is missing, so there is no clip to show."}
    with np.load(path, allow_pickle=False) as stored:
        names, modalities = ([str(v) for v in stored[key]] for key in ("names", "modalities"))
        clip = figures_run.Clip(
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
        "figure": figures.save(folder, "example_clip", alt, figures_run.example_clip, clip),
        "caption": (
            f"Subject {clip.subject}, {seconds:g} s at {clip.sfreq:g} Hz, {len(names)} channels; "
            f"{stop - start:.0f} s are shown. Each trace is scaled to its own row; a break in a "
            "trace is a gap in the recording."
        ),
    }


def build(name: str, report: Any) -> dict:
    recordings, totals = expand(report)["recordings"], report.get("totals") or {}
    bad = [r for r in recordings if r["status"] != "built"]
    listed = [r for r in recordings if r.get("channels")]
    plain = {k: v for k, v in totals.items() if not isinstance(v, (dict, list))}
    modalities = totals.get("channels_by_modality") or {}
    splits = totals.get("splits") or {}
    return {
        "name": name,
        "totals": {k.replace("_", " "): f"{v:,}" for k, v in plain.items()},
        "cohort": _cohort(splits) if splits else {},
        "together": [
            ([figures.MODALITY_NAMES.get(m, m) for m in key.split("+")], f"{n:,}")
            for key, n in (totals.get("modalities_together") or {}).items()
        ],
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


def _cohort(splits: Mapping[str, Mapping]) -> dict:
    """Who was recorded, split by split: {"columns": names, "labels": names, "rows": [...]}.

    Reports of older builds have fewer columns; a column that no split has is not shown.
    """
    every = list(splits.values())
    forms = {
        "subjects": lambda row: _count(row.get("subjects")),
        "hours": lambda row: f"{row['hours']:,.1f}" if "hours" in row else "",
        "clips": lambda row: _count(row.get("clips")),
        "age": _age,
        "sex": _sex,
    }
    columns = [name for name in forms if any(name in row for row in every)]
    labels = list(dict.fromkeys(name for row in every for name in row.get("labels") or {}))
    rows = [
        (
            split,
            [(name, forms[name](row)) for name in columns],
            [_count((row.get("labels") or {}).get(name, 0)) for name in labels],
        )
        for split, row in splits.items()
    ]
    return {"columns": columns, "labels": labels, "rows": rows}


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else ""


def _age(row: Mapping[str, Any]) -> str:
    """Mean and deviation in years; nothing of so few people that it would be about a person."""
    age = row.get("age") or {}
    known = age.get("known") or 0
    if not known:
        return "unknown"
    if known < _FEW or age.get("mean") is None or age.get("sd") is None:
        return f"known of fewer than {_FEW}"
    text = f"{age['mean']:.1f} \N{PLUS-MINUS SIGN} {age['sd']:.1f}"
    return text if known == row.get("subjects") else f"{text} (of {known:,})"


def _sex(row: Mapping[str, Any]) -> str:
    sex = {name: n for name, n in (row.get("sex") or {}).items() if n}
    told = sum(n for name, n in sex.items() if name != "unknown")
    if not told:
        return "unknown"
    if told < _FEW:
        return f"known of fewer than {_FEW}"
    return ", ".join(f"{n:,} {name}" for name, n in sex.items())


def config(config: dict) -> dict:
    return {"rows": _flat(config)}


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """{"a": {"b": 1}} -> {"a.b": "1"}."""
    rows = {}
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            rows.update(_flat(item, f"{prefix}{key}."))
        else:
            rows[f"{prefix}{key}"] = item if isinstance(item, str) else json.dumps(item)
    return rows
