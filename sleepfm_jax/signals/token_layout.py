"""What a row of a batch of nights must hold for a model that reads a frozen encoder's tokens.

A batch is, B leading in every array, N sequences of tokens, E sleep_epochs, P tokens in each:

    tokens        float32 [B, E, N, P, D]   0 where `token_mask` is False
    token_mask    bool [B, E, N, P]         True: the encoder saw enough valid samples
    present       bool [B, N]               has the night this sequence?
    epoch_mask, stages, index               as in `night_layout`

A sequence is one channel, embedded by itself, under the name of its signal (of
`night_layout.SAMPLES`); or all channels of a modality together, as the encoder was trained, under
the modality's name in capitals. Both call the electrocardiogram ECG, so that a table of subsets has
it in one row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from sleepfm_jax.errors import ConfigError
from sleepfm_jax.signals.labels import MODALITIES
from sleepfm_jax.signals.layout import FollowUp
from sleepfm_jax.signals.night_layout import CLASSES, SAMPLES
from sleepfm_jax.signals.stages import SLEEP_EPOCH_SECONDS


@dataclasses.dataclass(frozen=True)
class TokenLayout:
    """Shapes of a night of tokens; the same for every row of a run.

    Attributes:
      names: of the N sequences, alphabetical.
      width: D. tokens: P.
      slots: (modality, its channels in the encoder's input), where a sequence is a modality; ():
        each is a channel.
      sleep_epochs, longest, classes: as in `night_layout.NightLayout`.
      labels: K names: a batch also holds the recordings' labels, float32 [B, K] of 0, 1 and NaN;
        (): a night's labels are its stages.
      examples: what a row is: "night_tokens".
      follow_up: as in `Layout`.
    """

    names: tuple[str, ...]
    width: int
    tokens: int
    slots: tuple[tuple[str, int], ...] = ()
    sleep_epochs: int = 1200
    longest: int = 1680
    classes: tuple[str, ...] = CLASSES
    labels: tuple[str, ...] = ()
    examples: str = "night_tokens"
    follow_up: FollowUp | None = None

    def __post_init__(self):
        if not self.names or list(self.names) != sorted(set(self.names)):
            raise ConfigError(
                f"sequences {list(self.names)}: expected one or more, each once, alphabetically"
            )
        known = [name.upper() for name in MODALITIES] if self.slots else list(SAMPLES)
        if unknown := [name for name in self.names if name not in known]:
            raise ConfigError(f"no signal {', '.join(unknown)}; there are {', '.join(known)}")
        if not 1 <= self.sleep_epochs <= self.longest:
            raise ConfigError(
                f"nights of {self.sleep_epochs} sleep_epochs in training and {self.longest} at "
                "most: expected one or more, and no more than the longest"
            )


def from_config(
    data: Mapping[str, Any],
    signals: Sequence[str],
    slots: tuple[tuple[str, int], ...],
    *,
    width: int,
    tokens: int,
    classes: Sequence[str] = CLASSES,
) -> TokenLayout:
    """The layout of a model of these sequences.

    Args:
      data: `config.data`: `night_hours`, `night_hours_longest`.
      signals: each a channel by itself; (): the modalities of `slots`.

    Raises:
      ConfigError: no such signal, or hours that are less than one sleep_epoch.
    """
    hour = 3600 // SLEEP_EPOCH_SECONDS
    return TokenLayout(
        names=tuple(sorted(signals or (modality.upper() for modality, _ in slots))),
        width=width,
        tokens=tokens,
        slots=() if signals else slots,
        sleep_epochs=round(data["night_hours"] * hour),
        longest=round(max(data["night_hours_longest"], data["night_hours"]) * hour),
        classes=tuple(classes),
    )
