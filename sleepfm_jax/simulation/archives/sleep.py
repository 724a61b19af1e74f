"""Simulated sleep archives: the real layout, file names, labels, rates, units and annotations.

The truth, in hypnograms.csv, is what the generator drew. Night `visit` of person `index` is a
function of (archive, seed, index, visit) alone. Bodies and brains are those of `cohorts`: an
archive differs in its montage, its files and its scorer.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import os
from pathlib import Path

import numpy as np

from sleepfm_jax.errors import SimulationError
from sleepfm_jax.signals import SLEEP_EPOCH_SECONDS
from sleepfm_jax.simulation import sleepers
from sleepfm_jax.simulation.archives import montages, scorers
from sleepfm_jax.simulation.archives.faults import inject
from sleepfm_jax.simulation.archives.layouts import (
    AASM,
    ARCHIVES,
    SimulatedNight,
    write_annotations,
)
from sleepfm_jax.simulation.archives.montages import draw_archive_montage
from sleepfm_jax.simulation.archives.scorers import Scored
from sleepfm_jax.simulation.archives.write import Archive, Truth, check_name, write
from sleepfm_jax.simulation.body import cardiorespiratory
from sleepfm_jax.simulation.body.noise import STATE_SFREQ, generator
from sleepfm_jax.simulation.body.physiology import Night, cut, simulate_night
from sleepfm_jax.simulation.body.sleep import EPOCHS_PER_HOUR, simulate_hypnogram
from sleepfm_jax.simulation.body.traits import SubjectTraits, draw_subject
from sleepfm_jax.simulation.edf_writer import Trace, trace, write_edf
from sleepfm_jax.simulation.montage import ChannelPlan

_ARCHIVE = 4  # first element of every random key; `cohorts` has 1 to 3
_MAX_SUBJECTS = 9000  # the archives' ids have four digits or more


def write_archive(
    name: str,
    out: str | os.PathLike,
    *,
    subjects: int,
    hours: float = sleepers.NIGHT_HOURS,
    seed: int = 0,
    faults: float = 0.0,
    workers: int = 1,
) -> list[SimulatedNight]:
    """Writes a simulated sleep archive; `write` says what goes where.

    Args:
      name: one of ARCHIVES.
      out: folder to fill: new or empty.
      subjects: people; some have several nights, as in the archive.
      hours: length of each night, a multiple of 30 s; below 8, a random window of an 8-h night.
      seed: names the cohort.
      faults: share of the nights that are damaged (`faults`).
      workers: processes; the files do not depend on it.

    Raises:
      SimulationError: unusable arguments, or a folder that is not empty.
    """
    check_name(name, ARCHIVES)
    epochs = hours * EPOCHS_PER_HOUR
    if not 2 <= epochs <= 24 * EPOCHS_PER_HOUR or abs(epochs - round(epochs)) > 1e-6:
        raise SimulationError(
            f"hours={hours}: expected a multiple of {SLEEP_EPOCH_SECONDS} s between 60 s and 24 h"
        )
    archive = Archive(
        name,
        _MAX_SUBJECTS,
        functools.partial(_subject, name, round(epochs)),
        Truth("hypnograms.csv", ("path", "subject", "visit", "montage", "stages"), _truth),
        inject,
        settings={"hours": hours},
    )
    return write(archive, out, subjects=subjects, seed=seed, faults=faults, workers=workers)


def _truth(night: SimulatedNight) -> tuple[object, ...]:
    place = night.place
    return place.path, place.subject, place.visit, place.montage, night.letters


def simulate_archive_night(
    name: str, seed: int, index: int, visit: int, epochs: int
) -> tuple[SubjectTraits, Night]:
    """Traits of a person (the same at every visit) and one night, cut to `epochs`."""
    key = (_ARCHIVE, seed, list(ARCHIVES).index(name), index)
    traits = draw_subject(generator(*key, 0))
    rng = generator(*key, 1, visit)
    whole = max(epochs, round(sleepers.NIGHT_HOURS * EPOCHS_PER_HOUR))
    stages = simulate_hypnogram(rng, whole, fragmentation=traits.fragmentation)
    night = simulate_night(rng, traits, stages)
    return traits, cut(night, int(rng.integers(whole - epochs + 1)), epochs)


def _subject(name: str, epochs: int, tree: Path, index: int, seed: int) -> list[SimulatedNight]:
    nights = []
    for place in ARCHIVES[name](index):
        number = list(ARCHIVES).index(name)
        rng = generator(_ARCHIVE, seed, number, index, 2, place.visit)
        traits, night = simulate_archive_night(name, seed, index, place.visit, epochs)
        montage = draw_archive_montage(place.montage, rng)
        # one number for the night, beyond those of the simulated cohorts' subjects
        traces = _render(
            seed, ((number + 1) * 10_000 + index) * 10 + place.visit, traits, night, montage
        )
        nsrr = place.dialect in ("nsrr", "stg", "allscore")  # which blanks all dates
        day = datetime.datetime(1985, 1, 1) if nsrr else datetime.datetime(1995, 6, 3)
        start = day + datetime.timedelta(seconds=int(rng.integers(20 * 3600, 23 * 3600)))
        scored = Scored(
            place.subject,
            start,
            _unscore(rng, night.stages, index + place.visit),
            night.apnoeas,
            name not in AASM,
        )
        path = tree / place.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if place.dialect == "arousal":
            scorers.write_wfdb(path, traces, start=None)
        else:
            write_edf(
                path,
                traces,
                subject=place.subject,
                start=start,
                plus=place.plus,
                record_seconds=place.record_seconds,
            )
        write_annotations(tree, place, scored)
        nights.append(SimulatedNight(place, scored))
    return nights


def _unscore(rng: np.random.Generator, stages: np.ndarray, turn: int) -> np.ndarray:
    """A scorer who starts late in every third night, and a movement in every second one."""
    stages = stages.copy()
    if turn % 3 == 1:
        stages[: int(rng.integers(2, 2 + max(1, len(stages) // 10)))] = -1
    if turn % 2 == 0:
        stages[int(rng.integers(len(stages) // 2, len(stages)))] = -1
    return stages


def _render(
    seed: int, number: int, traits: SubjectTraits, night: Night, montage: tuple[ChannelPlan, ...]
) -> list[Trace]:
    """Every channel of the montage, in its order."""
    extras = montages.EXTRAS
    # "Volts" is rendered as V, and written as it is spelled.
    spelled = [p for p in montage if p.kind not in extras]
    body = [dataclasses.replace(p, unit="V" if p.unit == "Volts" else p.unit) for p in spelled]
    done = dict(zip(spelled, sleepers.render_psg(seed, number, traits, night, tuple(body))))
    for order, plan in enumerate(montage):
        if plan.kind in extras:
            rng = generator(_ARCHIVE, seed, number, 3, order)
            values = _extra(rng, traits, night, plan)
            done[plan] = trace(plan.label, plan.sfreq, plan.unit, values)
        done[plan] = dataclasses.replace(done[plan], unit=plan.unit)
    return [done[plan] for plan in montage]


def _extra(
    rng: np.random.Generator, traits: SubjectTraits, night: Night, plan: ChannelPlan
) -> np.ndarray:
    """A channel that is not physiology of the simulation, float32 [T]."""
    samples = round(night.seconds * plan.sfreq)
    at = np.minimum(
        (np.arange(samples) * STATE_SFREQ / plan.sfreq).astype(int), len(night.effort) - 1
    )
    if plan.kind == "pulse":
        return np.round(night.heart_rate[at]).astype(np.float32)
    if plan.kind == "position":
        return (night.posture[at] % 4).astype(np.float32)
    if plan.kind == "temperature":
        return (37.0 - 0.5 * np.sin(np.arange(samples) / 20_000)).astype(np.float32)
    if plan.kind == "chin_envelope":
        heart = cardiorespiratory.Heart(rng, traits, night)
        wave = cardiorespiratory.render_emg(rng, traits, night, heart, "chin", 100)
        return np.sqrt((wave.reshape(samples, -1) ** 2).mean(axis=1))
    return np.ones(samples, np.float32)
