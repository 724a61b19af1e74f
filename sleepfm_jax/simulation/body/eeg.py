"""Simulated EEG and EOG of a night: hidden state in, microvolts out.

A channel is correlated noise whose spectrum follows the stage mixture
(synthetic_noise.shaped_noise), plus what noise cannot make: spindles, K-complexes, eye movements,
blinks, electrode pops. Typical amplitudes by stage are set after textbook descriptions (AASM
manual; Berry et al. 2012), not fitted to any recording.
"""

from __future__ import annotations

import numpy as np
from scipy import signal

from sleepfm_jax.simulation.body import findings
from sleepfm_jax.simulation.body import noise as sn
from sleepfm_jax.simulation.body.pathology import (
    HEALTHY,
    SEIZURE_SECONDS,
    Pathology,
    slowing_course,
)
from sleepfm_jax.simulation.body.physiology import Night
from sleepfm_jax.simulation.body.sleep import N1, N2, N3, REM, W
from sleepfm_jax.simulation.body.traits import BANDS, SubjectTraits
from sleepfm_jax.simulation.montage import SITES, ChannelPlan

# RMS in uV of each spectral component, by stage (W, N1, N2, N3, REM)
_RMS = {
    "background": (9.0, 9.0, 10.0, 11.0, 8.5),
    "slow": (5.0, 6.5, 14.0, 34.0, 6.5),
    "theta": (4.0, 6.8, 7.0, 7.0, 6.2),
    "alpha": (10.0, 4.5, 2.8, 2.2, 3.0),
    "sigma": (1.8, 1.9, 3.6, 2.9, 1.6),
    "beta": (4.6, 3.6, 2.5, 2.0, 3.3),
    "muscle": (2.2, 1.4, 1.0, 0.9, 0.8),
}


def spectral_shapes(traits: SubjectTraits, frequencies: np.ndarray) -> np.ndarray:
    """Power spectra of `BANDS` over `frequencies` (Hz, [F]), float32 [B, F], rows sum to one."""
    f = np.maximum(frequencies, 0.125)

    def bell(centre: float, width: float) -> np.ndarray:
        return np.exp(-0.5 * ((f - centre) / width) ** 2)

    shapes = np.stack(
        [
            f**-traits.background_slope / (1.0 + (0.3 / f) ** 4),
            np.exp(-0.5 * (np.log(f / 0.95) / 0.5) ** 2) + 0.12 * bell(2.5, 0.9),
            bell(5.5, 1.3),
            bell(traits.alpha_frequency, 0.7) + 0.05 * bell(2 * traits.alpha_frequency, 1.2),
            bell(traits.sigma_frequency, 0.9),
            bell(20.0, 5.0),
            1.0 / (1.0 + np.exp(-(f - 28.0) / 4.0)),
        ]
    )
    shapes[:, frequencies < 0.2] = 0.0  # the amplifier's high pass
    return (shapes / shapes.sum(axis=1, keepdims=True)).astype(np.float32)


def topography(sites: list[str]) -> np.ndarray:
    """Log amplitude of each component at each site, [C, B]: slow waves in front, alpha behind."""
    place = np.array([SITES[site] for site in sites])
    front, up = place[:, 1], place[:, 2]
    gains = np.zeros((len(sites), len(BANDS)))
    gains[:, BANDS.index("slow")] = 0.25 * front + 0.15 * (up - 0.5)
    gains[:, BANDS.index("theta")] = 0.10 * front + 0.25 * (up - 0.5)
    gains[:, BANDS.index("alpha")] = -0.65 * front
    gains[:, BANDS.index("sigma")] = -0.15 * np.abs(front) + 0.5 * (up - 0.6)
    gains[:, BANDS.index("beta")] = 0.15 * front
    gains[:, BANDS.index("muscle")] = 0.5 - 0.9 * up
    eyes = np.array([site in ("E1", "E2") for site in sites])
    gains[eyes] -= 0.45
    return gains


def coherence(frequencies: np.ndarray) -> np.ndarray:
    """Share of power from the global and the hemisphere's source, float32 [2, F]."""
    everywhere = 0.20 + 0.50 / (1.0 + (frequencies / 4.0) ** 2)
    side = np.full_like(everywhere, 0.22)
    return np.stack([everywhere, side]).astype(np.float32)


def band_power(
    rng: np.random.Generator,
    traits: SubjectTraits,
    night: Night,
    pathology: Pathology = HEALTHY,
) -> np.ndarray:
    """Variance (uV^2) of each component over the night at an average site, float32 [B, T]."""
    typical = np.log([_RMS[band] for band in BANDS])  # [B, 5]
    log_rms = (typical + traits.stage_gain.T + traits.band_gain[:, None]) @ night.weights
    size = night.weights.shape[1]
    common = sn.wander(rng, size, 240.0)
    for band in range(len(BANDS)):
        slow, fast = sn.wander(rng, size, 120.0), sn.wander(rng, size, 4.0)
        log_rms[band] += 0.06 * common + 0.10 * slow + 0.16 * fast
    log_rms[BANDS.index("background")] += 0.12 * sn.wander(rng, size, 400.0)
    # alpha needs closed eyes
    log_rms[BANDS.index("alpha")] += 0.5 * night.weights[W] - 1.4 * night.eyes_open
    log_rms[BANDS.index("background")] += 1.6 * night.movement
    log_rms[BANDS.index("slow")] += 1.2 * night.movement
    log_rms[BANDS.index("muscle")] += 1.8 * night.movement + 0.8 * night.arousal
    if pathology != HEALTHY:
        course = slowing_course(pathology, size, night.start)
        log_rms += findings.SLOWING[:, None] * course
        log_rms += (findings.VIGILANCE * pathology.vigilance)[:, None]
    return np.exp(2.0 * log_rms).astype(np.float32)


def render(
    seed: tuple[int, ...],
    traits: SubjectTraits,
    night: Night,
    plans: list[ChannelPlan],
    cardiac: np.ndarray,
    *,
    pathology: Pathology = HEALTHY,
) -> list[np.ndarray]:
    """EEG and EOG channels of one sampling rate, in uV.

    Args:
      seed: names the random streams; equal seeds give equal events at every sampling rate.
      plans: channels of kind eeg, eog_left or eog_right, all at one rate.
      cardiac: the ECG (mV) at that rate, of which a little is seen everywhere.
      pathology: of the person's EEG.

    Returns:
      float32 [T] a channel.
    """
    sfreq = plans[0].sfreq
    samples = round(night.seconds * sfreq)
    rng = sn.generator(*seed, sfreq)
    traits = findings.slowed(traits, pathology.slowing)
    sites = [plan.site for plan in plans]
    place = np.array([SITES[site] for site in sites])
    side = np.where(np.abs(place[:, 0]) < 0.1, 0.5, (place[:, 0] > 0).astype(float))
    # the state is drawn from `seed` alone: EEG and EOG at different rates share it
    power = sn.at_blocks(
        band_power(sn.generator(*seed, 0), traits, night, pathology), samples, sfreq
    )  # [B, N]
    frequencies = sn.block_frequencies(sfreq)
    gain = topography(sites) + 0.12 * rng.standard_normal((len(sites), len(BANDS)))
    gain += 0.10 * rng.standard_normal((len(sites), 1))
    if pathology.side:
        lesion = findings.lesion_gain(sn.generator(*seed, 3), place, pathology.side)
        gain = gain + pathology.lesion * lesion
    # of one electrode: its neighbourhood, and the paste that dries
    size = night.weights.shape[1]
    local = [0.10 * sn.wander(rng, size, 60.0) + 0.15 * sn.wander(rng, size, 1500.0) for _ in sites]
    local = sn.at_blocks(np.stack(local), samples, sfreq)  # [C, N]
    log_amplitude = gain[:, None, :] + local[:, :, None]
    waves = sn.shaped_noise(
        rng,
        sfreq=sfreq,
        samples=samples,
        power=(power.T[None] * np.exp(2.0 * log_amplitude)).astype(np.float32),
        shapes=spectral_shapes(traits, frequencies),
        hemisphere=side,
        coherence=coherence(frequencies),
    )
    if pathology.focus:
        _epilepsy(sn.generator(*seed, 4), waves, place, night, sfreq, pathology)
    transients = _transients(sn.generator(*seed, 1), traits, night, sfreq)
    gaze, blinks = _eyes(sn.generator(*seed, 2), traits, night, sfreq, samples)
    mains = int(rng.choice([50, 60]))
    channels = []
    for index, plan in enumerate(plans):
        out = waves[index]
        _add_transients(rng, out, sfreq, transients, place[index])
        if plan.kind == "eeg":
            reach = max(0.0, place[index, 1]) ** 2
            out += np.float32(0.35 * reach) * blinks
            out += np.float32(0.12 * reach * np.sign(place[index, 0])) * gaze
        elif plan.kind == "eog_left":  # below the left eye: a glance to the left is positive
            out += gaze
            out += np.float32(0.6) * blinks
        else:
            out -= gaze
            out += np.float32(rng.uniform(0.2, 0.6)) * blinks
        out += np.float32(rng.normal(0.0, 4.0)) * cardiac
        add_interference(rng, out, sfreq, mains)
        channels.append(out)
    return channels


def _epilepsy(
    rng: np.random.Generator,
    waves: np.ndarray,
    place: np.ndarray,
    night: Night,
    sfreq: int,
    pathology: Pathology,
) -> None:
    """Adds spikes, most of them in quiet sleep, and seizures, to `waves` [C, T] in place."""
    weights = night.weights
    rate = 60.0 * (
        0.7 * weights[W] + 2.0 * (weights[N1] + weights[N2] + weights[N3]) + weights[REM]
    )
    gain = findings.field(place, pathology.focus)
    for onset in sn.events(rng, rate) / sn.STATE_SFREQ:
        height = 75.0 * np.exp(0.3 * rng.standard_normal())
        findings.add(waves, sfreq, onset, height * findings.spike_wave(rng, sfreq), gain)
    for onset in pathology.seizures:
        first = round((onset - night.start) * sfreq)
        # drawn whole, wherever the recording is cut
        own = sn.generator(int(1000 * onset), pathology.course)
        if -SEIZURE_SECONDS * sfreq < first < waves.shape[1]:
            height = 45.0 * np.exp(0.25 * own.standard_normal())
            wave = findings.seizure(own, place, pathology.focus, SEIZURE_SECONDS, sfreq)
            lo, hi = max(0, first), min(waves.shape[1], first + wave.shape[1])
            waves[:, lo:hi] += np.float32(height) * wave[:, lo - first : hi - first]


def _transients(rng: np.random.Generator, traits: SubjectTraits, night: Night, sfreq: int) -> list:
    """Spindles, K-complexes, vertex and saw-tooth waves, and where on the head each is largest.

    Returns (onsets in seconds [N], waves in uV [N, L], weight to the front, weight upwards) for
    each.
    """
    weights = night.weights
    count = traits.spindle_rate * (weights[N2] + 0.35 * weights[N3]) * 60.0
    onsets = sn.events(rng, count) / sn.STATE_SFREQ + rng.random()
    k_onsets = (
        sn.events(rng, 60.0 * traits.k_complex_rate * (weights[N2] + 0.2 * weights[N3]))
        / sn.STATE_SFREQ
    )
    # half of the K-complexes carry a spindle
    onsets = np.concatenate([onsets, k_onsets[rng.random(len(k_onsets)) < 0.5] + 0.6])
    number = (len(onsets), 1)
    t = np.arange(int(1.8 * sfreq)) / sfreq
    length = rng.uniform(0.5, 1.5, number)
    envelope = np.sin(np.pi * np.clip(t / length, 0.0, 1.0)) ** 1.5
    frequency = traits.sigma_frequency + 0.4 * rng.standard_normal(number)
    chirp = rng.uniform(-0.5, 0.2, number)
    phase = 2 * np.pi * ((frequency + chirp * t) * t + rng.random(number))
    height = 17.0 * np.exp(
        0.4 * rng.standard_normal(number) + traits.band_gain[BANDS.index("sigma")]
    )
    spindles = (height * envelope * np.sin(phase)).astype(np.float32)
    number = (len(k_onsets), 1)
    t = np.arange(int(1.6 * sfreq)) / sfreq
    width = rng.uniform(0.85, 1.2, number)
    sharp = -np.exp(-0.5 * ((t - 0.3 * width) / (0.075 * width)) ** 2)
    round_ = 0.75 * np.exp(-0.5 * ((t - 0.75 * width) / (0.17 * width)) ** 2)
    height = 75.0 * np.exp(
        0.35 * rng.standard_normal(number) + traits.band_gain[BANDS.index("slow")]
    )
    complexes = (height * (sharp + round_)).astype(np.float32)
    v_onsets = sn.events(rng, 60.0 * 1.2 * weights[N1]) / sn.STATE_SFREQ
    t = np.arange(int(0.5 * sfreq)) / sfreq
    height = 45.0 * np.exp(0.3 * rng.standard_normal((len(v_onsets), 1)))
    vertex = (
        -height * np.exp(-0.5 * ((t - 0.2) / 0.045) ** 2) * np.cos(2 * np.pi * 2.2 * (t - 0.2))
    ).astype(np.float32)
    # REM's saw-tooth waves: trains of theta, 3-6 s
    s_onsets = sn.events(rng, 50.0 * weights[REM]) / sn.STATE_SFREQ
    t = np.arange(int(4.0 * sfreq)) / sfreq
    length = rng.uniform(2.0, 4.0, (len(s_onsets), 1))
    rate = rng.uniform(2.5, 4.5, (len(s_onsets), 1))
    saw = signal.sawtooth(2 * np.pi * rate * t, 0.7) * np.sin(np.pi * np.clip(t / length, 0, 1))
    saw = (rng.uniform(8.0, 18.0, (len(s_onsets), 1)) * saw).astype(np.float32)
    return [
        (onsets, spindles, -0.1, 0.55),
        (k_onsets, complexes, 0.35, 0.25),
        (v_onsets, vertex, 0.0, 0.8),
        (s_onsets, saw, 0.2, 0.5),
    ]


def _add_transients(
    rng: np.random.Generator, out: np.ndarray, sfreq: int, transients: list, place: np.ndarray
) -> None:
    for onsets, waves, front, up in transients:
        if len(onsets) == 0:
            continue
        gain = np.exp(front * place[1] + up * (place[2] - 0.7))
        each = gain * np.exp(
            0.25 * rng.standard_normal((len(onsets), 1))
        )  # no event is the same everywhere
        sn.scatter(out, sfreq, onsets, (each * waves).astype(np.float32))


def _eyes(
    rng: np.random.Generator, traits: SubjectTraits, night: Night, sfreq: int, samples: int
) -> tuple[np.ndarray, np.ndarray]:
    """Horizontal gaze and blinks as the EOG sees them (uV, high-passed), each float32 [samples]."""
    weights = night.weights
    rate = 3600.0 * (
        1.3 * night.phasic + 0.05 * weights[REM] + 0.5 * night.eyes_open + 0.02 * weights[N1]
    )
    jumps = sn.events(rng, rate) / sn.STATE_SFREQ
    jumps = jumps + rng.random(len(jumps)) / sn.STATE_SFREQ
    size = (
        60.0
        * traits.eye_gain
        * rng.gamma(2.5, 0.4, len(jumps))
        * rng.choice([-1.0, 1.0], len(jumps))
    )
    impulses = np.zeros(samples, np.float32)
    np.add.at(
        impulses, np.minimum((jumps * sfreq).astype(np.int64), samples - 1), size.astype(np.float32)
    )
    # a saccade rises in some 40 ms and dies away with the amplifier's time constant
    slow, fast = np.exp(-1.0 / (0.9 * sfreq)), np.exp(-1.0 / (0.02 * sfreq))
    shape = np.array([1.0, -(slow + fast), slow * fast], np.float32)
    gaze = signal.lfilter(np.array([1.0 - fast], np.float32), shape, impulses)
    rolling = weights[N1] * 0.9 + 0.25 * weights[W] * (1.0 - night.eyes_open)
    speed = 0.28 * np.exp(0.25 * sn.wander(rng, len(rolling), 10.0))
    phase = 2 * np.pi * np.cumsum(speed) / sn.STATE_SFREQ
    roll = (
        55.0
        * traits.eye_gain
        * rolling
        * np.exp(0.5 * sn.wander(rng, len(rolling), 15.0))
        * np.sin(phase)
    )
    gaze += sn.upsample(roll, sfreq, samples)
    onsets = sn.events(rng, 60.0 * traits.blink_rate * night.eyes_open) / sn.STATE_SFREQ
    onsets = onsets + rng.random(len(onsets)) / sn.STATE_SFREQ
    t = np.arange(int(0.7 * sfreq)) / sfreq
    width = rng.uniform(0.05, 0.09, (len(onsets), 1))
    blink = np.exp(-0.5 * ((t - 0.25) / width) ** 2) - 0.18 * np.exp(
        -0.5 * ((t - 0.45) / 0.08) ** 2
    )
    blink *= 130.0 * traits.eye_gain * np.exp(0.3 * rng.standard_normal((len(onsets), 1)))
    blinks = np.zeros(samples, np.float32)
    sn.scatter(blinks, sfreq, onsets, blink.astype(np.float32))
    return gaze, blinks


def add_interference(
    rng: np.random.Generator, out: np.ndarray, sfreq: int, mains: int, scale: float = 1.0
) -> None:
    """Add in place what electrodes add (uV times `scale`): mains, amplifier noise, rare pops."""
    seconds = len(out) / sfreq
    if 2 * mains < sfreq:
        hum = np.sin(2 * np.pi * mains * np.arange(sfreq) / sfreq + rng.uniform(0, 6.28)).astype(
            np.float32
        )
        level = 0.6 * np.exp(
            0.8 * rng.standard_normal() + 0.3 * rng.standard_normal(int(np.ceil(seconds)))
        )
        out += (scale * level[:, None].astype(np.float32) * hum).reshape(-1)[: len(out)]
    out += np.float32(0.4 * scale) * sn.noise(rng, len(out))
    pops = rng.poisson(rng.exponential(0.4) * seconds / 3600.0)
    if pops:
        t = np.arange(3 * sfreq) / sfreq
        height = scale * rng.choice([-1.0, 1.0], (pops, 1)) * rng.uniform(60.0, 250.0, (pops, 1))
        sn.scatter(
            out,
            sfreq,
            rng.uniform(0, seconds, pops),
            (height * np.exp(-t / 0.5)).astype(np.float32),
        )
