"""What can be found in an EEG, asleep and awake alike: slowing, lesions, discharges, seizures.

And what is taken for them: drowsiness, muscle, blinks, vertex waves, electrode pops. Waves are in
uV, float32 [T] of their own length, or [C, T] where they move over the head.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import signal

from sleepfm_jax.simulation.body import noise as sn
from sleepfm_jax.simulation.body.traits import SubjectTraits
from sleepfm_jax.simulation.montage import SITES

SLOWING = np.array([0.06, 0.34, 0.42, -0.26, -0.35, -0.22, 0.0])
"""What slowing of 1 does to the amplitude (log) of each component of BANDS."""
DROWSINESS = np.array([0.04, 0.20, 0.45, -0.95, 0.0, -0.10, -0.30])
"""The same of drowsiness: theta comes, alpha goes, and muscles rest."""
LESION = np.array([0.10, 0.30, 0.35, -0.45, 0.0, -0.20, 0.0])
"""The same of a lesion, under it: slowing, and alpha and beta lost."""
VIGILANCE = np.array([0.02, 0.06, 0.12, -0.16, 0.0, -0.12, -0.08])
"""The same of being drowsy by nature, a z-score, awake and asleep."""
_ALPHA_SLOWS = 0.24  # log frequency a unit of slowing
_FURTHER = {
    "FT9": (-0.9, 0.4, -0.2),
    "FT10": (0.9, 0.4, -0.2),
    "A1": (-1.0, -0.2, -0.4),
    "A2": (1.0, -0.2, -0.4),
}


def place(sites: tuple[str, ...] | list[str]) -> np.ndarray:
    """[C, 3]: to the right, to the front, up."""
    return np.array([SITES[site] if site in SITES else _FURTHER[site] for site in sites])


def field(where: np.ndarray, at: str, width: float = 0.5) -> np.ndarray:
    """How much of a wave at the electrode `at` each place of [C, 3] sees, [C], 1 at most."""
    return np.exp(-0.5 * np.sum((where - place((at,))) ** 2, axis=1) / width**2)


def lesion_gain(rng: np.random.Generator, where: np.ndarray, side: int) -> np.ndarray:
    """Log amplitude of each component at each place that a lesion of depth 1 adds, [C, B]; it lies
    somewhere on its side (-1 left, 1 right).
    """
    centre = np.array([0.65 * side, rng.uniform(-0.6, 0.6), 0.35])
    near = np.exp(-0.5 * np.sum((where - centre) ** 2, axis=1) / 0.55**2)
    return near[:, None] * LESION


def slowed(traits: SubjectTraits, slowing: float) -> SubjectTraits:
    """The person with a slower alpha, and spindles that are fewer and weaker."""
    if slowing == 0.0:
        return traits
    return dataclasses.replace(
        traits,
        alpha_frequency=float(max(5.5, traits.alpha_frequency * np.exp(-_ALPHA_SLOWS * slowing))),
        spindle_rate=float(traits.spindle_rate * np.exp(-1.8 * slowing)),
    )


# --- single waves ---------------------------------------------------------------------------------


def spike_wave(rng: np.random.Generator, sfreq: int) -> np.ndarray:
    """A spike of some 70 ms and its slow wave; 1 at its peak, which lies 0.2 s from the start."""
    t = np.arange(int(0.8 * sfreq)) / sfreq - 0.2
    late, width = rng.uniform(0.16, 0.22), rng.uniform(0.016, 0.024)
    wave = np.exp(-0.5 * (t / width) ** 2)
    wave -= rng.uniform(0.4, 0.65) * np.exp(-0.5 * ((t - late) / (0.35 * late)) ** 2)
    return (-wave).astype(np.float32)


def vertex_wave(rng: np.random.Generator, sfreq: int) -> np.ndarray:
    """A sharp wave of sleep's onset, rounder than a spike; its peak lies 0.2 s from the start."""
    t = np.arange(int(0.6 * sfreq)) / sfreq - 0.2
    width = rng.uniform(0.035, 0.05)
    wave = np.exp(-0.5 * (t / width) ** 2) * np.cos(2 * np.pi * 2.2 * t)
    return (-wave).astype(np.float32)


def pop(rng: np.random.Generator, sfreq: int) -> np.ndarray:
    """An electrode's pop: a spike and wave backwards, so of just its spectrum; 1 at its peak."""
    return rng.choice([-1.0, 1.0]).astype(np.float32) * spike_wave(rng, sfreq)[::-1]


def blink(rng: np.random.Generator, sfreq: int) -> np.ndarray:
    t = np.arange(int(0.7 * sfreq)) / sfreq - 0.3
    return np.exp(-0.5 * (t / rng.uniform(0.06, 0.1)) ** 2).astype(np.float32)


def muscle(rng: np.random.Generator, sfreq: int, seconds: float) -> np.ndarray:
    """A burst of muscle, above 20 Hz; unit variance in its middle."""
    size = max(4, round(seconds * sfreq))
    wave = sn.fir_noise(rng, size, (1.0, 0.0, -1.0) if sfreq >= 200 else (1.0, -1.0))
    return (wave * np.sin(np.pi * (np.arange(size) + 0.5) / size)).astype(np.float32)


def add(eeg: np.ndarray, sfreq: int, start: float, wave: np.ndarray, gain: np.ndarray) -> None:
    """Adds `wave` [L] times `gain` [C] in place, from `start` (s) on; what lies outside is lost."""
    first = round(start * sfreq)
    lo, hi = max(0, first), min(eeg.shape[1], first + len(wave))
    if hi > lo:
        eeg[:, lo:hi] += gain.astype(np.float32)[:, None] * wave[lo - first : hi - first]


# --- what lasts -----------------------------------------------------------------------------------


def _rate(rng: np.random.Generator, size: int, sfreq: int, first: float, last: float) -> np.ndarray:
    """Hz over time, from `first` to `last`, with a little play."""
    rate = np.geomspace(first, last, size)
    return rate * np.exp(0.06 * sn.upsample(_play(rng, size, sfreq, 1.0), sfreq, size))


def _play(rng: np.random.Generator, size: int, sfreq: int, seconds: float) -> np.ndarray:
    return sn.wander(rng, int(np.ceil(size / sfreq * sn.STATE_SFREQ)) + 1, seconds)


def _rhythm(rng: np.random.Generator, rate: np.ndarray, sfreq: int) -> np.ndarray:
    """A sharp rhythm of a rate that changes; unit variance."""
    angle = 2 * np.pi * np.cumsum(rate) / sfreq + rng.uniform(0, 6.28)
    return (np.sin(angle) + 0.35 * np.sin(2 * angle + 0.6)) / np.sqrt(0.5 * (1 + 0.35**2))


def _fade(size: int, sfreq: int) -> np.ndarray:
    t = np.arange(size) / sfreq
    return np.clip(np.minimum(t, t[-1] - t) / 0.4, 0.0, 1.0)


def _spreading(where: np.ndarray, at: str) -> tuple[np.ndarray, np.ndarray]:
    """Fields of equal loudness [C] each: small at the start of a seizure, wide at its end."""
    small, wide = field(where, at, 0.40), field(where, at, 0.95)
    return small * np.sqrt(np.sum(wide**2) / np.sum(small**2)), wide


def seizure(
    rng: np.random.Generator, where: np.ndarray, at: str, seconds: float, sfreq: int
) -> np.ndarray:
    """A rhythm that slows from 7 to 2.5 Hz while it spreads from `at`; float32 [C, T], rms 1 at
    the electrode where it is largest.
    """
    size = round(seconds * sfreq)
    wave = _rhythm(rng, _rate(rng, size, sfreq, 7.0, 2.5), sfreq) * _fade(size, sfreq)
    small, wide = _spreading(where, at)
    along = np.linspace(0.0, 1.0, size) ** 1.5
    gain = np.sqrt(1 - along) * small[:, None] + np.sqrt(along) * wide[:, None]
    return (gain * wave / max(small.max(), 1.0)).astype(np.float32)


def slow_rhythm(
    rng: np.random.Generator, where: np.ndarray, at: str, seconds: float, sfreq: int
) -> np.ndarray:
    """A seizure's rhythm in pieces, out of order, each of them everywhere a seizure ever is: its
    power in every band and place, but nothing evolves. float32 [C, T].
    """
    size = round(seconds * sfreq)
    rate = np.geomspace(7.0, 2.5, size)
    pieces = np.array_split(rate, max(2, round(seconds / 0.7)))
    rate = np.concatenate([pieces[i] for i in rng.permutation(len(pieces))])
    smooth = max(3, round(0.15 * sfreq))
    rate = np.convolve(np.pad(rate, smooth, mode="edge"), np.ones(smooth) / smooth, "same")
    wave = _rhythm(rng, rate[smooth:-smooth][:size], sfreq) * _fade(size, sfreq)
    small, wide = _spreading(where, at)
    gain = np.sqrt((small**2 + wide**2) / 2)
    return (gain[:, None] * wave / max(small.max(), 1.0)).astype(np.float32)


def mixed_rhythm(
    rng: np.random.Generator, where: np.ndarray, at: str, seconds: float, sfreq: int
) -> np.ndarray:
    """Rhythms of 2.5 to 7 Hz, each with places of its own, that come and go; float32 [C, T]."""
    size = round(seconds * sfreq)
    small, wide = _spreading(where, at)
    power = (small**2 + wide**2) / 2 / max(small.max(), 1.0) ** 2
    out = np.zeros((len(where), size))
    share = rng.dirichlet(np.ones(3), len(where))  # [C, 3]
    for part in range(3):
        edge = np.geomspace(7.0, 2.5, 4)[part : part + 2]
        rate = np.full(size, float(rng.uniform(edge[1], edge[0])))
        comes = 0.6 + 0.4 * sn.upsample(_play(rng, size, sfreq, 0.7), sfreq, size)
        rhythm = _rhythm(rng, rate, sfreq) * np.clip(comes, 0.1, 2.0) * 1.4
        out += np.sqrt(share[:, part : part + 1]) * rhythm
    return (np.sqrt(power)[:, None] * out * _fade(size, sfreq)).astype(np.float32)


def discharges(
    rng: np.random.Generator, where: np.ndarray, at: str, seconds: float, sfreq: int, both: bool
) -> np.ndarray:
    """Sharp waves about once a second, on the side of `at` or, mirrored, on both; [C, T]."""
    size = round(seconds * sfreq)
    gain = field(where, at, 0.8)
    if both:
        gain = np.maximum(gain, field(where * [-1.0, 1.0, 1.0], at, 0.8))
    out = np.zeros((len(where), size), np.float32)
    every = rng.uniform(0.75, 1.0)
    for onset in np.arange(rng.uniform(-0.1, 0.2), seconds, every):
        t = np.arange(int(0.7 * sfreq)) / sfreq - 0.2
        wave = np.exp(-0.5 * (t / 0.03) ** 2) - 0.6 * np.exp(-0.5 * ((t - 0.2) / 0.08) ** 2)
        add(out, sfreq, onset, (-wave).astype(np.float32), gain)
    return out


def chewing(rng: np.random.Generator, where: np.ndarray, seconds: float, sfreq: int) -> np.ndarray:
    """Bursts of the temporal muscles over a movement of the jaw, 1 to 2 a second; [C, T]."""
    size = round(seconds * sfreq)
    t = np.arange(size) / sfreq
    rate = rng.uniform(1.0, 2.2)
    phase = 2 * np.pi * rate * t + rng.uniform(0, 6.28) + 0.5 * np.sin(2 * np.pi * 0.2 * t)
    gate = np.clip(np.sin(phase), 0.0, 1.0) ** 2
    side = np.exp(rng.uniform(-0.8, 0.8) * where[:, 0])
    gain = side * np.clip(np.abs(where[:, 0]) + 0.2 - 0.4 * where[:, 2], 0.05, None)
    own = sn.fir_noise(rng, size, (1.0, 0.0, -1.0) if sfreq >= 200 else (1.0, -1.0))
    wave = (0.8 * gate * own + 0.9 * np.sin(phase) + 0.5 * np.sin(2 * phase)) * _fade(size, sfreq)
    return (gain[:, None] * wave).astype(np.float32)


def movement(rng: np.random.Generator, where: np.ndarray, seconds: float, sfreq: int) -> np.ndarray:
    """Cables that swing: noise of 1 to 8 Hz, other at each electrode and uneven; [C, T]."""
    size = round(seconds * sfreq)
    sos = signal.butter(2, [1.5, 7.5], "bandpass", fs=sfreq, output="sos")
    own = sn.noise(rng, len(where), size)
    own = 0.7 * own + 0.7 * sn.noise(rng, size)
    wave = signal.sosfilt(sos, own, axis=1)
    wave /= wave.std() + 1e-6
    tilt = np.exp(where @ rng.normal(0.0, 0.6, 3))
    comes = np.clip(0.8 + 0.6 * sn.upsample(_play(rng, size, sfreq, 1.0), sfreq, size), 0.0, 2.0)
    return (tilt[:, None] * wave * comes * _fade(size, sfreq)).astype(np.float32)
