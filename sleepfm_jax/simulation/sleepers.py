"""A simulated sleeper: traits, what is wrong with them, a night, and every channel of it.

Subject `i` of a cohort is a function of (seed, i) alone. Nothing here knows of files.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import numpy as np

from sleepfm_jax.simulation.body import cardiorespiratory, eeg
from sleepfm_jax.simulation.body.noise import generator
from sleepfm_jax.simulation.body.pathology import (
    HEALTHY,
    Pathology,
    beside_the_eeg,
    draw_pathology,
    elsewhere,
)
from sleepfm_jax.simulation.body.physiology import Night, cut, simulate_night
from sleepfm_jax.simulation.body.sleep import EPOCHS_PER_HOUR, simulate_hypnogram
from sleepfm_jax.simulation.body.traits import SubjectTraits, draw_subject
from sleepfm_jax.simulation.edf_writer import Trace, from_microvolts, trace
from sleepfm_jax.simulation.montage import ChannelPlan, draw_montage

KEY = 1  # first element of every random key: no other data set's
NIGHT_HOURS = 8.0
_EEG_KINDS = ("eeg", "eog_left", "eog_right")
_UNITLESS_GAIN = {"V": 1e-3, "mV": 1.0, "uV": 300.0, "": 1.0, "cmH2O": 1.0}


@dataclasses.dataclass(frozen=True)
class Latents:
    """What is wrong with a sleeper.

    Attributes:
      own: as the modality shows it whose latent it is: the EEG or the ECG.
      seen: as the other modalities show it; by the coupling the same, or a stranger's.
    """

    own: Pathology = HEALTHY
    seen: Pathology = HEALTHY


NO_PATHOLOGY = Latents()


def draw_latents(seed: int, index: int, coupling: float) -> Latents:
    """What is wrong with a sleeper, and how much of it (`coupling`, 0 to 1) other signals show."""
    age = draw_subject(generator(KEY, seed, index, 0)).age
    own = draw_pathology(generator(KEY, seed, index, 7), age)
    other = generator(KEY, seed, index, 8)
    stranger = draw_pathology(other, float(other.uniform(20.0, 80.0)))
    return Latents(own, elsewhere(own, stranger, coupling, generator(KEY, seed, index, 9)))


def simulate_subject(
    seed: int,
    index: int,
    hours: float = NIGHT_HOURS,
    latents: Latents = NO_PATHOLOGY,
    signals: Collection[str] = (),
) -> tuple[SubjectTraits, Night, tuple[ChannelPlan, ...]]:
    """Traits, night (cut to `hours`) and montage of one simulated sleeper; renders no channel.

    Args:
      signals: that the montage has and no others (`montage.draw_montage`); (): as drawn.
    """
    traits = draw_subject(generator(KEY, seed, index, 0))
    if latents != NO_PATHOLOGY:
        traits = beside_the_eeg(traits, latents.seen, latents.own)
    montage = draw_montage(generator(KEY, seed, index, 1), signals)
    rng = generator(KEY, seed, index, 2)
    wanted = round(hours * EPOCHS_PER_HOUR)
    epochs = max(wanted, round(NIGHT_HOURS * EPOCHS_PER_HOUR))
    stages = simulate_hypnogram(rng, epochs, fragmentation=traits.fragmentation)
    night = simulate_night(rng, traits, stages, latents.seen)
    # a short recording is a window of a whole night, so every stage turns up somewhere in the
    # cohort
    if latents != NO_PATHOLOGY:  # the same part, however many beats the night has
        rng = generator(KEY, seed, index, 10)
    first = int(rng.integers(epochs - wanted + 1))
    return traits, cut(night, first, wanted), montage


def render_psg(
    seed: int,
    index: int,
    traits: SubjectTraits,
    night: Night,
    montage: tuple[ChannelPlan, ...],
    latents: Latents = NO_PATHOLOGY,
) -> list[Trace]:
    """Every channel of the montage, quantised, in the montage's order."""
    key = (KEY, seed, index)
    own, seen = latents.own, latents.seen
    heart = cardiorespiratory.Heart(generator(*key, 3), traits, night, pathology=own)
    # what EEG and EMG pick up of the heart must not say more of it than the pulse does
    picked_up = heart
    if seen != own:
        picked_up = cardiorespiratory.Heart(generator(*key, 3), traits, night, pathology=seen)
    done: dict[ChannelPlan, Trace] = {}
    for sfreq in sorted({plan.sfreq for plan in montage if plan.kind in _EEG_KINDS}):
        plans = [plan for plan in montage if plan.kind in _EEG_KINDS and plan.sfreq == sfreq]
        waves = eeg.render((*key, 4), traits, night, plans, picked_up.wave(sfreq), pathology=own)
        for plan, wave in zip(plans, waves):
            done[plan] = trace(
                plan.label, sfreq, plan.unit, from_microvolts(wave, plan.unit), "AgAgCl"
            )
        del waves
    for number, plan in enumerate(montage):
        if plan in done:
            continue
        rng = generator(*key, 5, number)
        if plan.kind == "ecg":
            wave = cardiorespiratory.render_ecg(rng, night, heart, plan.sfreq)
            wave = from_microvolts(1000.0 * wave, plan.unit)
        elif plan.kind in ("chin", "leg_left", "leg_right"):
            wave = cardiorespiratory.render_emg(
                rng, traits, night, picked_up, plan.kind, plan.sfreq
            )
            wave = from_microvolts(wave, plan.unit)
        elif plan.kind == "pleth":
            wave = cardiorespiratory.render_pleth(rng, traits, night, plan.sfreq, pathology=seen)
        else:
            wave = cardiorespiratory.render_breathing(rng, traits, night, plan.kind, plan.sfreq)
            if plan.kind != "oxygen":
                wave = wave * np.float32(
                    _UNITLESS_GAIN[plan.unit] * np.exp(0.5 * rng.standard_normal())
                )
        done[plan] = trace(plan.label, plan.sfreq, plan.unit, wave)
    return [done[plan] for plan in montage]
