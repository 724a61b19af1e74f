"""Simulated people: the traits that make one sleeper's signals unlike another's.

Spreads are wide on purpose. In real cohorts band powers, muscle tone and heart rate differ more
between people than between neighbouring stages; a simulation without that would be staged by a
threshold.
"""

from __future__ import annotations

import dataclasses

import numpy as np

#: Order of the spectral components in `SubjectTraits.band_gain` and in synthetic_eeg.
BANDS = ("background", "slow", "theta", "alpha", "sigma", "beta", "muscle")


@dataclasses.dataclass(frozen=True)
class SubjectTraits:
    """One person. Logs are natural; amplitudes multiply the population's typical value."""

    age: float  # years
    fragmentation: float  # multiplies the rates towards wake and N1
    ambiguity: float  # how far the hidden state strays from the scored stage
    # EEG and eyes
    band_gain: np.ndarray  # log amplitude [B]
    stage_gain: np.ndarray  # log amplitude [5, B], a person's own deviation in each stage
    background_slope: float  # exponent of the 1/f power
    alpha_frequency: float
    sigma_frequency: float
    spindle_rate: float  # a minute of N2
    k_complex_rate: float
    eye_gain: float
    blink_rate: float  # a minute with open eyes
    # muscle
    chin_tone: float  # uV
    tone_contrast: float  # 1: textbook atonia; 0: no difference between the stages
    leg_movement_index: float  # periodic movements an hour
    # heart
    heart_rate: float  # beats a minute
    sinus_arrhythmia: float
    heart_variability: float
    ectopic_rate: float  # share of premature beats
    ecg_morphology: np.ndarray  # log amplitude of P, Q, R, S, T
    ecg_amplitude: float  # mV
    transit_seconds: float  # heart to finger
    # breathing
    breathing_rate: float  # a minute
    breathing_irregularity: float
    thoracic_share: float  # of the effort that the chest does
    apnoea_index: float  # events an hour of sleep, before clustering
    central_share: float
    hypopnoea_share: float
    snoring: float  # 0..1
    oxygen_base: float  # per cent
    oxygen_drop: float  # per cent for a long apnoea
    oxygen_delay: float  # seconds, lung to finger


def draw_subject(rng: np.random.Generator) -> SubjectTraits:
    """A random adult. Age slows alpha, thins slow waves, breaks sleep, stiffens the heart."""
    age = float(rng.uniform(20.0, 80.0))
    old = (age - 50.0) / 30.0  # -1..1

    def log_normal(median: float, sd: float) -> float:
        return float(median * np.exp(sd * rng.standard_normal()))

    band_gain = 0.16 * rng.standard_normal(len(BANDS)) + 0.18 * rng.standard_normal()
    band_gain[BANDS.index("slow")] -= 0.25 * old
    band_gain[BANDS.index("alpha")] += 0.25 * rng.standard_normal()
    band_gain[BANDS.index("muscle")] += 0.4 * rng.standard_normal()
    stage_gain = 0.12 * rng.standard_normal((5, len(BANDS)))
    return SubjectTraits(
        age=age,
        fragmentation=log_normal(1.1 + 0.35 * old, 0.35),
        ambiguity=log_normal(1.0, 0.25),
        band_gain=band_gain,
        stage_gain=stage_gain,
        background_slope=float(np.clip(1.4 - 0.15 * old + 0.2 * rng.standard_normal(), 0.8, 2.0)),
        alpha_frequency=float(np.clip(9.8 - 0.5 * old + 0.7 * rng.standard_normal(), 7.8, 11.8)),
        sigma_frequency=float(np.clip(13.3 + 0.5 * rng.standard_normal(), 12.0, 14.8)),
        spindle_rate=log_normal(5.0 - 1.5 * old, 0.4),
        k_complex_rate=log_normal(1.3 - 0.3 * old, 0.4),
        eye_gain=log_normal(1.0, 0.35),
        blink_rate=log_normal(10.0, 0.4),
        chin_tone=log_normal(5.0, 0.5),
        tone_contrast=float(np.clip(0.95 + 0.25 * rng.standard_normal(), 0.3, 1.5)),
        leg_movement_index=float(rng.exponential(16.0 + 10.0 * old)) if rng.random() < 0.6 else 0.0,
        heart_rate=float(np.clip(62.0 + 9.0 * rng.standard_normal(), 42.0, 95.0)),
        sinus_arrhythmia=log_normal(np.exp(-0.7 * old), 0.45),
        heart_variability=log_normal(np.exp(-0.3 * old), 0.3),
        ectopic_rate=float(rng.exponential(0.01)) if rng.random() < 0.25 else 0.0,
        ecg_morphology=0.22 * rng.standard_normal(5),
        ecg_amplitude=log_normal(1.0, 0.35),
        transit_seconds=float(rng.uniform(0.18, 0.30)),
        breathing_rate=float(np.clip(14.5 + 1.0 * old + 2.0 * rng.standard_normal(), 9.5, 21.0)),
        breathing_irregularity=log_normal(1.0, 0.35),
        thoracic_share=float(np.clip(0.5 + 0.13 * rng.standard_normal(), 0.2, 0.8)),
        apnoea_index=log_normal(14.0 + 8.0 * old, 0.9),
        central_share=float(rng.beta(1.0, 6.0)),
        hypopnoea_share=float(rng.beta(4.0, 3.0)),
        snoring=float(rng.beta(1.0, 1.5)),
        oxygen_base=float(np.clip(96.0 - 0.8 * old + 0.9 * rng.standard_normal(), 92.0, 98.5)),
        oxygen_drop=log_normal(6.0, 0.4),
        oxygen_delay=float(rng.uniform(14.0, 26.0)),
    )
