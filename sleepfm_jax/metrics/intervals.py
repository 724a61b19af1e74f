"""95 % intervals over subjects, by the bootstrap (numpy, no jax).

Intervals resample *subjects* with replacement, because the clips of one person are not independent:
an interval over clips would be far too narrow. The resampling never rebuilds an array of examples;
it carries one weight an example (how often its subject was drawn), so a thousand resamples are a
few matrix products.

A resample in which a scored class (or the positive or negative side of a scored label) does not
occur is redrawn, so every resample averages over the same classes as the point figure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

# {metric: value a resample} from the weights of the examples, [R, N] -> {name: [R]}
Statistic = Callable[[np.ndarray], Mapping[str, np.ndarray]]

_CHUNK = 4_000_000  # elements of the largest temporary array: 32 MB in float64
_DRAWS_PER_RESAMPLE = 50


def subject_bootstrap(
    subjects: Sequence[str] | np.ndarray,
    statistic: Statistic,
    *,
    required: np.ndarray | None = None,
    n: int = 1000,
    seed: int = 0,
) -> dict[str, list[float]]:
    """95 % percentile intervals from resampling subjects with replacement.

    Args:
      subjects: [N], the subject of each example.
      statistic: weights float [R, N] -> {metric: [R]}; a weight is the number of times the
        example's subject was drawn.
      required: bool [N, J] or None: a resample must draw at least one example of every column,
        else it is redrawn (at most 50 draws a resample asked for).
      n: resamples. seed: of the draws; the same seed gives the same intervals.

    Returns:
      {metric: [low, high]}. [NaN, NaN] with fewer than two subjects, where the redraws ran out, or
      where the statistic is NaN in a resample.

    Raises:
      ValueError: with no examples, or when `required` does not fit them.
    """
    names, member = np.unique(np.asarray(subjects), return_inverse=True)  # member: [N]
    if not member.size:
        raise ValueError("no examples to resample")
    if required is None:
        required = np.ones((member.size, 1), bool)
    if required.shape[0] != member.size:
        raise ValueError(f"required has {required.shape[0]} rows for {member.size} examples")
    holds = np.zeros((names.size, required.shape[1]))  # [subjects, J]
    np.add.at(holds, member, required)
    counts = _draw(names.size, holds > 0, n, np.random.default_rng(seed))
    if names.size < 2 or len(counts) < n:
        empty = statistic(np.ones((1, member.size)))
        return {name: [float("nan")] * 2 for name in empty}
    values: dict[str, list[np.ndarray]] = {}
    step = max(1, _CHUNK // member.size)
    for start in range(0, n, step):
        weights = counts[start : start + step][:, member].astype(np.float64)  # [R, N]
        for name, value in statistic(weights).items():
            values.setdefault(name, []).append(np.asarray(value))
    return {  # np.percentile gives NaN where a value is NaN, which is the rule
        name: [float(v) for v in np.percentile(np.concatenate(parts), [2.5, 97.5])]
        for name, parts in values.items()
    }


def _draw(subjects: int, holds: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Up to n rows of how often each subject was drawn, [n, subjects], each meeting `holds`."""
    accepted: list[np.ndarray] = []
    found = drawn = 0
    batch = max(1, min(n, _CHUNK // subjects))
    while found < n and drawn < _DRAWS_PER_RESAMPLE * n:
        picks = rng.integers(subjects, size=(batch, subjects))
        rows = picks + subjects * np.arange(batch)[:, None]
        counts = np.bincount(rows.ravel(), minlength=batch * subjects).reshape(batch, subjects)
        counts = counts[(counts @ holds > 0).all(axis=1)].astype(np.int32)
        accepted.append(counts)
        found += len(counts)
        drawn += batch
    return np.concatenate(accepted)[:n]


class Ranked:
    """Examples sorted by score once, so the AUROC of any weighting is a cumulative sum.

    AUROC = P(score of a positive > that of a negative) + P(equal) / 2, the Mann-Whitney form; with
    weights, the share of (positive, negative) pairs, each counted weight times weight.
    """

    def __init__(self, scores: np.ndarray, positive: np.ndarray):
        self.order = np.argsort(scores, kind="stable")
        ordered = scores[self.order]
        self.positive = np.asarray(positive, bool)[self.order]
        new = np.concatenate([[True], ordered[1:] != ordered[:-1]])
        self.first = np.flatnonzero(new)  # where each run of equal scores begins
        self.tied = self.first.size < ordered.size

    def auroc(self, weights: np.ndarray) -> np.ndarray:
        """float [R, N] -> [R]; NaN where a weighting has no positive or no negative."""
        ordered = weights[:, self.order]
        positive = np.where(self.positive, ordered, 0.0)
        negative = ordered - positive
        if self.tied:
            positive = np.add.reduceat(positive, self.first, axis=1)
            negative = np.add.reduceat(negative, self.first, axis=1)
        below = np.cumsum(negative, axis=1) - negative / 2  # half of the equal ones
        pairs = positive.sum(axis=1) * negative.sum(axis=1)
        return ratio(np.einsum("rg,rg->r", positive, below), pairs)


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """above / below, NaN where below is 0 (a 0/0 is not a 0)."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below != 0)


def check_scores(p: np.ndarray) -> None:
    if not len(p):
        raise ValueError("no examples to score")
    bad = ~np.isfinite(p).all(axis=1)
    if bad.any():
        raise ValueError(f"{int(bad.sum())} of {len(p)} examples have a probability not finite")
