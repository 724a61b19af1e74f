"""Tasks × conditions × seeds × folds → cells, worked off by any number of workers → tables."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import logging
from tqdm import tqdm

from sleepfm_jax import experiment
from sleepfm_jax.data import datasets, people
from sleepfm_jax.data.division import Division
from sleepfm_jax.errors import ConfigError, DatasetError
from sleepfm_jax.transfer import cells, probes
from sleepfm_jax.transfer.assembly import SECTION, assemble
from sleepfm_jax.transfer.cells import Cell, Training
from sleepfm_jax.transfer.conditions import (
    BASELINES,
    CHOSEN,
    CONDITIONS,
    MODES,
    Encoders,
    Options,
    Task,
    base,
    sizes_of,
    training,
    with_end_rows,
)
from sleepfm_jax.transfer.probes import Probing

_TABLES_LOCK = ".tables"
"""Tables are of all rows in workdir: two workers that write them do so one after the other."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is asked for.

    Attributes:
      data_dir, workdir: where the datasets are; where cells, predictions and tables go.
      conditions, mode: of `conditions`. seeds: how many of each training.
      fractions: of the training people.
      baselines: also the rows `BASELINES` (and mispaired, where it is given), as linear probes.
      command: what the user typed, for the record.
    """

    tasks: Sequence[Task]
    conditions: Sequence[str]
    mode: str
    encoders: Encoders
    data_dir: Path
    workdir: Path
    options: Options = dataclasses.field(default_factory=Options)
    seeds: int = 1
    fractions: Sequence[float] = (1.0,)
    baselines: bool = False
    command: str = ""

    def __post_init__(self):
        known = {"condition": (self.conditions, CONDITIONS), "mode": ((self.mode,), MODES)}
        for what, (asked, there) in known.items():
            if unknown := [name for name in asked if name not in there]:
                raise ConfigError(f"no such {what}: {unknown}; there are {', '.join(there)}")
        if len({task.name for task in self.tasks}) < len(self.tasks) or not self.tasks:
            raise ConfigError("--tasks: expected one task or more, each once")
        for what, asked in (("conditions", self.conditions), ("label_fraction", self.fractions)):
            if len(set(asked)) < len(asked) or not asked:
                raise ConfigError(f"--{what}: expected one or more, each once")
        if not all(0 < f <= 1 for f in self.fractions):
            raise ConfigError(f"--label_fraction: {self.fractions} are not above 0 and at most 1")

    @functools.cached_property
    def trained(self) -> dict[tuple[str, str, float], dict[int, list[Training]]]:
        """(task, condition, fraction) → seed → its trainings, one a fold."""
        if self.mode == "probe":
            return {}
        asked = [
            (task, condition, fraction, seed, fold)
            for seed in range(self.seeds)
            for task in self.tasks
            for fraction in self.fractions
            for condition in self.trained_conditions
            for fold in range(max(1, task.folds(self.options.folds)))
        ]
        found: dict[tuple[str, str, float], dict[int, list[Training]]] = {}
        for task, condition, fraction, seed, fold in asked:
            config, source = training(
                task, condition, self.trained_mode, self.encoders, self.options,
                seed=seed, fold=fold, fraction=fraction,
            )  # fmt: skip
            row, (names, split) = self.row_of(task), task.scored_row
            scored = names or task.trained_on
            one = Training(
                self.data_dir,
                self.prints(task.trained_on),
                config,
                source,
                {CHOSEN: ((), "validation"), row: (names, split)},
                {CHOSEN: self.prints(task.trained_on), row: self.prints(scored)},
            )
            place = found.setdefault((task.name, condition, fraction), {})
            place.setdefault(config["seed"], []).append(one)
        return found

    @property
    def trained_conditions(self) -> tuple[str, ...]:
        return ("scratch",) if self.mode == "scratch" else tuple(self.conditions)

    @property
    def trained_mode(self) -> str:
        """Mode scratch is the condition scratch, fine-tuned like every other."""
        return "finetune" if self.mode == "scratch" else self.mode

    @staticmethod
    def row_of(task: Task) -> str:
        """The evaluator that scores the task."""
        return task.dataset if task.scored_row[0] else "test"

    @property
    def baseline_rows(self) -> list[str]:
        """Rows of linear probes that are asked for beside the conditions."""
        if not self.baselines:
            return []
        beside = ("pretrained", "mispaired")
        return [*BASELINES, *(c for c in beside if self.encoders.of.get(CONDITIONS[c].source))]

    @functools.cached_property
    def probed(self) -> dict[str, Probing]:
        """task → its probes; {} where none are asked for."""
        asked = [] if self.mode != "probe" else [probes.of_condition(c) for c in self.conditions]
        if not (asked := [*asked, *self.baseline_rows]):
            return {}
        return {
            task.name: Probing(
                self.data_dir,
                self.task_print(task),
                task,
                self.encoders,
                tuple(dict.fromkeys(asked)),
                task.folds(self.options.folds),
                tuple(self.fractions),
                self.seeds,
            )
            for task in self.tasks
        }

    @functools.cached_property
    def cells(self) -> list[Cell]:
        """Each once: tasks with equal trainings share them, and are asked together."""
        found: dict[str, Any] = {}
        for seeds in self.trained.values():
            for one in (one for folds in seeds.values() for one in folds):
                if (same := found.get(one.key)) is not None:
                    one = dataclasses.replace(
                        same, asked={**same.asked, **one.asked}, rows={**same.rows, **one.rows}
                    )
                found[one.key] = one
        found |= {one.key: one for one in self.probed.values()}
        return list(found.values())

    def prints(self, names: Sequence[str]) -> str:
        """Of the builds of some datasets."""
        return cells.digest([self._print(name) for name in names])

    @functools.cached_property
    def _prints(self) -> dict[str, str]:
        return {}

    def _print(self, name: str) -> str:
        if name not in self._prints:
            self._prints[name] = datasets.fingerprint(self.data_dir, name)
        return self._prints[name]

    def recipe(self, task: Task) -> str:
        """Of all that the task's trainings have in common, whatever condition they are of."""
        config, like = base(task, self.options), self.encoders.first()
        if like is not None:
            config["model"] |= sizes_of(like)
        config["data"]["folds"] = task.folds(self.options.folds)
        return cells.digest(cells.numbers_of(config))

    def task_print(self, task: Task) -> str:
        """Of all the data that a row of the task is of."""
        return self.prints(list(dict.fromkeys((*task.trained_on, task.dataset))))


def transfer(plan: Plan) -> str | None:
    """Works off what is not finished, and writes the tables when everything is.

    Writes under workdir: cells/, predictions/, transfer.csv, gains.csv, label_efficiency.csv, and
    the sections probes, differences and transfer of results.json.

    Returns:
      The tables as text; None: other workers are still at the rest, and the last one writes them.

    Raises:
      LeakError: before anything is trained: who is trained on and scored, in whatever task.
      ConfigError, DatasetError, CheckpointError: what was asked for cannot be.
    """
    check_people(plan)
    todo = plan.cells
    logging.info("%d cells: %s", len(todo), plan.workdir / cells.FOLDER)
    bar = tqdm(total=len(todo), unit="cell", desc=SECTION, file=sys.stderr, mininterval=1.0)
    while todo:
        held, made = [], False
        for cell in todo:
            done = cells.work(plan.workdir, cell)
            if done is None:
                held.append(cell)
                continue
            made |= done
            bar.update()
        todo = held
        if held and not made:
            break
    bar.close()
    if todo:
        logging.info(
            "other workers are at the last %d cells; the last one writes tables", len(todo)
        )
        return None
    with cells.alone(plan.workdir / _TABLES_LOCK):
        return assemble(plan)


def check_people(plan: Plan) -> None:
    """Nobody is scored who is trained on: here, in another fold, or in any pretraining; and there
    is somebody to validate and to score.

    Raises:
      LeakError: how many, who (pseudonyms) and where.
      DatasetError: a split that a task needs is not there.
    """
    earlier: set[str] = set()
    for name, encoder in plan.encoders.each():
        if encoder.people is None:
            logging.warning("--%s=%s: %s", name, encoder.source, people.NOT_TOLD)
        earlier |= encoder.people or set()
    seen = set()
    for task in plan.tasks:
        folds = task.folds(plan.options.folds)
        for fold in range(max(1, folds)):
            if (where := (task.trained_on, task.scored_row, folds, fold)) in seen:
                continue
            seen.add(where)
            config, _ = training(task, "scratch", "finetune", Encoders({}), plan.options, seed=0)
            config["data"] |= {"folds": folds, "fold": fold}
            config = with_end_rows(config, {"scored": task.scored_row})
            layout = experiment.make_objective(config).layout
            division = Division(plan.data_dir, config, layout, experiment.make_examples)
            division.check_no_leak(config["evaluators"].values(), frozenset(earlier))
            for names, split in (((), "validation"), task.scored_row):
                if plan.mode != "probe" and division.rows(split, names) is None:
                    raise DatasetError(
                        f"{task.name}: nobody in split {split!r} of "
                        f"{', '.join(names or task.trained_on)}: give --folds, where the task is "
                        "scored in folds, or build it with such a split"
                    )
