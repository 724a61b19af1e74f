"""build_report.json: what was built, what was not and why; and the same in a few lines."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from data_builders.engine import cohort, storage
from data_builders.engine.work_unit import UnitResult
from sleepfm_jax import signals
from sleepfm_jax.data import provenance
from sleepfm_jax.data.provenance import FILENAME

_ENTRY = (
    *("path", "status", "reason", "subject", "split", "age", "sex"),
    *("channels", "clips", "hours", "notes"),
)
_KEPT_OUT = re.compile(r"signal (.+) kept out: ")
FAULTS = ("flat", "empty", "clipped", "gaps")


def faults(channel: dict[str, Any]) -> list[str]:
    """What is wrong with a channel of the report: some of `FAULTS`.

    flat: no spread over the recording; empty: no valid sample; clipped: often at the limit of its
    converter; gaps: some samples missing (NaN in the file, pauses). Models do not see the samples
    of a flat or empty channel or of a gap.
    """
    notes = channel["notes"]
    flat = any(note.startswith(("flat", "no spread")) for note in notes)
    empty = any(note.startswith("no valid sample") for note in notes)
    clipped = any(note.startswith("clipped") for note in notes)
    gaps = channel["valid"] < 1 and not flat and not empty
    return [name for name, found in zip(FAULTS, (flat, empty, clipped, gaps)) if found]


def kept_out(report: dict[str, Any]) -> list[str]:
    """The notes on signals of a recording that could not become channels."""
    return [note for note in report["notes"] if _KEPT_OUT.match(note)]


def channel_lists(recordings: Iterable[dict[str, Any]]) -> Iterator[tuple[list, int]]:
    """Each list of channels that recordings share, and how many share it."""
    found: dict[int, tuple[list, int]] = {}
    for recording in recordings:
        channels = recording["channels"]
        found[id(channels)] = channels, found.get(id(channels), (channels, 0))[1] + 1
    yield from found.values()


def assemble(
    reports: list[dict[str, Any]], spec: dict[str, Any], results: Sequence[UnitResult]
) -> dict[str, Any]:
    """The report of a whole build.

    Args:
        reports: one a recording, from `data_builders.engine.work_unit`, with `labels` on top.
        spec: what was asked for.
        results: of all work units, in the order of the shards.

    Returns:
        {"recordings": [...], "totals": {...}, "shards": [...], "spec": spec}. In the totals,
        channels are counted over recordings, labels over sleep_epochs (stages) or clips (classes),
        `hours` are recorded hours; see `data_builders.engine.cohort` for who was recorded. Age and
        sex of a person are in `recordings` only.
    """
    built = [r for r in reports if r["status"] == "built"]
    labels: Counter[str] = Counter()
    for report in built:
        labels.update(report["labels"])
    order = list(dict.fromkeys([*signals.STAGES, *spec["classes"]]))
    modalities: Counter[str] = Counter()
    for channels, count in channel_lists(built):
        for channel in channels:
            modalities[channel["modality"]] += count
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
        "splits": cohort.by_split(built, order),
        "modalities_together": cohort.modalities_together(channel_lists(built)),
        "labels": {name: labels[name] for name in order if name in labels},
        "signals": _signal_totals(built),
        "quarantine_reasons": dict(
            Counter(_kind(r["reason"]) for r in reports if r["status"] != "built").most_common()
        ),
    }
    recordings = [
        {key: report[key] for key in _ENTRY} | {"stages": _stages(report)} for report in reports
    ]
    written = [
        {"split": r.split, "clips": r.length, "bytes": r.num_bytes, "sha256": r.sha256}
        for r in results
        if r.length
    ]
    return {"recordings": recordings, "totals": totals, "shards": written, "spec": spec}


def _stages(report: dict[str, Any]) -> dict[str, int]:
    """Scored sleep_epochs by stage; {} where nobody scored. Classes of exams are not told, which
    are diagnoses."""
    return {s: report["labels"][s] for s in signals.STAGES if report["labels"].get(s)}


def empty_splits(reports: Iterable[dict[str, Any]]) -> list[str]:
    """Notes on splits that were planned and got nothing, since all their recordings are bad."""
    planned: Counter[str] = Counter()
    clips: Counter[str] = Counter()
    for report in reports:
        if report["split"]:
            planned[report["split"]] += 1
            clips[report["split"]] += report["clips"]
    return [
        f"no record in {split}: its {n} recordings could not be built"
        for split, n in planned.items()
        if not clips[split]
    ]


def copies(reports: Iterable[dict[str, Any]], most: int = 20) -> list[str]:
    """Notes on recordings that hold the same signals under several names: splits may leak by them.

    Args:
        reports: as of `assemble`; `content` is a hash of a recording's signals, "" for none.
        most: as many notes.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for report in reports:
        if report["content"]:
            groups.setdefault(report["content"], []).append(report)
    same = [group for group in groups.values() if len(group) > 1]
    notes = []
    for group in same[:most]:
        names = ", ".join(f"{r['path']} (subject {r['subject']}, {r['split']})" for r in group[:5])
        notes.append(f"the same signals under {len(group)} names, leave only one: {names}")
    if len(same) > most:
        notes.append(f"… and {len(same) - most} more sets of recordings with the same signals")
    return notes


def _signal_totals(built: list[dict[str, Any]]) -> dict[str, int]:
    """Signals of the files that were built: how many there were, and what became of them."""
    out = sum(len(kept_out(r)) for r in built)
    found: Counter[str] = Counter()
    for channels, count in channel_lists(built):
        found["channels"] += count * len(channels)
        for channel in channels:
            found[signals.OTHER] += count * (channel["modality"] == signals.OTHER)
            for fault in faults(channel):
                found[fault] += count
    return {
        "in the files": found["channels"] + out,
        "kept out": out,
        "of no known modality": found[signals.OTHER],
        **{fault: found[fault] for fault in FAULTS},
    }


def _kind(reason: str) -> str:
    """A reason without what is particular to one file: numbers and quoted names."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|b'[^']*'", "'…'", re.sub(r"\d[\d.,]*", "N", reason))[:200]


def load(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The report of the dataset in `folder`."""
    return provenance.load(storage.as_path(folder))


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
        # Recordings of labelled clips may be scored too: sleep_epochs, not clips.
        classes = spec["classes"] if spec["label_kind"] in ("classification", "multilabel") else ()
        counts = [
            f"{', '.join(f'{name} {n}' for name, n in found.items())} ({counted})"
            for counted, found in (
                ("clips", {k: n for k, n in totals["labels"].items() if k in classes}),
                ("sleep_epochs", {k: n for k, n in totals["labels"].items() if k not in classes}),
            )
            if found
        ]
        lines.append(f"  label_kind {spec['label_kind']}: {'; '.join(counts)}")
    modalities = ", ".join(f"{m} {n}" for m, n in totals["channels_by_modality"].items())
    lines += [f"  channels by modality: {modalities}", f"Records: {where}"]
    lines.append(f"Report:  {where}/{FILENAME}, and build_report.html to look at")
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
