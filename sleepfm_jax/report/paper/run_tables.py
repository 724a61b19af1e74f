"""What launch.transfer and launch.ablate_channels left in a run, and what is not there.

Nothing here computes a score: the tables hold what was computed from predictions.
"""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sleepfm_jax.report.paper import published

CONDITIONS = {
    "scratch": "from scratch",
    "pretrained": "pretrained (PT)",
    "pretrained_pe": "PT + positions (PT+PE)",
    "pe_from_pretraining": "positions from pretraining",
}
"""The paper's conditions, and one of ours, in the order of every table."""
MODES = ("finetune", "frozen_head", "probe", "scratch")
SIMULATED = "simulated"
"""The word that stands by every figure of a twin."""

_WRITTEN_BY = {
    "transfer.csv": "launch.transfer",
    "gains.csv": "launch.transfer",
    "label_efficiency.csv": "launch.transfer --label_fraction=.01,.1,1",
    "channels.json": "launch.ablate_channels",
}


@dataclasses.dataclass(frozen=True)
class Score:
    """A figure of one condition of one task: NaN-free; low and high None: no interval."""

    value: float
    low: float | None
    high: float | None
    people: int | None
    seeds: int | None
    predicted_sign: str = ""


@dataclasses.dataclass(frozen=True)
class TaskScores:
    """One task of a run in its own metric.

    Attributes:
      task: as the run calls it. metric. scores: (condition, mode) → score; condition "scratch" is
        of mode "finetune".
      simulated: it is a twin: a number of it stands beside no published one.
    """

    task: str
    metric: str
    scores: Mapping[tuple[str, str], Score]
    simulated: bool

    @property
    def published(self) -> published.Task | None:
        return published.of(self.task)[0]

    @property
    def title(self) -> str:
        """Its name, with what it is where it is no recording."""
        found, variant = published.of(self.task)
        name = found.title if found else self.task
        rest = " ".join(part for part in _words(variant) if part != "twin")
        name = f"{name} ({rest})" if rest and found else name
        return f"{name}, {SIMULATED}" if self.simulated else name

    def conditions(self, mode: str) -> dict[str, Score]:
        """Those of a mode in the table's order, others after."""
        found = {c: score for (c, m), score in self.scores.items() if m == mode}
        order = [c for c in CONDITIONS if c in found]
        return {c: found[c] for c in [*order, *(c for c in found if c not in order)]}

    def modes(self) -> list[str]:
        """In the table's order, others after."""
        found = list(dict.fromkeys(mode for _, mode in self.scores))
        return [m for m in MODES if m in found] + [m for m in found if m not in MODES]

    def people(self) -> int | None:
        return max((s.people for s in self.scores.values() if s.people), default=None)


@dataclasses.dataclass(frozen=True)
class Run:
    """Everything of a run that the paper shows; `missing`: what is not there, in words."""

    tasks: list[TaskScores]
    gains: list[dict[str, str]]
    efficiency: list[dict[str, str]]
    ablation: dict[str, dict[str, Any]]
    missing: dict[str, str]

    def real(self) -> list[TaskScores]:
        return [task for task in self.tasks if not task.simulated]

    def twins(self) -> list[TaskScores]:
        return [task for task in self.tasks if task.simulated]

    def simulated(self, task: str) -> bool:
        """Whether a task is a twin."""
        known = {one.task: one.simulated for one in self.tasks}
        return known.get(task, _made_up(published.of(task)[1] or task))

    def not_run(self) -> list[str]:
        """Titles of the paper's tasks without a number on real recordings."""
        there = {published.key_of(task.task) for task in self.real()}
        return [task.title for name, task in published.TASKS.items() if name not in there]


def read(workdir: Path) -> Run:
    """A run's tables; of a table that is missing or broken, why."""
    missing: dict[str, str] = {}
    rows = {
        name: _read_csv(workdir / name, missing)
        for name in ("transfer.csv", "gains.csv", "label_efficiency.csv")
    }
    ablation: dict[str, dict[str, Any]] = {}
    try:
        ablation = json.loads((workdir / "channels.json").read_text())["tasks"]
    except FileNotFoundError:
        missing["channels.json"] = _not_there("channels.json")
    except (OSError, ValueError, KeyError, TypeError) as error:
        missing["channels.json"] = f"channels.json cannot be read: {error}"
    tasks = _in_order(scores(rows["transfer.csv"]))
    return Run(tasks, rows["gains.csv"], rows["label_efficiency.csv"], ablation, missing)


def scores(rows: Iterable[Mapping[str, str]]) -> list[TaskScores]:
    """The tasks of transfer.csv, each in its own metric: that of its first row."""
    of_task: dict[str, list[Mapping[str, str]]] = {}
    for row in rows:
        of_task.setdefault(row["task"], []).append(row)
    found = []
    for task, mine in of_task.items():
        variant = published.of(task)[1]
        metric = mine[0]["metric"]
        # A real task has no predicted sign; a name alone would let an unusual one pass for real.
        simulated = _made_up(variant or task) or any(r.get("predicted_sign") for r in mine)
        kept: dict[tuple[str, str], Score] = {}
        for row in mine:
            value = number_of(row["value"])
            if row["metric"] != metric or value is None:
                continue
            scratch = row["condition"] == "scratch" and row["mode"] == "scratch"
            kept.setdefault(
                (row["condition"], "finetune" if scratch else row["mode"]),
                Score(
                    value,
                    number_of(row["low"]),
                    number_of(row["high"]),
                    _count(row["people"]),
                    _count(row["seeds"]),
                    row.get("predicted_sign", ""),
                ),
            )
        found.append(TaskScores(task, metric, kept, simulated))
    return found


def _in_order(tasks: list[TaskScores]) -> list[TaskScores]:
    """The paper's order, and the others after."""
    rank = {name: i for i, name in enumerate([*published.TASKS, *published.BESIDE])}
    return sorted(tasks, key=lambda task: rank.get(published.key_of(task.task), len(rank)))


def as_predicted(row: Mapping[str, str]) -> str:
    """What became of a prediction: "as predicted", "failed", "undecided", or "" without one."""
    if not row.get("predicted_sign"):
        return ""
    said = str(row.get("as_predicted", "")).strip().lower()
    if said in ("true", "yes", "1"):
        return "as predicted"
    if said in ("false", "no", "0"):
        return "failed"
    return said or "undecided"


def number_of(text: Any) -> float | None:
    """A finite number, or None."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if value - value == 0 else None


def _count(text: str) -> int | None:
    value = number_of(text)
    return None if value is None else int(value)


def _made_up(variant: str) -> bool:
    return bool({"twin", "smoke"} & set(_words(variant)))


def _words(variant: str) -> list[str]:
    for mark in ":_-.":
        variant = variant.replace(mark, " ")
    return variant.split()


def _not_there(name: str) -> str:
    return f"{name} is not there: {_WRITTEN_BY[name]} writes it."


def _read_csv(path: Path, missing: dict[str, str]) -> list[dict[str, str]]:
    try:
        with open(path, newline="", encoding="utf-8") as source:
            rows = [{k: v or "" for k, v in row.items() if k} for row in csv.DictReader(source)]
    except FileNotFoundError:
        missing[path.name] = _not_there(path.name)
        return []
    except (OSError, ValueError, csv.Error) as error:
        missing[path.name] = f"{path.name} cannot be read: {error}"
        return []
    if not rows:
        missing[path.name] = f"{path.name} has no rows yet."
    wanted = {"task", "condition", "mode", "metric", "people", "seeds"}
    if rows and not wanted <= set(rows[0]):
        missing[path.name] = (
            f"{path.name} has no column {', '.join(sorted(wanted - set(rows[0])))}."
        )
        return []
    return rows
