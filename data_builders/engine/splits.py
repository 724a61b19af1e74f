"""Train, validation and test by subject: no person is ever in two of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

SPLITS = ("train", "validation", "test")
FRACTIONS = (0.7, 0.1, 0.2)


def by_subject(
    subjects: Iterable[str], seed: int = 0, fractions: tuple[float, float, float] = FRACTIONS
) -> dict[str, str]:
    """Gives every subject a split.

    Subjects are sorted by sha256(f"{seed}:{subject}") and cut by `fractions`, so that the split
    depends on nothing but the names, the seed and the fractions: not on the order or number of
    files. With three subjects or more every split of a positive fraction gets at least one; fewer
    all go to train.

    Raises:
        ValueError: the fractions are not three non-negative numbers that sum to 1, train's
            positive.
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(
            "split fractions must be three numbers (train, validation, test) that sum to 1, "
            f"not {fractions}"
        )
    if fractions[0] == 0:
        raise ValueError("the train fraction must be more than 0")
    names = sorted(
        set(subjects), key=lambda s: (hashlib.sha256(f"{seed}:{s}".encode()).hexdigest(), s)
    )
    if len(names) < 3:
        return dict.fromkeys(names, "train")
    validation, test = (max(1, round(f * len(names))) if f > 0 else 0 for f in fractions[1:])
    while validation + test >= len(names):  # a handful of subjects and a small train fraction
        validation, test = (validation - 1, test) if validation > test else (validation, test - 1)
    train = len(names) - validation - test
    cut = ["train"] * train + ["validation"] * validation + ["test"] * test
    return dict(zip(names, cut))


def subjects_by_split(reports: Iterable[Mapping[str, Any]]) -> dict[str, set[str]]:
    """Who has a record in which split, from the reports of recordings; splits in their order."""
    found: dict[str, set[str]] = {split: set() for split in SPLITS}
    for report in reports:
        if report["clips"]:
            found[report["split"]].add(report["subject"])
    return {split: names for split, names in found.items() if names}
