"""What is wrong with a simulated person: latents that signals of several kinds show, or one alone.

Shared between modalities: vigilance, slowing, autonomic tone, atrial fibrillation and ectopy,
conduction. Private to the EEG: the lesion's side, the epileptic focus. (Nuisance, such as gain,
hardware, mains and movement, is drawn where it is rendered.) `elsewhere` says what the other
modalities show of it, by the coupling: the knob that makes transfer from agreement possible, or
impossible, while every single signal stays as it is.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from sleepfm_jax.simulation.body.noise import STATE_SFREQ, generator, wander
from sleepfm_jax.simulation.body.traits import SubjectTraits

VERSION = 2
"""Of the generator: of sleepers with pathology and of the labelled archives. Raised with every
change of what the same seed gives; tables of an earlier version are void. (1: plain textbook
findings, which one number told apart.)"""

FOCI = ("Fp1", "Fp2", "F7", "F8", "F3", "F4", "C3", "C4", "T7", "T8", "P7", "P8", "O1", "O2")


@dataclasses.dataclass(frozen=True)
class Pathology:
    """The defaults are those of a healthy person.

    Attributes:
      vigilance: drowsiness by nature, z-score. autonomic: sympathetic tone, z-score: fast heart,
        little variability.
      slowing: of the EEG's background, 0 (none) to about 1.5; spindles and heart rate variability
        go with it.
      lesion: depth of a focal lesion, 0 to 1. side: -1 left, 1 right, 0 none.
      course: names the slow course by which the slowing comes and goes.
      focus: electrode of an epileptic focus, "" none. seizures: their onsets, s from the start of
        the night; they make the heart race.
      fibrillation: share of the time in atrial fibrillation, 0 to 1. ectopy: share of premature
        beats.
      pr, qrs: s. bundle: "left", "right" or "" (with a qrs below 0.12 s: incomplete).
    """

    vigilance: float = 0.0
    autonomic: float = 0.0
    slowing: float = 0.0
    course: int = 0
    lesion: float = 0.0
    side: int = 0
    focus: str = ""
    seizures: tuple[float, ...] = ()
    fibrillation: float = 0.0
    ectopy: float = 0.0
    pr: float = 0.16
    qrs: float = 0.094
    bundle: str = ""


HEALTHY = Pathology()
SEIZURE_SECONDS = 45.0
_SEIZURES_AN_HOUR = 5.0  # of those who have a focus: they sleep in a monitoring unit
_NIGHT_SECONDS = 24 * 3600.0

GROUPS = (
    ("vigilance",),
    ("autonomic",),
    ("slowing", "course"),
    ("focus", "seizures"),
    ("fibrillation", "ectopy"),
    ("pr", "qrs", "bundle"),
)
"""Latents that modalities share, those together that are one thing."""


def draw_pathology(rng: np.random.Generator, age: float) -> Pathology:
    """A sleeper's, at natural prevalence: most have next to nothing, and it comes with age."""
    old = np.clip((age - 50.0) / 30.0, -1.0, 1.0)
    slowing = rng.beta(1.0, 4.0) * (1.0 + 0.4 * old)
    if rng.random() < 0.10 + 0.06 * old:
        slowing += rng.uniform(0.4, 1.0)
    lesion, side = 0.0, 0
    if rng.random() < 0.08:
        lesion, side = float(rng.uniform(0.3, 1.0)), int(rng.choice([-1, 1]))
    fibrillation = float(rng.choice([1.0, rng.uniform(0.1, 0.6)])) if (
        rng.random() < 0.06 + 0.05 * old
    ) else 0.0  # fmt: skip
    bundle, qrs = "", float(np.clip(0.094 + 0.009 * rng.standard_normal(), 0.075, 0.115))
    if rng.random() < 0.10 + 0.05 * old:
        bundle = str(rng.choice(["left", "right"], p=[0.35, 0.65]))
        qrs = float(rng.uniform(0.105, 0.16))
    focus = str(rng.choice(FOCI)) if rng.random() < 0.06 else ""
    return Pathology(
        vigilance=float(rng.standard_normal()),
        autonomic=float(rng.standard_normal()),
        slowing=float(slowing),
        course=int(rng.integers(2**31)),
        lesion=lesion,
        side=side,
        focus=focus,
        seizures=_seizures(rng) if focus else (),
        fibrillation=fibrillation,
        ectopy=float(rng.exponential(0.02)) if rng.random() < 0.2 else 0.0,
        pr=float(np.clip(0.160 + 0.01 * old + 0.025 * rng.standard_normal(), 0.11, 0.32)),
        qrs=qrs,
        bundle=bundle,
    )


def _seizures(rng: np.random.Generator) -> tuple[float, ...]:
    """Onsets (s) of a day and a night, two minutes apart at least."""
    count = int(2 * _NIGHT_SECONDS / 3600.0 * _SEIZURES_AN_HOUR)
    pauses = 120.0 + rng.exponential(3600.0 / _SEIZURES_AN_HOUR - 120.0, count)
    onsets = np.cumsum(pauses)
    return tuple(float(onset) for onset in onsets[onsets < _NIGHT_SECONDS])


def slowing_course(pathology: Pathology, size: int, start: float = 0.0) -> np.ndarray:
    """The slowing as it comes and goes, float32 [size] on the state grid, from `start` (s) on.

    The same course for the same pathology, in whichever signal it shows.
    """
    if pathology.slowing == 0.0:
        return np.zeros(size, np.float32)
    first = round(start * STATE_SFREQ)
    curve = wander(generator(pathology.course), first + size, 240.0)[first:]
    return (pathology.slowing * np.clip(1.0 + 0.5 * curve, 0.0, 2.0)).astype(np.float32)


def ictal_course(pathology: Pathology, size: int, start: float = 0.0) -> np.ndarray:
    """1 during seizures, 0 between them, float32 [size] on the state grid, from `start` (s) on."""
    curve = np.zeros(size, np.float32)
    for onset in pathology.seizures:
        first = round((onset - start) * STATE_SFREQ)
        curve[max(0, first) : max(0, first + round(SEIZURE_SECONDS * STATE_SFREQ))] = 1.0
    return curve


def beside_the_eeg(traits: SubjectTraits, seen: Pathology, own: Pathology) -> SubjectTraits:
    """Traits of heart, breath and muscle of someone with this pathology.

    Args:
      traits: of the person in health.
      seen: what the modalities beside the EEG show of what is the EEG's, and those beside the ECG
        of what is the ECG's.
      own: of which the heart rate takes the autonomic tone, which is the ECG's.
    """
    slow, drowsy = seen.slowing, seen.vigilance
    calm = np.exp(-1.1 * slow - 0.30 * own.autonomic)
    return dataclasses.replace(
        traits,
        heart_rate=float(
            np.clip(traits.heart_rate * np.exp(0.09 * own.autonomic - 0.05 * drowsy), 38.0, 115.0)
        ),
        heart_variability=float(traits.heart_variability * calm),
        sinus_arrhythmia=float(traits.sinus_arrhythmia * calm),
        breathing_rate=float(
            np.clip(
                traits.breathing_rate * np.exp(0.06 * seen.autonomic - 0.04 * drowsy), 8.0, 26.0
            )
        ),
        # Beyond this single breaths would be hundreds of times as deep as the others.
        breathing_irregularity=float(
            np.minimum(traits.breathing_irregularity * np.exp(0.6 * slow), 1.6)
        ),
        chin_tone=float(traits.chin_tone * np.exp(-0.25 * drowsy + 0.15 * seen.autonomic)),
    )


def elsewhere(
    own: Pathology, stranger: Pathology, coupling: float, rng: np.random.Generator
) -> Pathology:
    """What the other modalities show: each shared latent is the person's own with the probability
    `coupling`, otherwise a stranger's. So its correlation with what the first modality shows is the
    coupling, and each modality by itself looks the same whatever the coupling.

    Whatever the coupling, modalities share what those of the healthy share: stages, arousals, the
    rate of the heart (so the pulse has the ECG's autonomic tone), and age, with which slowing and
    fibrillation come and heart rate variability goes. And the others have one stranger: what ECG,
    breath and muscle show of the EEG's latents is alike.

    Args:
      own: what the modality shows whose latent it is: the EEG (vigilance, slowing, focus), the ECG
        (the rest).
      stranger: an independent draw from the same population.
      coupling: 0 to 1.
    """
    kept = rng.random(len(GROUPS)) < coupling
    taken = {
        name: getattr(stranger, name)
        for group, keep in zip(GROUPS, kept)
        if not keep
        for name in group
    }
    return dataclasses.replace(own, **taken)
