"""Signals of simulated wake archives: EEG of students who rest or count, 12-lead ECG with findings.

Plain on purpose: what tells the classes apart is what a textbook says tells them apart, and a
person's own loudness and rhythm vary more than it.
"""

from __future__ import annotations

import numpy as np

from sleepfm_jax.simulation.body import noise as sn
from sleepfm_jax.simulation.body.awake import LEAD_VECTORS
from sleepfm_jax.simulation.montage import SITES

# --- EEG ------------------------------------------------------------------------------------------

# Electrodes that `SITES` lacks.
_PLACES = {
    **SITES,
    "FT9": (-0.9, 0.4, -0.2),
    "FT10": (0.9, 0.4, -0.2),
    "A1": (-1.0, -0.2, -0.4),
    "A2": (1.0, -0.2, -0.4),
    "Oz": (0.0, -1.0, 0.0),
}


def place(sites: tuple[str, ...]) -> np.ndarray:
    """[C, 3]: to the right, to the front, up."""
    return np.array([_PLACES[site] for site in sites])


def background(
    rng: np.random.Generator, sites: tuple[str, ...], samples: int, sfreq: int, slow: float = 0.0
) -> np.ndarray:
    """Wake EEG in uV, float32 [C, T]: 1/f, alpha behind, mains; `slow` > 0 turns alpha to theta."""
    where = place(sites)
    frequencies = np.fft.rfftfreq(samples, 1 / sfreq)
    f = np.maximum(frequencies, 0.5)
    alpha = rng.uniform(8.5, 11.0) * np.exp(-0.5 * slow)
    shape = f**-0.6 / (1 + (f / 45) ** 4)
    peak = np.exp(-0.5 * ((f - alpha) / 0.8) ** 2)
    loud = np.exp(0.25 * rng.standard_normal())
    both = _coloured(rng, shape, samples)
    out = np.empty((len(sites), samples), np.float32)
    rhythm = _coloured(rng, peak, samples)
    for c in range(len(sites)):
        own = _coloured(rng, shape, samples)
        out[c] = loud * (7 * own + 5 * both + 10 * np.exp(-0.9 * where[c, 1]) * 0.7 * rhythm)
    hum = np.sin(2 * np.pi * 60 * np.arange(samples) / sfreq + rng.uniform(0, 6.28))
    return out + np.float32(0.5) * hum.astype(np.float32) if sfreq > 120 else out


def _coloured(rng: np.random.Generator, shape: np.ndarray, samples: int) -> np.ndarray:
    spectrum = shape * sn.noise(rng, 2 * len(shape)).view(np.complex64)
    spectrum[0] = 0
    wave = np.fft.irfft(spectrum, samples)
    return (wave / wave.std()).astype(np.float32)


# --- ECG ------------------------------------------------------------------------------------------


def heart_rate(rng: np.random.Generator, labels: tuple[str, ...]) -> float:
    """Beats a minute that fit the labels."""
    if "SB" in labels:
        return rng.uniform(40, 55)
    if "ST" in labels:
        return rng.uniform(108, 130)
    return rng.uniform(90, 115) if "AF" in labels else rng.uniform(64, 92)


def ecg(
    rng: np.random.Generator, labels: tuple[str, ...], seconds: float, sfreq: int
) -> np.ndarray:
    """Twelve leads in mV, float32 [12, T], from a moving dipole.

    1dAVb puts the P wave early (PR 0.26 s or more), AF takes it away and scatters the beats, the
    blocks widen the QRS with a late vector to the right and front (RBBB) or to the left (LBBB), SB
    and ST set the rate.
    """
    rate = heart_rate(rng, labels)
    count = int((seconds + 4) * rate / 60 * 1.7) + 4
    spread = 0.22 if "AF" in labels else 0.02
    intervals = np.maximum(60 / rate * np.exp(spread * rng.standard_normal(count)), 0.35)
    beats = np.cumsum(intervals) - 2.0
    beats = beats[beats < seconds + 2]
    samples = round(seconds * sfreq)
    t = np.arange(samples) / sfreq
    pr = rng.uniform(0.26, 0.32) if "1dAVb" in labels else rng.uniform(0.13, 0.17)
    stretch = np.sqrt(60 / rate)
    wide = 2.2 if "LBBB" in labels else 1.0
    # (s after R, width in s, height in mV, direction: left, feet, front)
    waves = [
        (-pr, 0.022, 0.12, (0.55, 0.8, 0.1)),
        (-0.025 * wide, 0.009 * wide, -0.12, (0.5, -0.2, -0.7)),
        (0.0, 0.012 * wide, 1.1, (0.75, 0.6, -0.25)),
        (0.03 * wide, 0.011 * wide, -0.3, (0.5, 0.15, 1.2)),
        (0.29 * stretch, 0.05 * stretch, 0.3, (0.7, 0.55, 0.35)),
    ]
    if "RBBB" in labels:
        waves.append((0.065, 0.022, 0.6, (-0.6, 0.0, 0.8)))
    if "LBBB" in labels:
        waves.append((0.06, 0.03, 0.9, (1.0, 0.1, -0.5)))
        waves[4] = (*waves[4][:2], -0.35, waves[4][3])
    dipole = np.zeros((3, samples))
    for i, (delay, width, height, direction) in enumerate(waves):
        if i == 0 and "AF" in labels:
            continue
        curve = np.exp(-0.5 * ((t[:, None] - beats - delay) / width) ** 2).sum(1)
        dipole += (
            np.array(direction)[:, None] * height * np.exp(0.1 * rng.standard_normal()) * curve
        )
    if "AF" in labels:
        dipole[1:] += 0.05 * np.sin(2 * np.pi * rng.uniform(5, 7.5) * t + rng.uniform(0, 6.28))
    leads = LEAD_VECTORS @ dipole
    drift = 0.05 * np.sin(2 * np.pi * 0.25 * t + rng.uniform(0, 6.28, (12, 1)))
    leads += drift + 0.01 * rng.standard_normal(leads.shape)
    leads[2], leads[3] = leads[1] - leads[0], -(leads[0] + leads[1]) / 2  # Einthoven, Goldberger
    leads[4], leads[5] = leads[0] - leads[1] / 2, leads[1] - leads[0] / 2
    return leads.astype(np.float32)
