"""Signals of a simulated wake archive: EEG of students who rest or count.

Plain on purpose: what tells the classes apart is what a textbook says tells them apart, and a
person's own loudness and rhythm vary more than it.
"""

from __future__ import annotations

import numpy as np

from sleepfm_jax.simulation.body import noise as sn
from sleepfm_jax.simulation.montage import SITES

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
