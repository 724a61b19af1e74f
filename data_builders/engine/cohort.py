"""Who was recorded, split by split: the cohort table of a build report.

Age and sex are counted over subjects, not recordings: a person with five nights is one person.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from sleepfm_jax import signals
from sleepfm_jax.recordings.person import SEXES, Person

UNKNOWN = "unknown"


def known(person: Person) -> dict[str, Any]:
    """What is known of a person, as entries of a recording's report."""
    found: dict[str, Any] = {}
    if person.age is not None:
        found["age"] = person.age
    if person.sex:
        found["sex"] = person.sex
    return found


def by_split(built: Sequence[dict[str, Any]], order: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The cohort table.

    Args:
        built: reports of the recordings that were built, with `labels`.
        order: names of labels, as they are to be listed.

    Returns:
        {split: {"clips", "subjects", "hours",
        "age": {"mean": years | None, "sd": years | None, "known": subjects},
        "sex": {"female", "male", "unknown": subjects},
        "labels": {stage or class: sleep_epochs or clips}}}. The age of a subject with several
        recordings is their mean; a subject whose recordings contradict each other has no known
        sex. `sd` is that of a sample, so it needs two subjects.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for report in built:
        groups.setdefault(report["split"], []).append(report)
    return {split: _row(reports, order) for split, reports in groups.items()}


def _row(reports: Sequence[dict[str, Any]], order: Sequence[str]) -> dict[str, Any]:
    ages: dict[str, list[float]] = {}
    sexes: dict[str, set[str]] = {}
    labels: Counter[str] = Counter()
    for report in reports:
        subject = report["subject"]
        age, sex = report.get("age"), report.get("sex")
        ages.setdefault(subject, []).extend([] if age is None else [age])
        sexes.setdefault(subject, set()).update([sex] if sex else [])
        labels.update(report["labels"])
    years = [statistics.fmean(told) for told in ages.values() if told]
    said = Counter(next(iter(s)) if len(s) == 1 else UNKNOWN for s in sexes.values())
    return {
        "clips": sum(r["clips"] for r in reports),
        "subjects": len(ages),
        "hours": round(sum(r["hours"] for r in reports), 4),
        "age": {
            "mean": round(statistics.fmean(years), 2) if years else None,
            "sd": round(statistics.stdev(years), 2) if len(years) > 1 else None,
            "known": len(years),
        },
        "sex": {name: said[name] for name in (*SEXES, UNKNOWN)},
        "labels": {name: labels[name] for name in order if name in labels},
    }


def modalities_together(channel_lists: Iterable[tuple[list, int]]) -> dict[str, int]:
    """How many recordings have which modalities: {"bas+ecg": recordings}, the most frequent first.

    Args:
        channel_lists: channels of recordings, and how many recordings have them.
    """
    found: Counter[str] = Counter()
    for channels, count in channel_lists:
        present = {c["modality"] for c in channels} & set(signals.MODALITIES)
        found["+".join(sorted(present)) or signals.OTHER] += count
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
