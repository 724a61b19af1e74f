"""The writer of simulated archives, whatever their family.

    out/
      NAME/            the tree, as one would download it
      TRUTH.csv        what was simulated, to check a build against: a row a recording
      faults.csv       what was damaged, and what a builder should make of it
      simulation.json  the settings

`python -m launch.build --dataset=NAME --source=out` (or out/NAME) builds it. A family (`sleep`,
`wake`) says what one person's recordings are, which columns the truth has, and what can be wrong
with a recording; an `Archive` is what the writer needs to know of one archive.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from sleepfm_jax.errors import SimulationError
from sleepfm_jax.simulation.archives.faults import Damage
from sleepfm_jax.simulation.cohorts import VERSION
from sleepfm_jax.simulation.processes import each_subject

R = TypeVar("R")  # a recording of the family


@dataclasses.dataclass(frozen=True)
class Truth(Generic[R]):
    """The table that says what was simulated."""

    filename: str
    columns: tuple[str, ...]
    row: Callable[[R], Sequence[object]]


@dataclasses.dataclass(frozen=True)
class Archive(Generic[R]):
    """What is to be written.

    Attributes:
      name: of the dataset, and of the tree's folder.
      most: subjects that its names have room for.
      subject: `subject(tree, index, seed)` writes one person's recordings; it pickles.
      truth: what is said about them.
      damage: `damage(tree, recordings, share=…, seed=…)` damages a share of them.
      finish: `finish(tree, recordings)` writes what needs all of them; what it returns, if
        anything, takes their place.
      settings: the family's own, for simulation.json.
    """

    name: str
    most: int
    subject: Callable[[Path, int, int], list[R]]
    truth: Truth[R]
    damage: Callable[..., list[Damage]]
    finish: Callable[[Path, list[R]], list[R] | None] | None = None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def write(
    archive: Archive[R],
    out: str | os.PathLike,
    *,
    subjects: int,
    seed: int,
    faults: float,
    workers: int,
) -> list[R]:
    """Writes a simulated archive; see this module's docstring for what goes where.

    Args:
      archive: of which family and name.
      out: folder to fill: new or empty.
      subjects: people (CinC archives: exams); some have several recordings.
      seed: names the cohort.
      faults: share of the recordings that are damaged, one fault each.
      workers: processes; the files do not depend on it.

    Raises:
      SimulationError: unusable arguments, or a folder that is not empty.
    """
    out = Path(out)
    if not 1 <= subjects <= archive.most or workers < 1 or seed < 0 or not 0 <= faults <= 1:
        raise SimulationError(
            f"expected 1 to {archive.most} subjects of {archive.name}, 1 worker or more, a seed "
            f"from 0 up and a share of faults from 0 to 1; got {subjects}, {workers}, {seed}, "
            f"{faults}"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SimulationError(f"{out} is not empty: choose a new or an empty folder")
    tree = out / archive.name
    tree.mkdir(parents=True)
    told = {"dataset": archive.name, "subjects": subjects, **archive.settings}
    told |= {"seed": seed, "faults": faults, "version": VERSION}
    (out / "simulation.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    work = functools.partial(_subject, archive.subject, tree, seed)
    groups = each_subject(work, subjects, workers)
    recordings = [recording for group in groups for recording in group]
    if archive.finish is not None:
        recordings = archive.finish(tree, recordings) or recordings
    truth = archive.truth
    _write_table(out / truth.filename, truth.columns, map(truth.row, recordings))
    damaged = archive.damage(tree, recordings, share=faults, seed=seed)
    columns = [field.name for field in dataclasses.fields(Damage)]
    _write_table(out / "faults.csv", columns, map(dataclasses.astuple, damaged))
    return recordings


def check_name(name: str, known: Iterable[str]) -> None:
    """Refuses the name of an archive that a family has not.

    Raises:
      SimulationError: names those that it has.
    """
    if name not in (names := list(known)):
        raise SimulationError(f"{name}: no such archive; known: {', '.join(names)}")


def _subject(
    subject: Callable[[Path, int, int], list[R]], tree: Path, seed: int, index: int
) -> list[R]:
    return subject(tree, index, seed)


def _write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
