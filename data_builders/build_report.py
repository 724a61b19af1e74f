"""build_report.json: what was built, what was not and why; and the same in a few lines."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

from sleepfm_jax import signals

FILENAME = "build_report.json"
_ENTRY = ("path", "status", "reason", "subject", "split", "channels", "clips", "notes")


def assemble(reports: list[dict[str, Any]], spec: dict[str, Any]) -> dict[str, Any]:
    """The report of a whole build.

    Args:
        reports: one a recording, from `data_builders.shards`, with `hours` and `labels` on top.
        spec: what was asked for.

    Returns:
        {"recordings": [...], "totals": {...}, "spec": spec}. In the totals, channels are counted
        over recordings, labels over sleep_epochs (stages) or clips (classes), `hours` are recorded
        hours.
    """
    built = [r for r in reports if r["status"] == "built"]
    labels: Counter[str] = Counter()
    for report in built:
        labels.update(report["labels"])
    order = [*signals.STAGES, *spec["classes"]]
    splits = {
        split: {
            "clips": sum(r["clips"] for r in built if r["split"] == split),
            "subjects": len({r["subject"] for r in built if r["split"] == split}),
        }
        for split in dict.fromkeys(r["split"] for r in built)
    }
    modalities = Counter(c["modality"] for r in built for c in r["channels"])
    totals = {
        "recordings": len(reports),
        "built": len(built),
        "quarantined": len(reports) - len(built),
        "clips": sum(r["clips"] for r in built),
        "subjects": len({r["subject"] for r in built}),
        "hours": round(sum(r["hours"] for r in built), 4),
        "channels_by_modality": {
            m: modalities[m] for m in (*signals.MODALITIES, signals.OTHER) if modalities[m]
        },
        "splits": splits,
        "labels": {name: labels[name] for name in dict.fromkeys(order) if name in labels},
    }
    recordings = [{key: report[key] for key in _ENTRY} for report in reports]
    return {"recordings": recordings, "totals": totals, "spec": spec}


def load(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The report of the dataset in `folder`."""
    return json.loads((Path(folder) / FILENAME).read_text(encoding="utf-8"))


def summary(report: dict[str, Any], where: str) -> str:
    """The report in lines for the terminal: quarantined recordings with reasons, then totals.

    Args:
        where: the dataset's folder.
    """
    lines = []
    recordings, totals, spec = report["recordings"], report["totals"], report["spec"]
    if len(recordings) <= 12:
        for r in recordings:
            if r["status"] == "built":
                lines.append(_built_line(r))
                lines += [f"      {note}" for note in r["notes"]]
    bad = [r for r in recordings if r["status"] == "quarantined"]
    if bad:
        lines.append(f"Quarantined ({len(bad)} of {len(recordings)}), not built:")
        lines += [f"  {r['path']}: {r['reason']}" for r in bad[:20]]
        if len(bad) > 20:
            lines.append(f"  … and {len(bad) - 20} more, all in {FILENAME}")
    built = [r for r in recordings if r["status"] == "built"]
    if built and len(built) <= 3:
        lines += ["", channel_table(built)]
    lines += [f"Note: {note}" for note in spec.get("notes", [])]
    lines += ["", _totals_line(totals, spec)]
    for split, t in totals["splits"].items():
        lines.append(f"  {split:<11}{t['clips']:>7} clips of {t['subjects']} subjects")
    if totals["labels"]:
        counted = "clips" if spec["task"] in ("classification", "multilabel") else "sleep_epochs"
        counts = ", ".join(f"{name} {n}" for name, n in totals["labels"].items())
        lines.append(f"  task {spec['task']}: {counts} ({counted})")
    modalities = ", ".join(f"{m} {n}" for m, n in totals["channels_by_modality"].items())
    lines += [f"  channels by modality: {modalities}", f"Records: {where}"]
    lines.append(f"Report:  {where}/{FILENAME}")
    return "\n".join(lines)


def _built_line(r: dict[str, Any]) -> str:
    found = Counter(c["modality"] for c in r["channels"])
    channels = " ".join(f"{m}:{n}" for m, n in sorted(found.items()))
    who = f"{r['split']}, subject {r['subject']}"
    return f"  built {r['path']}  ({who}, {r['clips']} clips, {channels})"


def _totals_line(totals: dict[str, Any], spec: dict[str, Any]) -> str:
    return (
        f"{totals['built']} of {totals['recordings']} recordings built: "
        f"{totals['subjects']} subjects, {totals['hours']:.2f} h, {totals['clips']} clips of "
        f"{spec['clip_seconds']:g} s at {spec['sfreq']:g} Hz"
    )


def channel_table(recordings: list[dict[str, Any]]) -> str:
    """Which channel of each recording was taken for what."""
    lines = []
    for r in recordings:
        lines.append(f"Channels of {r['path']}:")
        width = max([5, *(len(c["label"]) for c in r["channels"])])
        name_width = max([4, *(len(c["name"]) for c in r["channels"])])
        head = f"{'label':<{width}}  {'name':<{name_width}}  modality  {'Hz':>7}  {'unit':<5}"
        lines.append(f"  {head}  notes")
        for c in r["channels"]:
            lines.append(
                (
                    f"  {c['label']:<{width}}  {c['name']:<{name_width}}  {c['modality']:<8}  "
                    f"{c['sfreq']:>7g}  {c['unit']:<5}  {'; '.join(c['notes'])}"
                ).rstrip()
            )
    return "\n".join(lines)
