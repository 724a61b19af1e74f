"""Simulated hypnograms: a Markov chain over the five stages, with the night's slow trends.

Source of the transition table: see `STAGE_TRANSITIONS`. Time trends (N3 early, REM late) are
multipliers on the chain's rates, set by eye so that each hour's stage shares follow the same
recordings.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from sleepfm_jax.signals import SLEEP_EPOCH_SECONDS, STAGES

W, N1, N2, N3, REM = range(len(STAGES))
EPOCHS_PER_HOUR = 3600 // SLEEP_EPOCH_SECONDS

#: Row: stage of one sleep_epoch, column: stage of the next, both in the order of `signals.STAGES`.
#: Estimated with `estimate_transitions` from 39 whole-night hypnograms of Sleep-EDF Expanded
#: (cassette study, 20 healthy adults): stages 3 and 4 merged to N3, unscored and movement epochs
#: ignored, each recording cut to its sleep period and 30 min of wake on either side; 42,269
#: transitions counted, rows divided by their sums.
STAGE_TRANSITIONS = np.array(
    [
        [0.9362, 0.0536, 0.0058, 0.0005, 0.0039],
        [0.0631, 0.6494, 0.2454, 0.0007, 0.0414],
        [0.0123, 0.0193, 0.9088, 0.0458, 0.0138],
        [0.0065, 0.0053, 0.1319, 0.8556, 0.0007],
        [0.0121, 0.0216, 0.0176, 0.0001, 0.9486],
    ]
)

_HOURS = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
_TO_N3 = (1.2, 1.9, 1.8, 1.15, 0.75, 0.75, 0.6, 0.4)  # N2 -> N3, hour by hour
_OUT_OF_N3 = (0.85, 0.85, 0.85, 1.1, 1.1, 1.5, 1.5, 1.2)  # N3 -> N2
_TO_REM = (0.02, 0.3, 0.8, 1.1, 1.2, 1.2, 1.3, 1.1)  # any stage -> REM
_OUT_OF_WAKE = (
    0.7,
    1.1,
    1.2,
    1.7,
    1.5,
    1.5,
    1.4,
    0.8,
)  # W -> N1: long wake at both ends of the night


def estimate_transitions(
    hypnograms: Iterable[np.ndarray], margin_minutes: float = 30.0
) -> np.ndarray:
    """Transition table of scored nights.

    Args:
      hypnograms: int [E] each, stages as in `signals.STAGES`, negative where unscored.
      margin_minutes: wake kept before the first and after the last epoch of sleep.

    Returns:
      float64 [5, 5], rows sum to one. A pair with an unscored epoch is not counted.

    Raises:
      ValueError: no sleep at all, or a stage that never has a successor.
    """
    counts = np.zeros((len(STAGES), len(STAGES)))
    margin = round(margin_minutes * 60 / SLEEP_EPOCH_SECONDS)
    for stages in hypnograms:
        stages = np.asarray(stages)
        asleep = np.flatnonzero(stages > W)
        if len(asleep) == 0:
            raise ValueError("a hypnogram without any sleep has no sleep period to trim to")
        stages = stages[max(0, asleep[0] - margin) : asleep[-1] + 1 + margin]
        before, after = stages[:-1], stages[1:]
        scored = (before >= 0) & (after >= 0)
        np.add.at(counts, (before[scored], after[scored]), 1.0)
    totals = counts.sum(axis=1, keepdims=True)
    if np.any(totals == 0):
        missing = [STAGES[i] for i in np.flatnonzero(totals[:, 0] == 0)]
        raise ValueError(f"no transition out of {', '.join(missing)}: more nights are needed")
    return counts / totals


def simulate_hypnogram(
    rng: np.random.Generator, epochs: int, *, fragmentation: float = 1.0
) -> np.ndarray:
    """One night's stages, int8 [epochs], starting awake.

    `fragmentation` multiplies every rate towards wake and N1 (1: the average sleeper of the table).
    """
    hours = np.arange(epochs) / EPOCHS_PER_HOUR
    rates = np.repeat(STAGE_TRANSITIONS[None], epochs, axis=0)  # [E, 5, 5]
    rates[:, N2, N3] *= np.interp(hours, _HOURS, _TO_N3)
    rates[:, N3, N2] *= np.interp(hours, _HOURS, _OUT_OF_N3)
    rates[:, :REM, REM] *= np.interp(hours, _HOURS, _TO_REM)[:, None]
    rates[:, W, N1] *= np.interp(hours, _HOURS, _OUT_OF_WAKE)
    rates[:, N2:, [W, N1]] *= fragmentation
    stay = np.arange(len(STAGES))
    rates[:, stay, stay] = 0.0
    rates[:, stay, stay] = 1.0 - rates.sum(axis=2)
    cumulative = np.cumsum(rates, axis=2)
    cumulative[:, :, -1] = 1.0  # rounding must not leave a gap at the top
    draws = rng.random(epochs)
    stages = np.zeros(epochs, np.int8)
    for epoch in range(1, epochs):  # a chain is sequential; about a thousand cheap steps a night
        row = cumulative[epoch, stages[epoch - 1]]
        stages[epoch] = np.searchsorted(row, draws[epoch], side="right")
    return stages
