"""The plot of a staged night: hypnogram, what was scored where anybody did, and probabilities."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from sleepfm_jax.hypnogram.night import StagedNight
from sleepfm_jax.report.figures import Theme
from sleepfm_jax.report.figures_nights import probabilities, top_down
from sleepfm_jax.signals import SLEEP_EPOCH_SECONDS, UNSCORED


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
    p = np.where(night.staged[:, None], night.probabilities, 0.0)
    probabilities(theme, axes[-1], p, night.classes, edges)
    start = f" ({night.start:%H:%M})" if night.start else ""
    axes[-1].set_xlabel(f"hours from the recording's start{start}")
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
