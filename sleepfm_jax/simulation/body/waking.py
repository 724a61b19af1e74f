"""Wake EEG of one person on any electrodes: background, state of the day, artefacts of the day.

Traits are the person's and the same in all their recordings; a `Mood` is a recording's.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from sleepfm_jax.simulation.body import findings
from sleepfm_jax.simulation.body import noise as sn
from sleepfm_jax.simulation.body.awake import WAKE_RMS
from sleepfm_jax.simulation.body.eeg import (
    add_interference,
    coherence,
    spectral_shapes,
    topography,
)
from sleepfm_jax.simulation.body.pathology import FOCI
from sleepfm_jax.simulation.body.traits import BANDS, SubjectTraits, draw_subject

ELECTRODES = (
    "Fp1", "Fp2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2", "F7", "F8", "T7", "T8",
    "P7", "P8", "A1", "A2", "Fz", "Cz", "Pz", "FT9", "FT10",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Person:
    """Who is recorded.

    Attributes:
      scalp: log amplitude of each component at each of ELECTRODES, [E, B]: the person's skull, and
        how the laboratory glues.
      focus: electrode where whatever discharges does so.
      grade: of their disease, if it is one of degree; standard normal.
    """

    traits: SubjectTraits
    scalp: np.ndarray
    focus: str
    grade: float


@dataclasses.dataclass(frozen=True)
class Mood:
    """A recording's state: slowing and drowsiness 0 to about 1.5, the beta that drugs bring (log
    amplitude), a lesion's depth 0 to 1 and its side, -1 left, 1 right.
    """

    slowing: float = 0.0
    drowsiness: float = 0.0
    beta: float = 0.0
    lesion: float = 0.0
    side: int = 0


def draw_person(rng: np.random.Generator) -> Person:
    return Person(
        traits=draw_subject(rng),
        scalp=0.15 * rng.standard_normal((len(ELECTRODES), len(BANDS))),
        focus=str(rng.choice(FOCI)),
        grade=float(rng.standard_normal()),
    )


def render(
    rng: np.random.Generator,
    person: Person,
    sites: tuple[str, ...],
    seconds: float,
    sfreq: int,
    mood: Mood,
) -> np.ndarray:
    """One recording in uV, float32 [C, seconds * sfreq]; `sites` are of ELECTRODES."""
    samples = round(seconds * sfreq)
    size = int(np.ceil(seconds)) * sn.STATE_SFREQ
    where = findings.place(sites)
    traits = findings.slowed(person.traits, mood.slowing)
    eyes_open = sn.sigmoid(2.5 * sn.wander(rng, size, 8.0) - 1.0 - mood.drowsiness)
    drowsy = mood.drowsiness * np.clip(1.0 + 0.8 * sn.wander(rng, size, 12.0), 0.0, 2.5)
    slow = mood.slowing * np.clip(1.0 + 0.35 * sn.wander(rng, size, 8.0), 0.2, 2.0)
    level = np.log(WAKE_RMS) + traits.band_gain + traits.stage_gain[0]
    level = level + 0.10 * rng.standard_normal(len(BANDS))
    level[BANDS.index("beta")] += mood.beta
    log_rms = level[:, None] + np.stack([0.15 * sn.wander(rng, size, 5.0) for _ in BANDS])
    log_rms += findings.SLOWING[:, None] * slow + findings.DROWSINESS[:, None] * drowsy
    log_rms[BANDS.index("alpha")] -= 1.2 * eyes_open
    power = sn.at_blocks(log_rms, samples, sfreq)  # [B, N]
    scalp = person.scalp[[ELECTRODES.index(site) for site in sites]]
    gain = _topography(sites) + scalp + 0.10 * rng.standard_normal((len(sites), 1))
    if mood.lesion > 0.0:
        gain = gain + mood.lesion * findings.lesion_gain(rng, where, mood.side)
    right = np.where(np.abs(where[:, 0]) < 0.1, 0.5, (where[:, 0] > 0).astype(float))
    frequencies = sn.block_frequencies(sfreq)
    eeg = sn.shaped_noise(
        rng,
        sfreq=sfreq,
        samples=samples,
        power=np.exp(2.0 * (power.T[None] + gain[:, None, :])).astype(np.float32),
        shapes=spectral_shapes(traits, frequencies),
        hemisphere=right,
        coherence=coherence(frequencies),
    )
    _eyes(rng, eeg, where, traits, eyes_open, drowsy, sfreq)
    mains = int(rng.choice([50, 60]))
    for wave in eeg:
        add_interference(rng, wave, sfreq, mains)
    return eeg


def _topography(sites: tuple[str, ...]) -> np.ndarray:
    """As `topography`; ears and zygomatic arches are like the temples beside them."""
    nearest = {"A1": "T7", "A2": "T8", "FT9": "F7", "FT10": "F8"}
    return topography([nearest.get(site, site) for site in sites])


def _eyes(
    rng: np.random.Generator,
    eeg: np.ndarray,
    where: np.ndarray,
    traits: SubjectTraits,
    eyes_open: np.ndarray,
    drowsy: np.ndarray,
    sfreq: int,
) -> None:
    """Adds blinks of open eyes, and the slow rolling of drowsy ones."""
    onsets = sn.events(rng, 60.0 * traits.blink_rate * (0.05 + eyes_open)) / sn.STATE_SFREQ
    reach = np.clip(where[:, 1], 0.0, None) ** 3
    for onset in onsets:
        height = 70.0 * traits.eye_gain * np.exp(0.3 * rng.standard_normal())
        findings.add(eeg, sfreq, onset, height * findings.blink(rng, sfreq), reach)
    if drowsy.max() > 0.0:
        speed = 0.28 * np.exp(0.25 * sn.wander(rng, len(drowsy), 10.0))
        phase = 2 * np.pi * np.cumsum(speed) / sn.STATE_SFREQ
        roll = sn.upsample(22.0 * traits.eye_gain * drowsy * np.sin(phase), sfreq, eeg.shape[1])
        across = np.sign(where[:, 0]) * np.clip(where[:, 1], 0.0, None) * np.abs(where[:, 0])
        eeg += across.astype(np.float32)[:, None] * roll
