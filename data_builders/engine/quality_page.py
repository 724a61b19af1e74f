"""build_report.html: the quality of a build, to be looked at; one page that needs nothing else."""

from __future__ import annotations

import importlib.resources
from collections import Counter
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from data_builders.engine import cohort
from data_builders.engine import report as build_report
from sleepfm_jax import signals
from sleepfm_jax.data.provenance import FEW
from sleepfm_jax.recordings.person import SEXES

FILENAME = "build_report.html"
_TEMPLATE = Path(__file__).with_name("build_report_template.html.j2")
_MOST = 200  # labels and montages shown; the rest is counted, and all of it is in the JSON
_MOST_ROWS = 20_000  # recordings shown: a browser cannot take half a million
_REMARKS = 500  # characters of a recording's remarks
_FAULT_WORDS = {
    "flat": "flat",
    "empty": "without a valid sample",
    "clipped": "clipped",
    "gaps": "with gaps",
}


def render(report: dict[str, Any]) -> str:
    """The page of a build report; its time and size grow with the recordings, not faster.

    Args:
        report: of `build_report.assemble`.
    """
    built = [r for r in report["recordings"] if r["status"] == "built"]
    bad = [r for r in report["recordings"] if r["status"] != "built"]
    montages: dict[tuple, int] = {}  # channels of a recording → its number
    numbers: dict[int, int] = {}  # id of a list of channels → the number of its montage
    uses: Counter[int] = Counter()
    for channels, count in build_report.channel_lists(built):
        number = montages.setdefault(_montage(channels), len(montages) + 1)
        numbers[id(channels)] = number
        uses[number] += count
    rows = [_row(r, numbers[id(r["channels"])]) for r in built[:_MOST_ROWS]]
    totals = report["totals"]
    shown = [(number, montage) for montage, number in montages.items() if number <= _MOST]
    labels = _labels(built)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style = importlib.resources.files("sleepfm_jax.report").joinpath("report_style.css.j2")
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        style=markupsafe.Markup(style.read_text(encoding="utf-8")),
        spec=report["spec"],
        totals=totals,
        cohort=[_cohort_row(split, row) for split, row in totals["splits"].items()],
        together={k.replace("+", " + "): n for k, n in totals["modalities_together"].items()},
        few=FEW,
        counted="clips" if totals["labels"] and _classes(report) else "sleep epochs",
        signal_totals={_FAULT_WORDS.get(k, k): n for k, n in totals["signals"].items()},
        quarantined=bad[:_MOST_ROWS],
        more_quarantined=max(0, len(bad) - _MOST_ROWS),
        labels=labels[:_MOST],
        more_labels=max(0, len(labels) - _MOST),
        montages=[{"number": n, "uses": uses[n], "channels": m} for n, m in shown],
        more_montages=max(0, len(montages) - _MOST),
        rows=rows,
        more_rows=max(0, len(built) - _MOST_ROWS),
        settings={k: v for k, v in report["spec"].items() if k != "notes"},
    )


def _classes(report: dict[str, Any]) -> bool:
    return report["spec"]["label_kind"] in ("classification", "multilabel")


def _cohort_row(split: str, row: dict[str, Any]) -> dict[str, Any]:
    """A split of `cohort.by_split` in words; of few people nothing personal."""
    age, sex = row["age"], row["sex"]
    years = sexes = "–"
    if age["known"] >= FEW:
        years = f"{age['mean']:.1f} ± {age['sd']:.1f}"
        if age["known"] < row["subjects"]:
            years += f" (of {age['known']:,})"
    elif age["known"]:
        years = f"of fewer than {FEW}"
    told = row["subjects"] - sex[cohort.UNKNOWN]
    if told >= FEW:
        sexes = ", ".join(f"{sex[name]:,} {name}" for name in (*SEXES, cohort.UNKNOWN) if sex[name])
    elif told:
        sexes = f"of fewer than {FEW}"
    return row | {"split": split, "age": years, "sex": sexes}


def _montage(channels: list[dict[str, Any]]) -> tuple:
    """A recording's channels as a file has them: (label, name, modality, Hz, unit) of each."""
    return tuple(
        (c["label"], c["name"], c["modality"], f"{c['sfreq']:g}", c["unit"]) for c in channels
    )


def _row(recording: dict[str, Any], montage: int) -> dict[str, Any]:
    """One recording: how many signals there were, what was wrong with them, and remarks."""
    channels = recording["channels"]
    found = Counter(fault for c in channels for fault in build_report.faults(c))
    by_modality = Counter(c["modality"] for c in channels)
    out = build_report.kept_out(recording)
    gaps = [c for c in channels if "gaps" in build_report.faults(c)]
    remarks = [f"{c['label']}: {100 * (1 - c['valid']):.3g} % missing" for c in gaps]
    remarks += [f"{c['label']}: {note}" for c in channels for note in c["notes"]]
    text = "; ".join([*recording["notes"], *remarks])
    return {
        "path": recording["path"],
        "subject": recording["subject"],
        "split": recording["split"],
        "hours": f"{recording['hours']:.2f}",
        "clips": recording["clips"],
        "montage": montage,
        "found": len(channels) + len(out),
        "modalities": " ".join(
            f"{m} {by_modality[m]}" for m in (*signals.MODALITIES, signals.OTHER) if by_modality[m]
        ),
        "out": len(out),
        "faults": {fault: found[fault] for fault in build_report.FAULTS},
        "remarks": text if len(text) <= _REMARKS else f"{text[:_REMARKS]} … (all in the JSON)",
    }


def _labels(recordings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What each label was taken for, those of no known modality first, then the most frequent."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for channels, count in build_report.channel_lists(recordings):
        for c in channels:
            name = c["name"].partition("#")[0]  # C3#2 is a second channel of that name
            entry = found.setdefault(
                (c["label"], c["modality"]),
                {
                    "label": c["label"],
                    "modality": c["modality"],
                    "names": set(),
                    "channels": 0,
                    "sfreqs": set(),
                    "units": set(),
                    "faults": Counter(),
                },
            )
            entry["channels"] += count
            entry["names"].add(name)
            entry["sfreqs"].add(c["sfreq"])
            entry["units"].add(c["unit"] or "–")
            entry["faults"].update(dict.fromkeys(build_report.faults(c), count))
    for entry in found.values():
        rates = sorted(entry["sfreqs"])
        few = len(rates) <= 4
        entry["sfreqs"] = (
            ", ".join(f"{r:g}" for r in rates) if few else f"{rates[0]:g} to {rates[-1]:g}"
        )
        entry["units"] = ", ".join(sorted(entry["units"]))
        entry["names"] = ", ".join(sorted(entry["names"]))
    return sorted(
        found.values(),
        key=lambda e: (e["modality"] != signals.OTHER, -e["channels"], e["label"]),
    )
