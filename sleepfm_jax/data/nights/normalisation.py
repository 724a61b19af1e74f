"""How a night's samples become a model's input: by the night, or by what came before.

`night` is the z-score over the night's valid samples: padding and gaps count nowhere, where the
published code has the padding up to ten hours in its mean and sd.

`causal` goes by what came before, one sleep_epoch at a time: `causal_step` is the streaming form,
and the batch form is nothing but its steps. A baseline (time constant 120 s) and a variance around
it (900 s) are exponentially weighted means of the sleep_epochs so far, the present one included,
weighted so that their first values count in full instead of starting anywhere. A sample beyond 4 sd
counts in them as one at 4 sd. Within a sleep_epoch both run straight from their last value to
the new one. Neither gain nor offset of the signal matters, so that z-scores, which are stored,
give what the raw samples give; and a sleep_epoch's input is a function of it and of the past.

`causal_published` is the released form, for parity: it starts from the mean and variance of up to
120 s, or a tenth of the night, that are still to come (docs/differences.md), and has a floor for sd
that is in the signal's unit; here, of z-scores.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import signal

from sleepfm_jax.signals import SLEEP_EPOCH_SECONDS, dsp

BASELINE_SECONDS, VARIANCE_SECONDS = 120.0, 900.0
OUTLIER = 4.0
"""sd from the baseline beyond which a sample counts as no more."""

FLOOR = 0.1
"""Least sd of the published form."""

LIMIT = 20.0
"""Largest magnitude that `causal` gives: a burst after a silence is that, whatever its size."""

_FLAT = 1e-6  # of the baseline: float32 carries no finer detail
_MOST_PASSES = 200


class CausalState(NamedTuple):
    """What `causal_step` keeps of the past: four numbers, and that there was any.

    Attributes:
      baseline, variance: exponentially weighted means; weights: of all that went into each.
      begun: has there been a valid sample?
    """

    baseline: float = 0.0
    baseline_weight: float = 0.0
    variance: float = 0.0
    variance_weight: float = 0.0
    begun: bool = False


def causal_step(
    state: CausalState, x: np.ndarray, valid: np.ndarray
) -> tuple[CausalState, np.ndarray]:
    """One sleep_epoch of one signal.

    Args:
      state: of the sleep_epochs before; `CausalState()` at the start of the night.
      x: [n] samples in any unit. valid: bool [n].

    Returns:
      The state after it; float32 [n], 0 where not valid.
    """
    out = np.zeros(len(x), np.float32)
    share = valid.mean()
    if share == 0:
        return _faded(state), out
    samples = x[valid].astype(np.float64)
    before, state = state, _faded(state)
    counted = samples
    if before.begun and (most := OUTLIER * _sd(before)) > 0:
        counted = np.clip(samples, before.baseline - most, before.baseline + most)
    baseline, baseline_weight = _mixed(
        state.baseline, state.baseline_weight, counted.mean(), share, BASELINE_SECONDS
    )
    spread = np.mean((counted - baseline) ** 2)
    variance, variance_weight = _mixed(
        state.variance, state.variance_weight, spread, share, VARIANCE_SECONDS
    )
    after = CausalState(baseline, baseline_weight, variance, variance_weight, begun=True)
    if not before.begun:
        before = after
    part = ((np.arange(len(x)) + 1) / len(x))[valid]
    sd = _sd(before) + (_sd(after) - _sd(before)) * part
    centred = samples - (before.baseline + (after.baseline - before.baseline) * part)
    z = np.divide(centred, sd, out=np.zeros_like(centred), where=sd > 0)
    out[valid] = np.clip(z, -LIMIT, LIMIT)
    return after, out


def _faded(state: CausalState) -> CausalState:
    """After one more sleep_epoch."""
    return state._replace(
        baseline_weight=state.baseline_weight * np.exp(-SLEEP_EPOCH_SECONDS / BASELINE_SECONDS),
        variance_weight=state.variance_weight * np.exp(-SLEEP_EPOCH_SECONDS / VARIANCE_SECONDS),
    )


def _mixed(
    mean: float, weight: float, new: float, share: float, seconds: float
) -> tuple[float, float]:
    """A weighted mean and its weight, with a new sleep_epoch of which a share is valid."""
    added = share * (1 - np.exp(-SLEEP_EPOCH_SECONDS / seconds))
    total = weight + added
    return float(mean + (new - mean) * added / total), float(total)


def _sd(state: CausalState) -> float:
    """0 for a flat signal."""
    sd = float(np.sqrt(state.variance))
    return sd if sd > _FLAT * abs(state.baseline) else 0.0


def causal(x: np.ndarray, valid: np.ndarray, samples: int) -> np.ndarray:
    """A whole night [E * samples] by the steps of `causal_step`, float32 [E * samples]."""
    out, state = np.zeros(len(x), np.float32), CausalState()
    for start in range(0, len(x), samples):
        piece = slice(start, start + samples)
        state, out[piece] = causal_step(state, x[piece], valid[piece])
    return out


def night(x: np.ndarray, valid: np.ndarray, samples: int = 0) -> np.ndarray:
    """z-score over the valid samples [T], float32 [T]; 0 in gaps, and throughout where flat."""
    return dsp.zscore(x, valid)[0]


def causal_published(x: np.ndarray, valid: np.ndarray, samples: int) -> np.ndarray:
    """The released form, of the valid samples as if there were no gaps; float32 [T], 0 in gaps."""
    out = np.zeros(len(x), np.float32)
    if valid.any():
        out[valid] = published(x[valid], samples / SLEEP_EPOCH_SECONDS)[0]
    return out


def published(x: np.ndarray, sfreq: float) -> tuple[np.ndarray, np.ndarray]:
    """The released causal normalisation of finite samples [T] at sfreq Hz.

    Returns:
      float64 [T]; bool [T], samples that are more than `OUTLIER` sd from the baseline.
    """
    start = x[: max(1, min(int(BASELINE_SECONDS * sfreq), len(x) // 10))]
    floor = FLOOR**2
    first = max(float(np.var(start)), floor)
    of_baseline, of_variance = 1 / (sfreq * BASELINE_SECONDS), 1 / (sfreq * VARIANCE_SECONDS)
    values = x.astype(np.float64)
    baseline = _exponential(values, of_baseline, float(np.mean(start)))
    squares = (values - baseline) ** 2
    squares[0] = 0  # the first sample moves neither
    # Each variance depends on the one before, by how far its sample may be out. The right ones are
    # those that give themselves; from above, each pass fixes at least one more, and mostly all.
    counted = squares
    for _ in range(_MOST_PASSES):
        variance = _exponential(counted, of_variance, first)
        limit = OUTLIER**2 * np.maximum(np.concatenate([[first], variance[:-1]]), floor)
        following = np.minimum(squares, limit)
        if np.allclose(following, counted, rtol=1e-13, atol=0):
            break
        counted = following
    outlier = squares > limit
    return (values - baseline) / np.sqrt(np.maximum(variance, floor)), outlier


def _exponential(x: np.ndarray, share: float, first: float) -> np.ndarray:
    """y[0] = first; y[t] = share * x[t] + (1 - share) * y[t - 1]."""
    y = np.empty(len(x))
    y[0] = first
    y[1:], _ = signal.lfilter([share], [1, share - 1], x[1:], zi=[(1 - share) * first])
    return y


FORMS: dict[str, Callable[[np.ndarray, np.ndarray, int], np.ndarray]] = {
    "night": night,
    "causal": causal,
    "causal_published": causal_published,
}
"""One for each of `signals.night_layout.NORMALISATIONS`: (x [T], valid [T], samples a sleep_epoch)
→ float32 [T], 0 where not valid."""
