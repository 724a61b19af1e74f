"""Simulated archives of labelled wake EEG and ECG, with their real layout, labels and faults.

    out/
      NAME/            the tree, as one would download it: the source folder of the builder NAME
      truth.csv        whose each recording is and how many clips of which class it holds
      faults.csv       what was damaged, and what a builder should make of it
      simulation.json

Person `index` of an archive is a function of (archive, seed, index) alone. The signals are simple
and show that the pipeline works; they say nothing about people.
"""

from __future__ import annotations

import concurrent.futures
import csv
import dataclasses
import functools
import json
import multiprocessing
import os
import re
from collections.abc import Sequence
from pathlib import Path

from sleepfm_jax.errors import SimulationError
from sleepfm_jax.simulation.archives import wake_ecg, wake_eeg
from sleepfm_jax.simulation.archives.faults import Damage
from sleepfm_jax.simulation.archives.wake_eeg import Written
from sleepfm_jax.simulation.archives.wake_files import first_label
from sleepfm_jax.simulation.body import noise as sn
from sleepfm_jax.simulation.cohorts import VERSION

ARCHIVES = wake_eeg.ARCHIVES | wake_ecg.ARCHIVES
FAULTS = wake_eeg.FAULTS | wake_ecg.FAULTS
_FINISH = wake_eeg.FINISH | wake_ecg.FINISH
# As many as their names have room for.
_MOST = {"chb_mit": 23, "eegmat": 100, "tuev": 1000, "cpsc2018": 9999}
_FAULTS_KEY = 13  # first element of the random key


def write_archive(
    name: str,
    out: str | os.PathLike,
    *,
    subjects: int,
    seed: int = 0,
    faults: float = 0.0,
    workers: int = 1,
) -> list[Written]:
    """Writes a simulated archive; see this module's docstring for what goes where.

    Args:
      name: one of ARCHIVES.
      out: folder to fill: new or empty.
      subjects: people (CinC archives: exams); some have several recordings.
      seed: names the cohort.
      faults: share of the recordings that are damaged, one fault each; kinds are dealt in turn.
      workers: processes; the files do not depend on it.

    Raises:
      SimulationError: unusable arguments, or a folder that is not empty.
    """
    out = Path(out)
    if name not in ARCHIVES:
        raise SimulationError(f"{name}: no such archive; known: {', '.join(ARCHIVES)}")
    most = _MOST.get(name, 9000)
    if not 1 <= subjects <= most or workers < 1 or seed < 0 or not 0 <= faults <= 1:
        raise SimulationError(
            f"expected 1 to {most} subjects of {name}, 1 worker or more, a seed from 0 up and a "
            f"share of faults from 0 to 1; got {subjects}, {workers}, {seed}, {faults}"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SimulationError(f"{out} is not empty: choose a new or an empty folder")
    tree = out / name
    tree.mkdir(parents=True)
    settings = {"dataset": name, "subjects": subjects, "seed": seed, "faults": faults}
    text = json.dumps(settings | {"version": VERSION}, indent=2) + "\n"
    (out / "simulation.json").write_text(text, encoding="utf-8")
    work = functools.partial(_subject, name, tree, seed)
    if workers == 1:
        groups = [work(index) for index in range(subjects)]
    else:
        # spawn: a fork of a process that already runs threads (jax, BLAS) may hang
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(min(workers, subjects), context) as pool:
            groups = list(pool.map(work, range(subjects)))
    written = [recording for group in groups for recording in group]
    if name in _FINISH:
        written = _FINISH[name](tree, written) or written
    rows = [[w.path, w.subject, w.split, "|".join(f"{c}:{n}" for c, n in w.clips)] for w in written]
    _write_table(out / "truth.csv", ["path", "subject", "split", "clips"], rows)
    damaged = inject(tree, name, written, share=faults, seed=seed)
    header = [field.name for field in dataclasses.fields(Damage)]
    _write_table(out / "faults.csv", header, [dataclasses.astuple(d) for d in damaged])
    return written


def _subject(name: str, tree: Path, seed: int, index: int) -> list[Written]:
    return ARCHIVES[name](tree, index, seed)


def inject(
    tree: Path, name: str, written: Sequence[Written], *, share: float, seed: int
) -> list[Damage]:
    """Damages a share of the recordings of a finished tree."""
    draws = sn.generator(_FAULTS_KEY, seed).random(len(written))
    chosen = [w for w, draw in zip(written, draws) if draw < share]
    kinds = list(FAULTS[name].items())
    damaged = []
    for turn, of in enumerate(chosen):
        kind, fault = kinds[turn % len(kinds)]
        expected = fault.expected
        if "{first}" in expected:
            expected = expected.replace("{first}", re.escape(first_label(tree / of.path)))
        fault.damage(tree / of.path)
        damaged.append(Damage(of.path, kind, fault.outcome, expected, of.subject))
    return damaged


def _write_table(path: Path, header: list[str], rows: list) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
