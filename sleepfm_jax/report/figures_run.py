"""Pictures of a run: its curves against the step, and one clip to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sleepfm_jax.report.figures import MODALITY_NAMES, Theme
from sleepfm_jax.signals import MODALITIES, OTHER, SLEEP_EPOCH_SECONDS, STAGES

_EXCERPT_SECONDS = SLEEP_EPOCH_SECONDS


def curves(theme: Theme, series: Mapping[str, tuple], title: str, chance: float | None) -> Figure:
    """Curves of training and validation against the step, with the level of chance.

    Args:
      series: {key: (steps [N], values [N])} with the keys of `metrics.jsonl`.
      chance: drawn as a dashed line, and the axis then begins at 0; None where there is none.
    """
    figure = Figure(figsize=(4.6, 3.1), layout="constrained")
    axis = figure.subplots()
    ends = []
    for key, (steps, values) in series.items():
        validation = key.startswith("validation")
        colour = theme.second if validation else theme.accent
        if not validation and len(values) > 60:
            axis.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
            values = _running_mean(values, max(3, len(values) // 40))
        marker = "o" if validation and len(values) <= 40 else None
        axis.plot(steps, values, color=colour, linewidth=1.8, marker=marker, markersize=3.5)
        last = np.flatnonzero(np.isfinite(values))[-1]
        ends.append((values[last], "validation" if validation else "train", colour))
    axis.set_title(title)
    axis.set_xlabel("step")
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if chance is not None:
        axis.set_ylim(bottom=0)
        axis.axhline(chance, color=theme.soft, linewidth=1.2, linestyle=(0, (4, 3)))
        ends.append((chance, f"chance\n{chance:.3f}", theme.soft))
    _label_ends(axis, ends)
    return figure


def _label_ends(axis, ends: list) -> None:
    """Names written at the right end of the lines, pushed apart where they would meet."""
    low, high = axis.get_ylim()
    axis.set_ylim(low, high)
    gap = 0.08 * (high - low)
    placed = None
    for value, name, colour in sorted(ends, key=lambda end: end[0]):
        y = value if placed is None else max(value, placed + gap)
        placed = y
        axis.annotate(
            name,
            (1.01, (y - low) / (high - low)),
            xycoords="axes fraction",
            color=colour,
            fontsize=8.5,
            va="center",
        )


def _running_mean(values: np.ndarray, width: int) -> np.ndarray:
    kernel = np.ones(width)
    known = np.isfinite(values)
    total = np.convolve(np.where(known, values, 0.0), kernel, mode="same")
    count = np.convolve(known, kernel, mode="same")
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)


# --------------------------------------------------------------------------- an example clip


@dataclass(frozen=True)
class Clip:
    """One clip to look at: signals [C, T] in any unit, NaN where invalid."""

    signals: np.ndarray
    names: Sequence[str]
    modalities: Sequence[str]
    sfreq: float
    stages: np.ndarray  # int [E], -1 unscored; may be empty
    subject: str

    def excerpt(self) -> tuple[float, float]:
        """Seconds (start, stop) of the 30 s shown: the middle sleep_epoch of the clip."""
        total = self.signals.shape[1] / self.sfreq
        if total <= _EXCERPT_SECONDS:
            return 0.0, total
        start = _EXCERPT_SECONDS * int((total / 2) // _EXCERPT_SECONDS)
        start = min(start, total - _EXCERPT_SECONDS)
        return start, start + _EXCERPT_SECONDS

    def order(self) -> list[int]:
        """Channels, modality by modality, those of other modalities last."""
        rank = {m: i for i, m in enumerate(MODALITIES)}
        return sorted(range(len(self.names)), key=lambda c: rank.get(self.modalities[c], len(rank)))


def example_clip(theme: Theme, clip: Clip) -> Figure:
    """Thirty seconds of stacked traces, coloured by modality, under the clip's hypnogram."""
    order = clip.order()
    start, stop = clip.excerpt()
    staged = bool(np.any(np.asarray(clip.stages) >= 0))
    heights = ([1.2] if staged else []) + [max(2.0, 0.36 * len(order))]
    figure = Figure(figsize=(8.4, sum(heights) + 0.9), layout="constrained")
    axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    if staged:
        _hypnogram(axes[0], theme, clip, start, stop)
    axis = axes[-1]
    first, last = round(start * clip.sfreq), round(stop * clip.sfreq)
    t = start + np.arange(last - first) / clip.sfreq
    y, ticks, previous, top_of = 0.0, [], None, {}
    for c in order:
        modality = clip.modalities[c]
        if previous is not None and modality != previous:
            y -= 0.6  # a breath between modalities
        trace = np.asarray(clip.signals[c, first:last], np.float64)
        colour = theme.modalities.get(modality, theme.modalities[OTHER])
        axis.plot(t, y + _scaled(trace), color=colour, linewidth=0.7)
        top_of.setdefault(modality, y)
        ticks.append((y, clip.names[c], colour))
        previous = modality
        y -= 1.0
    axis.set_yticks([tick[0] for tick in ticks], [tick[1] for tick in ticks], fontsize=8.5)
    for label, (_, _, colour) in zip(axis.get_yticklabels(), ticks, strict=True):
        label.set_color(colour)
    axis.tick_params(axis="y", length=0)
    axis.grid(False)
    axis.grid(True, axis="x", color=theme.line)
    for side in ("left", "bottom"):
        axis.spines[side].set_visible(False)
    axis.set_xlim(start, stop)
    axis.set_ylim(y + 0.2, 0.9)
    axis.set_xlabel("seconds from the start of the clip")
    for modality, top in top_of.items():
        axis.annotate(
            MODALITY_NAMES.get(modality, modality),
            (1.008, top),
            xycoords=("axes fraction", "data"),
            color=theme.modalities.get(modality, theme.modalities[OTHER]),
            fontsize=8.5,
            fontweight="bold",
            va="center",
        )
    return figure


def _scaled(trace: np.ndarray) -> np.ndarray:
    """The trace around 0, its central 98 % one row high; a rare peak may reach the next row."""
    finite = trace[np.isfinite(trace)]
    if not finite.size:
        return trace
    low, middle, high = np.percentile(finite, [1, 50, 99])
    span = high - low
    if span <= 0:
        span = float(np.ptp(finite)) or 1.0
    return np.clip(0.8 * (trace - middle) / span, -0.95, 0.95)


def _hypnogram(axis, theme: Theme, clip: Clip, start: float, stop: float) -> None:
    """Stages of the clip as a step line, W on top, the excerpt shaded."""
    rows = ["W", "REM", "N1", "N2", "N3"]
    level = np.array([len(rows) - 1 - rows.index(stage) for stage in STAGES], float)
    stages = np.asarray(clip.stages, int)
    known = (stages >= 0) & (stages < len(STAGES))
    values = np.where(known, level[np.where(known, stages, 0)], np.nan)
    edges = SLEEP_EPOCH_SECONDS * np.arange(len(stages) + 1)
    axis.axvspan(start, stop, color=theme.accent, alpha=0.15, linewidth=0)
    axis.stairs(values, edges, baseline=None, color=theme.ink, linewidth=1.6)
    axis.set_yticks(range(len(rows)), rows[::-1], fontsize=7.5)
    axis.set_ylim(-0.5, len(rows) - 0.5)
    axis.set_xlim(0, max(edges[-1], clip.signals.shape[1] / clip.sfreq))
    axis.set_title(f"Sleep stages of the clip; below, {start:.0f} to {stop:.0f} s")
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="both", length=0, labelsize=7.5)
