"""What the report's page says of retrieval: within a person's night first, then among everybody."""

from __future__ import annotations

from typing import Any

from sleepfm_jax.report import figures
from sleepfm_jax.report.results import is_finite, number

PARTS = {
    "within_person": "the same person's night",
    "across_people": "all people",
    "other_people": "other people, and the own clip",
}
"""Part of `retrieval` in results.json → among whose clips."""

OLD = (
    "results.json holds retrieval among the clips of all people only, of an earlier version, which "
    "a person's identity alone could score: run launch.pretrain again, and a finished run is "
    "looked at anew."
)


def retrieval(results: dict) -> dict:
    """The section's values, or {"problem": why there are none}."""
    found = results.get("retrieval")
    if not found:
        return {"problem": "results.json holds no retrieval figures."}
    if "within_person" not in found:
        return {"problem": OLD} if "top1" in found else _unknown(found)
    parts = {part: found.get(part) or {} for part in PARTS}
    excluded = {
        f"{_name(name)}, among {PARTS[part]}": reason
        for part, figures_of in parts.items()
        for name, reason in (figures_of.get("excluded") or {}).items()
    }
    return {
        "lead": _lead(parts["within_person"]),
        "parts": [
            {"name": f"Clips of {PARTS[part]}", **_cells(figures_of)}
            for part, figures_of in parts.items()
        ],
        "modalities": [
            {
                "name": _name(name),
                **_cells(figures_of),
                "across": number((across := _of(parts["across_people"], name)).get("top1")),
                "identity": number(across.get("identity_alone")),
            }
            for name, figures_of in (parts["within_person"].get("per_modality") or {}).items()
        ],
        "pairs": _pairs(found.get("modality_pairs") or {}),
        "person_probe": _person_probe(found.get("person_probe") or {}),
        "nights_left_out": parts["within_person"].get("nights_left_out", 0),
        "clips_left_out": found.get("clips_left_out", 0),
        "excluded": {_name(k): v for k, v in (found.get("excluded") or {}).items()} | excluded,
    }


def tile(results: dict) -> tuple[str, ...] | None:
    """(label, figure, details …) of the headline; None where there is none."""
    found = results.get("retrieval") or {}
    within, across = found.get("within_person") or {}, found.get("across_people") or {}
    if is_finite(within.get("top1")):
        details = [f"chance {number(within.get('chance'))}{_times(within)}"]
        if is_finite(across.get("top1")):
            details.append(
                f"among all people {number(across['top1'])}, identity alone "
                f"{number(across.get('identity_alone'))}"
            )
        return "Retrieval top-1 within a night", number(within["top1"]), *details
    if is_finite(across.get("top1")):  # recordings of a single clip
        return (
            "Retrieval top-1 among all people",
            number(across["top1"]),
            f"chance {number(across.get('chance'))}",
            f"identity alone {number(across.get('identity_alone'))}",
        )
    return None


def _lead(within: dict) -> str:
    if not is_finite(within.get("top1")):
        return "No recording has two clips, so nothing can be asked within a night."
    return (
        "Given one modality of a clip, its other modalities rank first among the "
        f"{within.get('candidates')} clips of the same person's night in {number(within['top1'])} "
        f"of the cases; by chance, in {number(within.get('chance'))}{_times(within)}. Within a "
        "night, knowing the person helps nobody; among all people, it alone scores what stands in "
        "the column of that name."
    )


def _times(figures_of: dict) -> str:
    top1, chance = figures_of.get("top1"), figures_of.get("chance")
    return f" ({top1 / chance:.1f} × chance)" if is_finite(top1) and chance else ""


def _cells(figures_of: dict) -> dict[str, Any]:
    return {
        **{k: number(figures_of.get(k)) for k in ("top1", "chance", "identity_alone", "top5")},
        "median_rank": number(figures_of.get("median_rank"), 1),
        **{k: figures_of.get(k, "") for k in ("candidates", "clips", "people")},
    }


def _pairs(pairs: dict) -> dict:
    """A table of top-1 within a night: queries down, candidates across."""
    values: dict[str, dict[str, str]] = {}
    for way, figures_of in pairs.items():
        one, other = way.split("→")
        values.setdefault(one, {})[other] = number(figures_of["within_person"].get("top1"))
    columns = list(dict.fromkeys([*values, *(other for row in values.values() for other in row)]))
    return {
        "columns": [_name(name) for name in columns],
        "rows": {_name(one): [values.get(one, {}).get(o, "") for o in columns] for one in columns},
    }


def _person_probe(probe: dict) -> dict:
    rows = [
        {
            "name": _name(name),
            **{k: number(row.get(k)) for k in ("accuracy", "balanced_accuracy", "chance")},
            **{k: row.get(k, "") for k in ("people", "clips")},
            "notes": row.get("notes") or [],
        }
        for name, row in (probe.get("per_modality") or {}).items()
    ]
    shown = {key: number(probe.get(key)) for key in ("balanced_accuracy", "chance")}
    return {"rows": rows, "protocol": probe.get("protocol", ""), **shown}


def _of(part: dict, name: str) -> dict:
    return (part.get("per_modality") or {}).get(name) or {}


def _name(name: str) -> str:
    return figures.MODALITY_NAMES.get(name, name)


def _unknown(found: dict) -> dict:
    return {"problem": f"results.json holds retrieval without within_person: {', '.join(found)}."}
