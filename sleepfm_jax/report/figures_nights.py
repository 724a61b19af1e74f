"""Pictures of examples: a night as scored and as predicted, and the map of the embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from sleepfm_jax.report.figures import DISTINCT_MARKS, GROUP_MARKERS, Theme
from sleepfm_jax.report.from_predictions import Night
from sleepfm_jax.signals import SLEEP_EPOCH_SECONDS

_TOP_DOWN = ("W", "REM", "N1", "N1+N2", "N2", "N3")  # as hypnograms are drawn
_MOST_NAMED = 10  # groups of a map that its legend can hold


def top_down(classes: Sequence[str]) -> list[int]:
    """Indices of the classes from a hypnogram's top to its foot; others than stages as they are."""
    if set(classes) <= set(_TOP_DOWN):
        return sorted(range(len(classes)), key=lambda k: _TOP_DOWN.index(classes[k]))
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
    bottom = np.zeros(len(shown.scored))
    p = np.nan_to_num(shown.probabilities)
    for k in order[::-1]:  # deepest sleep at the foot
        name = shown.classes[k]
        colour = theme.stages.get(name, theme.groups[k % len(theme.groups)])
        third.stairs(
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
    third.set_ylim(0, 1)
    third.set_yticks([0, 0.5, 1])
    third.set_title("Probabilities", pad=4)
    third.set_xlabel("hours")
    third.set_xlim(edges[0], edges[-1])
    handles, labels = third.get_legend_handles_labels()
    third.legend(
        handles[::-1],
        labels[::-1],
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        fontsize=8.5,
        handlelength=1.1,
        handleheight=1.1,
    )
    return figure


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
