"""Features of a clip's ECG: rate and variability, how irregular the rhythm is, and the shape of the
median beat.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import signal

from sleepfm_jax.metrics.plain_features import traces
from sleepfm_jax.metrics.plain_features.heart_rate import (
    HEART_RATE_NAMES,
    LEAST_BEATS,
    detect,
    heart_rate_statistics,
    rr_intervals,
)

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
_RHYTHM_NAMES = ("rmssd_share", "step_share", "cosen", "log_lf_ms2", "log_hf_ms2", "log_lf_hf")
_SHAPE_NAMES = ("log_qrs", "r_share", "p_share", "st_share", "t_share")
_BY_LEAD = ("log_qrs", "r_share", "st_share", "t_share")

HEART_FEATURE_NAMES = (
    *HEART_RATE_NAMES,
    *_RHYTHM_NAMES,
    "qrs_ms",
    *_SHAPE_NAMES,
    *(f"{lead}_{name}" for lead in LEADS for name in _BY_LEAD),
)

_BEAT_BAND = (0.5, 40.0)  # Hz, of the beat's shape
_BEFORE, _AFTER = 0.30, 0.46  # s, of a beat around its R peak
_QRS, _BASE = (-0.08, 0.08), (-0.30, -0.22)  # s from the R peak, as those below
_P, _ST, _T = (-0.22, -0.09), (0.08, 0.10), (0.14, 0.44)
_QRS_SHARE = 0.15  # of the steepest slope: more is QRS
_QRS_PAUSE = 0.03  # s without a steep slope end it
_LEAST_COSEN, _MATCHES = 7, 5  # intervals; pairs that a tolerance must let match
_SPECTRUM_SECONDS = 120.0  # of beats, that 0.04 Hz needs
_LF, _HF = (0.04, 0.15), (0.15, 0.40)  # Hz


def heart_features(
    ecg: np.ndarray, valid: np.ndarray, names: Sequence[str], sfreq: float
) -> np.ndarray:
    """One row of features of a clip of one or more ECG leads.

    * `heart_rate_statistics`, as they are.
    * Rhythm: RMSSD and the mean absolute step over the mean RR interval (large in atrial
      fibrillation), the coefficient of sample entropy, made for a dozen beats (Lake and Moorman
      2011; seven intervals at least), and log10 power of the RR intervals in 0.04-0.15 and
      0.15-0.4 Hz (ms^2) and the log of their ratio, of at least 2 min of beats (Task Force 1996).
    * The width of the QRS complex of the median beat (ms), where the leads' slopes are steep.
    * Shape of each lead's median beat, over the QRS' height from peak to peak: R (1: all above the
      baseline, 0: all below), P, ST 80-100 ms after R, T. The mean over leads of log10 of that
      height (microvolts), R, and the absolute values of the rest; signed, and by lead, for the
      twelve standard leads.

    Intervals of P and T are left out: not sure enough in one noisy lead.

    Args:
      ecg: float [C, T], microvolts (only `log_qrs` depends on the unit). valid: bool [C, T].
      names: canonical, of the C leads. sfreq: Hz, at least 40.

    Returns:
      float64 [69] in the order of `HEART_FEATURE_NAMES`; NaN where it cannot be measured, all NaN
      where no beat stands out of the noise.

    Raises:
      ValueError: on shapes that disagree or a sfreq too low.
    """
    basic = heart_rate_statistics(ecg, valid, sfreq)
    x = np.asarray(ecg, np.float64)
    valid = np.asarray(valid, bool) & np.isfinite(x)
    if len(names) != len(x):
        raise ValueError(f"{len(names)} names for {len(x)} leads")
    out = dict.fromkeys(HEART_FEATURE_NAMES, np.nan)
    out |= dict(zip(HEART_RATE_NAMES, basic, strict=True))
    if np.isnan(basic[0]):
        return np.array(list(out.values()))
    peaks, _, usable = detect(x, valid, sfreq)
    rr, kept = rr_intervals(peaks, usable, sfreq)
    out |= _rhythm(peaks / sfreq, rr, kept)
    beats = _median_beats(np.where(valid, x, 0.0), valid, peaks, sfreq)  # [C, time]
    out["qrs_ms"] = _qrs_width(beats, sfreq)
    shapes = np.array([_shape(beat, sfreq) for beat in beats])  # [C, 5]
    folded = np.concatenate([shapes[:, :2], np.abs(shapes[:, 2:])], axis=1)
    out |= dict(zip(_SHAPE_NAMES, traces.mean_of_known(folded), strict=True))
    for name, shape in zip(names, shapes, strict=True):
        for feature in _BY_LEAD if name in LEADS else ():
            out[f"{name}_{feature}"] = shape[_SHAPE_NAMES.index(feature)]
    return np.array(list(out.values()))


def _rhythm(times: np.ndarray, rr: np.ndarray, kept: np.ndarray) -> dict[str, float]:
    mean = rr[kept].mean()
    steps = np.diff(rr)[kept[1:] & kept[:-1]]
    found = dict.fromkeys(_RHYTHM_NAMES, np.nan)
    if steps.size:
        found["rmssd_share"] = np.sqrt(np.mean(steps**2)) / mean
        found["step_share"] = np.mean(np.abs(steps)) / mean
    found["cosen"] = _cosen(rr[kept])
    if rr[kept].sum() >= _SPECTRUM_SECONDS and kept.mean() > 0.8:
        middles = (times[1:] + times[:-1])[kept] / 2
        even = np.arange(middles[0], middles[-1], 0.25)
        series = 1000 * np.interp(even, middles, rr[kept])
        length = min(series.size, round(4 * _SPECTRUM_SECONDS))
        frequency, density = signal.welch(series, fs=4.0, nperseg=length, detrend="linear")
        low, high = (traces.log_power(frequency, density, *band) for band in (_LF, _HF))
        found |= {"log_lf_ms2": low, "log_hf_ms2": high, "log_lf_hf": low - high}
    return found


def _cosen(rr: np.ndarray) -> float:
    """Sample entropy of RR intervals (s), one to the next, made independent of tolerance and rate:
    the tolerance is the least (from 30 ms) that lets enough pairs match."""
    if rr.size < _LEAST_COSEN:
        return np.nan
    first, second = np.triu_indices(rr.size - 1, k=1)
    now = np.abs(rr[first] - rr[second])
    both = np.maximum(now, np.abs(rr[first + 1] - rr[second + 1]))
    tolerance = max(0.03, float(np.partition(both, _MATCHES - 1)[_MATCHES - 1]))
    ahead, here = (both <= tolerance).sum(), (now <= tolerance).sum()
    return float(-np.log(ahead / here) + np.log(2 * tolerance) - np.log(rr.mean()))


def _median_beats(x, valid, peaks: np.ndarray, sfreq: float) -> np.ndarray:
    """Median of each lead's beats, less its baseline: [C, time]; NaN where too few are whole."""
    clean = traces.band_passed(x, valid, sfreq, *_BEAT_BAND)
    around = np.arange(-round(_BEFORE * sfreq), round(_AFTER * sfreq) + 1)
    inside = peaks[(peaks + around[0] >= 0) & (peaks + around[-1] < x.shape[1])]
    out = np.full((len(x), around.size), np.nan)
    for row, lead, good in zip(out, clean, valid, strict=True):
        whole = inside[good[inside[:, None] + around].all(axis=1)]
        if whole.size >= LEAST_BEATS - 1:
            beat = np.median(lead[whole[:, None] + around], axis=0)
            row[:] = beat - np.median(beat[_between(_BASE, sfreq)])
    return out


def _between(seconds: tuple[float, float], sfreq: float) -> slice:
    start, stop = (round((_BEFORE + s) * sfreq) for s in seconds)
    return slice(start, stop + 1)


def _shape(beat: np.ndarray, sfreq: float) -> np.ndarray:
    """[time] -> [5] in the order of `_SHAPE_NAMES`, signed."""
    qrs = beat[_between(_QRS, sfreq)]
    height = qrs.max() - qrs.min()
    if not height**2 >= traces.LEAST_POWER:  # flat, or NaN
        return np.full(len(_SHAPE_NAMES), np.nan)
    p, t = beat[_between(_P, sfreq)], beat[_between(_T, sfreq)]
    return np.array(
        [
            np.log10(height),
            max(qrs.max(), 0.0) / height,
            p[np.argmax(np.abs(p))] / height,
            beat[_between(_ST, sfreq)].mean() / height,
            t[np.argmax(np.abs(t))] / height,
        ]
    )


def _qrs_width(beats: np.ndarray, sfreq: float) -> float:
    """From the first to the last steep slope around the R peak, ms: one figure for all leads."""
    beats = beats[~np.isnan(beats[:, 0])]
    if not len(beats):
        return np.nan
    near = _between((-0.14, 0.14), sfreq)
    scale = np.ptp(beats, axis=1, keepdims=True)
    beats = beats[scale[:, 0] > 0] / scale[scale[:, 0] > 0]
    if not len(beats):
        return np.nan
    speed = np.sqrt((np.diff(beats[:, near], axis=1) ** 2).sum(axis=0))
    fine = np.arange(0, speed.size - 1 + 1e-9, 1 / 8)  # samples are up to 10 ms apart
    speed = np.interp(fine, np.arange(speed.size), speed)
    steep = np.flatnonzero(speed >= _QRS_SHARE * speed.max())
    # P and T are steep too in some leads, but apart.
    part = np.cumsum(np.diff(fine[steep], prepend=fine[steep[0]]) > _QRS_PAUSE * sfreq)
    mine = fine[steep[part == part[np.searchsorted(steep, np.argmax(speed))]]]
    return 1000 * (mine[-1] - mine[0]) / sfreq
