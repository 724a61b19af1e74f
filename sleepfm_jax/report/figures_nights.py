"""Pictures of examples: a night as scored and as predicted, and the map of the embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from sleepfm_jax.report.figures import DISTINCT_MARKS, GROUP_MARKERS, Theme
from sleepfm_jax.report.from_predictions import Night
from sleepfm_jax.signals import SLEEP_EPOCH_SECONDS

_DEPTH = ("W", "REM", "N1", "N2", "N3")  # from a hypnogram's top down
_MOST_NAMED = 10  # groups of a map that its legend can hold


def top_down(classes: Sequence[str]) -> list[int]:
    """Indices of the classes from a hypnogram's top to its foot; "N1+N2" lies where its last does.

    Classes that are no stages stay in their order.
    """
    last = [name.split("+")[-1] for name in classes]
    if set(last) <= set(_DEPTH):
        return sorted(range(len(classes)), key=lambda k: _DEPTH.index(last[k]))
    return list(range(len(classes)))


def night(theme: Theme, shown: Night) -> Figure:
    """Scored and predicted stages of a night, where they differ, and the probabilities."""
    figure = Figure(figsize=(8.6, 5.0), layout="constrained")
    first, second, third = figure.subplots(3, 1, sharex=True, height_ratios=[1.15, 1.15, 1.2])
    order = top_down(shown.classes)
    names = [shown.classes[k] for k in order]
    edges = np.arange(len(shown.scored) + 1) * SLEEP_EPOCH_SECONDS / 3600
    level = np.empty(len(order))
    level[order] = np.arange(len(order))[::-1]
    wrong = (shown.scored >= 0) & (shown.scored != shown.predicted)
    for axis, stages, title, colour in (
        (first, shown.scored, "Scored", theme.ink),
        (second, shown.predicted, "Predicted; ticks below: where it differs", theme.accent),
    ):
        values = np.where(stages >= 0, level[np.maximum(stages, 0)], np.nan)
        axis.stairs(values, edges, baseline=None, color=colour, linewidth=1.4)
        axis.set_yticks(range(len(names)), names[::-1], fontsize=8.5)
        axis.set_title(title, pad=4)
        axis.set_ylim(-0.5, len(names) - 0.5)
        axis.spines["left"].set_visible(False)
        axis.tick_params(length=0, labelcolor=theme.ink)
    second.set_ylim(-1.4, len(names) - 0.5)
    second.vlines((edges[:-1] + edges[1:])[wrong] / 2, -1.25, -0.75, theme.second, linewidth=0.9)
    probabilities(theme, third, np.nan_to_num(shown.probabilities), shown.classes, edges)
    third.set_xlabel("hours")
    return figure


def probabilities(theme: Theme, axis, p: np.ndarray, classes: Sequence[str], edges) -> None:
    """Probabilities [E, K] of the classes, stacked over time; `edges` [E + 1] in hours."""
    bottom = np.zeros(len(p))
    for k in top_down(classes)[::-1]:  # deepest sleep at the foot
        name = classes[k]
        colour = theme.stages.get(name.split("+")[-1], theme.groups[k % len(theme.groups)])
        axis.stairs(
            bottom + p[:, k],
            edges,
            baseline=bottom,
            fill=True,
            facecolor=colour,
            edgecolor=theme.paper,
            linewidth=0.1,
            hatch="////" if name == "REM" else None,  # as grey as N2 without it
            label=name,
        )
        bottom = bottom + p[:, k]
    axis.set_ylim(0, 1)
    axis.set_yticks([0, 0.5, 1])
    axis.set_xlim(edges[0], edges[-1])
    axis.set_title("Probabilities", pad=4)
    handles, labels = axis.get_legend_handles_labels()
    axis.legend(
        handles[::-1],
        labels[::-1],
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        fontsize=8.5,
        handlelength=1.1,
        handleheight=1.1,
    )


def embedding_map(
    theme: Theme, points: np.ndarray, groups: Sequence[str], title: str, colours: Mapping
) -> Figure:
    """Examples on two axes, each group with a colour and a marker; both repeat where many.

    Args:
      points: [n, 2]. groups: the group's name of each point. colours: {name: colour}, of some.
    """
    figure = Figure(figsize=(4.4, 4.1), layout="constrained")
    axis = figure.subplots()
    names = list(dict.fromkeys(groups))
    number = {name: i for i, name in enumerate(names)}
    mark = np.array([number[g] % DISTINCT_MARKS for g in groups], int)
    size = 22 if len(points) < 400 else 12 if len(points) < 1500 else 8
    for i, name in enumerate(names[:DISTINCT_MARKS]):  # with all groups that share the mark
        at = points[mark == i]
        axis.scatter(
            at[:, 0],
            at[:, 1],
            s=size,
            marker=GROUP_MARKERS[i % len(GROUP_MARKERS)],
            facecolor=colours.get(name, theme.groups[i % len(theme.groups)]),
            edgecolor=theme.ink,
            linewidth=0.25,
            alpha=0.8,
            label=name if len(name) <= 30 else name[:29] + "\N{HORIZONTAL ELLIPSIS}",
        )
    axis.set_title(title)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.grid(False)
    axis.set_xlabel("first principal axis")
    axis.set_ylabel("second principal axis")
    if len(names) <= _MOST_NAMED:
        scale = 6.5 / size**0.5  # one size in the legend, however small the points
        columns = int(np.clip(48 // (max(map(len, names)) + 4), 1, 5))
        style = {"ncols": columns, "fontsize": 8.5, "handletextpad": 0.2, "markerscale": scale}
        figure.legend(loc="outside lower left", **style)
    return figure
