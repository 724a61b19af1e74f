"""The plot of a staged night: hypnogram, what was scored where anybody did, and probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from sleepfm_jax.hypnogram.night import StagedNight
from sleepfm_jax.report.figures import Theme
from sleepfm_jax.signals import SLEEP_EPOCH_SECONDS, UNSCORED

_DEPTH = ("W", "REM", "N1", "N2", "N3")  # from a hypnogram's top down


def top_down(classes: Sequence[str]) -> list[int]:
    """Indices of the classes from a hypnogram's top to its foot; "N1+N2" lies where its last does.

    Classes that are no stages stay in their order.
    """
    last = [name.split("+")[-1] for name in classes]
    if set(last) <= set(_DEPTH):
        return sorted(range(len(classes)), key=lambda k: _DEPTH.index(last[k]))
    return list(range(len(classes)))


def plot(theme: Theme, night: StagedNight) -> Figure:
    """Staged (and scored) classes against time, and the probabilities, stacked."""
    scored = night.scored_classes()
    rows = 2 if scored is None else 3
    figure = Figure(figsize=(8.6, 1.55 * rows + 0.45), layout="constrained")
    axes = figure.subplots(rows, 1, sharex=True, height_ratios=[1.15] * (rows - 1) + [1.2])
    order = top_down(night.classes)
    edges = np.arange(len(night.staged) + 1) * SLEEP_EPOCH_SECONDS / 3600
    predicted = night.predicted
    title = "Staged"
    if scored is not None:
        _steps(axes[0], theme.ink, "Scored", scored, night.classes, order, edges)
        title = "Staged; ticks below: where it differs"
    _steps(axes[-2], theme.accent, title, predicted, night.classes, order, edges)
    if scored is not None:
        wrong = (scored >= 0) & (predicted >= 0) & (scored != predicted)
        axes[-2].set_ylim(-1.4, len(order) - 0.5)
        middles = (edges[:-1] + edges[1:]) / 2
        axes[-2].vlines(middles[wrong], -1.25, -0.75, theme.second, linewidth=0.9)
    _probabilities(theme, axes[-1], night, order, edges)
    return figure


def _steps(axis, colour, title, stages, classes, order, edges) -> None:
    level = np.empty(len(order))
    level[order] = np.arange(len(order))[::-1]
    values = np.where(stages >= 0, level[np.maximum(stages, 0)], np.nan)
    axis.stairs(values, edges, baseline=None, color=colour, linewidth=1.2)
    if "REM" in classes:  # as hypnograms are drawn: a bar over REM
        rem = np.where(stages == classes.index("REM"), values, np.nan)
        axis.stairs(rem, edges, baseline=None, color=colour, linewidth=3.4)
    axis.set_yticks(range(len(order)), [classes[k] for k in order][::-1], fontsize=8.5)
    axis.set_title(title, pad=4)
    axis.set_ylim(-0.5, len(order) - 0.5)
    axis.spines["left"].set_visible(False)
    axis.tick_params(length=0)
    lost = stages == UNSCORED
    if lost.any() and not lost.all():
        axis.fill_between(
            np.repeat(edges, 2)[1:-1],
            *axis.get_ylim(),
            where=np.repeat(lost, 2),
            facecolor="none",
            edgecolor=colour,
            hatch="////",
            alpha=0.25,
            linewidth=0,
        )


def _probabilities(theme: Theme, axis, night: StagedNight, order, edges) -> None:
    p = np.where(night.staged[:, None], night.probabilities, 0.0)
    bottom = np.zeros(len(p))
    for k in order[::-1]:  # deepest sleep at the foot
        name = night.classes[k]
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
    start = f" ({night.start:%H:%M})" if night.start else ""
    axis.set_xlabel(f"hours from the recording's start{start}")
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
