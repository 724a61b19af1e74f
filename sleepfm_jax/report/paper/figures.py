"""The paper's three figures: bars of the tasks, channels, and labels. A panel a task and metric.

Colours differ in lightness, and conditions in hatch and marker too, for those who see no hue.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from sleepfm_jax.report.figures import Theme
from sleepfm_jax.report.paper.run_tables import CONDITIONS, Score, TaskScores
from sleepfm_jax.report.results import is_finite, metric_name

_COLUMNS = 4
_PANEL = (1.95, 1.75)  # inches, titles apart
_DASHED, _DOTTED = (0, (4, 3)), (0, (1, 1.6))
_HATCH = {"scratch": "", "pretrained": "", "pretrained_pe": "////", "pe_from_pretraining": "...."}
_MARK = {"scratch": "s", "pretrained": "o", "pretrained_pe": "^", "pe_from_pretraining": "D"}
_LINE = {
    "scratch": _DOTTED,
    "pretrained": "-",
    "pretrained_pe": (0, (5, 2)),
    "pe_from_pretraining": (0, (5, 1.5, 1, 1.5)),
}


def _colour(theme: Theme, condition: str) -> str:
    chosen = {"scratch": theme.rows["random"], "pretrained": theme.groups[0]}
    chosen |= {"pretrained_pe": theme.groups[1], "pe_from_pretraining": theme.groups[2]}
    return chosen.get(condition, theme.soft)


def _panels(count: int, top: float, bottom: float = 0.0):
    """So many panels, and their axes. top: inches of the legend; bottom: of a row's labels."""
    columns = min(_COLUMNS, count)
    rows = math.ceil(count / columns)
    width = max(columns * _PANEL[0], 4.6) + 0.3  # the legend needs that
    figure = Figure(figsize=(width, rows * (_PANEL[1] + 0.62 + bottom) + top), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[count:]:
        axis.set_axis_off()
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06)
    return figure, axes[:count]


def _title(axis, theme: Theme, name: str, *rest: str) -> None:
    name, _, simulated = name.partition(", ")
    axis.set_title("\n".join(rest), fontsize=7.5, fontweight="normal", pad=5)
    style = {"textcoords": "offset points", "color": theme.ink, "annotation_clip": False}
    bold = axis.annotate(
        name,
        (0, 1),
        (0, 5.5 + 9.8 * len(rest)),
        xycoords="axes fraction",
        fontsize=9.5,
        fontweight="bold",
        **style,
    )
    if simulated:
        axis.annotate(simulated, (1, 0), (4, 0), xycoords=bold, fontsize=8.5, va="bottom", **style)
    axis.tick_params(labelsize=7.5)


def _legend(figure: Figure, handles: Sequence, columns: int = 4) -> None:
    wide = figure.get_figwidth() > 6
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=columns if wide else 2,
        fontsize=8,
        handlelength=2.2,
        columnspacing=1.4,
    )


# --------------------------------------------------------------------------- bars of the tasks


def bars(theme: Theme, tasks: Sequence[TaskScores], mode: str) -> Figure:
    """A panel a task: its conditions side by side with 95 % intervals over people.

    On real recordings, the published value of each condition as a diamond, the paper's SOTA and the
    strongest rival in the same metric as lines; beside a simulated task, nothing published.
    """
    figure, axes = _panels(len(tasks), 0.55)
    drawn: dict[str, Any] = {}
    marks: dict[str, Any] = {}
    for axis, task in zip(axes, tasks, strict=True):
        found = {c: s for c, s in task.conditions(mode).items() if c in CONDITIONS}
        for x, (condition, score) in enumerate(found.items()):
            drawn[condition] = _bar(axis, theme, x, condition, score)
        if not task.simulated and task.published is not None:
            marks |= _published(axis, theme, task, list(found))
        axis.set_ylim(0, 1)
        axis.set_xlim(-0.6, max(len(found), 1) - 0.4)
        axis.set_xticks(range(len(found)), [f"{s.value:.3f}"[1:] for s in found.values()])
        people = f"{task.people():,} people" if task.people() else "people not said"
        _title(axis, theme, task.title, metric_name(task.metric), people)
        axis.tick_params(axis="x", length=0, labelcolor=theme.ink)
        if not found:
            axis.text(0, 0.5, f"not run with\n{mode}", ha="center", fontsize=8, color=theme.soft)
    order = [c for c in CONDITIONS if c in drawn]
    _legend(figure, [*(drawn[c] for c in order), *marks.values()])
    return figure


def _bar(axis, theme: Theme, x: int, condition: str, score: Score):
    style = {
        "facecolor": _colour(theme, condition),
        "edgecolor": theme.paper,
        "hatch": _HATCH.get(condition, ""),
        "linewidth": 0,
    }
    axis.bar([x], [score.value], width=0.78, **style)
    if score.low is not None and score.high is not None:
        axis.plot([x, x], [score.low, score.high], color=theme.ink, linewidth=1.3)
        for end in (score.low, score.high):
            axis.plot([x - 0.12, x + 0.12], [end, end], color=theme.ink, linewidth=1.3)
    return Patch(label=CONDITIONS[condition], **style)


def _published(
    axis, theme: Theme, task: TaskScores, conditions: Sequence[str]
) -> dict[str, Line2D]:
    known = task.published
    marks: dict[str, Line2D] = {}
    if known.metric != task.metric:
        return marks
    at = [(x, known.paper[c][0]) for x, c in enumerate(conditions) if c in known.paper]
    if at:
        style = {"marker": "D", "markersize": 5.5, "markerfacecolor": theme.paper}
        style |= {"markeredgecolor": theme.ink, "markeredgewidth": 1.2, "linestyle": "none"}
        axis.plot(*zip(*[(x + 0.25, value) for x, value in at]), **style)
        marks["paper"] = Line2D([], [], label="published", **style)
    for name, rival, dashes in (
        ("the paper's SOTA", known.sota, _DASHED),
        ("strongest rival in the same metric", known.strongest, _DOTTED),
    ):
        if rival is not None and rival.metric == task.metric:
            style = {"color": theme.ink, "linewidth": 1.2, "linestyle": dashes}
            axis.axhline(rival.value, **style)
            marks[name] = Line2D([], [], label=name, **style)
    return marks


# --------------------------------------------------------------------------- channels


def channels(theme: Theme, tasks: Mapping[str, Mapping[str, Any]]) -> Figure:
    """A panel a task: score against the number of channels, 95 % intervals over combinations and
    people together, every combination a dot, and the line of 95 % of the full score.

    Args:
      tasks: {title: as channels.json has it}.
    """
    figure, axes = _panels(len(tasks), 0.6, 0.45)
    for axis, (title, found) in zip(axes, tasks.items(), strict=True):
        colour = theme.groups[0]
        counts = [one["count"] for one in found["counts"]]
        values = [one["value"] for one in found["counts"]]
        bounds = [one.get("ci95") or (np.nan, np.nan) for one in found["counts"]]
        low, high = np.array(bounds, float).reshape(-1, 2).T
        axis.fill_between(counts, low, high, color=colour, alpha=0.22, linewidth=0)
        for one in found["counts"]:
            dots = [v for v in one["values"] if is_finite(v)]
            axis.plot([one["count"]] * len(dots), dots, ".", color=theme.soft, ms=3.2, alpha=0.8)
        axis.plot(counts, values, "-o", color=colour, linewidth=1.6, markersize=3.4)
        full = found["full"]["value"]
        axis.axhline(full, color=theme.ink, linewidth=0.9, linestyle=_DOTTED)
        axis.axhline(0.95 * full, color=theme.ink, linewidth=1.2, linestyle=_DASHED)
        for reading, mark in (("first", "v"), ("sustained", "^")):
            if (count := (found["fewest"][reading] or {}).get("count")) is not None:
                offset = 1 if mark == "v" else -1
                axis.annotate(
                    "",
                    (count, 0.95 * full),
                    (0, 13 * offset),
                    textcoords="offset points",
                    arrowprops={
                        "arrowstyle": "-|>",
                        "color": theme.groups[5] if reading == "first" else theme.groups[2],
                        "linewidth": 1.4,
                        "shrinkA": 0,
                        "shrinkB": 1,
                    },
                )
        axis.set_xlim(min(counts) - 0.6, max([*counts, found["channels"]]) + 0.6)
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axis.set_xlabel("channels", fontsize=8)
        people = f"{found['people']:,} people"
        _title(axis, theme, title, metric_name(found["metric"]), people, *fewest(found))
    line = {"color": theme.ink}
    _legend(
        figure,
        [
            Line2D([], [], color=theme.groups[0], marker="o", ms=3.4, label="mean, 95 % interval"),
            Line2D([], [], color=theme.soft, marker=".", ls="none", label="one combination"),
            Line2D([], [], **line, lw=0.9, ls=_DOTTED, label="all channels"),
            Line2D([], [], **line, lw=1.2, ls=_DASHED, label="95 % of that"),
            Line2D([], [], color=theme.groups[5], marker="v", ls="none", label="first count above"),
            Line2D(
                [], [], color=theme.groups[2], marker="^", ls="none", label="all larger ones above"
            ),
        ],
        3,
    )
    return figure


def fewest(found: Mapping[str, Any]) -> tuple[str, str]:
    """The two readings in few words: "95 % at 3 [2, 5] of 19", "all larger too: 6 [3, 9]"."""
    said = []
    for reading in ("first", "sustained"):
        one = found["fewest"][reading] or {}
        count = "none" if one.get("count") is None else str(one["count"])
        ends = one.get("interval")
        said.append(count + (f" [{ends[0]}, {ends[1]}]" if ends else ""))
    return f"95 % at {said[0]} of {found['channels']}", f"all larger too: {said[1]}"


# --------------------------------------------------------------------------- labels


def efficiency(theme: Theme, tasks: Mapping[str, Mapping[str, Any]]) -> Figure:
    """A panel a task: score against the share of training people whose labels were used.

    Args:
      tasks: {title: {"metric", "people", "lines": {condition: [(fraction, Score), …]}}}.
    """
    figure, axes = _panels(len(tasks), 0.55, 0.25)
    drawn = {}
    for axis, (title, found) in zip(axes, tasks.items(), strict=True):
        lines = found["lines"]
        everywhere = sorted({fraction for line in lines.values() for fraction, _ in line})
        for place, (condition, line) in enumerate(lines.items()):
            # Beside each other, so that one interval does not hide another.
            aside = 1.06 ** (place - (len(lines) - 1) / 2)
            x = [fraction * aside for fraction, _ in line]
            style = {
                "color": _colour(theme, condition),
                "marker": _MARK.get(condition, "o"),
                "linestyle": _LINE.get(condition, "-"),
                "linewidth": 1.5,
                "markersize": 4,
            }
            axis.plot(x, [score.value for _, score in line], **style)
            for at, (_, score) in zip(x, line, strict=True):
                if score.low is not None and score.high is not None:
                    axis.plot([at, at], [score.low, score.high], color=style["color"], lw=1.1)
            label = CONDITIONS.get(condition, condition)
            drawn[condition] = Line2D([], [], label=label, **style)
        axis.set_xscale("log")
        axis.set_xticks(everywhere, [f"{100 * fraction:g} %" for fraction in everywhere])
        axis.minorticks_off()
        axis.set_xlabel("training people with labels", fontsize=8)
        people = f"{found['people']:,} people" if found["people"] else "people not said"
        _title(axis, theme, title, metric_name(found["metric"]), people)
    _legend(figure, [drawn[c] for c in dict.fromkeys([*CONDITIONS, *drawn]) if c in drawn])
    return figure
