"""Two simulated tasks awake: EEG with a one-sided lesion, and 12-lead ECG with four rhythms.

The EEG classes are mirror images of each other. Averaged over the head, or with the channels' order
lost, they are the same; only a model that knows which electrode is which can tell them apart.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from sleepfm_jax.simulation.body import noise as sn
from sleepfm_jax.simulation.body.cardiorespiratory import beat_table, beats_wave
from sleepfm_jax.simulation.body.eeg import add_interference, coherence, spectral_shapes, topography
from sleepfm_jax.simulation.body.findings import LESION
from sleepfm_jax.simulation.body.traits import BANDS, SubjectTraits
from sleepfm_jax.simulation.edf_writer import Trace, from_microvolts, trace
from sleepfm_jax.simulation.montage import SITES

WAKE_EEG_CLASSES = ("left", "right")
ECG_CLASSES = ("NORM", "AF", "BRADY", "RBBB")
ECG_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
TEN_TWENTY = (
    "Fp1", "Fp2", "F7", "F3", "Fz", "F4", "F8", "T7", "C3", "Cz",
    "C4", "T8", "P7", "P3", "Pz", "P4", "P8", "O1", "O2",
)  # fmt: skip
_OLD_NAMES = {"T7": "T3", "T8": "T4", "P7": "T5", "P8": "T6"}
# wake, eyes mostly closed: RMS in uV of each component of BANDS
WAKE_RMS = np.array([9.0, 4.5, 4.0, 11.0, 1.8, 4.0, 1.6])

#: Directions of the leads in the body (to the left, to the feet, to the front); limb leads lie in
#: the frontal plane.
LEAD_VECTORS = np.array(
    [
        [1.0, 0.0, 0.0], [0.5, 0.866, 0.0], [-0.5, 0.866, 0.0],
        [-0.75, -0.433, 0.0], [0.75, -0.433, 0.0], [0.0, 0.866, 0.0],
        [-0.55, 0.1, 0.85], [-0.1, 0.15, 1.1], [0.35, 0.2, 1.1],
        [0.8, 0.25, 0.85], [1.05, 0.25, 0.4], [1.05, 0.2, 0.05],
    ]
)  # fmt: skip


def render_wake_eeg(
    key: tuple[int, ...], traits: SubjectTraits, label: str, *, seconds: float, sfreq: int
) -> list[Trace]:
    """One wake recording of 19 electrodes with a lesion in one hemisphere.

    `traits` is the person (gains, alpha); the recording's own mood, lesion size and place come from
    `key`.
    """
    rng = sn.generator(*key)
    samples = round(seconds * sfreq)
    size = int(np.ceil(seconds)) * sn.STATE_SFREQ
    place = np.array([SITES[site] for site in TEN_TWENTY])  # [C, 3]
    side = np.where(np.abs(place[:, 0]) < 0.1, 0.5, (place[:, 0] > 0).astype(float))
    # the lesion's centre on the left half, mirrored for the right one
    centre = np.array([-0.65, rng.uniform(-0.6, 0.6), 0.35])
    if label == "right":
        centre[0] = -centre[0]
    near = np.exp(-0.5 * np.sum((place - centre) ** 2, axis=1) / 0.55**2)  # [C]
    depth = rng.uniform(0.3, 0.9)
    eyes_open = sn.sigmoid(2.5 * sn.wander(rng, size, 8.0) - 1.5).astype(np.float32)
    log_rms = np.log(WAKE_RMS)[:, None] + (traits.band_gain + traits.stage_gain[0])[:, None]
    log_rms = log_rms + np.stack([0.15 * sn.wander(rng, size, 5.0) for _ in BANDS])
    log_rms[BANDS.index("alpha")] -= 1.2 * eyes_open
    log_rms = log_rms + 0.1 * rng.standard_normal((len(BANDS), 1))
    power = sn.at_blocks(log_rms, samples, sfreq)  # [B, N]
    # a person's scalp and the day's electrodes: asymmetries that have nothing to do with the class
    habit = sn.generator(*key[:3], 7).standard_normal((len(TEN_TWENTY), len(BANDS)))
    gain = topography(list(TEN_TWENTY)) + 0.15 * habit
    gain += 0.10 * rng.standard_normal((len(TEN_TWENTY), 1)) + depth * near[:, None] * LESION
    frequencies = sn.block_frequencies(sfreq)
    waves = sn.shaped_noise(
        rng,
        sfreq=sfreq,
        samples=samples,
        power=np.exp(2.0 * (power.T[None] + gain[:, None, :])).astype(np.float32),
        shapes=spectral_shapes(traits, frequencies),
        hemisphere=side,
        coherence=coherence(frequencies),
    )
    blinks = _blinks(rng, traits, eyes_open, sfreq, samples)
    mains = int(rng.choice([50, 60]))
    traces = []
    for site, where, wave in zip(TEN_TWENTY, place, waves):
        wave += np.float32(0.8 * max(0.0, where[1]) ** 3) * blinks
        add_interference(rng, wave, sfreq, mains)
        name = _OLD_NAMES.get(site, site) if traits.age > 50 else site
        traces.append(trace(f"EEG {name}-REF", sfreq, "uV", wave, "AgAgCl"))
    return traces


def _blinks(
    rng: np.random.Generator, traits: SubjectTraits, eyes_open: np.ndarray, sfreq: int, samples: int
) -> np.ndarray:
    onsets = sn.events(rng, 60.0 * traits.blink_rate * (0.1 + eyes_open)) / sn.STATE_SFREQ
    t = np.arange(int(0.6 * sfreq)) / sfreq
    width = rng.uniform(0.05, 0.09, (len(onsets), 1))
    blink = 110.0 * traits.eye_gain * np.exp(-0.5 * ((t - 0.25) / width) ** 2)
    out = np.zeros(samples, np.float32)
    sn.scatter(out, sfreq, onsets, blink.astype(np.float32))
    return out


@dataclasses.dataclass(frozen=True)
class _Rhythm:
    beats: np.ndarray  # seconds
    atrial: bool  # P waves, or fibrillation


def _rhythm(rng: np.random.Generator, labels: tuple[str, ...], seconds: float) -> _Rhythm:
    rate = np.clip(72.0 + 11.0 * rng.standard_normal(), 61.0, 105.0)
    if "BRADY" in labels:
        rate = rng.uniform(38.0, 56.0)
    if "AF" in labels:
        rate = rate * rng.uniform(1.0, 1.35)
    count = int((seconds + 6.0) * rate / 60.0 * 1.6) + 4
    if "AF" in labels:
        intervals = 60.0 / rate * rng.gamma(22.0, 1.0 / 22.0, count)
    else:
        breath = np.sin(
            2 * np.pi * rng.uniform(0.18, 0.3) * np.arange(count) * 60.0 / rate
            + rng.uniform(0, 6.28)
        )
        spread = rng.uniform(0.005, 0.05)
        intervals = 60.0 / rate * np.exp(spread * breath + 0.012 * rng.standard_normal(count))
    beats = np.cumsum(np.maximum(intervals, 0.3)) - 3.0 + rng.random()
    return _Rhythm(beats[beats < seconds + 3.0], "AF" not in labels)


def render_ecg(
    key: tuple[int, ...], labels: tuple[str, ...], *, seconds: float, sfreq: int
) -> list[Trace]:
    """One 12-lead ECG from a moving dipole: each wave of the beat has its own direction.

    `labels` is any set of `ECG_CLASSES`: AF drops the P wave and scatters the R-R intervals, BRADY
    slows the rate, RBBB widens the QRS with a late vector to the right and the front. Key elements
    0-2 name the person, the rest the exam.
    """
    person, rng = sn.generator(*key[:3], 8), sn.generator(*key)
    samples = round(seconds * sfreq)
    axis = np.deg2rad(np.clip(45.0 + 20.0 * person.standard_normal(), -10.0, 80.0))
    heights = np.exp(0.22 * person.standard_normal(5)) * np.exp(0.05 * rng.standard_normal(5))
    amplitude = np.exp(0.3 * person.standard_normal()) * 1.1
    # unit vectors (left, feet, front) of P, Q, R, S, T
    vectors = np.array(
        [
            [0.55, 0.8, 0.1],
            [-0.5, 0.2, 0.7],
            [np.cos(axis), np.sin(axis), -0.25 + 0.15 * person.standard_normal()],
            [-0.35, -0.1, -0.9],
            [0.7, 0.55, 0.35 + 0.15 * person.standard_normal()],
        ]
    )
    vectors[1] *= -1.0  # the templates of Q and S are negative; these are where they point to
    vectors[3] *= -1.4
    rhythm = _rhythm(rng, labels, seconds)
    gains = amplitude * np.exp(0.03 * rng.standard_normal(len(rhythm.beats)))
    same = np.zeros(len(rhythm.beats), int)
    dipole = np.zeros((3, samples), np.float32)
    for wave in range(5):
        if wave == 0 and not rhythm.atrial:
            continue
        only = np.where(np.arange(5) == wave, heights, 0.0)
        curve = beats_wave(rhythm.beats, beat_table(only)[None], gains, same, sfreq, samples)
        dipole += vectors[wave].astype(np.float32)[:, None] * curve
    if "RBBB" in labels:
        # the right ventricle is late: a slow terminal vector, and T turned away from it
        late = beat_table(np.array([0.0, 0.0, 1.0, 0.0, 0.0]), wide=True)
        curve = beats_wave(
            rhythm.beats + rng.uniform(0.05, 0.065), late[None], gains, same, sfreq, samples
        )
        dipole += (
            np.array([-0.32, 0.0, 0.42], np.float32)[:, None]
            * np.float32(rng.uniform(0.7, 1.2))
            * curve
        )
    if not rhythm.atrial:  # fibrillation waves, best seen in V1
        flutter = _coarse_noise(rng, samples, sfreq)
        dipole += np.array([0.02, 0.05, 0.05], np.float32)[:, None] * flutter
    leads = (LEAD_VECTORS.astype(np.float32) @ dipole).astype(np.float32)  # [12, T]
    electrode_gain = np.exp(0.12 * person.standard_normal(6))
    leads[6:] *= electrode_gain[:, None].astype(np.float32)
    # noise lives on the electrodes, so Einthoven's law holds with it
    size = int(np.ceil(seconds)) * sn.STATE_SFREQ
    limb = np.stack(
        [_electrode_noise(rng, samples, size, sfreq) for _ in range(2)]
    )  # leads I and II
    leads[:6] += (
        np.array([[1, 0], [0, 1], [-1, 1], [-0.5, -0.5], [1, -0.5], [-0.5, 1]], np.float32) @ limb
    )
    for lead in range(6, 12):
        leads[lead] += _electrode_noise(rng, samples, size, sfreq)
    unit = "mV" if person.random() < 0.7 else "uV"
    return [
        trace(name, sfreq, unit, from_microvolts(1000.0 * wave, unit))
        for name, wave in zip(ECG_LEADS, leads)
    ]


def _coarse_noise(rng: np.random.Generator, samples: int, sfreq: int) -> np.ndarray:
    """Narrow-band noise at 4-8 Hz, unit variance: the fibrillating atrium."""
    frequencies = np.fft.rfftfreq(samples, 1.0 / sfreq)
    shape = np.exp(-0.5 * ((frequencies - rng.uniform(5.0, 7.5)) / 0.9) ** 2)
    spectrum = shape * (rng.standard_normal(len(shape)) + 1j * rng.standard_normal(len(shape)))
    wave = np.fft.irfft(spectrum, samples)
    return (wave / wave.std()).astype(np.float32)


def _electrode_noise(rng: np.random.Generator, samples: int, size: int, sfreq: int) -> np.ndarray:
    """Baseline wander, muscle and mains in mV, float32 [T]."""
    level = np.exp(0.6 * rng.standard_normal())
    out = sn.upsample(0.05 * level * sn.wander(rng, size, 1.5), sfreq, samples)
    out += np.float32(0.012 * level) * sn.fir_noise(rng, samples, (1.0, 0.5, -1.0))
    hum = np.sin(2 * np.pi * 50 * np.arange(samples) / sfreq + rng.uniform(0, 6.28))
    return (out + 0.004 * level * hum).astype(np.float32)
