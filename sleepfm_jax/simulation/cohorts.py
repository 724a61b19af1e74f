"""Simulated cohorts on disk: polysomnography, wake EEG, 12-lead ECG as EDF+ with a label table.

For demonstrations, tests and smoke runs where no real recording can be shared. Subject `i` of a
cohort is a function of (seed, i) alone: the same files, byte for byte, whatever the number of
subjects or of worker processes.
"""

from __future__ import annotations

import csv
import datetime
import functools
import json
import os
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np

from sleepfm_jax.errors import SimulationError
from sleepfm_jax.recordings.formats.edf_bytes import open_edf
from sleepfm_jax.recordings.scorings.hypnogram import read_stages
from sleepfm_jax.signals import SLEEP_EPOCH_SECONDS
from sleepfm_jax.simulation import follow_up, sleepers
from sleepfm_jax.simulation.body import awake
from sleepfm_jax.simulation.body.noise import generator
from sleepfm_jax.simulation.body.pathology import VERSION as PATHOLOGY_VERSION
from sleepfm_jax.simulation.body.physiology import Night
from sleepfm_jax.simulation.body.sleep import EPOCHS_PER_HOUR
from sleepfm_jax.simulation.body.traits import draw_subject
from sleepfm_jax.simulation.edf_writer import write_edf, write_hypnogram
from sleepfm_jax.simulation.montage import SIGNAL_KINDS
from sleepfm_jax.simulation.processes import each_subject
from sleepfm_jax.simulation.second_scorer import second_scorer

VERSION = 1  # of the simulation; raised whenever the same seed would give other bytes
COLUMNS = ("path", "subject", "split", "label", "hypnogram")
APNOEA = "apnoea"  # a column: of the labels of sleepers with pathology
APNOEA_CLASSES = ("none", "mild", "moderate", "severe")
"""By apnoeas and hypopnoeas an hour of sleep: below 5, 15, 30, and the rest (AASM)."""
_DAYTIME = datetime.datetime(2001, 1, 1, 10, 0, 0)
# first element of every random key, so that the data sets share nothing; sleepers have
# `sleepers.KEY`
_WAKE, _ECG = 2, 3


def write_psg_cohort(
    out: str | os.PathLike,
    *,
    subjects: int,
    hours: float = sleepers.NIGHT_HOURS,
    seed: int = 0,
    workers: int = 1,
    coupling: float | None = None,
    signals: Collection[str] = (),
) -> Path:
    """Write a simulated polysomnography cohort.

    Args:
      out: folder to fill: `<subject>.edf`, `<subject>-Hypnogram.edf`, `table.csv`,
        `simulation.json`.
      subjects: how many sleepers, one recording each; splits train/validation/test are about
        60/15/25 %.
      hours: length of each recording; below 8, a random window of an 8-h night. A multiple of 30 s.
      seed: names the cohort.
      workers: processes; the files do not depend on it.
      coupling: None: nobody has any pathology. 0 to 1: sleepers have it at natural prevalence, and
        with this probability the other modalities show the same of it as the EEG or the ECG; and
        follow_up.csv has times to events that it hastens (`simulation.follow_up`), and the table a
        column apnoea, one of `APNOEA_CLASSES`.
      signals: names of `montage.SIGNAL_KINDS` that everybody's recording has, and nothing else;
        (): montages as laboratories have them.

    Returns:
      The path of table.csv.

    Raises:
      SimulationError: unusable arguments, or a folder that holds something else.
    """
    epochs = hours * EPOCHS_PER_HOUR
    if not 1 <= epochs <= 24 * EPOCHS_PER_HOUR or abs(epochs - round(epochs)) > 1e-6:
        raise SimulationError(
            f"hours={hours}: expected a multiple of {SLEEP_EPOCH_SECONDS} s between 30 s and 24 h"
        )
    settings = {"dataset": "simulated_psg", "hours": hours, "seed": seed}
    if coupling is not None:
        if not 0.0 <= coupling <= 1.0:
            raise SimulationError(f"coupling={coupling}: expected 0 to 1")
        settings |= {"pathology": PATHOLOGY_VERSION, "coupling": coupling}
    if unknown := sorted(set(signals) - set(SIGNAL_KINDS)):
        raise SimulationError(
            f"signals={','.join(unknown)}: expected some of {', '.join(SIGNAL_KINDS)}"
        )
    if signals:
        settings["signals"] = sorted(signals)
    if coupling is None:
        return _write(Path(out), settings, subjects, workers, _psg_subject)
    columns = (*COLUMNS, APNOEA)
    table = _write(Path(out), settings, subjects, workers, _psg_subject, columns)
    became = (follow_up.follow_up(seed, index, coupling) for index in range(subjects))
    follow_up.write(Path(out), {_name(index): line for index, line in enumerate(became)})
    return table


def write_second_scorer(cohort: str | os.PathLike, out: str | os.PathLike) -> Path:
    """Write what a second person would say of every night of a cohort (`second_scorer`).

    Args:
      cohort: folder of `write_psg_cohort`; nothing in it changes.
      out: folder to fill: `<subject>-Hypnogram.edf`, `second_scorer.json`. Not in `cohort`, where a
        builder would find two scorings of a night. One that was begun for the same is continued.

    Returns:
      `out`.

    Raises:
      SimulationError: no such cohort, or a folder that holds something else, or lies in `cohort`.
    """
    cohort, out = Path(cohort), Path(out)
    try:
        settings = json.loads((cohort / "simulation.json").read_text(encoding="utf-8"))
        with (cohort / "table.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise SimulationError(f"{cohort}: no simulated cohort in it ({error})") from error
    if settings["dataset"] != "simulated_psg":
        raise SimulationError(f"{cohort}: nobody sleeps in {settings['dataset']}")
    if out.resolve().is_relative_to(cohort.resolve()):
        raise SimulationError(f"{out} lies in the cohort: give second scorings another folder")
    _claim(out, {"version": VERSION, "second scorer of": settings}, "second_scorer.json")
    for index, row in enumerate(rows):
        if (out / row["hypnogram"]).exists():
            continue
        start = open_edf(cohort / row["hypnogram"]).start
        first = read_stages(
            cohort / row["hypnogram"], start=start, duration=settings["hours"] * 3600
        )
        said = second_scorer(first.stages, generator(sleepers.KEY, settings["seed"], index, 11))
        write_hypnogram(out / row["hypnogram"], said, subject=row["subject"], start=start)
    return out


def write_wake_eeg(
    out: str | os.PathLike,
    *,
    subjects: int,
    seed: int = 0,
    recordings: int = 2,
    seconds: float = 60.0,
    sfreq: int = 256,
    workers: int = 1,
) -> Path:
    """Write a simulated wake EEG task: 19 electrodes, a one-sided lesion, `left` or `right`.

    Every subject has `recordings` recordings of each class, so nothing about the person gives the
    class away, and the classes are mirror images, so no average over the head does either.

    Args:
      out: folder to fill: `<subject>_<n>.edf`, `table.csv` (class in column `label`),
        `simulation.json`.
      subjects: how many people; splits train/validation/test are about 60/15/25 % of them.
      seed: names the cohort.
      recordings: of each class and subject.
      seconds: length of each.
      sfreq: sampling rate in Hz.
      workers: processes; the files do not depend on it.

    Returns:
      The path of table.csv.

    Raises:
      SimulationError: unusable arguments, or a folder that holds something else.
    """
    if recordings < 1 or seconds < 4.0 or seconds != int(seconds) or not 100 <= sfreq <= 1024:
        raise SimulationError(
            "expected recordings >= 1, a whole number of seconds >= 4, 100 <= sfreq <= 1024; got "
            f"recordings={recordings}, seconds={seconds}, sfreq={sfreq}"
        )
    settings = {
        "dataset": "simulated_wake_eeg",
        "seed": seed,
        "recordings": recordings,
        "seconds": seconds,
        "sfreq": sfreq,
    }
    return _write(Path(out), settings, subjects, workers, _wake_eeg_subject)


def write_ecg(
    out: str | os.PathLike,
    *,
    subjects: int,
    seed: int = 0,
    seconds: float = 10.0,
    sfreq: int = 500,
    workers: int = 1,
) -> Path:
    """Write a simulated 12-lead ECG task: one or two exams a subject, labels NORM, AF, BRADY, RBBB.

    About one exam in eight carries two findings, joined by `|` in the column `label`; NORM stands
    alone.

    Args:
      out: folder to fill: `<subject>_<n>.edf`, `table.csv`, `simulation.json`.
      subjects: how many people; splits train/validation/test are about 60/15/25 % of them.
      seed: names the cohort.
      seconds: length of each exam.
      sfreq: sampling rate in Hz.
      workers: processes; the files do not depend on it.

    Returns:
      The path of table.csv.

    Raises:
      SimulationError: unusable arguments, or a folder that holds something else.
    """
    if seconds < 4.0 or seconds != int(seconds) or not 100 <= sfreq <= 2000:
        raise SimulationError(
            "expected a whole number of seconds >= 4 and 100 <= sfreq <= 2000, got "
            f"seconds={seconds}, sfreq={sfreq}"
        )
    settings = {"dataset": "simulated_ecg", "seed": seed, "seconds": seconds, "sfreq": sfreq}
    return _write(Path(out), settings, subjects, workers, _ecg_subject)


def split_of(seed: int, index: int) -> str:
    """Split of a subject: 12 train, 3 validation, 5 test in every 20, one each in the first 3."""
    rng = generator(seed, 99, index // 20)
    first = rng.permutation(["train", "validation", "test"])
    rest = rng.permutation(["train"] * 11 + ["validation"] * 2 + ["test"] * 4)
    return str(np.concatenate([first, rest])[index % 20])


def _name(index: int) -> str:
    return f"sim{index:05d}"


def _psg_subject(out: Path, settings: dict, index: int) -> list[dict]:
    subject = _name(index)
    row = {
        "path": f"{subject}.edf",
        "subject": subject,
        "split": split_of(settings["seed"], index),
        "label": "",
        "hypnogram": f"{subject}-Hypnogram.edf",
    }
    there = (out / row["path"]).exists() and (out / row["hypnogram"]).exists()
    if there and "coupling" not in settings:
        return [row]
    latents = sleepers.NO_PATHOLOGY
    if "coupling" in settings:
        latents = sleepers.draw_latents(settings["seed"], index, settings["coupling"])
    traits, night, montage = sleepers.simulate_subject(
        settings["seed"], index, settings["hours"], latents, settings.get("signals", ())
    )
    if "coupling" in settings:
        row[APNOEA] = apnoea_class(night)
        if there:
            return [row]
    rng = generator(sleepers.KEY, settings["seed"], index, 6)
    start = datetime.datetime(2001, 1, 1, 22, 0, 0) + datetime.timedelta(
        days=int(rng.integers(365)), minutes=int(rng.integers(120))
    )
    scored = night.stages.copy()
    if rng.random() < 0.1:  # a scorer who starts late
        scored[: int(rng.integers(1, 6))] = -1
    write_edf(
        out / row["path"],
        sleepers.render_psg(settings["seed"], index, traits, night, montage, latents),
        subject=subject,
        start=start,
    )
    write_hypnogram(out / row["hypnogram"], scored, subject=subject, start=start)
    return [row]


def apnoea_class(night: Night) -> str:
    """One of `APNOEA_CLASSES`, of this part of a night; "" where nobody sleeps in it."""
    hours = np.count_nonzero(night.stages > 0) / EPOCHS_PER_HOUR  # 0: awake
    if not hours:
        return ""
    return APNOEA_CLASSES[
        int(np.searchsorted((5.0, 15.0, 30.0), len(night.apnoeas) / hours, "right"))
    ]


def _wake_eeg_subject(out: Path, settings: dict, index: int) -> list[dict]:
    subject, seed = _name(index), settings["seed"]
    traits = draw_subject(generator(_WAKE, seed, index, 0))
    # the order of the classes must not give them away
    order = np.tile(awake.WAKE_EEG_CLASSES, settings["recordings"])
    order = generator(_WAKE, seed, index, 1).permutation(order)
    rows = []
    for number, label in enumerate(order):
        path = f"{subject}_{number}.edf"
        row = {
            "path": path,
            "subject": subject,
            "split": split_of(seed, index),
            "label": str(label),
        }
        rows.append({**row, "hypnogram": ""})
        if not (out / path).exists():
            traces = awake.render_wake_eeg(
                (_WAKE, seed, index, 2, number),
                traits,
                str(label),
                seconds=settings["seconds"],
                sfreq=settings["sfreq"],
            )
            write_edf(out / path, traces, subject=subject, start=_DAYTIME)
    return rows


def _ecg_subject(out: Path, settings: dict, index: int) -> list[dict]:
    subject, seed = _name(index), settings["seed"]
    rng = generator(_ECG, seed, index, 0)
    abnormal = awake.ECG_CLASSES[1:]
    rows = []
    for number in range(1 + int(rng.random() < 0.2)):
        labels = (str(rng.choice(awake.ECG_CLASSES)),)
        if labels[0] != "NORM" and rng.random() < 0.17:
            labels = tuple(sorted({labels[0], str(rng.choice(abnormal))}))
        path = f"{subject}_{number}.edf"
        row = {"path": path, "subject": subject, "split": split_of(seed, index)}
        rows.append({**row, "label": "|".join(labels), "hypnogram": ""})
        if not (out / path).exists():
            traces = awake.render_ecg(
                (_ECG, seed, index, 1, number),
                labels,
                seconds=settings["seconds"],
                sfreq=settings["sfreq"],
            )
            write_edf(out / path, traces, subject=subject, start=_DAYTIME)
    return rows


def _write(
    out: Path,
    settings: dict,
    subjects: int,
    workers: int,
    work: Callable[[Path, dict, int], list[dict]],
    columns: Collection[str] = COLUMNS,
) -> Path:
    """Run `work` for every subject, in this process or in several, and write the table."""
    if subjects < 1:
        raise SimulationError(f"subjects={subjects}: expected at least 1")
    if workers < 1:
        raise SimulationError(f"workers={workers}: expected at least 1")
    if settings["seed"] < 0:
        raise SimulationError(f"seed={settings['seed']}: expected a whole number from 0 up")
    _claim(out, {"version": VERSION, **settings})
    rows = each_subject(functools.partial(work, out, settings), subjects, workers)
    table = out / "table.csv"
    part = table.with_name("table.csv.part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(row for group in rows for row in group)
    os.replace(part, table)
    return table


def _claim(out: Path, settings: dict, name: str = "simulation.json") -> None:
    """Make the folder ours, or refuse; an unfinished or smaller run of the same is continued."""
    marker = out / name
    if marker.is_file():
        held = json.loads(marker.read_text(encoding="utf-8"))
        if held != settings:
            raise SimulationError(
                f"{out} holds another simulation, {held}, not {settings}: "
                "choose an empty folder or delete that one"
            )
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SimulationError(
            f"{out} is not empty and holds no {name}: choose a new or an empty "
            "folder, or empty that one first"
        )
    out.mkdir(parents=True, exist_ok=True)
    marker.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
