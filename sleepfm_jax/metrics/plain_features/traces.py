"""Measures of traces with gaps, many channels at once: spectra of segments, and how a trace moves
in time. Shared by the features of sleep, of wake EEG and of the eyes.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from scipy import signal

LEAST_POWER = 1e-6  # uV^2; less is a flat or disconnected trace, not a brain


class Spectra(NamedTuple):
    """Periodograms of C channels: frequency [F] in Hz, density [C, N, F] in uV^2 / Hz of N
    half-overlapping Hann segments, and whole bool [C, N]: segments of valid samples alone, none
    where less than half of those that a window holds are."""

    frequency: np.ndarray
    density: np.ndarray
    whole: np.ndarray

    def mean(self) -> np.ndarray:
        """Welch's estimate, [C, F]; NaN where nothing is measured."""
        return _weighted_mean(self.density, self.whole[..., None])

    def segment_powers(self, low: float, high: float) -> np.ndarray:
        """log10 power of a band in each segment, [C, N]; NaN where not measured."""
        power = _log(band_power(self.frequency, self.density, low, high))
        return np.where(self.whole, power, np.nan)


def spectra(x: np.ndarray, valid: np.ndarray, sfreq: float, seconds: float, window: int) -> Spectra:
    """Of one window [C, up to `window` samples], cut into segments of `seconds`."""
    length = min(round(seconds * sfreq), window)
    hop = max(1, length // 2)
    expected = (window - length) // hop + 1
    frequency = np.fft.rfftfreq(length, 1 / sfreq)
    if x.shape[1] < length:
        nothing = np.zeros((len(x), 0))
        return Spectra(frequency, np.zeros((len(x), 0, frequency.size)), nothing.astype(bool))
    cut = np.lib.stride_tricks.sliding_window_view
    segments = cut(np.where(valid, x, 0.0), length, axis=1)[:, ::hop]  # [C, N, length]
    whole = cut(valid, length, axis=1)[:, ::hop].all(axis=-1)
    whole = whole & (whole.sum(axis=1, keepdims=True) >= expected / 2)
    density = signal.periodogram(segments, fs=sfreq, window="hann", axis=-1)[1]
    return Spectra(frequency, density, whole)


def band_power(frequency, density, low: float, high: float) -> np.ndarray:
    """Power in [low, high) Hz of densities [..., F]; NaN where the band passes the Nyquist
    frequency."""
    if high > frequency[-1] + 1e-9:
        return np.full(density.shape[:-1], np.nan)
    inside = (frequency >= low) & (frequency < high)
    return density[..., inside].sum(axis=-1) * (frequency[1] - frequency[0])


def log_power(frequency, density, low: float, high: float) -> np.ndarray:
    """log10 of `band_power`; NaN too where there is less than `LEAST_POWER`."""
    return _log(band_power(frequency, density, low, high))


def spectral_edge(frequency, density, low: float, high: float, share: float = 0.95) -> np.ndarray:
    """Frequency below which `share` of the power in [low, high) lies, Hz, [...]."""
    inside = (frequency >= low) & (frequency < high)
    total = np.cumsum(density[..., inside], axis=-1)
    step = frequency[1] - frequency[0]
    reached = np.argmax(total >= share * total[..., -1:], axis=-1)
    measured = total[..., -1] * step >= LEAST_POWER  # False where NaN
    return np.where(measured, frequency[inside][reached], np.nan)


def burst(powers: np.ndarray) -> np.ndarray:
    """How far the strongest segment stands out of the middle one, of log powers [C, N] -> [C]."""
    return quantile(powers, 1.0) - quantile(powers, 0.5)


def quantile(x: np.ndarray, q: float) -> np.ndarray:
    """Linear quantile over the last axis of what is not NaN, NaN where that is nothing."""
    if x.shape[-1] == 0:
        return np.full(x.shape[:-1], np.nan)
    ordered = np.sort(x, axis=-1)  # NaN stands last
    place = q * np.maximum((~np.isnan(x)).sum(axis=-1, keepdims=True) - 1, 0)
    below = np.floor(place).astype(int)
    above = np.minimum(below + 1, np.ceil(place).astype(int))
    first = np.take_along_axis(ordered, below, axis=-1)
    second = np.take_along_axis(ordered, above, axis=-1)
    return (first + (second - first) * (place - below))[..., 0]


def deviation(x: np.ndarray) -> np.ndarray:
    """Standard deviation over the last axis of what is not NaN; NaN with fewer than two."""
    known = ~np.isnan(x)
    count = known.sum(axis=-1)
    mean = _weighted_mean(np.where(known, x, 0.0)[..., None], known[..., None])
    square = np.where(known, x - mean, 0.0) ** 2
    with np.errstate(invalid="ignore"):
        return np.where(count > 1, np.sqrt(square.sum(axis=-1) / np.maximum(count - 1, 1)), np.nan)


def bridged(x: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Gaps filled by straight lines, [C, T], so that a filter does not ring at their edges; 0 where
    nothing is valid."""
    if valid.all():
        return x
    out = np.zeros(x.shape)
    for row, trace, good in zip(out, x, valid, strict=True):
        where = np.flatnonzero(good)
        if where.size:
            row[:] = np.interp(np.arange(trace.size), where, trace[where])
    return out


def band_passed(x: np.ndarray, valid: np.ndarray, sfreq: float, low: float, high: float):
    """[C, T] filtered without shift of phase (Butterworth); the upper edge at most 0.45 sfreq."""
    sections = _sections(low, min(high, 0.45 * sfreq), sfreq)
    if x.shape[1] < 3 * (2 * len(sections) + 1) + 1:  # what filtfilt pads with
        return np.zeros(x.shape)
    return signal.sosfiltfilt(sections, bridged(x, valid), axis=-1)


@functools.lru_cache(maxsize=32)
def _sections(low: float, high: float, sfreq: float) -> np.ndarray:
    return signal.butter(2, (low, high), btype="bandpass", fs=sfreq, output="sos")


TIME_NAMES = (
    "log_sd",
    "log_iqr",
    "log_kurtosis",
    "mobility_hz",
    "log_complexity",
    "crossings_hz",
    "permutation_entropy",
)


def time_measures(x: np.ndarray, valid: np.ndarray, sfreq: float, window: int) -> np.ndarray:
    """How a band-passed trace moves: [C, L] of one window of `window` samples -> [C, 7].

    In the order of `TIME_NAMES`: log10 standard deviation and interquartile range (uV), log10
    kurtosis (3 for a normal distribution), Hjorth's mobility (as a frequency: that of a sine of
    the same mobility) and log10 complexity, crossings of the mean a second, and the permutation
    entropy of three samples 10 ms apart (bits, at most log2 6). Samples that are not valid, and
    differences across them, are left out; NaN with less than half of the window, or a flat trace.
    """
    count = valid.sum(axis=1)
    mean = _weighted_mean(np.where(valid, x, 0.0)[..., None], valid[..., None])
    y = np.where(valid, x - mean, 0.0)
    var = (y * y).sum(axis=1) / np.maximum(count, 1)
    measured = (2 * count >= window) & (var >= LEAST_POWER)
    out = np.full((len(x), len(TIME_NAMES)), np.nan)
    if not measured.any():
        return out
    y, valid, var = y[measured], valid[measured], var[measured]
    count = count[measured]
    pairs = valid[:, 1:] & valid[:, :-1]
    triples = pairs[:, 1:] & pairs[:, :-1]
    slope, bend = np.diff(y, axis=1), np.diff(y, n=2, axis=1)
    slope_var = np.where(pairs, slope**2, 0.0).sum(axis=1) / np.maximum(pairs.sum(axis=1), 1)
    bend_var = np.where(triples, bend**2, 0.0).sum(axis=1) / np.maximum(triples.sum(axis=1), 1)
    # of a sine sampled at sfreq: sd(slope) / sd = 2 sin(pi f / sfreq)
    mobility = np.arcsin(np.minimum(np.sqrt(slope_var / var) / 2, 1.0)) * sfreq / np.pi
    crossed = ((y[:, 1:] >= 0) != (y[:, :-1] >= 0)) & pairs
    ordered = np.where(valid, y, np.nan)
    spread = quantile(ordered, 0.75) - quantile(ordered, 0.25)
    out[measured] = np.stack(
        [
            0.5 * np.log10(var),
            np.log10(np.maximum(spread, LEAST_POWER**0.5)),
            np.log10((y**4).sum(axis=1) / count / var**2),
            mobility,
            0.5 * np.log10(np.maximum(bend_var * var, 1e-30) / np.maximum(slope_var**2, 1e-30)),
            crossed.sum(axis=1) / np.maximum(pairs.sum(axis=1), 1) * sfreq,
            _permutation_entropy(y, valid, max(1, round(sfreq / 100))),
        ],
        axis=1,
    )
    return out


def _permutation_entropy(y: np.ndarray, valid: np.ndarray, delay: int) -> np.ndarray:
    """Of order 3 (Bandt and Pompe 2002), bits, [C, L] -> [C]."""
    a, b, c = (y[:, k * delay : y.shape[1] - (2 - k) * delay] for k in range(3))
    va, vb, vc = (valid[:, k * delay : y.shape[1] - (2 - k) * delay] for k in range(3))
    code = 4 * (a < b) + 2 * (b < c) + (a < c) + 8 * np.arange(len(y))[:, None]
    counts = np.bincount(code.ravel(), (va & vb & vc).ravel(), minlength=8 * len(y))
    share = counts.reshape(len(y), 8) / np.maximum(counts.reshape(len(y), 8).sum(1), 1)[:, None]
    return -(share * np.log2(np.where(share > 0, share, 1.0))).sum(axis=1)


def mean_of_known(rows: np.ndarray) -> np.ndarray:
    """Mean over the rows that are not NaN, [C, F] -> [F]; NaN where there is none."""
    known = ~np.isnan(rows)
    total = np.where(known, rows, 0.0).sum(axis=0)
    count = known.sum(axis=0)
    return np.divide(total, count, out=np.full(rows.shape[1], np.nan), where=count > 0)


def _weighted_mean(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Over axis 1 of x [C, N, F] with weight [C, N, 1]; NaN where no weight is."""
    total = np.where(weight, x, 0.0).sum(axis=1)
    count = weight.sum(axis=1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def _log(power: np.ndarray) -> np.ndarray:
    measured = power >= LEAST_POWER  # False where NaN
    return np.where(measured, np.log10(np.where(measured, power, 1.0)), np.nan)
