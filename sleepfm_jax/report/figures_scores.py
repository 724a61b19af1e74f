"""Pictures of scores: each row with its interval, seeds and people; and paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from sleepfm_jax.report.figures import ROW_MARKERS, Theme
from sleepfm_jax.report.results import difference_name, is_finite, number, row_name

_WIDTH = 4.3  # inches: a phone shows it at two thirds, and 9.5 points stay legible


def _rows(theme: Theme, names: Sequence[str], height: float, top: float, xlabel: str):
    """A figure with one line a name, downwards from 0."""
    figure = Figure(figsize=(_WIDTH, height * len(names) + top), layout="constrained")
    axis = figure.subplots()
    axis.set_yticks(range(len(names)), names)
    axis.tick_params(axis="y", length=0, labelcolor=theme.ink)
    axis.grid(False)
    axis.grid(True, axis="x", color=theme.line)
    axis.spines["left"].set_visible(False)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set_xlabel(xlabel)
    return figure, axis


def _legend(figure, handles: list) -> None:
    if handles:
        figure.legend(
            handles=handles,
            loc="outside upper left",
            ncols=3,
            fontsize=8,
            handlelength=1.6,
            columnspacing=1.2,
        )


def scores(theme: Theme, rows: Mapping[str, Mapping], metric: str, label: str) -> Figure:
    """A mark and its 95 % interval a row, its seeds under it, over the level of chance.

    Args:
      rows: {row: figures} as in results.json; those without the metric are left out before.
    """
    figure, axis = _rows(theme, [_broken(row_name(r)) for r in rows], 0.52, 1.05, label)
    handles, ends = [], []
    main = next(iter(rows.values()))
    band = ((main.get("permuted") or {}).get(metric) or {}).get("band")
    if isinstance(band, Sequence) and all(map(is_finite, band)):
        handles.append(
            axis.axvspan(
                *band,
                facecolor=theme.line,
                edgecolor=theme.soft,
                hatch="////",
                linewidth=0,
                alpha=0.6,
                label="labels permuted",
            )
        )
        ends += band
    chance = (main.get("chance") or {}).get(metric)
    if is_finite(chance):
        line = axis.axvline(chance, color=theme.ink, linewidth=1.2, linestyle=(0, (4, 3)))
        line.set_label("chance")
        handles.append(line)
        ends.append(chance)
    for y, (name, row) in enumerate(rows.items()):
        colour = theme.rows.get(name, theme.soft)
        low, high = _bounds((row.get("ci95") or {}).get(metric))
        if np.isfinite(low):
            axis.plot([low, high], [y, y], color=colour, linewidth=2.4, solid_capstyle="round")
        value = row[metric]
        axis.plot([value], [y], ROW_MARKERS.get(name, "o"), color=colour, markersize=7)
        axis.annotate(
            number(value), (value, y), (0, 7), textcoords="offset points", ha="center", fontsize=8.5
        )
        ends += [v for v in (value, low, high) if np.isfinite(v)]
        seeds = [v for v in (row.get("per_seed") or {}).get(metric) or [] if is_finite(v)]
        if len(seeds) > 1:
            dots = _dots(axis, theme, seeds, y + 0.27)
            dots.set_label("each seed")
            handles = [h for h in handles if h.get_label() != "each seed"] + [dots]
            ends += seeds
    margin = max(0.06 * (max(ends) - min(ends)), 0.02)
    axis.set_xlim(min(ends) - margin, max(ends) + margin)
    _legend(figure, handles)
    return figure


def people(theme: Theme, rows: Mapping[str, Sequence[float]], label: str) -> Figure:
    """Every person's own score, row by row, and the median of the people.

    Args:
      rows: {row: one value a person}.
    """
    figure, axis = _rows(theme, [_broken(row_name(r)) for r in rows], 0.52, 1.05, label)
    for y, (name, values) in enumerate(rows.items()):
        values = np.sort(np.asarray(values, float))
        axis.scatter(
            values,
            y + _spread(values),
            s=26 if len(values) <= 60 else 12,
            facecolor=theme.rows.get(name, theme.soft),
            edgecolor=theme.paper,
            linewidth=0.5,
            alpha=0.85,
            marker=ROW_MARKERS.get(name, "o"),
        )
        (middle,) = axis.plot(
            [np.median(values)] * 2, [y - 0.42, y + 0.42], color=theme.ink, lw=1.6, zorder=1
        )
    middle.set_label("median person")
    low = min(min(values) for values in rows.values())
    axis.set_xlim(min(low, 1.0) - 0.02, 1.02)
    _legend(figure, [middle])
    return figure


def differences(theme: Theme, found: Mapping[str, Mapping], label: str) -> Figure:
    """Paired differences: a mark and its interval each, every seed's own difference under it.

    A filled mark: the claim holds. Args: found: {"a-b": difference} as in results.json.
    """
    names = [_two_lines(difference_name(key)) for key in found]
    figure, axis = _rows(theme, names, 0.62, 1.05, label)
    zero = axis.axvline(0.0, color=theme.ink, linewidth=1.2, linestyle=(0, (4, 3)))
    zero.set_label("no difference")
    handles, ends = [zero], [0.0]
    for y, one in enumerate(found.values()):
        low, high = _bounds(one.get("ci95"))
        if np.isfinite(low):
            axis.plot([low, high], [y, y], color=theme.accent, linewidth=2.4)
            axis.plot([low, high], [y, y], "|", color=theme.accent, markersize=9, mew=1.6)
        value, holds = one["value"], one.get("claim") is True
        axis.plot(
            [value],
            [y],
            "D",
            markersize=7,
            color=theme.accent,
            markerfacecolor=theme.accent if holds else theme.paper,
            markeredgewidth=1.6,
        )
        said = number(value, signed=True)
        axis.annotate(
            said, (value, y), (0, 8), textcoords="offset points", ha="center", fontsize=8.5
        )
        seeds = [v for v in one.get("per_seed") or [] if is_finite(v)]
        if seeds:
            dots = _dots(axis, theme, seeds, y + 0.27)
            dots.set_label("each seed")
            handles = [zero, dots]
        ends += [v for v in (low, high, value, *seeds) if np.isfinite(v)]
    margin = max(0.12 * (max(ends) - min(ends)), 0.005)
    axis.set_xlim(min(ends) - margin, max(ends) + margin)
    _legend(figure, handles)
    return figure


def _two_lines(name: str) -> str:
    return name.replace(" \N{MINUS SIGN} ", "\n\N{MINUS SIGN} ")


def _broken(name: str) -> str:
    """A row's name on two lines, so that the picture has the width."""
    return name.replace(" ", "\n", 1) if len(name) > 12 else name


def _bounds(bounds) -> tuple[float, float]:
    """(low, high); NaN where there is no interval."""
    if isinstance(bounds, Sequence) and len(bounds) == 2 and all(map(is_finite, bounds)):
        return float(bounds[0]), float(bounds[1])
    return np.nan, np.nan


def _dots(axis, theme: Theme, values: Sequence[float], y: float):
    return axis.scatter(
        values, [y] * len(values), s=20, facecolor="none", edgecolor=theme.ink, linewidth=0.9
    )


def _spread(values: np.ndarray) -> np.ndarray:
    """Heights in ±0.3 for sorted values, so that equal ones lie beside each other."""
    heights = np.zeros(len(values))
    bins = np.round(values / 0.015)
    for b in np.unique(bins):
        at = np.flatnonzero(bins == b)
        k = np.arange(len(at))
        step = min(0.13, 0.6 / max(len(at), 1))
        heights[at] = step * np.where(k % 2, (k + 1) // 2, -(k // 2))
    return heights
