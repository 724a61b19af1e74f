"""The ceiling: how well a second person who scores the same nights agrees with the first."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import logging

from sleepfm_jax.errors import DatasetError
from sleepfm_jax.hypnogram.inputs import scorings_beside
from sleepfm_jax.metrics.predictions import Predictions
from sleepfm_jax.metrics.sleep_statistics import classes_of
from sleepfm_jax.recordings.scorings.hypnogram import read_stages
from sleepfm_jax.report.staging.stored import SCORER
from sleepfm_jax.signals import SLEEP_EPOCH_SECONDS
from sleepfm_jax.staging.rows import Key

SIMULATED = "second_scorer.json"
"""In a folder of scorings that nobody made (`simulation.cohorts.write_second_scorer`)."""


def second_rows(
    rows: Mapping[Key, Predictions], folders: Mapping[str, str | Path]
) -> dict[Key, Predictions]:
    """A row of a second scorer beside the models' of every subset of some cohorts.

    Args:
      rows: of `rows.gather`.
      folders: cohort → the folder of its second scorings (`read_second`).

    Raises:
      DatasetError: a cohort that no row is of; see `read_second` and `second_opinion`.
      RecordingError: a scoring cannot be read.
    """
    found: dict[Key, Predictions] = {}
    for cohort, folder in folders.items():
        mine = {key: one for key, one in rows.items() if key[0] == cohort}
        if not mine:
            there = ", ".join(sorted({key[0] for key in rows}))
            raise DatasetError(f"a second scorer of {cohort}: no model was scored on it ({there})")
        simulated = (Path(folder) / SIMULATED).is_file()
        said_by = "simulated" if simulated else f"hypnograms of {Path(folder).name}"
        second = read_second(folder, list(mine.values()))
        for (_, signals, _), one in mine.items():  # of two models of a subset one is enough
            key = (cohort, signals, SCORER)
            if key not in found:
                found[key] = second_opinion(one, second, said_by)
    return found


def read_second(
    folder: str | Path, first: Sequence[Predictions]
) -> dict[tuple[str, str], np.ndarray]:
    """The scorings in a folder of the nights that predictions are of, as `second_opinion` wants.

    NAME.edf of the cohort's source folder is looked for as NAME-Hypnogram.edf, NAME.hypnogram.csv
    and the other names that `hypnogram.inputs` knows, or as NAME.edf, .txt, .csv, .tsv or .xml, in
    the same folder below `folder`; the formats are those of `recordings.scorings`. A scoring is
    taken to begin with its recording: records do not say when that was.

    Returns:
      {(person, recording): int8 [E]}; a sleep_epoch that a file does not reach is unscored.

    Raises:
      DatasetError: no such folder, or a night without a scoring in it, or with several.
      RecordingError: a scoring cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder of second scorings")
    lengths: dict[tuple[str, str], int] = {}
    for one in first:
        whose = np.char.add(np.char.add(one.person, "\t"), one.recording)
        names, at = np.unique(whose, return_inverse=True)
        ends = np.zeros(len(names), int)
        np.maximum.at(ends, at, one.sleep_epoch + 1)
        for name, end in zip(names.tolist(), ends.tolist()):
            person, _, recording = name.partition("\t")
            lengths[person, recording] = max(lengths.get((person, recording), 0), end)
    found, notes, missing = {}, Counter(), []
    for (person, recording), length in sorted(lengths.items()):
        name = re.sub(r"^\d+/", "", recording)  # of several datasets: which it is from
        files = _scorings_of(folder / name)
        if not files:
            missing.append(name)
            continue
        if len(files) > 1:
            several = ", ".join(file.name for file in files)
            raise DatasetError(f"{folder}: several scorings of {name}: {several}; leave one")
        duration = float(length * SLEEP_EPOCH_SECONDS)
        scored = read_stages(files[0], start=None, duration=duration, recording=Path(name).stem)
        notes.update(scored.notes)
        found[person, recording] = scored.stages
    if missing:
        raise DatasetError(
            f"{folder}: no second scoring of {len(missing)} of {len(lengths)} nights, such as "
            f"{', '.join(missing[:3])}: a ceiling is of the nights that models are scored on; name "
            "the files as the recordings, with -Hypnogram.edf or .hypnogram.csv after it"
        )
    for note, count in notes.items():
        logging.warning("%s: %d of %d scorings: %s", folder, count, len(lengths), note)
    return found


def _scorings_of(recording: Path) -> list[Path]:
    """Files under the names that a scoring of a recording may have where no recording is."""
    bare = [recording.with_suffix(e) for e in (".edf", ".txt", ".csv", ".tsv", ".xml")]
    return list(dict.fromkeys([*scorings_beside(recording), *(f for f in bare if f.is_file())]))


def second_opinion(
    first: Predictions, second: Mapping[tuple[str, str], np.ndarray], said_by: str
) -> Predictions:
    """What a second person scored, in place of what a model said of the same sleep_epochs: the row
    stands in the table beside the model's, paired.

    Args:
      first: predictions of whole nights (`clip` 0); its labels are the first person's.
      second: (person, recording) → int [E], indices into `signals.STAGES` in the night's time, -1
        unscored; these sleep_epochs are left out.
      said_by: who that is, in words; "simulated" where nobody is.

    Raises:
      DatasetError: a night without a second scoring, or with a shorter one.
    """
    classes = first.classes
    told = np.full(len(first.label), -1)
    whose = np.char.add(np.char.add(first.person, "\t"), first.recording)
    for name in np.unique(whose):
        mine = np.flatnonzero(whose == name)
        person, _, recording = name.partition("\t")
        stages = second.get((person, recording))
        at = first.sleep_epoch[mine]
        if stages is None or at.max() >= len(stages):
            raise DatasetError(f"{person}, {recording}: no second scoring of the whole night")
        told[mine] = classes_of(np.asarray(stages)[at], classes)
    kept = told >= 0
    certain = np.eye(len(classes), dtype=np.float32)[told[kept]]
    names = ("person", "recording", "clip", "sleep_epoch", "label")
    about = {k: first.about[k] for k in ("dataset", "dataset_fingerprint") if k in first.about}
    return dataclasses.replace(
        first,
        **{name: getattr(first, name)[kept] for name in names},
        probabilities=certain[None],
        seeds=np.zeros(1, int),
        fold=np.full((1, int(kept.sum())), -1),
        about=about
        | {
            "row": SCORER,
            "label_kind": "staging",
            "classes": classes,
            "split": first.about.get("split"),
            "signals": first.about.get("signals"),
            "features": f"a second person's stages: {said_by}",
        },
    )
