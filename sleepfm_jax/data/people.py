"""Who is in which split of a dataset, without names; and every rule about who must not be where.

A person is the first 16 hexadecimal digits of sha256("COHORT:SUBJECT"). The cohort, not the
dataset, is the salt: the same people of two datasets of one cohort are recognised, and people of
two cohorts who happen to share a number are not confused. It is a pseudonym, not anonymity: whoever
has the list of a cohort's subjects can look them up.

One rule says who leaks, `in_two`: whoever stands in two places. Guards differ in their places
only: the splits of a plan, of a table, of a dataset, of labelled features (`refuse_shared`); what
was trained on and what is scored (`refuse_leak`, `refuse_leak_between`). All raise `LeakError`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sleepfm_jax.errors import DatasetError, LeakError

FILENAME = "splits.json"
"""Beside a dataset's records."""

NOT_TOLD = "the checkpoint does not say whom it was trained on: leaks are not seen"
"""What to say of an encoder without a list of its people."""

_DIGITS = 16  # two among a million people coincide with a chance of 3e-8
_SHOWN = 5
_TRAINED = ""  # a place that no split is called


@dataclasses.dataclass(frozen=True)
class People:
    """Whose subjects a dataset has, and who is in which split.

    Attributes:
      cohort: the salt of the pseudonyms.
      splits: pseudonyms by split; a split without records may be missing.
    """

    cohort: str
    splits: Mapping[str, frozenset[str]]

    def pseudonym(self, subject: str) -> str:
        """That of a subject of this dataset."""
        return subject_hash(self.cohort, subject)

    def of_split(self, split: str) -> frozenset[str]:
        """Pseudonyms of a split; nobody where there is none."""
        return self.splits.get(split, frozenset())


# --- pseudonyms -----------------------------------------------------------------------------------


def subject_hash(cohort: str, subject: str) -> str:
    """A person's pseudonym, comparable within a cohort."""
    return hashlib.sha256(f"{cohort}:{subject}".encode()).hexdigest()[:_DIGITS]


def manifest(cohort: str, subjects: Mapping[str, Iterable[str]]) -> dict[str, Any]:
    """What splits.json says.

    Args:
      cohort: whose subjects these are.
      subjects: real names by split.
    """
    hashed = {s: sorted({subject_hash(cohort, n) for n in names}) for s, names in subjects.items()}
    rule = f"the first {_DIGITS} hexadecimal digits of sha256('COHORT:SUBJECT')"
    return {"cohort": cohort, "hash": rule, "subjects": hashed}


def read(folder: Path) -> People:
    """What the splits.json of the dataset in `folder` says.

    Raises:
      DatasetError: there is none, or it is damaged.
    """
    try:
        found = json.loads((folder / FILENAME).read_text(encoding="utf-8"))
        cohort, subjects = found["cohort"], found["subjects"]
        if not isinstance(cohort, str) or not all(isinstance(s, list) for s in subjects.values()):
            raise ValueError("no cohort and lists of subjects in it")
        return People(cohort, {split: frozenset(names) for split, names in subjects.items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"{folder}: does not say who is in its splits ({FILENAME}: {error}): build it again"
        ) from error


# --- leaks ----------------------------------------------------------------------------------------


def in_two(places: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Who stands in two places: the rule that every guard asks.

    Args:
      places: (subject or pseudonym, place) pairs, in any order.

    Returns:
      {subject: places, sorted} of those in more than one; sorted by subject.
    """
    found: dict[str, set[str]] = {}
    for subject, place in places:
        found.setdefault(subject, set()).add(place)
    return {s: sorted(where) for s, where in sorted(found.items()) if len(where) > 1}


def leaked(trained: Iterable[str], scored: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Who of `scored` {place: pseudonyms} was trained on: {pseudonym: where it would be scored}."""
    known = dict.fromkeys(trained, _TRAINED)
    pairs = [(s, place) for place, names in scored.items() for s in names if s in known]
    found = in_two([*known.items(), *pairs])
    return {s: [place for place in places if place != _TRAINED] for s, places in found.items()}


def refuse_shared(places: Iterable[tuple[str, str]], *, where: object, advice: str) -> None:
    """Refuses anybody in two splits.

    Args:
      places: (subject or pseudonym, split) pairs.
      where: of what; the message begins with it.
      advice: what to do; the message ends with it.

    Raises:
      LeakError: how many, who (the first five) and in which splits.
    """
    if shared := in_two(places):
        raise LeakError(
            f"{where}: {len(shared)} subjects are in two splits ({some(shared)}): figures would "
            f"be optimistic. {advice}"
        )


def describe_leak(
    found: Mapping[str, list[str]], scored: Mapping[str, Iterable[str]], *, what_trained: str
) -> str:
    """What `leaked` found, in words: how many of how many, in what, who and where."""
    count = len(set().union(*scored.values()))
    return f"{len(found)} of the {count} subjects to be scored are in {what_trained}: {some(found)}"


def refuse_leak(
    trained: Iterable[str], scored: Mapping[str, Iterable[str]], *, what_trained: str, advice: str
) -> None:
    """Refuses to score people who were trained on.

    Args:
      trained: pseudonyms.
      scored: pseudonyms by the place where they would be scored, {"test": …} or
        {"test of visit2": …}.
      what_trained: where `trained` are, for the message: "the checkpoint's pretraining".
      advice: what to do; the message ends with it.

    Raises:
      LeakError: how many, who (the first five) and where.
    """
    if found := leaked(trained, scored):
        words = describe_leak(found, scored, what_trained=what_trained)
        raise LeakError(f"{words}; their figures would be optimistic. {advice}")


def refuse_leak_between(
    datasets: Mapping[str, People], earlier: frozenset[str] = frozenset()
) -> None:
    """Refuses datasets {name: people}, trained on together, that split the same people apart.

    Args:
      earlier: pseudonyms of whom the weights had been trained on before.

    Raises:
      LeakError: somebody of a training split, or of `earlier`, is in another split of one of them.
    """
    trained = set().union(*(people.of_split("train") for people in datasets.values()))
    scored = {
        f"{split} of {name}": names
        for name, people in datasets.items()
        for split, names in people.splits.items()
        if split != "train"
    }
    refuse_leak(
        trained,
        scored,
        what_trained=f"the training split of {' or '.join(datasets)}",
        advice="Build them with the same split, or use one of them",
    )
    refuse_leak(
        earlier,
        scored,
        what_trained="the training of what config.data.encoder or config.initialise_from names",
        advice="Build this with the split of that run, or start from another",
    )


def some(found: Mapping[str, list[str]]) -> str:
    """Subjects and their places, in words: the first five."""
    shown = [f"{s} in {' and '.join(places)}" for s, places in list(found.items())[:_SHOWN]]
    return "; ".join([*shown, "…"] if len(found) > _SHOWN else shown)
