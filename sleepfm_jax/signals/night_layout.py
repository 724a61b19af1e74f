"""What a row of a batch of nights must hold for a model: `Layout` for whole nights of signals.

A batch of nights is, B leading in every array, N signals, E sleep_epochs:

    signal/ABD …  float32 [B, E * n]   one a signal of the layout, normalised; 0 in gaps, beyond the
                                       night and where the night has no such signal; always finite
    present       bool [B, N]          has the night this signal?
    epoch_mask    bool [B, E]          True: a sleep_epoch of the night; False: padding
    stages        int32 [B, E]         0 W, 1 N1, 2 N2, 3 N3, 4 REM; -1 unscored or padding
    index         int32 [B]            of the row; -1: filling, masked throughout
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from sleepfm_jax.errors import ConfigError
from sleepfm_jax.signals.layout import FollowUp
from sleepfm_jax.signals.stages import SLEEP_EPOCH_SECONDS

SAMPLES = {"ABD": 256, "ECG": 1024, "EOG-L": 4096, "EOG-R": 4096, "PPG": 1024, "THX": 256}
"""Signal → samples a sleep_epoch, in the order in which they stand in a layout."""

CARDIORESPIRATORY = ("ABD", "ECG", "PPG", "THX")
"""The signals of the published model of four classes."""

NORMALISATIONS = ("night", "causal", "causal_published")
"""How a night's samples become the model's input, the default first. `night`: z-score over the
night's valid samples. `causal`: by what came before, down to the raw samples; `causal_published`:
the released form, which looks ahead (`data.night_normalisation`)."""

LEFT_OUT = ("unscored", "no_n1_n3_rem")
"""Nights that may be kept out of training, by name: without a scored sleep_epoch; scored without
any N1, N3 or REM, which is sleep and wake only (published)."""

CLASSES = ("W", "N1+N2", "N3", "REM")
"""The published four."""

OF_NIGHTS = ("nights", "night_tokens")
"""`examples` of the layouts whose rows are nights: of signals, and of tokens (`token_layout`)."""


@dataclasses.dataclass(frozen=True)
class NightLayout:
    """Shapes of a night; the same for every row of a run.

    Attributes:
      signals: (name, samples a sleep_epoch), alphabetical. N: how many.
      sleep_epochs: E of training rows; a longer night gives a stretch that is drawn.
      longest: E that a row has at most where nothing is drawn; a longer night is several rows.
      normalisation: one of `NORMALISATIONS`.
      classes: K names, of what the model tells apart.
      labels: as in `TokenLayout`; (): a night's labels are its stages.
      examples: what a row is: "nights".
      follow_up: as in `Layout`.
    """

    signals: tuple[tuple[str, int], ...]
    sleep_epochs: int = 1200
    longest: int = 1680
    normalisation: str = NORMALISATIONS[0]
    classes: tuple[str, ...] = CLASSES
    labels: tuple[str, ...] = ()
    examples: str = "nights"
    follow_up: FollowUp | None = None

    def __post_init__(self):
        names = list(self.names)
        if not names or names != sorted(set(names)):
            raise ConfigError(f"signals {names}: expected one or more, each once, alphabetically")
        for name, samples in self.signals:
            if name not in SAMPLES or samples < 1:
                raise ConfigError(
                    f"signals name {name!r}: {samples}; expected a positive number of samples a "
                    f"sleep_epoch of {', '.join(SAMPLES)}"
                )
        if not 1 <= self.sleep_epochs <= self.longest:
            raise ConfigError(
                f"nights of {self.sleep_epochs} sleep_epochs in training and {self.longest} at "
                "most: expected one or more, and no more than the longest"
            )
        if self.normalisation not in NORMALISATIONS:
            raise ConfigError(
                f"normalisation {self.normalisation!r} is not one of {', '.join(NORMALISATIONS)}"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Names along the axis N."""
        return tuple(name for name, _ in self.signals)

    def sfreq(self, name: str) -> float:
        """Hz of a signal."""
        return dict(self.signals)[name] / SLEEP_EPOCH_SECONDS


def samples_of(names: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """`NightLayout.signals` of these names, with the published samples a sleep_epoch.

    Raises:
      ConfigError: no such signal.
    """
    if unknown := sorted(set(names) - set(SAMPLES)):
        raise ConfigError(f"no signal {', '.join(unknown)}; there are {', '.join(SAMPLES)}")
    return tuple((name, SAMPLES[name]) for name in sorted(set(names)))


def from_config(
    data: Mapping[str, Any],
    names: Sequence[str],
    classes: Sequence[str] = CLASSES,
    samples: Mapping[str, int] = SAMPLES,
) -> NightLayout:
    """The layout that a model of these signals asks for.

    Args:
      data: `config.data`: `night_hours`, `night_hours_longest`, `night_normalisation`.
      samples: a sleep_epoch, of each signal.

    Raises:
      ConfigError: no such signal, or hours that are less than one sleep_epoch.
    """
    hour = 3600 // SLEEP_EPOCH_SECONDS
    known = samples_of(names)
    return NightLayout(
        signals=tuple((name, samples[name]) for name, _ in known),
        sleep_epochs=round(data["night_hours"] * hour),
        longest=round(max(data["night_hours_longest"], data["night_hours"]) * hour),
        normalisation=data["night_normalisation"],
        classes=tuple(classes),
    )
