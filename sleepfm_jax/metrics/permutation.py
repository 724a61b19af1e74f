"""Labels permuted over people: what a probe scores when there is nothing to find.

Whole people are exchanged, not examples: the labels of one person hang together, and a classifier
that sees examples of a person fits them as one. So chance has the spread that these people allow,
and what the pooling of folds does to it is in it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def permute_over_people(
    labels: np.ndarray, people: Sequence[str] | np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Labels [N] or [N, K] in which everybody has those of somebody drawn without replacement.

    A person's labels stay in their order, from a random one on (everybody begins the night awake:
    kept in place, that would not be chance); they begin again where the other has more examples,
    and the rest is left out where fewer. With equally many examples all classes stay as frequent.
    """
    labels = np.asarray(labels)
    names, member = np.unique(np.asarray(people), return_inverse=True)
    found = np.empty_like(labels)
    rows = [np.flatnonzero(member == i) for i in range(len(names))]
    for mine, donor in zip(rows, rng.permutation(len(names)), strict=True):
        theirs = rows[donor]
        start = int(rng.integers(len(theirs)))
        found[mine] = labels[theirs[(start + np.arange(len(mine))) % len(theirs)]]
    return found
