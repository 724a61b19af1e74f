"""The paper's table, ours beside it: one grid of text, written as Markdown, LaTeX and CSV.

Every number is text before it is written, so that the three agree digit for digit.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence

from sleepfm_jax.report.paper import published
from sleepfm_jax.report.paper.run_tables import (
    CONDITIONS,
    SIMULATED,
    Run,
    Score,
    TaskScores,
    as_predicted,
    number_of,
)
from sleepfm_jax.report.results import metric_name

NONE = "–"
_NOT_COMPARABLE = f"ours, {SIMULATED} twin (not comparable)"
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "$": r"\$",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "–": "--",
    "−": "$-$",
    "³": r"\textsuperscript{3}",
    "≥": r"$\geq$",
}


@dataclasses.dataclass(frozen=True)
class Table:
    """A grid of text. `notes` stand under it."""

    title: str
    columns: Sequence[str]
    lines: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        cells = [list(self.columns), ["---"] * len(self.columns), *map(list, self.lines)]
        rows = ["| " + " | ".join(c.replace("|", r"\|") for c in line) + " |" for line in cells]
        notes = [f"- {note}" for note in self.notes]
        return "\n".join([f"**{self.title}**", "", *rows, "", *notes]).rstrip() + "\n"

    def latex(self) -> str:
        """A `table*` of its own; needs the package booktabs alone."""
        lines = [" & ".join(map(_latex, line)) + r" \\" for line in self.lines]
        notes = [rf"\item {_latex(note)}" for note in self.notes]
        notes = [r"\begin{itemize}", *notes, r"\end{itemize}"] if notes else []
        return "\n".join(
            [
                r"\begin{table*}",
                rf"\caption{{{_latex(self.title)}}}",
                r"\resizebox{\textwidth}{!}{%",
                rf"\begin{{tabular}}{{{'l' * len(self.columns)}}}",
                r"\toprule",
                " & ".join(map(_latex, self.columns)) + r" \\",
                r"\midrule",
                *lines,
                r"\bottomrule",
                r"\end{tabular}}",
                *notes,
                r"\end{table*}",
                "",
            ]
        )

    def csv(self) -> str:
        """The grid without its notes."""
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([self.columns, *self.lines])
        return out.getvalue()


def results(run: Run) -> Table:
    """The eight tasks: published, ours on real recordings, ours on the simulated twins."""
    lines = []
    names = [*published.TASKS]
    ours = {name: [t for t in run.tasks if published.key_of(t.task) == name] for name in names}
    others = [t for t in run.tasks if published.key_of(t.task) not in names]
    for name, task in published.TASKS.items():
        row = f"{task.title} ({metric_name(task.metric)})"
        lines.append(_published(row, task))
        real = [t for t in ours[name] if not t.simulated]
        if not real:
            lines.append(["", "ours, real recordings: not run", *[NONE] * (len(CONDITIONS) + 4)])
        for mine in [*real, *(t for t in ours[name] if t.simulated)]:
            lines += _ours("", mine, task)
    for mine in others:
        known = mine.published
        lines += _ours(f"{mine.title} ({metric_name(mine.metric)})", mine, known)
    columns = ["task (metric)", "whose", "people", "seeds", *CONDITIONS.values()]
    columns += ["the paper's SOTA", "strongest rival (its metric and protocol)"]
    return Table("Transfer from sleep, task by task", columns, lines, _notes(run))


def _published(row: str, task: published.Task) -> list[str]:
    cells = [
        plus_minus(*task.paper[condition]) if condition in task.paper else NONE
        for condition in CONDITIONS
    ]
    sota, rival = task.sota, task.strongest
    return [
        row,
        f"published, real recordings ({published.PAPER})",
        NONE,
        NONE,
        *cells,
        f"{sota.name} {plus_minus(sota.value, sota.sd)}" if sota else NONE,
        _rival(rival) if rival else NONE,
    ]


def _rival(rival: published.Rival) -> str:
    score = plus_minus(rival.value, rival.sd)
    return f"{rival.name} {score} ({metric_name(rival.metric)}; {rival.protocol})"


def _ours(row: str, task: TaskScores, known: published.Task | None) -> list[list[str]]:
    """A line a mode, of the paper's conditions; what else there is stands in its own table."""
    lines = []
    rival = known.strongest if known and not known.sota and not task.simulated else None
    for mode in task.modes():
        there = task.conditions(mode)
        if not set(CONDITIONS) & set(there):
            continue
        whose = _NOT_COMPARABLE if task.simulated else "ours, real recordings"
        _, variant = published.of(task.task)
        rest = variant.replace("twin", "").strip(":_-.")
        whose += f", {rest}" if rest else ""
        metric = "" if known and known.metric == task.metric else f", {metric_name(task.metric)}"
        counts = [
            str(max(found)) if (found := [n for n in of_one if n]) else NONE
            for of_one in zip(*((s.people, s.seeds) for s in there.values()))
        ]
        cells = [with_interval(there[c]) if c in there else NONE for c in CONDITIONS]
        said = f"{whose}, {mode.replace('_', ' ')}{metric}"
        lines.append([row, said, *counts, *cells, NONE, _rival(rival) if rival else NONE])
        row = ""
    return lines


def baselines(run: Run) -> Table | None:
    """What is beside the paper's conditions: plain features, untrained encoders."""
    lines = [
        [task.title, condition, mode.replace("_", " "), metric_name(task.metric)]
        + [with_interval(score), str(score.people or NONE), str(score.seeds or NONE)]
        for task in run.tasks
        for (condition, mode), score in task.scores.items()
        if condition not in CONDITIONS
    ]
    columns = ["task", "row", "mode", "metric", "score", "people", "seeds"]
    return Table("Baselines", columns, lines) if lines else None


def gains(run: Run) -> Table | None:
    """What each condition gained, and what had been predicted of it; the task's own metric."""
    metric_of = {task.task: task.metric for task in run.tasks}
    title_of = {task.task: task.title for task in run.tasks}
    lines = []
    for row in run.gains:
        if row["metric"] != metric_of.get(row["task"], row["metric"]):
            continue
        name = title_of.get(row["task"], row["task"])
        if run.simulated(row["task"]) and SIMULATED not in name:
            name += f", {SIMULATED}"
        gain = Score(
            number_of(row.get("gain")) or 0.0,
            number_of(row.get("low")),
            number_of(row.get("high")),
            None,
            None,
        )
        lines.append(
            [
                name,
                f"{row['condition']} − {row.get('against', 'scratch')}",
                row["mode"].replace("_", " "),
                metric_name(row["metric"]),
                with_interval(gain, signed=True)
                if number_of(row.get("gain")) is not None
                else NONE,
                _claim(row.get("claim", "")),
                row.get("predicted_sign") or NONE,
                as_predicted(row) or NONE,
                row["people"] or NONE,
                row["seeds"] or NONE,
            ]
        )
    columns = ["task", "difference", "mode", "metric", "gain", "claim", "predicted sign"]
    columns += ["outcome", "people", "seeds"]
    return Table("Gains, paired by person", columns, lines, predictions(run)) if lines else None


def predictions(run: Run) -> list[str]:
    """How the predicted signs fared, in words: nulls and failures by name."""
    metric_of = {task.task: task.metric for task in run.tasks}
    outcome: dict[str, list[str]] = {}
    nulls = []
    for row in run.gains:
        if row["metric"] != metric_of.get(row["task"], row["metric"]) or not as_predicted(row):
            continue
        name = f"{row['task']} {row['condition']} ({row['mode'].replace('_', ' ')})"
        outcome.setdefault(as_predicted(row), []).append(name)
        if row["predicted_sign"] == "0":
            nulls.append(f"{name}: {as_predicted(row)}")
    if not outcome:
        return []
    count = sum(map(len, outcome.values()))
    said = [
        f"Signs were predicted of {count} differences of {SIMULATED} tasks before any was run: "
        + ", ".join(f"{len(names)} {word}" for word, names in outcome.items())
        + "."
    ]
    for word, names in outcome.items():
        if word != "as predicted":
            said.append(f"Predictions that {word}: " + "; ".join(names) + ".")
    said.append(
        f"Predicted nulls (no gain): {'; '.join(nulls)}." if nulls else "No null was predicted."
    )
    return said


def _claim(text: str) -> str:
    said = str(text).strip()
    return {"true": "holds", "1": "holds", "false": "no", "0": "no", "": NONE}.get(
        said.lower(), said
    )


def _notes(run: Run) -> list[str]:
    notes = []
    if run.twins():
        notes.append(
            f"Lines marked {SIMULATED!r} are of made-up people and recordings in the archive's "
            "layout: no number of theirs may be compared with a published one."
        )
    if left := run.not_run():
        notes.append(f"Not run on real recordings: {', '.join(left)}.")
    notes += run.missing.values()
    notes += published.DIFFERENCES
    notes += [f"{task.title}, published: {task.protocol}." for task in published.TASKS.values()]
    return notes


def plus_minus(value: float, sd: float | None) -> str:
    """With as many digits as were published."""
    digits = max(3, *(len(f"{v:g}".partition(".")[2]) for v in (value, sd or value)))
    return f"{value:.{digits}f}" + (f" ± {sd:.{digits}f}" if sd is not None else "")


def with_interval(score: Score, *, signed: bool = False) -> str:
    """0.812 [0.760, 0.861]."""
    sign = "+" if signed else ""
    said = f"{score.value:{sign}.3f}"
    if score.low is not None and score.high is not None:
        said += f" [{score.low:{sign}.3f}, {score.high:{sign}.3f}]"
    return said


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)
