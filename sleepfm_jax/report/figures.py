"""What the figures of the report share: their colours, and how one becomes a file.

A figure is a function from numbers to a matplotlib figure, in the modules beside this one.

Every figure is drawn twice, for light and dark pages, from the same two palettes as the page's
style sheet. Figures are made without pyplot: nothing is global, nothing needs a display.
"""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg

from sleepfm_jax.signals import OTHER

_DPI = 160
MODALITY_NAMES = {"bas": "EEG and EOG", "resp": "respiration", "ecg": "ECG", "emg": "EMG"}


@dataclass(frozen=True)
class Theme:
    """Colours of one page scheme. Modalities differ in lightness too, for those who see no hue."""

    name: str
    paper: str
    ink: str
    soft: str  # secondary text
    line: str  # rules and grids
    accent: str
    second: str
    modalities: Mapping[str, str]
    rows: Mapping[str, str]
    stages: Mapping[str, str]  # darker as sleep is deeper, so that grey says it too
    groups: Sequence[str]  # of classes and people where there are many; they repeat


ROW_LINES = {"pretrained": "-", "features": (0, (5, 2)), "random": (0, (1.2, 1.4))}
ROW_MARKERS = {"pretrained": "o", "features": "s", "random": "^", "tokens": "D", "mispaired": "X"}
GROUP_MARKERS = "os^DvP*X<"  # with `Theme.groups`: what hue cannot say, the shape does
DISTINCT_MARKS = 72  # of 9 shapes and 8 colours, which go round together


LIGHT = Theme(
    name="light",
    paper="#ffffff",
    ink="#1d2733",
    soft="#5a6775",
    line="#dfe4ea",
    accent="#2b5f9e",
    second="#b4652a",
    modalities={
        "bas": "#2b5f9e",
        "resp": "#2c8577",
        "ecg": "#b23a48",
        "emg": "#8a6a1f",
        OTHER: "#6b7683",
    },
    rows={
        "pretrained": "#1b4f8f",
        "random": "#7f8a97",
        "features": "#c4661f",
        "tokens": "#4d9bd0",
        "mispaired": "#8b3f78",
    },
    stages={
        **{"W": "#f4dd84", "REM": "#e08f3c", "N1": "#a9d3ee", "N2": "#4a8fc7", "N3": "#163f74"},
        "N1+N2": "#6aaedb",
    },
    groups=("#0b5c96", "#e0901a", "#0f8a68", "#c05a94", "#52abe0", "#b84a06", "#33302b", "#b3a600"),
)
DARK = Theme(
    name="dark",
    paper="#161d26",
    ink="#e4e9ef",
    soft="#9eabb9",
    line="#2c3743",
    accent="#7fb2ee",
    second="#e2a26d",
    modalities={
        "bas": "#7fb2ee",
        "resp": "#66c5b4",
        "ecg": "#ee8792",
        "emg": "#d6b562",
        OTHER: "#9eabb9",
    },
    rows={
        "pretrained": "#8fc0f7",
        "random": "#7b8896",
        "features": "#e8a56c",
        "tokens": "#4f86b8",
        "mispaired": "#d79cc6",
    },
    stages={
        **{"W": "#f6e6a4", "REM": "#e39a4e", "N1": "#a9d3ee", "N2": "#4f92c9", "N3": "#2a5791"},
        "N1+N2": "#73b3de",
    },
    groups=("#6fb4ea", "#f0b050", "#48c7a0", "#e493bf", "#a9daf6", "#e07a3c", "#e4e9ef", "#dcd25a"),
)


def png(draw, theme: Theme, *arguments) -> bytes:
    """The PNG of `draw(theme, *arguments)`, in the theme's colours."""
    return rendered("png", draw, theme, *arguments)


def rendered(form: str, draw, theme: Theme, *arguments) -> bytes:
    """The figure as "png" or "pdf"; the same figure gives the same bytes."""
    style = {
        "font.family": "DejaVu Sans",
        "font.size": 9.5,
        "text.color": theme.ink,
        "axes.labelcolor": theme.soft,
        "axes.edgecolor": theme.line,
        "axes.facecolor": theme.paper,
        "figure.facecolor": theme.paper,
        "xtick.color": theme.soft,
        "ytick.color": theme.soft,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.axisbelow": True,
        "grid.color": theme.line,
        "grid.linewidth": 0.8,
        "axes.titlesize": 10.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlepad": 10,
        "legend.frameon": False,
        "path.simplify": True,
        "pdf.fonttype": 42,  # text stays text
    }
    said = {"png": {"Software": None}, "pdf": {"Creator": None, "CreationDate": None}}[form]
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it lists every table of a font
    with rc_context(style):
        figure = draw(theme, *arguments)
        FigureCanvasAgg(figure)
        out = io.BytesIO()
        figure.savefig(out, format=form, dpi=_DPI, metadata=said)
    return out.getvalue()


def save(folder: Path, name: str, alt: str, draw, *arguments) -> dict[str, str]:
    """Draws a figure for light and dark pages, saves both, and returns what the page needs."""
    sources = {}
    for theme, suffix in ((LIGHT, ""), (DARK, "-dark")):
        data = png(draw, theme, *arguments)
        (folder / f"{name}{suffix}.png").write_bytes(data)
        sources[theme.name] = "data:image/png;base64," + base64.b64encode(data).decode("ascii")
    return {"name": name, "alt": alt, **sources}
