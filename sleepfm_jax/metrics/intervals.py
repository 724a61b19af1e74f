"""95 % intervals over people that cover what they state (numpy, scipy; no jax).

The clips of one person are not independent, so people are the sample. Each is left out once: the
spread of the figures without one person (the delete-one jackknife) is the standard error. Nothing
is drawn, so no draw can lack a class. Few people make that spread itself uncertain; what keeps the
coverage then was chosen by simulation (`docs/intervals.md` has the table and the command):

* Degrees of freedom from how unequal people's influences are, not from their number: two people
  who make all the spread are two observations.
* A figure between bounds gets a score interval, as Wilson's of a proportion: the standard error is
  that at the interval's own ends, not at the figure, so all people right do not give [1, 1]. Into
  the variance goes half an imagined person who is all right or all wrong.
* A mean over classes varies at least as the examples of its rarest class would, were they
  independent: a class whose few examples all came out alike is no exact knowledge.
* A paired difference gets t, with half an example of the rarest class as the least that it varies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from scipy import stats

from sleepfm_jax.metrics.weighted import Statistic

LEAST_PEOPLE = 10
LEAST_HOLDERS = 5  # people of each class, or of each side of a label

# Bounds of a figure; a figure of another name has none, and gets a plain t interval.
_BOUNDS = {
    **dict.fromkeys(("balanced_accuracy", "auroc", "auprc", "accuracy"), (0.0, 1.0)),
    **dict.fromkeys(("f1", "f1_weighted", "f1_positive"), (0.0, 1.0)),
    **dict.fromkeys(("sensitivity", "specificity"), (0.0, 1.0)),
    "brier": (0.0, 1.0),
    "kappa": (-1.0, 1.0),
}
_MEANS_OVER_CLASSES = ("balanced_accuracy", "auroc", "auprc")
_OVER_EXAMPLES = ("accuracy", "brier", "f1_weighted")  # a rare class weighs little in these
_IMAGINED = 0.5  # people
_CHUNK = 4_000_000  # elements of the largest temporary array: 32 MB in float64


def person_intervals(
    people: Sequence[str] | np.ndarray,
    statistic: Statistic,
    holders: Mapping[str, np.ndarray],
    *,
    difference: bool = False,
    limits: Mapping[str, tuple[float, float]] = MappingProxyType({}),
    n: int = 200,
    seed: int = 0,
) -> tuple[dict[str, list[float] | None], dict[str, str]]:
    """95 % intervals of figures, with the people as the sample.

    Args:
      people: [N], the person of each example.
      statistic: weights float [R, N] -> {metric: [R]}; all ones give the figures themselves.
      holders: {what is held, in words ("class 'spsw'"): bool [N], the examples that hold it}, for
        every class, and both sides of every label, that the figures average over.
      difference: the statistic is a figure of one row minus that of another on the same examples.
      limits: {metric: (least, greatest)} where they are others than `_BOUNDS`.
      n: with more people than this, they are left out in n groups of about one size.
      seed: of who is in which group; without groups nothing is random.

    Returns:
      {metric: [low, high], or None} and {metric: why there is none, in words}. None: fewer than
      10 people; something held by fewer than 5; a figure that is NaN, or becomes NaN without one of
      the people. Two rows that are equal in every figure under every weighting differ by [0, 0].

    Raises:
      ValueError: with no examples, or when a holder does not fit them.
    """
    member = np.unique(np.asarray(people), return_inverse=True)[1]  # [N], 0 .. persons - 1
    if not member.size:
        raise ValueError("no examples to have an interval of")
    persons = int(member.max()) + 1
    held = {}
    for name, holds in holders.items():
        if np.shape(holds) != member.shape:
            raise ValueError(f"{name}: {np.shape(holds)} does not fit {member.size} examples")
        held[name] = len(np.unique(member[np.asarray(holds, bool)]))
    if reason := _too_few(persons, held):
        figures = statistic(np.ones((1, member.size)))
        return dict.fromkeys(figures), dict.fromkeys(figures, reason)
    if persons > n:
        member = np.random.default_rng(seed).permutation(np.arange(persons) % n)[member]
    whole, without = _leave_out(statistic, member)
    if difference and not any(np.any(v) for v in (*whole.values(), *without.values())):
        return {name: [0.0, 0.0] for name in whole}, {}
    rarest = min((int(np.sum(holds)) for holds in holders.values()), default=member.size)
    ci95: dict[str, list[float] | None] = {}
    reasons = {}
    for name, figure in whole.items():
        if np.isnan(figure) or np.isnan(without[name]).any():
            ci95[name] = None
            lost = "without one of the people " if not np.isnan(figure) else ""
            reasons[name] = f"{lost}the figure is undefined"
            continue
        few = persons if name in _OVER_EXAMPLES else min([persons, *held.values()])
        if name in _MEANS_OVER_CLASSES and holders:
            one = 1 / (len(holders) * rarest)  # what one example of the rarest class can move
            least = one / len(holders)  # = V / (T (1 - T)) of independent examples of it
        else:
            one, least = 1 / member.size, 0.0
        jackknife = _Jackknife(figure, without[name])
        bounds = {**_BOUNDS, **limits}.get(name)
        if difference:
            span = 1.0 if bounds is None else bounds[1] - bounds[0]
            low, high = jackknife.around(one * span / 2)
            if bounds is not None:
                low, high = max(low, -span), min(high, span)
        elif bounds is None:
            low, high = jackknife.around(0.0)
        else:
            low, high = jackknife.score(*bounds, few=few, least=least)
        ci95[name] = [float(low), float(high)]
    return ci95, reasons


def _too_few(persons: int, held: Mapping[str, int]) -> str | None:
    if persons < LEAST_PEOPLE:
        return f"{_people(persons)}, an interval needs {LEAST_PEOPLE}"
    for name, count in held.items():
        if count < LEAST_HOLDERS:
            return f"{name} is held by {_people(count)}, an interval needs {LEAST_HOLDERS}"
    return None


def _people(count: int) -> str:
    return f"{count} {'person' if count == 1 else 'people'}"


def _leave_out(
    statistic: Statistic, group: np.ndarray
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """{metric: of everybody} and {metric: [G], without each group}. group: int [N], 0 .. G-1."""
    whole = {k: float(v[0]) for k, v in statistic(np.ones((1, group.size))).items()}
    without: dict[str, list[np.ndarray]] = {name: [] for name in whole}
    groups = int(group.max()) + 1
    step = max(1, _CHUNK // group.size)
    for start in range(0, groups, step):
        left_out = np.arange(start, min(start + step, groups))
        weights = (group[None] != left_out[:, None]).astype(np.float64)  # [R, N]
        for name, value in statistic(weights).items():
            without[name].append(np.asarray(value))
    return whole, {name: np.concatenate(parts) for name, parts in without.items()}


class _Jackknife:
    """A figure, the variance that leaving out each of n people shows, and its t quantile."""

    def __init__(self, figure: float, without: np.ndarray):
        self.figure, self.n = figure, len(without)
        squares = (without - without.mean()) ** 2
        total = squares.sum()
        self.variance = (self.n - 1) / self.n * total
        freedom = self.n - 1.0
        if self.variance > 1e-24:  # else rounding alone
            # A sample variance of kurtosis k has that of chi squared with 2 n / (k - 1) degrees.
            kurtosis = self.n * (squares**2).sum() / total**2
            freedom = np.clip(2 * self.n / max(kurtosis - 1, 1e-9), 1, freedom)
        else:
            self.variance = 0.0
        self.t = stats.t.ppf(0.975, freedom)

    def around(self, unseen: float) -> tuple[float, float]:
        """figure ± t, with a standard error that is unseen added to the one that is seen."""
        half = self.t * np.sqrt(self.variance + unseen**2)
        return self.figure - half, self.figure + half

    def score(self, low: float, high: float, *, few: int, least: float) -> tuple[float, float]:
        """All figures from which this one is at most t standard errors *of theirs* away.

        The variance of a figure x in 0..1 is taken as c x (1 - x), which is exact of a proportion;
        c is at most 1 / few of that many people who are each all right or all wrong, and at least
        `least`.
        """
        x = min(max((self.figure - low) / (high - low), 0.0), 1.0)
        x_1 = x * (1 - x)
        c = 1 / few  # nobody differs: nothing is known but this
        if self.variance > 0 and x_1 > 0:
            c = self.variance / (high - low) ** 2 / x_1
            c = max(c, (self.n * c + _IMAGINED / few) / (self.n + _IMAGINED), least)
        k = self.t**2 * c
        middle, half = x + k / 2, np.sqrt(k * x_1 + k**2 / 4)
        ends = np.clip(np.array([middle - half, middle + half]) / (1 + k), 0.0, 1.0)
        return tuple(low + (high - low) * ends)
