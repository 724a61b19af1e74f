"""Pictures of staging from subsets of signals: κ by model, and agreement in sleep statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sleepfm_jax.metrics.sleep_statistics import STATISTICS
from sleepfm_jax.report.figures import GROUP_MARKERS, Theme
from sleepfm_jax.report.results import is_finite, number
from sleepfm_jax.report.staging.published import Published
from sleepfm_jax.report.staging.stored import SCORER

SHOWN = ("TST", "WASO", "SOL", "REM_latency")
"""Statistics that are drawn; the table has all."""

_LINE = 0.24  # inches a model


def subsets(
    theme: Theme,
    rows: Mapping[str, Mapping[str, Mapping[str, Any]]],
    models: Sequence[str],
    beside: Mapping[str, Published],
) -> Figure:
    """κ with its 95 % interval: subsets downwards, in each its models; published ones as rings.

    Args:
      rows: {signals: {model: figures}}. models: of all cohorts, so that one keeps its mark.
      beside: {signals: what is published}.
    """
    lines = [(s, m) for s, found in rows.items() for m in models if m in found]
    gaps = len(rows) - 1
    height = _LINE * (len(lines) + len(beside) + gaps) + 1.0 + 0.2 * ((len(models) + 3) // 2)
    figure = Figure(figsize=(5.6, max(height, 2.4)), layout="constrained")
    axis = figure.subplots()
    handles: dict[str, Any] = {}
    ticks, y = [], 0.0
    for signals, found in rows.items():
        top = y
        for model in [m for m in models if m in found]:
            row = found[model]
            number_of = models.index(model)
            colour = theme.ink if model == SCORER else theme.groups[number_of % len(theme.groups)]
            marker = "|" if model == SCORER else GROUP_MARKERS[number_of % len(GROUP_MARKERS)]
            bounds = (row.get("ci95") or {}).get("kappa")
            if bounds:
                axis.plot(bounds, [y, y], color=colour, linewidth=2, solid_capstyle="round")
            if is_finite(row.get("kappa")):
                style = {"markersize": 11 if marker == "|" else 6, "markeredgewidth": 2}
                (handles[model],) = axis.plot(
                    [row["kappa"]], [y], marker, color=colour, **style, label=model
                )
                right = bounds[1] if bounds else row["kappa"]
                axis.annotate(
                    number(row["kappa"]),
                    (right, y),
                    (7, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=8,
                    color=theme.soft,
                )
            y += 1
        if signals in beside:
            one = beside[signals]
            (handles["published"],) = axis.plot(
                *([one.kappa], [y], "o"),
                **{"markerfacecolor": "none", "color": theme.second, "markersize": 7},
                label="published",
            )
            axis.annotate(
                f"{number(one.kappa)} {one.variant}",
                (one.kappa, y),
                (7, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                color=theme.second,
            )
            y += 1
        ticks.append(((top + y - 1) / 2, signals))
        y += 1
        axis.axhline(y - 1, color=theme.line, linewidth=0.8)
    axis.set_yticks([place for place, _ in ticks], [name for _, name in ticks])
    axis.tick_params(axis="y", length=0, labelcolor=theme.ink)
    axis.set_ylim(y - 1, -0.8)
    axis.grid(False)
    axis.grid(True, axis="x", color=theme.line)
    axis.spines["left"].set_visible(False)
    axis.set_xlabel("Cohen's \u03ba over all sleep epochs, 95 % over people")
    axis.margins(x=0.16)
    order = [*[m for m in models if m in handles], *(["published"] if beside else [])]
    figure.legend(
        handles=[handles[name] for name in order],
        loc="outside upper left",
        ncols=2,
        fontsize=8.5,
        handlelength=1.2,
    )
    return figure


def agreement(
    theme: Theme, table: Mapping[str, np.ndarray], found: Mapping[str, Mapping[str, Any]]
) -> Figure:
    """Bland and Altman's picture of each of `SHOWN`: a dot a night, the bias, the limits, and the
    intervals of these as bands.

    Args:
      table: `metrics.staging.night_statistics`. found: `metrics.staging.statistics_agreement`.
    """
    figure = Figure(figsize=(8.6, 5.6), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    for axis, name in zip(figure.subplots(2, 2).ravel(), SHOWN, strict=True):
        pairs, one = table.get(name), found.get(name)
        axis.set_title(STATISTICS[name].capitalize().replace("Rem", "REM"))
        known = np.zeros((0, 2)) if pairs is None else pairs[np.isfinite(pairs).all(axis=1)]
        if not len(known) or one is None:
            axis.text(0.5, 0.5, "no night has both", ha="center", transform=axis.transAxes)
            continue
        axis.axhline(0, color=theme.line, linewidth=1.2)
        dashed = (0, (4, 3))
        for key, colour, style in (
            ("bias", theme.ink, "-"),
            ("low", theme.second, dashed),
            ("high", theme.second, dashed),
        ):
            if not is_finite(one[key]):
                continue
            axis.axhline(one[key], color=colour, linewidth=1.5, linestyle=style)
            if bounds := one["ci95"].get(key):
                axis.axhspan(*bounds, facecolor=colour, alpha=0.14, linewidth=0)
            axis.annotate(
                f"{one[key]:+.0f}".replace("-", "\N{MINUS SIGN}"),
                (1, one[key]),
                (3, 0),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
                color=theme.ink,
            )
        axis.scatter(
            known.mean(axis=1),
            known[:, 1] - known[:, 0],
            s=22 if len(known) <= 100 else 9,
            facecolor=theme.accent,
            edgecolor=theme.paper,
            linewidth=0.4,
            zorder=3,
        )
        axis.set_xlabel("mean of scored and predicted, minutes")
        axis.set_ylabel("predicted \N{MINUS SIGN} scored")
    return figure
