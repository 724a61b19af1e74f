"""Heart rate and its variability (Task Force of the ESC and NASPE 1996), and the width and spread
of the R wave, from a plain R-peak detector.
"""

from __future__ import annotations

import numpy as np
from scipy import signal

HEART_RATE_NAMES = (
    "mean_hr_bpm",
    "min_hr_bpm",
    "max_hr_bpm",
    "sdnn_ms",
    "rmssd_ms",
    "pnn50",
    "beats",
    "r_amplitude_cv",
    "qrs_width_ms",
)
_QRS_BAND = (5.0, 15.0)  # Hz, where the QRS complex stands out of P, T, drift and muscle
_LEAST_RR, _MOST_RR = 0.25, 3.0  # s: 240 and 20 beats a minute
LEAST_BEATS = 4
_CONTRAST = 8.0  # a QRS has this many times the median energy; noise has about 6
_T_WAVE_SECONDS, _T_WAVE_SHARE = 0.4, 0.5  # a T wave follows a beat this soon, with less energy


def r_peaks(ecg: np.ndarray, valid: np.ndarray, sfreq: float) -> np.ndarray:
    """Samples of the R waves, int [beats]; empty where none can be told from noise.

    Each lead is filtered to 5-15 Hz and scaled by its own median absolute value, the squares are
    summed over leads and smoothed over 0.1 s. Peaks at least 0.25 s apart that reach a fifth of the
    typical height (the median over 2-s stretches of their maximum) are beats, unless they follow a
    beat within 0.4 s with less than half its energy (T waves): the recipe of Pan and Tompkins
    (1985) without its learning.

    Args:
      ecg: float [C, T], any unit. valid: bool [C, T]. sfreq: Hz, at least 40.

    Raises:
      ValueError: on shapes that disagree or a sfreq too low.
    """
    return detect(ecg, valid, sfreq)[0]


def heart_rate_statistics(ecg: np.ndarray, valid: np.ndarray, sfreq: float) -> np.ndarray:
    """Heart rate and its variability from one clip of one or more ECG leads.

    Args:
      ecg: float [C, T], any unit (no figure depends on it). valid: bool [C, T]. sfreq: Hz, >= 40.

    Returns:
      float64 [9] in the order of `HEART_RATE_NAMES`: mean, lowest and highest heart rate (bpm,
      from RR intervals averaged over three beats for the extremes), SDNN and RMSSD (ms), pNN50
      (share of successive differences above 50 ms), the number of beats, the coefficient of
      variation of the R wave's height, and the median width of the QRS energy at half its height
      (ms). Intervals that cross a gap, or outside 0.25-3 s, are left out.
      All NaN with fewer than four beats or where no beat stands out of the noise.

    Raises:
      ValueError: on shapes that disagree or a sfreq too low.
    """
    peaks, energy, usable = detect(ecg, valid, sfreq)
    nothing = np.full(len(HEART_RATE_NAMES), np.nan)
    rr, kept = rr_intervals(peaks, usable, sfreq)
    if kept.sum() < LEAST_BEATS - 1:
        return nothing
    intervals = rr[kept]
    neighbours = kept[1:] & kept[:-1]
    steps = np.diff(rr)[neighbours]
    span = min(3, intervals.size)
    smooth = np.convolve(intervals, np.ones(span) / span, mode="valid")
    height = np.sqrt(energy[peaks])
    width = signal.peak_widths(energy, peaks, rel_height=0.5)[0] / sfreq
    return np.array(
        [
            60.0 / intervals.mean(),
            60.0 / smooth.max(),
            60.0 / smooth.min(),
            1000.0 * intervals.std(ddof=1),
            1000.0 * np.sqrt(np.mean(steps**2)) if steps.size else np.nan,
            np.mean(np.abs(steps) > 0.05) if steps.size else np.nan,
            float(peaks.size),
            height.std() / height.mean(),
            1000.0 * np.median(width),
        ]
    )


def rr_intervals(
    peaks: np.ndarray, usable: np.ndarray, sfreq: float
) -> tuple[np.ndarray, np.ndarray]:
    """Intervals between R peaks in s, [beats - 1], and which of them count: no gap in between, and
    of a length that a heart may have."""
    gaps = np.concatenate([[0], np.cumsum(~usable)])
    rr = np.diff(peaks) / sfreq
    kept = (gaps[peaks[1:]] == gaps[peaks[:-1]]) & (rr >= _LEAST_RR) & (rr <= _MOST_RR)
    return rr, kept


def detect(ecg, valid, sfreq: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """R peaks (samples), the QRS energy [T] they stand in, and where some lead is valid [T]."""
    x = np.asarray(ecg, np.float64)
    valid = np.asarray(valid, bool) & np.isfinite(x)
    if x.ndim != 2 or valid.shape != x.shape:
        raise ValueError(f"expected ecg and valid [C, T], got {x.shape} and {valid.shape}")
    if sfreq < 40:
        raise ValueError(f"sfreq is {sfreq} Hz; R waves need at least 40 Hz")
    nothing = np.zeros(0, int)
    usable = valid.any(axis=0)
    sections = signal.butter(2, _QRS_BAND, btype="bandpass", fs=sfreq, output="sos")
    energy = np.zeros(x.shape[1])
    if usable.sum() < 2 * sfreq:
        return nothing, energy, usable
    for lead, good in zip(x, valid, strict=True):
        if good.sum() < sfreq:
            continue
        # Gaps bridged by a straight line: a step to zero would ring like a beat.
        where = np.flatnonzero(good)
        bridged = np.interp(np.arange(lead.size), where, lead[where])
        band = np.where(good, signal.sosfiltfilt(sections, bridged), 0.0)
        scale = np.median(np.abs(band[good]))
        if scale > 1e-9 * (np.abs(lead[good]).max() + 1e-30):  # else flat
            energy += (band / scale) ** 2
    smooth = signal.windows.hann(2 * round(0.05 * sfreq) + 1)
    energy = signal.fftconvolve(energy, smooth / smooth.sum(), mode="same").clip(min=0.0)
    stretch = round(2 * sfreq)
    starts = range(0, max(1, x.shape[1] - stretch + 1), stretch)
    tops = [energy[s : s + stretch].max() for s in starts if usable[s : s + stretch].mean() > 0.5]
    if not tops:
        return nothing, energy, usable
    typical = float(np.median(tops))
    background = float(np.median(energy[usable]))
    if typical <= 0 or typical < _CONTRAST * background:
        return nothing, energy, usable
    peaks, _ = signal.find_peaks(
        energy, height=0.2 * typical, distance=max(1, round(_LEAST_RR * sfreq))
    )
    peaks = peaks[usable[peaks]]
    return _without_t_waves(peaks, energy[peaks], sfreq), energy, usable


def _without_t_waves(peaks: np.ndarray, height: np.ndarray, sfreq: float) -> np.ndarray:
    """Peaks without those that follow a kept beat too soon and too low to be the next one."""
    kept: list[int] = []
    for i in range(peaks.size):
        soon = kept and peaks[i] - peaks[kept[-1]] < _T_WAVE_SECONDS * sfreq
        if not (soon and height[i] < _T_WAVE_SHARE * height[kept[-1]]):
            kept.append(i)
    return peaks[kept]
