"""Simulated archives of labelled wake EEG and ECG, with their real layout, labels and faults.

The truth, in truth.csv, is whose each recording is and how many clips of which class it holds.
Person `index` of an archive is a function of (archive, seed, index) alone. The signals
say how well a program finds what was put there; they say nothing about people.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sleepfm_jax.errors import SimulationError
from sleepfm_jax.simulation.archives import wake_ecg, wake_eeg
from sleepfm_jax.simulation.archives.faults import Damage
from sleepfm_jax.simulation.archives.wake_eeg import Written
from sleepfm_jax.simulation.archives.wake_files import first_label
from sleepfm_jax.simulation.archives.write import Archive, Truth, check_name, write
from sleepfm_jax.simulation.body import noise as sn
from sleepfm_jax.simulation.body.pathology import VERSION as PATHOLOGY_VERSION

ARCHIVES = wake_eeg.ARCHIVES | wake_ecg.ARCHIVES
FAULTS = wake_eeg.FAULTS | wake_ecg.FAULTS
_FINISH = wake_eeg.FINISH | wake_ecg.FINISH
# As many as their names have room for.
_MOST = {"chb_mit": 900, "eegmat": 100, "tuev": 1000, "cpsc2018": 9999}
# That leaves the other classes something.
_MOST_RARE = {"tuev": 30.0, "tusl": 5.0, "chb_mit": 150.0} | dict.fromkeys(wake_ecg.ARCHIVES, 20.0)
_FAULTS_KEY = 13  # first element of the random key


def write_archive(
    name: str,
    out: str | os.PathLike,
    *,
    subjects: int,
    seed: int = 0,
    faults: float = 0.0,
    workers: int = 1,
    seconds: int | None = None,
    rare: float = 1.0,
) -> list[Written]:
    """Writes a simulated archive; `write` says what goes where.

    Args:
      name: one of ARCHIVES.
      out: folder to fill: new or empty.
      subjects: people (CinC archives: exams); some have several recordings.
      seed: names the cohort.
      faults: share of the recordings that are damaged, one fault each; kinds are dealt in turn.
      workers: processes; the files do not depend on it.
      seconds: length of a recording, of the archives in `wake_eeg.SECONDS`; None: theirs.
      rare: times the published share of the rare classes, of the archives in `_MOST_RARE`
        (12-lead ECG: of every label).

    Raises:
      SimulationError: unusable arguments, or a folder that is not empty.
    """
    check_name(name, ARCHIVES)
    subject, settings = _as_told(name, seconds, rare)
    archive = Archive(
        name,
        _MOST.get(name, 9000),
        subject,
        Truth("truth.csv", ("path", "subject", "split", "clips"), _truth),
        functools.partial(inject, name),
        _FINISH.get(name),
        settings,
    )
    return write(archive, out, subjects=subjects, seed=seed, faults=faults, workers=workers)


def _as_told(
    name: str, seconds: int | None, rare: float
) -> tuple[Callable[[Path, int, int], list[Written]], dict[str, Any]]:
    """What writes a person, and the settings beyond those of every archive."""
    told: dict[str, Any] = {}
    if seconds is not None:
        if name not in wake_eeg.SECONDS or not 20 <= seconds <= 3600:
            raise SimulationError(
                f"seconds={seconds}: expected 20 to 3600, for {', '.join(wake_eeg.SECONDS)}"
            )
        told["seconds"] = seconds
    if rare != 1.0:
        if name not in _MOST_RARE or not 0.0 < rare <= _MOST_RARE[name]:
            most = ", ".join(f"{known} (up to {top:g})" for known, top in _MOST_RARE.items())
            raise SimulationError(f"rare={rare:g}: expected more than 0, for {most}")
        told["rare"] = rare
    settings = dict(told)
    if name in wake_eeg.SECONDS or name in wake_ecg.ARCHIVES:
        settings["generator"] = PATHOLOGY_VERSION
    return functools.partial(ARCHIVES[name], **told) if told else ARCHIVES[name], settings


def _truth(recording: Written) -> tuple[str, ...]:
    clips = "|".join(f"{name}:{count}" for name, count in recording.clips)
    return recording.path, recording.subject, recording.split, clips


def inject(
    name: str, tree: Path, written: Sequence[Written], *, share: float, seed: int
) -> list[Damage]:
    """Damages a share of the recordings of a finished tree."""
    draws = sn.generator(_FAULTS_KEY, seed).random(len(written))
    chosen = [w for w, draw in zip(written, draws) if draw < share]
    kinds = list(FAULTS[name].items())
    damaged = []
    for turn, recording in enumerate(chosen):
        kind, fault = kinds[turn % len(kinds)]
        expected = fault.expected
        if "{first}" in expected:
            expected = expected.replace("{first}", re.escape(first_label(tree / recording.path)))
        fault.damage(tree / recording.path)
        damaged.append(Damage(recording.path, kind, fault.outcome, expected, recording.subject))
    return damaged
