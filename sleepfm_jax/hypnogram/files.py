"""A staged night as files: CSV, EDF+ annotations, BIDS events, statistics; each whole or not there.

NAME.hypnogram.csv    onset, duration, stage, one probability a class; a row a sleep_epoch
NAME.hypnogram.edf    EDF+ of annotations alone, as Sleep-EDF's hypnograms are
NAME_events.tsv       BIDS, with NAME_events.json
NAME.stats.json       statistics, signals, and what made them; written last, so that who finds
                      it finds the others
"""

from __future__ import annotations

import csv
import datetime
import io
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import edfio

from sleepfm_jax.hypnogram.night import NOT_STAGED, StagedNight, runs
from sleepfm_jax.signals import SLEEP_EPOCH_SECONDS

CSV, EDF, PLOT, STATS = ".hypnogram.csv", ".hypnogram.edf", ".hypnogram.png", ".stats.json"
_YEARS = range(1985, 2085)  # that an EDF header can say
_NO_DATE = datetime.datetime(1985, 1, 1)  # EDF+ asks for it where the date is not known
_BIDS_SUFFIX = re.compile(r"_(eeg|ieeg|meg|nirs)$")


def write_csv(night: StagedNight, folder: Path) -> Path:
    """onset and duration in seconds from the recording's start, the stage, its probabilities.

    Without any signal the stage is `?` and the probabilities are empty.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["onset", "duration", "stage", *night.classes])
    for epoch, (word, p) in enumerate(zip(night.words(), night.probabilities)):
        said = [""] * len(p) if word == NOT_STAGED else [f"{x:.5f}" for x in p]
        rows.writerow([epoch * SLEEP_EPOCH_SECONDS, SLEEP_EPOCH_SECONDS, word, *said])
    return write_text(folder / f"{night.name}{CSV}", text.getvalue())


def write_edf(night: StagedNight, folder: Path) -> Path:
    """EDF+ with an annotation for each run of a stage: `Sleep stage N2`, `Sleep stage R`."""
    start = night.start if night.start and night.start.year in _YEARS else _NO_DATE
    start = start.replace(tzinfo=None)
    edf = edfio.Edf(
        [],
        recording=edfio.Recording(startdate=start.date(), equipment_code="sleepfm_jax"),
        starttime=start.time(),
        annotations=[
            edfio.EdfAnnotation(onset, duration, _edf_text(word))
            for onset, duration, word in runs(night.words())
        ],
    )
    return _whole(folder / f"{night.name}{EDF}", edf.write)


def write_bids(night: StagedNight, folder: Path) -> Path:
    """`events.tsv` with a row for each run of a stage, and the `events.json` that explains it."""
    stem = _BIDS_SUFFIX.sub("", night.name)
    spans = runs(night.words())
    rows = [f"{onset:g}\t{length:g}\t{_edf_text(word)}" for onset, length, word in spans]
    levels = {_edf_text(name): f"Sleep stage {name}" for name in night.classes}
    levels[_edf_text(NOT_STAGED)] = "not staged: no signal"
    sidecar = {
        "trial_type": {
            "LongName": "Sleep stage",
            "Description": "Sleep stage by AASM names, staged by a machine: sleepfm_jax",
            "Levels": levels,
        }
    }
    write_text(folder / f"{stem}_events.json", json.dumps(sidecar, indent=2) + "\n")
    text = "\n".join(["onset\tduration\ttrial_type", *rows]) + "\n"
    return write_text(folder / f"{stem}_events.tsv", text)


def write_stats(night: StagedNight, folder: Path, figures: Mapping[str, Any]) -> Path:
    """What is known of the night as JSON: signals, `figures`, notes, and what made them."""
    said = {
        "name": night.name,
        "file": night.file,
        "start": night.start.isoformat() if night.start else None,
        "hours": round(night.hours, 4),
        "sleep_epochs": len(night.probabilities),
        "not_staged": int((~night.staged).sum()),
        "classes": list(night.classes),
        "signals": dict(night.signals),
        "absent": list(night.absent),
        **figures,
        "notes": list(night.notes),
        **night.about,
    }
    return write_text(
        folder / f"{night.name}{STATS}", json.dumps(said, indent=2, allow_nan=False) + "\n"
    )


def write_bytes(path: Path, data: bytes) -> Path:
    """A file that appears under its name only once complete."""
    return _whole(path, lambda part: Path(part).write_bytes(data))


def _edf_text(word: str) -> str:
    """What EDF+'s list of standard texts, and after it everybody, calls a stage."""
    return f"Sleep stage {'R' if word == 'REM' else word}"


def write_text(path: Path, text: str) -> Path:
    return _whole(path, lambda part: Path(part).write_text(text, encoding="utf-8"))


def _whole(path: Path, write: Callable[[Path], object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    write(part)
    os.replace(part, path)
    return path
