"""Features of waking EEG by region: power, its shares, the alpha peak, and how the trace moves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sleepfm_jax.metrics.plain_features import traces
from sleepfm_jax.metrics.plain_features.band_powers import (
    BANDS,
    REGIONS,
    check_channels,
    regions,
)

_GAMMA = (30.0, 45.0)  # Hz, below the mains
_TOTAL = (0.5, 30.0)  # Hz, what shares are of
_ALPHA = (7.0, 13.0)  # Hz, where its peak is looked for
_AROUND_ALPHA = (2.0, 30.0)  # Hz, whose 1/f line the peak stands out of
_LEAST_PEAK = 0.1  # log10 above that line
_MOVING = ("mobility_hz", "log_complexity")
_BY_REGION = (
    *BANDS,
    "gamma",
    *(f"{band}_share" for band in BANDS),
    "alpha_peak_hz",
    "edge_hz",
    *_MOVING,
)

WAKE_FEATURE_NAMES = tuple(f"{region}_{name}" for region in REGIONS for name in _BY_REGION)


def wake_features(
    signals: np.ndarray,
    valid: np.ndarray,
    positions: np.ndarray,
    modalities: Sequence[str],
    sfreq: float,
    window_seconds: float,
) -> np.ndarray:
    """Features of EEG (and EOG, unplaced) by region, one row a window.

    Each is measured on each channel and averaged over the region's: log10 band powers (those of
    `eeg_band_powers`, and 30-45 Hz), shares of 0.5-30 Hz, the frequency of the alpha peak (NaN
    where none stands out of the line through the log-log spectrum), 95 % spectral edge, and
    Hjorth's mobility (Hz) and log10 complexity of 0.5-45 Hz.

    Args and Raises: as `eeg_band_powers`.

    Returns:
      float64 [W, 60] in the order of `WAKE_FEATURE_NAMES`; NaN where it cannot be measured.
    """
    x, valid, positions = check_channels(signals, valid, positions, modalities, sfreq)
    window = round(window_seconds * sfreq)
    if window < sfreq:
        raise ValueError(f"window_seconds={window_seconds} is too short: at least 1 s")
    bas = np.array([m == "bas" for m in modalities], bool)
    groups = regions(positions[bas, 0])
    x, valid = np.where(valid, x, 0.0)[bas], valid[bas]
    moving = traces.band_passed(x, valid, sfreq, _TOTAL[0], _GAMMA[1]) if bas.any() else x
    parts = [slice(start, start + window) for start in range(0, x.shape[1], window)]
    rows = np.full((len(parts), len(WAKE_FEATURE_NAMES)), np.nan)
    for row, part in zip(rows, parts, strict=True):
        if bas.any():
            channel = _channels(x[:, part], moving[:, part], valid[:, part], sfreq, window)
            row[:] = np.concatenate([traces.mean_of_known(channel[mine]) for mine in groups])
    return rows


def _channels(x, moving, valid, sfreq: float, window: int) -> np.ndarray:
    """One window [C, L] -> [C, len(_BY_REGION)]."""
    found = traces.spectra(x, valid, sfreq, 4.0, window)
    frequency, density = found.frequency, found.mean()
    power = {band: traces.log_power(frequency, density, *edges) for band, edges in BANDS.items()}
    total = traces.log_power(frequency, density, *_TOTAL)
    in_time = traces.time_measures(moving, valid, sfreq, window)
    return np.stack(
        [
            *power.values(),
            traces.log_power(frequency, density, *_GAMMA),
            *(10 ** (power[band] - total) for band in BANDS),
            _alpha_peak(frequency, density),
            traces.spectral_edge(frequency, density, *_TOTAL),
            *(in_time[:, traces.TIME_NAMES.index(name)] for name in _MOVING),
        ],
        axis=1,
    )


def _alpha_peak(frequency: np.ndarray, density: np.ndarray) -> np.ndarray:
    """Hz of densities [C, F] -> [C]."""
    out = np.full(len(density), np.nan)
    usable = (density > 0)[:, 1:].all(axis=1)
    inside = (frequency >= _ALPHA[0]) & (frequency <= _ALPHA[1])
    near = (frequency >= _AROUND_ALPHA[0]) & (frequency <= _AROUND_ALPHA[1]) & ~inside
    if not usable.any():
        return out
    place = np.log10(np.where(frequency > 0, frequency, 1.0))
    level = np.log10(density[usable][:, 1:])
    slope, offset = np.polyfit(place[near], level[:, near[1:]].T, 1)
    above = level - (slope[:, None] * place[1:] + offset[:, None])
    start = int(np.flatnonzero(inside[1:])[0])
    count = int(inside.sum())
    peaks = np.full(len(above), np.nan)
    for c, row in enumerate(above):
        top = start + int(np.argmax(row[start : start + count]))
        left, middle, right = row[top - 1 : top + 2]
        if middle > _LEAST_PEAK and middle > left and middle > right:
            # the top of the parabola through three points
            shift = 0.5 * (left - right) / (left - 2 * middle + right)
            peaks[c] = frequency[1:][top] + shift * (frequency[1] - frequency[0])
    out[usable] = peaks
    return out
