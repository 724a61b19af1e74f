"""Stored predictions of sleep stages → the figures of a row, and the difference of two rows.

As in `metrics.scoring`, figures are means over the seeds and intervals are over people. Cohen's κ
is unweighted, over all sleep_epochs together ("pooled", what wav2sleep and its peers report), and
beside it stands the median of the nights' own κ, which a few long or bad nights do not move.

The interval of a median is not the jackknife's, which fails there (leaving one out moves a median
to its neighbour or not at all): it is Woodruff's. The share of nights below the median gets an
interval over people, and the nights' values at its ends are the interval.

Two rows differ in their median by the median of the nights' paired differences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from sleepfm_jax.metrics.agreement import agreement
from sleepfm_jax.metrics.classification import Confused, class_holders
from sleepfm_jax.metrics.intervals import person_intervals
from sleepfm_jax.metrics.predictions import Predictions
from sleepfm_jax.metrics.scoring import check_paired, no_claim, per_class, trained_too_seldom
from sleepfm_jax.metrics.sleep_statistics import sleep_statistics
from sleepfm_jax.metrics.weighted import Statistic, ratio

FIGURES = ("kappa", "accuracy", "f1", "balanced_accuracy")
"""Over all sleep_epochs together; `f1` is the mean over the classes."""

MEDIAN = "median_night_kappa"


class Night(NamedTuple):
    """One recording of stored predictions.

    Attributes:
      rows: int [n], its examples. at: int [n], their sleep_epochs in time, from 0.
    """

    person: str
    recording: str
    rows: np.ndarray
    at: np.ndarray

    def hypnogram(self, values: np.ndarray) -> np.ndarray:
        """[n] of its examples → [E] in time; -1 where there is no example."""
        found = np.full(int(self.at.max()) + 1, -1, values.dtype)
        found[self.at] = values
        return found


def nights(p: Predictions) -> Iterator[Night]:
    """The recordings, in order of person and recording.

    Raises:
      ValueError: examples that are not sleep_epochs.
    """
    if p.label.ndim != 1 or (p.sleep_epoch < 0).any():
        raise ValueError("these predictions are not of sleep_epochs")
    in_a_clip = int(p.sleep_epoch.max()) + 1 if len(p.label) else 1
    time = p.clip.astype(np.int64) * in_a_clip + p.sleep_epoch
    order = np.lexsort([time, p.recording, p.person])
    whose = list(zip(p.person[order].tolist(), p.recording[order].tolist()))
    starts = [i for i, who in enumerate(whose) if not i or who != whose[i - 1]]
    for start, end in zip(starts, [*starts[1:], len(whose)]):
        rows = order[start:end]
        yield Night(*whose[start], rows, time[rows] - time[rows[0]])


def staging_figures(p: Predictions) -> dict[str, float]:
    """`FIGURES` and the median of the nights' κ, means over the seeds, without intervals."""
    found = {n: float(v[0]) for n, v in _pooled(p)(np.ones((1, len(p.label)))).items()}
    return found | {MEDIAN: _median(_night_kappas(p)[0].mean(axis=1))}


@threadpool_limits.wrap(limits=1)
def staging_score(p: Predictions) -> dict[str, Any]:
    """The figures of a row.

    Returns:
      `kappa`, `accuracy`, `f1`, `balanced_accuracy`, means over the seeds; `median_night_kappa`;
      `ci95` {each of them: [low, high] or None} with `reasons`; `f1_by_class` {name: F1, NaN of a
      class that never occurs} with `f1_by_class_ci95`; `per_seed` {metric: [R]}, `seeds`;
      `confusion` [K true][K predicted], of all seeds together; `agreement` {statistic:
      `metrics.agreement` of predicted minus scored, means over seeds}; `classes`, `subjects`,
      `nights`, `nights_without_kappa` (one stage alone, scored and predicted), `examples`,
      `subjects_per_class`, `how`.

    Raises:
      ValueError: no examples, or predictions that are not of sleep_epochs.
    """
    kappas, whose = _night_kappas(p)
    statistic, holders = _pooled(p), class_holders(p.label, p.classes)
    by_class = _by_class(p)
    ones = np.ones((1, len(p.label)))
    found = {name: float(v[0]) for name, v in statistic(ones).items()}
    each = [{n: float(v[0]) for n, v in _of_seed(p, r)(ones).items()} for r in range(len(p.seeds))]
    ci95, reasons = person_intervals(p.person, statistic, holders)
    f1 = {name: float(v[0]) for name, v in by_class(ones).items()}
    bounds = dict.fromkeys(f1, (0.0, 1.0))
    known = {name for name, value in f1.items() if np.isfinite(value)}
    f1_ci95, f1_reasons = person_intervals(
        p.person,
        lambda weights: {n: v for n, v in by_class(weights).items() if n in known},
        holders,
        limits=bounds,
    )
    of_nights = kappas.mean(axis=1)  # [nights], means over the seeds
    found[MEDIAN], ci95[MEDIAN], reason = median_interval(whose, of_nights)
    if reason:
        reasons[MEDIAN] = reason
    seeds = {name: [one[name] for one in each] for name in FIGURES}
    seeds[MEDIAN] = [_median(kappas[:, r]) for r in range(len(p.seeds))]
    guesses = p.probabilities.argmax(axis=2)  # [R, N]
    confusion = sum(Confused(p.label, g, len(p.classes)).counts(ones)[0] for g in guesses)
    return {
        **found,
        "ci95": ci95,
        "reasons": reasons,
        "f1_by_class": f1,
        "f1_by_class_ci95": dict.fromkeys(f1) | f1_ci95,
        "f1_by_class_reasons": f1_reasons,
        "per_seed": seeds,
        "seeds": p.seeds.tolist(),
        "confusion": confusion.astype(int).tolist(),
        "agreement": statistics_agreement(p),
        "classes": p.classes,
        "subjects": len(np.unique(p.person)),
        "nights": len(of_nights),
        "nights_without_kappa": int(np.sum(~np.isfinite(of_nights))),
        "examples": len(p.label),
        **per_class(p),
        "how": dict(p.about),
    }


@threadpool_limits.wrap(limits=1)
def staging_difference(a: Predictions, b: Predictions) -> dict[str, Any]:
    """a minus b on the same sleep_epochs of the same people.

    Returns:
      `metric` ("kappa"), and of it `value`, `ci95` or None with `reason`, `per_seed` (seed by seed,
      or each with each where their numbers differ), `claim`, `no_claim`; `metrics` {name: the same
      of each figure, the median of the nights' κ among them}; `subjects`, `nights`, `examples`. A
      claim is as in `metrics.scoring`.

    Raises:
      ValueError: the two were not scored on the same examples in the same order, are of other
        builds of a dataset, or were trained by other recipes.
    """
    check_paired(a, b)
    first, second = _pooled(a), _pooled(b)

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        one, other = first(weights), second(weights)
        return {name: one[name] - other[name] for name in one}

    ones = np.ones((1, len(a.label)))
    values = {name: float(v[0]) for name, v in statistic(ones).items()}
    holders = class_holders(a.label, a.classes)
    ci95, reasons = person_intervals(a.person, statistic, holders, difference=True)
    each = [[_of_seed(p, r)(ones) for r in range(len(p.seeds))] for p in (a, b)]
    found = {
        name: {
            "value": values[name],
            "ci95": ci95[name],
            "reason": reasons.get(name),
            "per_seed": _pairs(*([float(s[name][0]) for s in of_row] for of_row in each)),
        }
        for name in FIGURES
    }
    (kappa_a, whose), (kappa_b, _) = _night_kappas(a), _night_kappas(b)
    between = kappa_a.mean(axis=1) - kappa_b.mean(axis=1)
    value, interval, reason = median_interval(whose, between)
    by_seed = [[k[:, r] for r in range(k.shape[1])] for k in (kappa_a, kappa_b)]
    found[MEDIAN] = {
        "value": value,
        "ci95": interval,
        "reason": reason,
        "per_seed": [_median(d) for d in _pairs(*by_seed)],
    }
    trained = trained_too_seldom(a, b)
    for one in found.values():
        one["no_claim"] = no_claim(one) or trained
        one["claim"] = one["no_claim"] is None
    return {
        "metric": "kappa",
        **found["kappa"],
        "metrics": found,
        "subjects": len(np.unique(a.person)),
        "nights": len(between),
        "examples": len(a.label),
    }


def median_interval(
    people: np.ndarray, values: np.ndarray
) -> tuple[float, list[float] | None, str | None]:
    """The median of nights, its 95 % interval over people, and why there is none.

    Args:
      people: [N], the person of each night. values: float [N]; NaN is left out.
    """
    people, values = np.asarray(people), np.asarray(values, float)
    known = np.isfinite(values)
    people, values = people[known], values[known]
    if not len(values):
        return float("nan"), None, "no night has a value"
    middle = float(np.median(values))
    below = (values < middle) + 0.5 * (values == middle)

    def share(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {"share": ratio(weights @ below, weights.sum(axis=1))}

    ci95, reasons = person_intervals(people, share, {}, limits={"share": (0.0, 1.0)})
    if ci95["share"] is None:
        return middle, None, reasons["share"]
    ordered = np.sort(values)
    low, high = ci95["share"]
    last = len(ordered) - 1
    first, final = int(np.floor(low * len(ordered))), int(np.ceil(high * len(ordered))) - 1
    return middle, [float(ordered[min(first, last)]), float(ordered[max(final, 0)])], None


def night_statistics(p: Predictions) -> dict[str, np.ndarray]:
    """Sleep statistics of every night, as scored and as predicted.

    Returns:
      `person` and `recording`, str [nights]; and {statistic: float [nights, 2]}: scored, predicted
      (the mean over seeds of each seed's own; NaN where one has none).
    """
    guess = p.probabilities.argmax(axis=2)  # [R, N]
    found: dict[str, list] = {"person": [], "recording": []}
    for night in nights(p):
        found["person"].append(night.person)
        found["recording"].append(night.recording)
        scored = sleep_statistics(night.hypnogram(p.label[night.rows]), p.classes)
        said = [sleep_statistics(night.hypnogram(g[night.rows]), p.classes) for g in guess]
        for name, value in scored.items():
            pair = (value, float(np.mean([one[name] for one in said])))
            found.setdefault(name, []).append(pair)
    return {name: np.array(values) for name, values in found.items()}


def statistics_agreement(p: Predictions) -> dict[str, dict[str, Any]]:
    """{statistic: `metrics.agreement`, predicted minus scored}; minutes, SE and shares percent."""
    table = night_statistics(p)
    people = table.pop("person")
    table.pop("recording")
    same = ("TIB", "unscored")  # both are of the sleep_epochs that were scored
    return {
        name: agreement(people, pairs[:, 0], pairs[:, 1])
        for name, pairs in table.items()
        if name not in same
    }


# --------------------------------------------------------------------------- parts


def _of_seed(p: Predictions, repeat: int) -> Statistic:
    confused = Confused(p.label, p.probabilities[repeat].argmax(axis=1), len(p.classes))

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        found = confused.figures(confused.counts(weights))
        return {name: found[name] for name in FIGURES}

    return statistic


def _over_seeds(p: Predictions, part: Callable[[int], Statistic]) -> Statistic:
    parts = [part(r) for r in range(len(p.seeds))]

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        found = [one(weights) for one in parts]
        return {name: np.mean([one[name] for one in found], axis=0) for name in found[0]}

    return statistic


def _pooled(p: Predictions) -> Statistic:
    return _over_seeds(p, lambda r: _of_seed(p, r))


def _by_class(p: Predictions) -> Statistic:
    """F1 of each class, means over the seeds."""

    def of_seed(repeat: int) -> Statistic:
        confused = Confused(p.label, p.probabilities[repeat].argmax(axis=1), len(p.classes))

        def statistic(weights: np.ndarray) -> Mapping[str, np.ndarray]:
            return dict(zip(p.classes, confused.f1(confused.counts(weights)).T))

        return statistic

    return _over_seeds(p, of_seed)


def _night_kappas(p: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """κ of each night and seed, [nights, R], NaN where one stage is all there is; and whose, str
    [nights]."""
    guess = p.probabilities.argmax(axis=2)
    kappas, whose = [], []
    for night in nights(p):
        y = p.label[night.rows]
        whose.append(night.person)
        kappas.append([_kappa(y, g[night.rows], len(p.classes)) for g in guess])
    return np.array(kappas, float).reshape(len(whose), len(guess)), np.array(whose)


def _kappa(y: np.ndarray, guess: np.ndarray, classes: int) -> float:
    confused = Confused(y, guess, classes)
    return float(confused.figures(confused.counts(np.ones((1, len(y)))))["kappa"][0])


def _median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else float("nan")


def _pairs(first: list, second: list) -> list:
    """Differences seed by seed; each with each where their numbers differ."""
    if len(first) != len(second):
        return [a - b for a in first for b in second]
    return [a - b for a, b in zip(first, second)]
