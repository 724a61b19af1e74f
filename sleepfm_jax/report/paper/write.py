"""RUN/paper/: the paper's figures 1–3 and its table, from what a run has; what it lacks is said.

`figure1.png`, `figure1.pdf` … (and `figure1_simulated` … of the twins, which share no figure with
real recordings), `table.md`, `table.tex`, `table.csv`, `gains.*`, `baselines.*`, and `paper.md`,
which holds all of it with captions.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sleepfm_jax.report import figures as common
from sleepfm_jax.report.paper import figures, published, table
from sleepfm_jax.report.paper.run_tables import (
    CONDITIONS,
    MODES,
    SIMULATED,
    Run,
    Score,
    TaskScores,
    number_of,
    read,
)
from sleepfm_jax.report.results import metric_name, replace_file

_OURS = ("figure*.png", "figure*.pdf", "table.*", "gains.*", "baselines.*", "paper.md")
_OF_TWINS = (
    "Made-up people and recordings (simulated): nothing published stands beside them, for nothing "
    "is comparable."
)


def write_paper(workdir: str | os.PathLike[str]) -> Path:
    """Writes workdir/paper/ anew and returns the path of paper.md.

    Raises:
      FileNotFoundError: when workdir is not a folder.
    """
    workdir = Path(workdir)
    if not workdir.is_dir():
        raise FileNotFoundError(f"no folder {workdir}")
    run, folder = read(workdir), workdir / "paper"
    folder.mkdir(exist_ok=True)
    for pattern in _OURS:  # of an earlier run: a figure without its data would be a lie
        for path in folder.glob(pattern):
            path.unlink()
    parts = [f"# {workdir.resolve().name}: the transfer paper's figures and table", ""]
    parts += [f"After {published.PAPER}. Every number is computed from stored predictions.", ""]
    for number, title, draw in (
        (1, "Transfer, task by task", _figure1),
        (2, "How few channels keep 95 % of the score", _figure2),
        (3, "How many labels it takes", _figure3),
    ):
        parts += [f"## Figure {number}: {title}", ""]
        parts += draw(run, folder)
    parts += ["## Table", ""]
    tables = {"table": table.results(run), "gains": table.gains(run)}
    for name, grid in {**tables, "baselines": table.baselines(run)}.items():
        if grid is None:
            why = run.missing.get("gains.csv", "it has no row in the tasks' metrics.")
            parts += [f"{name}: nothing to show: {why}", ""] if name == "gains" else []
            continue
        for ending, text in (("md", grid.markdown()), ("tex", grid.latex()), ("csv", grid.csv())):
            replace_file(folder / f"{name}.{ending}", text)
        parts += [grid.markdown()]
    replace_file(folder / "paper.md", "\n".join(parts))
    return folder / "paper.md"


def _both(draw, run_has: Mapping[bool, Any], none: str, folder: Path, name: str, caption) -> list:
    """The figure of real recordings, and that of the twins; each with its caption."""
    said = []
    for simulated, what in run_has.items():
        if not what:
            continue
        file = f"{name}_{SIMULATED}" if simulated else name
        for form in ("png", "pdf"):
            data = common.rendered(form, draw, common.LIGHT, *what)
            (folder / f"{file}.{form}").write_bytes(data)
        words = f"{caption(*what)} {_OF_TWINS if simulated else ''}".rstrip()
        alt = file.replace("figure", "Figure ").replace("_", ", ")
        said += [f"![{alt}]({file}.png)", "", words, ""]
    return said or [none, ""]


def _figure1(run: Run, folder: Path) -> list[str]:
    of = {
        simulated: (tasks, main_mode(tasks)) if tasks else ()
        for simulated, tasks in ((False, run.real()), (True, run.twins()))
    }

    def caption(tasks: list[TaskScores], mode: str) -> str:
        shown = [s for t in tasks for c, s in t.conditions(mode).items() if c in CONDITIONS]
        seeds = sorted({score.seeds for score in shown if score.seeds})
        words = (
            f"Each task in its own metric, {mode.replace('_', ' ')}; bars are means over seeds "
            f"({_range(seeds)}), lines 95 % intervals over people, numbers under the bars their "
            "heights."
        )
        if any(not t.simulated for t in tasks):
            words += (
                " Diamonds: the published value of the same condition; dashed: the paper's SOTA; "
                "dotted: the strongest rival in the same metric, by its own protocol (table)."
            )
        return words

    said = _both(
        figures.bars,
        of,
        f"Not drawn: {run.missing.get('transfer.csv', 'no task was run.')}",
        folder,
        "figure1",
        caption,
    )
    if run.tasks and (left := run.not_run()):
        said += [f"Not run on real recordings: {', '.join(left)}.", ""]
    return said


def _figure2(run: Run, folder: Path) -> list[str]:
    of: dict[bool, tuple] = {False: (), True: ()}
    title_of = {task.task: task.title for task in run.tasks}
    notes = []
    for simulated in of:
        mine = {
            title_of.get(task, title(task, simulated)): found
            for task, found in run.ablation.items()
            if found.get("counts") and (found.get("simulated") or run.simulated(task)) == simulated
        }
        of[simulated] = (mine,) if mine else ()
        notes += [
            f"- {name}: {metric_name(found['metric'])}, {found['condition']} "
            f"({found['mode'].replace('_', ' ')}), full score {found['full']['value']:.3f}; "
            f"{', '.join(figures.fewest(found))}.{_published_ablation(name, found, simulated)}"
            + "".join(
                f" No interval of the {reading} reading: {one['reason']}."
                for reading, one in found["fewest"].items()
                if one and one.get("reason")
            )
            for name, found in mine.items()
        ]

    def caption(mine: Mapping[str, Any]) -> str:
        orders = sorted({found["order"] for found in mine.values()})
        return (
            f"Score against the number of channels ({' and '.join(orders)} combinations without "
            "repeats), of the fine-tuned models, which are not trained again. Bands: 95 % "
            "intervals over combinations and people. Fewest channels that keep "
            "95 % of the full score, by both readings: the first count that keeps it; the first "
            "from which on all larger counts keep it too. The paper draws ±1.96 sd/√5 over five "
            "combinations alone, and takes the first reading."
        )

    none = f"Not drawn: {run.missing.get('channels.json', 'no ablation is in channels.json.')}"
    said = _both(figures.channels, of, none, folder, "figure2", caption)
    left = [t.title for t in run.tasks if run.ablation and t.task not in run.ablation]
    return [*said, *notes, *([f"- No ablation yet: {'; '.join(left)}."] if left else []), ""]


def _published_ablation(name: str, found: Mapping[str, Any], simulated: bool) -> str:
    known = next((t for t in published.TASKS.values() if t.title == name), None)
    if simulated or known is None or known.ablation is None:
        return ""
    theirs = known.ablation
    metric = metric_name(theirs.metric) if theirs.metric else "its metric is not said"
    said = f" Published: {theirs.fewest} of {theirs.channels}, full score {theirs.full} ({metric})"
    said += f", {theirs.sustained} where all larger counts must hold too" * bool(theirs.sustained)
    return said + (f"; {theirs.note}" if theirs.note else "") + "."


def _figure3(run: Run, folder: Path) -> list[str]:
    of: dict[bool, tuple] = {False: (), True: ()}
    for simulated in of:
        mine = efficiency(run, simulated)
        of[simulated] = (mine,) if mine else ()

    def caption(mine: Mapping[str, Any]) -> str:
        return (
            "Score against the share of training people whose labels were used (ours; the paper "
            "has no such figure that we know of); lines are 95 % intervals over the people scored, "
            "drawn beside each other."
        )

    why = run.missing.get("label_efficiency.csv", "fewer than two fractions of one task were run.")
    return _both(figures.efficiency, of, f"Not drawn: {why}", folder, "figure3", caption)


def efficiency(run: Run, simulated: bool) -> dict[str, dict[str, Any]]:
    """What `figures.efficiency` draws, of tasks with at least two fractions, in their metric."""
    found: dict[str, dict[str, Any]] = {}
    metric_of = {task.task: task.metric for task in run.tasks}
    title_of = {task.task: task.title for task in run.tasks}
    for row in run.efficiency:
        task, known = row["task"], published.of(row["task"])[0]
        metric = metric_of.get(task, known.metric if known else row["metric"])
        value, fraction = number_of(row.get("value")), number_of(row.get("label_fraction"))
        if run.simulated(task) != simulated or row["metric"] != metric:
            continue
        if value is None or not fraction or row["mode"] not in ("finetune", "scratch"):
            continue
        low, high = number_of(row.get("low")), number_of(row.get("high"))
        score = Score(value, low, high, None, None)
        mine = found.setdefault(
            title_of.get(task, title(task, simulated)),
            {"metric": metric, "people": 0, "lines": {}},
        )
        mine["people"] = max(mine["people"], int(number_of(row["people"]) or 0))
        mine["lines"].setdefault(row["condition"], {})[fraction] = score
    for mine in found.values():
        mine["lines"] = {c: sorted(line.items()) for c, line in mine["lines"].items()}
    return {
        name: mine
        for name, mine in found.items()
        if any(len(line) > 1 for line in mine["lines"].values())
    }


def main_mode(tasks: Iterable[TaskScores]) -> str:
    """The mode that a figure is of: fine-tuning, or else the first that there is."""
    there = {mode for task in tasks for mode in task.modes()}
    return next((mode for mode in MODES if mode in there), next(iter(sorted(there)), MODES[0]))


def title(task: str, simulated: bool) -> str:
    """A task's name where transfer.csv has no row of it."""
    return TaskScores(task, "", {}, simulated).title


def _range(counts: list[int]) -> str:
    if not counts:
        return "number not said"
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
