"""Who is in which split of a dataset, without names: splits.json beside the records.

A person is the first 16 hexadecimal digits of sha256("COHORT:SUBJECT"). The cohort, not the
dataset, is the salt: the same people of two datasets of one cohort are recognised, and people of
two cohorts who happen to share a number are not confused. It is a pseudonym, not anonymity: whoever
has the list of a cohort's subjects can look them up.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

FILENAME = "splits.json"
_DIGITS = 16  # two among a million people coincide with a chance of 3e-8


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


def read_manifest(folder: Path) -> dict[str, Any]:
    """The splits.json of the dataset in `folder`.

    Raises:
        FileNotFoundError: it has none.
        ValueError: it is damaged.
    """
    found = json.loads((folder / FILENAME).read_text(encoding="utf-8"))
    try:
        lists = found["cohort"], *found["subjects"].values()
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder / FILENAME}: no cohort and subjects in it") from error
    if not all(isinstance(entry, str | list) for entry in lists):
        raise ValueError(f"{folder / FILENAME}: no lists of subjects in it")
    return found
