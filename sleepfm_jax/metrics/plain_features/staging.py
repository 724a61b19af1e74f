"""Features of sleep_epochs as classical staging measures them (Vallat and Walker 2021, YASA): EEG,
eyes, muscles and the heart.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from sleepfm_jax.metrics.plain_features import traces
from sleepfm_jax.metrics.plain_features.band_powers import (
    BANDS,
    REGIONS,
    check_channels,
    regions,
)
from sleepfm_jax.metrics.plain_features.heart_rate import HEART_RATE_NAMES, heart_rate_statistics
from sleepfm_jax.signals.aliases import EYES

_TOTAL = (0.5, 30.0)  # Hz, what shares are of
_SHARES = {"slow": (0.5, 1.0), **BANDS}  # Hz
_RATIOS = (("delta", "theta"), ("delta", "sigma"), ("delta", "beta"), ("alpha", "theta"))
_BURSTS = {"delta": 4.0, "alpha": 1.0, "sigma": 1.0}  # s, of the segments: slow waves, spindles
_EEG_BAND = (0.4, 30.0)  # Hz, of the measures in time
_EEG_NAMES = (
    *BANDS,
    *(f"{band}_share" for band in _SHARES),
    *(f"{a}_{b}" for a, b in _RATIOS),
    "edge_hz",
    *(f"{band}_burst" for band in _BURSTS),
    *traces.TIME_NAMES,
)
_BY_REGION = len(BANDS) + len(_SHARES)  # the first of _EEG_NAMES

_EYE_BANDS = {"slow": (0.25, 1.0), "rapid": (1.0, 4.0), "theta": (4.0, 8.0), "fast": (8.0, 30.0)}
_EYE_BAND = (0.3, 10.0)  # Hz, of the measures in time
_PAIR_BAND = (0.5, 4.0)  # Hz, of eye movements against each other
_EYE_NAMES = (
    *_EYE_BANDS,
    "rapid_burst",
    *traces.TIME_NAMES,
    "log_peak",
    "slope_peak",
)
_PAIR_NAMES = ("correlation", "opposition")

_MUSCLE_BANDS = {"low": (10.0, 30.0), "high": (30.0, 45.0)}  # Hz, below the mains
_MUSCLE_NAMES = (*_MUSCLE_BANDS, "floor", "variability", "burst")
_LIMBS = ("LEG", "ARM", "FOOT", "EXTENSOR", "FLEXOR")  # how their canonical names begin
_BEATS = ("mean_hr_bpm", "sdnn_ms", "rmssd_ms")

STAGING_FEATURE_NAMES = (
    *(f"eeg_{name}" for name in _EEG_NAMES),
    *(f"eeg_{region}_{name}" for region in REGIONS for name in _EEG_NAMES[:_BY_REGION]),
    *(f"eog_{name}" for name in (*_EYE_NAMES, *_PAIR_NAMES)),
    *(f"{muscle}_{name}" for muscle in ("chin", "limb") for name in _MUSCLE_NAMES),
    *(f"ecg_{name}" for name in _BEATS),
)


def staging_features(
    signals: np.ndarray,
    valid: np.ndarray,
    positions: np.ndarray,
    modalities: Sequence[str],
    names: Sequence[str],
    sfreq: float,
    window_seconds: float = 30.0,
) -> np.ndarray:
    """One row a sleep_epoch, of the EEG, EOG, EMG and ECG of a clip.

    * EEG (modality "bas", not an eye), the mean over channels: log band powers, their shares and
      ratios, 95 % spectral edge, how far the strongest segment stands out of the middle one (slow
      waves, alpha and spindles come in bursts), and `traces.time_measures` of 0.4-30 Hz. Powers
      and shares by region as well.
    * EOG, the mean over eyes: log power of slow (0.25-1 Hz) and rapid movements (1-4 Hz) and above,
      the same measures in time of 0.3-10 Hz, the log 99th percentile of its absolute value, and
      that of its slope over the slope's median. With two eyes, in 0.5-4 Hz: their correlation (eye
      movements are opposed, EEG is not), and the log power of their difference over their sum.
    * EMG, chin (and what is not said) and limbs: log power of 10-30 and 30-45 Hz; over segments of
      1 s its 10th percentile, standard deviation and burst.
    * ECG: heart rate, SDNN and RMSSD.

    A channel counts in a window where at least half of it is valid. Nothing is normalised: absolute
    powers mean something between recordings only in one unit, microvolts, and with one amplifier;
    `with_context` adds the same normalised within a recording.

    Args:
      signals: float [C, T], microvolts (ECG: any unit). valid: bool [C, T].
      positions: float [C, 3], +x to the right ear; NaN rows where there is none.
      modalities, names: of the C channels; names canonical (`signals.identify`), which say what is
        an eye and which muscle.
      sfreq: Hz, at least 60; what lies above its Nyquist frequency is NaN.

    Returns:
      float64 [W, F] in the order of `STAGING_FEATURE_NAMES`; W = windows begun. NaN where it cannot
      be measured.

    Raises:
      ValueError: on shapes that disagree, a sfreq below 60 Hz or windows below 4 s.
    """
    x, valid, positions = check_channels(signals, valid, positions, modalities, sfreq)
    if len(names) != len(x):
        raise ValueError(f"{len(names)} names for {len(x)} channels")
    if window_seconds < 4:
        raise ValueError(f"windows of {window_seconds} s: at least 4")
    x = np.where(valid, x, 0.0)
    kinds = np.array([_kind(m, name) for m, name in zip(modalities, names, strict=True)], object)
    window = round(window_seconds * sfreq)
    brain, chin, limb, heart = (kinds == kind for kind in ("eeg", "chin", "limb", "ecg"))
    eyes = _eyes(kinds, names)
    return np.concatenate(
        [
            _eeg(x[brain], valid[brain], positions[brain, 0], sfreq, window),
            _eog(x[eyes], valid[eyes], sfreq, window),
            _emg(x[chin], valid[chin], sfreq, window),
            _emg(x[limb], valid[limb], sfreq, window),
            _ecg(x[heart], valid[heart], sfreq, window),
        ],
        axis=1,
    )


def _kind(modality: str, name: str) -> str:
    """eeg, eog, chin or limb of a channel, or its modality."""
    if modality == "bas":
        return "eog" if is_eye(name) else "eeg"
    if modality == "emg":
        return "limb" if name.upper().startswith(_LIMBS) else "chin"
    return modality


def is_eye(name: str) -> bool:
    """Is the channel of this canonical name (`E1-M2`, `EOG H`, `E2#2`) an eye's?"""
    first = re.sub(r"(?<=\S)#\d+$", "", name).split("-")[0].strip()
    return first in EYES.values()


def _eyes(kinds: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Channels of eyes, one of the left and one of the right first where both are there."""
    eyes = [int(c) for c in np.flatnonzero(kinds == "eog")]
    sides = [next((c for c in eyes if names[c].startswith(side)), None) for side in ("E1", "E2")]
    if None in sides:
        return np.array(eyes, int)
    return np.array([*sides, *(c for c in eyes if c not in sides)], int)


def _windows(samples: int, window: int) -> list[slice]:
    return [slice(start, start + window) for start in range(0, samples, window)]


def _eeg(x, valid, left_right, sfreq: float, window: int) -> np.ndarray:
    """[C, T] -> [W, len(_EEG_NAMES) + regions]."""
    width = len(_EEG_NAMES) + len(REGIONS) * _BY_REGION
    moving = traces.band_passed(x, valid, sfreq, *_EEG_BAND) if len(x) else x
    groups = regions(left_right)
    rows = np.full((len(_windows(x.shape[1], window)), width), np.nan)
    for row, part in zip(rows, _windows(x.shape[1], window), strict=True):
        if not len(x):
            continue
        long, short = (
            traces.spectra(x[:, part], valid[:, part], sfreq, s, window) for s in (4.0, 1.0)
        )
        frequency, density = long.frequency, long.mean()
        power = {
            band: traces.log_power(frequency, density, *edges) for band, edges in _SHARES.items()
        }
        total = traces.log_power(frequency, density, *_TOTAL)
        by_seconds = {4.0: long, 1.0: short}
        channel = np.stack(
            [
                *(power[band] for band in BANDS),
                *(10 ** (power[band] - total) for band in _SHARES),
                *(power[a] - power[b] for a, b in _RATIOS),
                traces.spectral_edge(frequency, density, *_TOTAL),
                *(
                    traces.burst(by_seconds[seconds].segment_powers(*BANDS[band]))
                    for band, seconds in _BURSTS.items()
                ),
                *traces.time_measures(moving[:, part], valid[:, part], sfreq, window).T,
            ],
            axis=1,
        )  # [C, F]
        by_region = [traces.mean_of_known(channel[mine, :_BY_REGION]) for mine in groups]
        row[:] = np.concatenate([traces.mean_of_known(channel), *by_region])
    return rows


def _eog(x, valid, sfreq: float, window: int) -> np.ndarray:
    """[C, T] -> [W, len(_EYE_NAMES) + len(_PAIR_NAMES)]; the first two may be left and right."""
    rows = np.full((len(_windows(x.shape[1], window)), len(_EYE_NAMES) + len(_PAIR_NAMES)), np.nan)
    if not len(x):
        return rows
    moving = traces.band_passed(x, valid, sfreq, *_EYE_BAND)
    pair = traces.band_passed(x[:2], valid[:2], sfreq, *_PAIR_BAND)
    for row, part in zip(rows, _windows(x.shape[1], window), strict=True):
        long = traces.spectra(x[:, part], valid[:, part], sfreq, 4.0, window)
        density = long.mean()
        y, good = moving[:, part], valid[:, part]
        in_time = traces.time_measures(y, good, sfreq, window)
        measured = ~np.isnan(in_time[:, 0])
        peak = traces.quantile(np.where(good, np.abs(y), np.nan), 0.99)
        both = good[:, 1:] & good[:, :-1]
        slope = np.where(both, np.abs(np.diff(y, axis=1)), np.nan)
        steep, usual = (traces.quantile(slope, q) for q in (0.99, 0.5))
        channel = np.stack(
            [
                *(traces.log_power(long.frequency, density, *b) for b in _EYE_BANDS.values()),
                traces.burst(long.segment_powers(*_EYE_BANDS["rapid"])),
                *in_time.T,
                _log_where(peak, measured),
                _log_where(steep, measured) - _log_where(usual, measured),
            ],
            axis=1,
        )
        row[:] = np.concatenate(
            [traces.mean_of_known(channel), _opposed(pair[:, part], good[:2], window)]
        )
    return rows


def _opposed(pair: np.ndarray, valid: np.ndarray, window: int) -> np.ndarray:
    """Correlation of two eyes, and log10 power of their difference over that of their sum."""
    good = valid.all(axis=0)
    if len(pair) < 2 or 2 * good.sum() < window:
        return np.full(len(_PAIR_NAMES), np.nan)
    a, b = pair[:, good] - pair[:, good].mean(axis=1, keepdims=True)
    if min(a @ a, b @ b) < traces.LEAST_POWER * good.sum():
        return np.full(len(_PAIR_NAMES), np.nan)
    # a trace and its copy have no difference at all: at most a millionth
    floor = 1e-6 * (a @ a + b @ b)
    apart, together = (max((c @ c), floor) for c in (a - b, a + b))
    return np.array([a @ b / np.sqrt((a @ a) * (b @ b)), np.log10(apart / together)])


def _emg(x, valid, sfreq: float, window: int) -> np.ndarray:
    """[C, T] -> [W, len(_MUSCLE_NAMES)]."""
    rows = np.full((len(_windows(x.shape[1], window)), len(_MUSCLE_NAMES)), np.nan)
    if not len(x):
        return rows
    low = _MUSCLE_BANDS["low"]
    for row, part in zip(rows, _windows(x.shape[1], window), strict=True):
        found = traces.spectra(x[:, part], valid[:, part], sfreq, 1.0, window)
        density, powers = found.mean(), found.segment_powers(*low)
        channel = np.stack(
            [
                *(traces.log_power(found.frequency, density, *b) for b in _MUSCLE_BANDS.values()),
                traces.quantile(powers, 0.1),
                traces.deviation(powers),
                traces.burst(powers),
            ],
            axis=1,
        )
        row[:] = traces.mean_of_known(channel)
    return rows


def _ecg(x, valid, sfreq: float, window: int) -> np.ndarray:
    """[C, T] -> [W, len(_BEATS)]."""
    parts = _windows(x.shape[1], window)
    rows = np.full((len(parts), len(_BEATS)), np.nan)
    places = [HEART_RATE_NAMES.index(name) for name in _BEATS]
    for row, part in zip(rows, parts, strict=True):
        if len(x):
            row[:] = heart_rate_statistics(x[:, part], valid[:, part], sfreq)[places]
    return rows


def _log_where(x: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """log10 [C], of at least the least amplitude; NaN where not measured."""
    least = traces.LEAST_POWER**0.5
    return np.log10(np.where(measured, np.maximum(x, least), np.nan))
