"""Pictures of predictions: confusion, and the curves of each class against the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from sleepfm_jax.report.figures import ROW_LINES, Theme
from sleepfm_jax.report.from_predictions import Curves
from sleepfm_jax.report.results import row_name

_MOST_NUMBERED = 8  # classes whose cells still have room for their numbers


def confusion(theme: Theme, counts: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """Rows are scored classes, columns predicted ones; a cell's shade is its share of its row."""
    counts = np.asarray(counts, float)
    k = len(classes)
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    side = 1.05 + 0.46 * min(max(k, 3.4), 8)
    figure = Figure(figsize=(side + 0.25, side), layout="constrained")
    axis = figure.subplots()
    shades = LinearSegmentedColormap.from_list("share", [theme.paper, theme.accent])
    axis.imshow(share, cmap=shades, vmin=0, vmax=1, aspect="equal")
    names = [_short(name) for name in classes]
    axis.set_xticks(range(k), names, rotation=0 if k <= 5 and max(map(len, names)) < 8 else 25)
    axis.set_yticks(range(k), names)
    axis.tick_params(length=0, labelcolor=theme.ink, labelsize=8.5)
    axis.grid(False)
    axis.set_xticks(np.arange(k + 1) - 0.5, minor=True)
    axis.set_yticks(np.arange(k + 1) - 0.5, minor=True)
    axis.grid(True, which="both", axis="both", color=theme.line, linewidth=0.8)
    axis.grid(False, which="major")
    axis.tick_params(which="minor", length=0)
    if k <= _MOST_NUMBERED:
        for i in range(k):
            for j in range(k):
                dark = share[i, j] > 0.55
                cell = f"{share[i, j]:.2f}\n{counts[i, j]:,.0f}" if total[i] else "none"
                axis.text(
                    j,
                    i,
                    cell,
                    ha="center",
                    va="center",
                    fontsize=8.5,
                    color=theme.paper if dark else theme.ink,
                )
    axis.set_title(title)
    axis.set_xlabel("predicted")
    axis.set_ylabel("scored")
    return figure


def _short(name: str) -> str:
    return name if len(name) <= 14 else name[:13] + "\N{HORIZONTAL ELLIPSIS}"


def curves(theme: Theme, asked: Mapping[str, Mapping[str, Curves]]) -> Figure:
    """ROC, precision against recall, and reliability; a line of panels a class.

    Args:
      asked: {class: {row: curves}}.
    """
    figure = Figure(figsize=(8.6, 2.05 * len(asked) + 0.85), layout="constrained")
    grid = figure.subplots(len(asked), 3, squeeze=False)
    handles = {}
    for axes, (name, rows) in zip(grid, asked.items(), strict=True):
        share = next(iter(rows.values())).share
        ticks = {"color": theme.soft, "linewidth": 1.0, "linestyle": (0, (1, 2))}
        axes[0].plot([0, 1], [0, 1], **ticks)
        axes[1].plot([0, 1], [share, share], **ticks)
        axes[2].plot([0, 1], [0, 1], **ticks)
        for row, lines in rows.items():
            style = {
                "color": theme.rows.get(row, theme.soft),
                "linestyle": ROW_LINES.get(row, "-."),
                "linewidth": 1.9,
            }
            (handles[row],) = axes[0].plot(*lines.roc, **style)
            axes[1].plot(*lines.precision_recall, **style)
            axes[2].plot(
                *lines.reliability,
                **style,
                marker={"-": "o"}.get(style["linestyle"], "s" if row == "features" else "^"),
                markersize=4,
            )
        axes[0].set_ylabel(f"{_short(name)}\ntrue positive rate", color=theme.ink)
        axes[1].set_ylabel("precision")
        axes[2].set_ylabel("observed share")
        for axis in axes:
            axis.set_xlim(-0.02, 1.02)
            axis.set_ylim(-0.02, 1.02)
            axis.set_xticks([0, 0.5, 1])
            axis.set_yticks([0, 0.5, 1])
            axis.tick_params(labelsize=8)
    for axis, title in zip(grid[0], ("ROC", "Precision, recall", "Reliability"), strict=True):
        axis.set_title(title)
    for axis, label in zip(
        grid[-1], ("false positive rate", "recall", "predicted probability"), strict=True
    ):
        axis.set_xlabel(label)
    figure.legend(
        handles=list(handles.values()),
        labels=[row_name(row) for row in handles],
        loc="outside upper left",
        ncols=4,
        handlelength=3,
    )
    return figure
