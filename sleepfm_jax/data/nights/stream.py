"""A night as it is recorded: raw samples of 30 s in, one sleep_epoch of a model's input out.

For layouts of normalisation "causal", whose input is a function of the past alone; what comes out
is what `night_signals.row` gives of the whole night, but for the rounding of sums. Which signals a
night has is settled before it begins.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from sleepfm_jax.data.nights import signals as night_signals
from sleepfm_jax.data.nights.normalisation import CausalState, causal_step
from sleepfm_jax.errors import ConfigError
from sleepfm_jax.signals import SLEEP_EPOCH_SECONDS
from sleepfm_jax.signals.night_layout import NightLayout


class Seen(NamedTuple):
    """What a resampling keeps of the past.

    Attributes:
      samples: the last sleep_epochs, as many as it looks back on; NaN in gaps.
      last: the last valid sample before these; NaN: there was none.
    """

    samples: np.ndarray
    last: float


_NOTHING = Seen(np.zeros(0, np.float32), math.nan)


class SignalState(NamedTuple):
    """Of one signal: of both its resamplings, to the clips' rate and the layout's, and of its
    normalisation."""

    native: Seen = _NOTHING
    clips: Seen = _NOTHING
    moments: CausalState = CausalState()


@dataclasses.dataclass(frozen=True)
class NightStream:
    """Turns raw samples into a model's input, a sleep_epoch at a time.

    Args:
      layout: of normalisation "causal".
      native: (signal, Hz at which it is recorded) of the signals that there are; a sleep_epoch is a
        whole number of samples.
      sfreq: Hz of the datasets that the model was trained on.

    Raises:
      ConfigError: another normalisation, a signal that the layout has not, or a rate of which a
        sleep_epoch is no whole number of samples.
    """

    layout: NightLayout
    native: tuple[tuple[str, float], ...]
    sfreq: float = night_signals.SFREQ

    def __post_init__(self):
        if self.layout.normalisation != "causal":
            raise ConfigError(
                f"a stream needs config.data.night_normalisation='causal', not "
                f"{self.layout.normalisation!r}, which is a function of the whole night"
            )
        for signal, rate in self.native:
            if signal not in self.layout.names:
                raise ConfigError(f"{signal} is none of {', '.join(self.layout.names)}")
            for hertz in (rate, self.sfreq):
                if abs(hertz * SLEEP_EPOCH_SECONDS - round(hertz * SLEEP_EPOCH_SECONDS)) > 1e-6:
                    raise ConfigError(
                        f"{signal} at {hertz:g} Hz: 30 s are no whole number of samples; resample "
                        "it first"
                    )

    def begin(self) -> dict[str, SignalState]:
        """The state before the first sleep_epoch."""
        return {signal: SignalState() for signal, _ in self.native}

    def step(
        self, state: Mapping[str, SignalState], raw: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, SignalState], dict[str, np.ndarray]]:
        """One sleep_epoch.

        Args:
          raw: signal → its 30 s of samples at its native rate, in any unit, NaN in gaps; a signal
            that is not in it is a gap.

        Returns:
          The state after it; a batch of one row of one sleep_epoch (`signals.night_layout`).
        """
        batch = {f"signal/{name}": np.zeros((1, n), np.float32) for name, n in self.layout.signals}
        after = {}
        for signal, rate in self.native:
            count = round(rate * SLEEP_EPOCH_SECONDS)
            samples = np.asarray(raw.get(signal, np.full(count, np.nan)), np.float32)
            if samples.shape != (count,):
                raise ValueError(f"{signal}: {samples.shape} samples, expected ({count},)")
            after[signal], z = self._step(signal, rate, state[signal], samples)
            batch[f"signal/{signal}"][0] = z
        there = {signal for signal, _ in self.native}
        batch["present"] = np.array([[name in there for name in self.layout.names]])
        batch["epoch_mask"] = np.ones((1, 1), bool)
        batch["stages"] = np.full((1, 1), -1, np.int32)
        batch["index"] = np.zeros(1, np.int32)
        return after, batch

    def _step(
        self, signal: str, rate: float, state: SignalState, samples: np.ndarray
    ) -> tuple[SignalState, np.ndarray]:
        target = self.layout.sfreq(signal)
        first, second = night_signals.delays(rate, self.sfreq, target)
        native, y, valid = _resampled(state.native, samples, rate, self.sfreq, first)
        y = np.where(valid, y, np.float32(np.nan))
        clips, y, valid = _resampled(state.clips, y, self.sfreq, target, second)
        moments, z = causal_step(state.moments, y, valid)
        return SignalState(native, clips, moments), z


def _resampled(
    past: Seen, samples: np.ndarray, sfreq: float, target_sfreq: float, late: int
) -> tuple[Seen, np.ndarray, np.ndarray]:
    """One sleep_epoch [n] at sfreq → what is kept, y and valid [m] at target_sfreq, late by so many
    of its samples."""
    n, m = len(samples), round(target_sfreq * SLEEP_EPOCH_SECONDS)
    seen = np.concatenate([past.samples, samples])
    y, valid = night_signals.resampled_by_the_past(seen, sfreq, target_sfreq, past.last)
    stop = len(seen) // n * m
    y, valid = (np.pad(x, (late, 0))[:stop][-m:] for x in (y, valid))
    # What is before the samples that are kept is reflected, as far as resampling looks.
    back = late / target_sfreq + night_signals.look_ahead(sfreq, target_sfreq)
    gone = seen[: max(0, len(seen) - n * math.ceil(back / SLEEP_EPOCH_SECONDS))]
    known = gone[np.isfinite(gone)]
    return Seen(seen[len(gone) :], float(known[-1]) if len(known) else past.last), y, valid
