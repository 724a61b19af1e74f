"""Published figures of staging from subsets of signals: the one place where they stand.

From docs/field.md §1.C, which says where they were read. All are of real cohorts and four classes
(wake, N1+N2, N3, REM); nothing simulated stands beside them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

PAPER = "wav2sleep, arXiv 2411.04644"
CLASSES = ("W", "N1+N2", "N3", "REM")


@dataclasses.dataclass(frozen=True)
class Published:
    """One figure.

    Attributes:
      cohort, signals: as our tables name them. kappa: pooled over all sleep_epochs.
      variant: which of the two published forms of the model. people: in the published test split.
      note: how it was come by.
    """

    cohort: str
    signals: str
    kappa: float
    variant: str
    people: int
    note: str = "second-hand; the variant is presumed"


TABLE = (
    Published("shhs", "ECG", 0.739, "paper2024", 1000),
    Published("shhs", "ECG+THX", 0.779, "paper2024", 1000),
    Published("mesa", "PPG", 0.742, "paper2024", 200),
    Published("census", "ECG", 0.783, "paper2024", 500, "second-hand; 61 of 500 in training too"),
)


def beside(cohort: str, signals: str, classes: Sequence[str]) -> Published | None:
    """What stands beside our figure of a cohort; None: nothing that could be compared."""
    if tuple(classes) != CLASSES:
        return None
    same = (p for p in TABLE if (p.cohort, p.signals) == (cohort.lower(), signals))
    return next(same, None)
