"""Pictures of scores: a dot and its interval a row."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from sleepfm_jax.report.figures import Theme
from sleepfm_jax.report.results import ROW_NAMES


def intervals(theme: Theme, probes: Mapping[str, Mapping], metric: str, label: str) -> Figure:
    """A dot and its 95 % interval a row, task by task.

    Args:
      probes: {task title: {row: figures}} with `metric` and `ci95` among the figures.
      label: of the axis.
    """
    lines = []  # (y, row, figures), y downwards
    y, titles = 0.0, []
    for title, rows in probes.items():
        titles.append((y, title))
        y += 0.85
        for name, figures in rows.items():
            lines.append((y, name, figures))
            y += 0.8
        y += 0.45
    figure = Figure(figsize=(4.8, 0.3 * y + 0.75), layout="constrained")
    axis = figure.subplots()
    for at, title in titles:
        axis.annotate(
            title, (0.0, at), xycoords=("axes fraction", "data"), va="center", weight="bold"
        )
    ends = [0.0, 1.0]
    for at, name, figures in lines:
        colour = theme.rows.get(name, theme.soft)
        value = figures[metric]
        bounds = figures.get("ci95", {}).get(metric) or [np.nan, np.nan]
        low, high = (np.nan if b is None else b for b in bounds)
        if np.isfinite(low) and np.isfinite(high):
            axis.plot([low, high], [at, at], color=colour, linewidth=2.2, solid_capstyle="round")
        axis.plot([value], [at], "o", color=colour, markersize=6.5)
        edge = high if np.isfinite(high) else value
        axis.annotate(
            f"{value:.3f}",
            (edge, at),
            (7, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
        )
        ends += [v for v in (low, value) if np.isfinite(v)]
    labels = [ROW_NAMES.get(name, name) for _, name, _ in lines]
    axis.set_yticks([at for at, _, _ in lines], labels)
    axis.tick_params(axis="y", length=0)
    axis.grid(False)
    axis.grid(True, axis="x", color=theme.line)
    axis.spines["left"].set_visible(False)
    axis.set_ylim(y - 0.2, -0.6)
    axis.set_xlim(min(ends), 1.0 + 0.02)
    axis.set_xlabel(label)
    return figure
