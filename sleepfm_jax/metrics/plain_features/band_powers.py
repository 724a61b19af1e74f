"""Log band power of EEG by region, Welch's method (Welch 1967): the classical features of sleep
staging and of wake EEG.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import signal

from sleepfm_jax.metrics.plain_features.traces import LEAST_POWER, mean_of_known

BANDS = {  # Hz
    "delta": (0.5, 4.0),
    "theta": (4.0, 8.0),
    "alpha": (8.0, 12.0),
    "sigma": (12.0, 15.0),
    "beta": (15.0, 30.0),
}
REGIONS = ("left", "midline", "right", "unplaced")
BAND_POWER_NAMES = tuple(f"{region}_{band}" for region in REGIONS for band in BANDS)
_SEGMENT_SECONDS = 4.0  # of Welch's method: 0.25 Hz resolution, two cycles of the slowest delta
_MIDLINE_X = 0.1  # electrodes this close to the sagittal plane are midline (unit sphere)


def eeg_band_powers(
    signals: np.ndarray,
    valid: np.ndarray,
    positions: np.ndarray,
    modalities: Sequence[str],
    sfreq: float,
    window_seconds: float,
) -> np.ndarray:
    """Log band power of EEG and EOG by region, one row a window.

    Welch's method over 4-s Hann segments with half overlap; a segment with an invalid sample is
    left out, and a channel counts in a window only when at least half of its segments are left.
    Channels of a region are averaged after the logarithm, so that one loud electrode cannot stand
    for the region.

    Args:
      signals: float [C, T], microvolts. valid: bool [C, T].
      positions: float [C, 3], +x to the right ear; NaN rows where there is none.
      modalities: of the C channels; only "bas" is read.
      sfreq: Hz. window_seconds: 30 for sleep staging, a whole clip for one row a clip.

    Returns:
      float64 [W, 20], log10 uV^2 in the order of `BAND_POWER_NAMES`; W = windows begun (the last
      may be partial, and is NaN when less than half of it is there). NaN where a region has no
      usable channel.

    Raises:
      ValueError: on shapes that disagree, or a sfreq too low for the bands.
    """
    x, valid, positions = check_channels(signals, valid, positions, modalities, sfreq)
    window = round(window_seconds * sfreq)
    length = min(round(_SEGMENT_SECONDS * sfreq), window)
    if length < sfreq:
        raise ValueError(f"window_seconds={window_seconds} is too short: at least 1 s")
    windows = -(-x.shape[1] // window)
    bas = np.array([m == "bas" for m in modalities], bool)
    powers = np.full((windows, len(REGIONS), len(BANDS)), np.nan)
    if bas.any():
        traces = np.where(valid, x, 0.0)[bas]
        for w in range(windows):
            part = slice(w * window, (w + 1) * window)
            channel = _log_band_powers(traces[:, part], valid[bas, part], sfreq, length, window)
            for r, members in enumerate(regions(positions[bas, 0])):
                powers[w, r] = mean_of_known(channel[members])
    return powers.reshape(windows, -1)


def check_channels(signals, valid, positions, modalities, sfreq: float):
    """signals float64 [C, T], valid (and finite) bool [C, T], positions float64 [C, 3], or
    ValueError."""
    x = np.asarray(signals, np.float64)
    valid = np.asarray(valid, bool) & np.isfinite(x)
    positions = np.asarray(positions, np.float64)
    if x.ndim != 2 or valid.shape != x.shape or positions.shape != (len(x), 3):
        raise ValueError(
            f"expected signals and valid [C, T] and positions [C, 3], got {x.shape}, "
            f"{valid.shape} and {positions.shape}"
        )
    if len(modalities) != len(x):
        raise ValueError(f"{len(modalities)} modalities for {len(x)} channels")
    highest = max(high for _, high in BANDS.values())
    if sfreq < 2 * highest:
        raise ValueError(f"sfreq is {sfreq} Hz; bands up to {highest} Hz need {2 * highest} Hz")
    return x, valid, positions


def regions(x: np.ndarray) -> list[np.ndarray]:
    """Channels of each of REGIONS, bool [C] each, from the left-right coordinate (NaN: none)."""
    return [x < -_MIDLINE_X, np.abs(x) <= _MIDLINE_X, x > _MIDLINE_X, np.isnan(x)]


def _log_band_powers(x, valid, sfreq: float, length: int, window: int) -> np.ndarray:
    """One window: [C, up to window] -> log10 power [C, bands], NaN where not measurable."""
    out = np.full((len(x), len(BANDS)), np.nan)
    if x.shape[1] < length:
        return out
    hop = max(1, length // 2)
    expected = (window - length) // hop + 1
    cut = np.lib.stride_tricks.sliding_window_view
    segments = cut(x, length, axis=1)[:, ::hop]  # [C, segments, length]
    whole = cut(valid, length, axis=1)[:, ::hop].all(axis=-1)  # [C, segments]
    usable = whole.sum(axis=1) >= expected / 2
    if not usable.any():
        return out
    frequency, density = signal.welch(segments[usable], fs=sfreq, nperseg=length, axis=-1)
    weights = whole[usable] / whole[usable].sum(axis=1, keepdims=True)
    density = np.einsum("cs,csf->cf", weights, density)  # uV^2 / Hz
    for b, (low, high) in enumerate(BANDS.values()):
        inside = (frequency >= low) & (frequency < high)
        power = density[:, inside].sum(axis=1) * (frequency[1] - frequency[0])
        measured = power >= LEAST_POWER
        out[usable, b] = np.where(measured, np.log10(np.maximum(power, LEAST_POWER)), np.nan)
    return out
