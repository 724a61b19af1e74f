"""Predictions → the figures of a row, of its control, and the difference of two rows.

Everything in results.json about a labelled dataset comes from here, and from the files of
`metrics.predictions` alone.

A row's figures are means over its seeds, and each seed's own stand beside them. Averaged
predictions are an ensemble: five untrained encoders score more than any one of them, and a row with
one seed has none; its figures stand apart (`ensemble`).

A difference is paired: the same people, the same examples. It is claimed only where its interval
over people excludes 0, every seed says the same, and there are three seeds or more of every encoder
in it: one run of training says nothing of the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from sleepfm_jax.metrics import classification, multilabel
from sleepfm_jax.metrics.calibration import class_reliability
from sleepfm_jax.metrics.intervals import Statistic, person_intervals
from sleepfm_jax.metrics.predictions import Predictions

HEADLINE = {"multilabel": "auroc"}
"""The metric that a label kind is compared by; the others: balanced accuracy."""

ROWS = ("pretrained", "mispaired", "random", "tokens", "features")
"""The known rows of a dataset, in their order. Others may follow."""

LEAST_SEEDS = 3
"""Of every encoder in a difference that is claimed."""

CONTROL = "permuted"
"""The row whose labels were permuted over people: no result, but what chance looks like."""


def headline_metric(label_kind: str) -> str:
    """The metric that rows are compared by."""
    return HEADLINE.get(label_kind, "balanced_accuracy")


@threadpool_limits.wrap(limits=1)  # small products: threads that wait cost more than they bring
def score(predictions: Predictions) -> dict[str, Any]:
    """A row of results.json.

    Returns:
      Every metric, its mean over the seeds (null where it cannot be had; `notes` say why); `ci95`
      {metric: [low, high] or null} with `reasons`; `per_seed` {metric: [R]}, `seeds`; with several
      seeds `ensemble` {metric: of their averaged predictions}; `chance` {metric: level}; with
      folds, `folds` {auroc, auprc: means over the folds that hold every class; `used` `of` how
      many}; `calibration` (one class an example; `calibration.class_reliability`); `unweighted`
      {kappa, f1} of the fit without class weights; `confusion` of the averaged predictions [K
      true][K predicted] (several labels: one [[tn, fp], [fn, tp]] a label) and `per_label`;
      `subjects`, `examples` and both per class; `classes`, `notes`, and `how`: all that the
      predictions say of their making.
    """
    p, y = predictions, predictions.label
    averaged = _figures(y, p.mean(), _mean_thresholds(p))
    notes = [*_notes(averaged, p.classes), *p.about.get("notes", ())]
    seeds = _each_seed(p)
    found = {name: _mean([each[name] for each in seeds]) for name in _metric_names(averaged)}
    statistic, holders = _statistic(p), _holders(p)
    ci95, reasons = person_intervals(p.person, statistic, holders, limits=_limits(p))
    row = {
        **found,
        "ci95": ci95,
        "reasons": reasons,
        "per_seed": {name: [each[name] for each in seeds] for name in found},
        "seeds": p.seeds.tolist(),
        "chance": _chance(p),
        "subjects": len(np.unique(p.person)),
        "examples": len(y),
        **per_class(p),
        "classes": p.classes,
        "confusion": _confusion(y, p.mean(), _mean_thresholds(p)),
        "notes": notes,
        "how": dict(p.about),
    }
    if len(p.seeds) > 1:
        row["ensemble"] = {name: averaged[name] for name in found}
    if y.ndim == 2:
        tables = [each["per_label"] for each in seeds]
        row["per_label"] = {
            name: [_mean(label) for label in zip(*(table[name] for table in tables))]
            for name in tables[0]
        }
    if p.unweighted is not None:
        plain = [_figures(y, each.astype(np.float64), None) for each in p.unweighted]
        row["unweighted"] = {
            name: _mean([each[name] for each in plain]) for name in ("kappa", "f1", "f1_weighted")
        }
    if y.ndim == 1:
        row["calibration"] = class_reliability(y, p.mean())
    if (p.fold >= 0).all():
        row["folds"] = _over_folds(p)
    return row


@threadpool_limits.wrap(limits=1)
def difference(a: Predictions, b: Predictions) -> dict[str, Any]:
    """a minus b, on the same examples of the same people.

    Returns:
      `metric`, and of it `value`, `ci95` or null with `reason`, `per_seed` (seed by seed; where
      the two rows have other numbers of seeds, each of one against each of the other), `ensemble`
      (of the averaged predictions), `claim`, and `no_claim`, why there is none; `metrics` {name:
      the same of each metric}; `subjects`, `examples`.

    Raises:
      ValueError: the two were not scored on the same examples in the same order, are of other
        builds of a dataset, or were trained by other recipes (`about["recipe"]`, where both say).
    """
    check_paired(a, b)
    first, second = _statistic(a), _statistic(b)

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        one, other = first(weights), second(weights)
        return {name: one[name] - other[name] for name in one}

    ci95, reasons = person_intervals(
        a.person, statistic, _holders(a), difference=True, limits=_limits(a)
    )
    each = [_each_seed(x) for x in (a, b)]
    pairs = list(zip(*each))
    if len(each[0]) != len(each[1]):
        pairs = [(one, other) for one in each[0] for other in each[1]]
    averaged = [_figures(a.label, x.mean(), _mean_thresholds(x)) for x in (a, b)]
    metrics = {
        name: {
            "value": _mean([one[name] for one in each[0]]) - _mean([one[name] for one in each[1]]),
            "ci95": ci95[name],
            "reason": reasons.get(name),
            "per_seed": [one[name] - other[name] for one, other in pairs],
            "ensemble": averaged[0][name] - averaged[1][name],
        }
        for name in ci95
    }
    trained = trained_too_seldom(a, b)
    for found in metrics.values():
        found["no_claim"] = no_claim(found) or trained
        found["claim"] = found["no_claim"] is None
    metric = a.about.get("metric") or headline_metric(a.about["label_kind"])
    return {
        "metric": metric,
        **metrics[metric],
        "metrics": metrics,
        "subjects": len(np.unique(a.person)),
        "examples": len(a.label),
    }


def check_paired(a: Predictions, b: Predictions) -> None:
    for key in ("dataset_fingerprint", "classes", "label_kind", "split"):
        if a.about.get(key) != b.about.get(key):
            raise ValueError(
                f"{key} is {a.about.get(key)!r} of one row and {b.about.get(key)!r} of the other"
            )
    recipes = {row.about["recipe"] for row in (a, b) if "recipe" in row.about}
    if len(recipes) > 1:
        raise ValueError("the two rows were trained by other recipes: train both by one")
    same = all(np.array_equal(*pair) for pair in zip(a.examples(), b.examples(), strict=True))
    floating = a.label.dtype.kind == "f"
    if not (same and np.array_equal(a.label, b.label, equal_nan=floating)):
        raise ValueError("the two rows were not scored on the same examples in the same order")


def no_claim(found: Mapping[str, Any]) -> str | None:
    """Why a difference cannot be claimed; None: its interval and its seeds agree."""
    bounds = found["ci95"]
    if bounds is None:
        return "no interval"
    if bounds[0] <= 0 <= bounds[1]:
        return "the interval holds 0"
    signs = np.sign([found["value"], *found["per_seed"]])
    return None if (signs == signs[0]).all() else "seeds disagree"


def trained_too_seldom(*rows: Predictions) -> str | None:
    """Which encoders were there too seldom to claim anything of their kind."""
    for row in rows:
        weights = set(row.about.get("weights") or ())
        if weights and len(weights) < LEAST_SEEDS:
            times = "once" if len(weights) == 1 else f"{len(weights)} times"
            return f"{row.about['row']} was trained {times}, a claim needs {LEAST_SEEDS} seeds"
    return None


def control(permuted: Predictions) -> dict[str, Any]:
    """What is scored where labels were permuted over people: {metric: {"mean", "band" [2.5 %, 97.5
    %], "values" [R]}}."""
    rounds = [
        _figures(permuted.permuted[r], permuted.probabilities[r], _thresholds(permuted, r))
        for r in range(len(permuted.seeds))
    ]
    found = {}
    for name in _metric_names(rounds[0]):
        values = np.array([each[name] for each in rounds], float)
        known = values[np.isfinite(values)]
        if known.size:
            low, high = np.percentile(known, [2.5, 97.5])
            found[name] = {"mean": known.mean(), "band": [low, high], "values": values.tolist()}
    return found


def differences(rows: Mapping[str, Predictions]) -> dict[str, Any]:
    """{"a-b": difference} of the first known row and every other, and of mispaired and random.
    Rows that say what they are compared with (`about["against"]`) are compared with that alone."""
    told = {name: p.about["against"] for name, p in rows.items() if "against" in p.about}
    pairs = [(a, b) for a in sorted(told) for b in told[a] if b in rows]
    rows_of_probes = {name: p for name, p in rows.items() if name not in told}
    known = [name for name in ROWS if name in rows_of_probes]
    others = [name for name in rows_of_probes if name not in ROWS and name != CONTROL]
    order = known + sorted(others)
    pairs += [(order[0], name) for name in order[1:]]
    if {"mispaired", "random"} <= set(order) and order[0] != "mispaired":
        pairs.append(("mispaired", "random"))
    found = {}
    for a, b in pairs:
        try:
            found[f"{a}-{b}"] = difference(rows[a], rows[b])
        except ValueError as error:  # rows of two probes: other people, another build
            found[f"{a}-{b}"] = {"value": None, "ci95": None, "reason": str(error), "per_seed": []}
    return found


def tables(rows: Mapping[str, Predictions]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(rows, differences) of one dataset, as results.json holds them."""
    order = [name for name in ROWS if name in rows]
    order += sorted(name for name in rows if name not in ROWS and name != CONTROL)
    scored = {name: score(rows[name]) for name in order}
    if CONTROL in rows and "pretrained" in scored:
        scored["pretrained"]["permuted"] = control(rows[CONTROL])
    return scored, differences(rows) if len(order) > 1 else {}


# --------------------------------------------------------------------------- parts


def _figures(y: np.ndarray, p: np.ndarray, thresholds: np.ndarray | None) -> dict[str, Any]:
    if y.ndim == 2:
        return multilabel.multilabel_metrics(y, p, thresholds)
    cut = None if thresholds is None else thresholds[:, 0]
    return classification.classification_metrics(y, p, threshold=cut)


def _metric_names(found: Mapping[str, Any]) -> list[str]:
    return [name for name, value in found.items() if isinstance(value, float)]


def _each_seed(p: Predictions) -> list[dict[str, Any]]:
    return [
        _figures(p.label, p.probabilities[r].astype(np.float64), _thresholds(p, r))
        for r in range(len(p.seeds))
    ]


def _mean(values: list[float]) -> float:
    """NaN where one is."""
    return float(np.mean(values))


def _statistic(p: Predictions) -> Statistic:
    """The mean over seeds of each metric, for many weightings of the examples at once."""
    of_one = (
        multilabel.multilabel_statistic
        if p.label.ndim == 2
        else classification.classification_statistic
    )
    parts = []
    for r in range(len(p.seeds)):
        cuts = _thresholds(p, r)
        cut = cuts[:, 0] if cuts is not None and p.label.ndim == 1 else cuts
        each = p.probabilities[r].astype(np.float64)
        options = {"threshold": cut} if p.label.ndim == 1 else {"thresholds": cut}
        parts.append(of_one(p.label, each, **options))

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        found = [part(weights) for part in parts]
        return {name: np.mean([each[name] for each in found], axis=0) for name in found[0]}

    return statistic


def _mean_thresholds(p: Predictions) -> np.ndarray | None:
    return None if p.thresholds is None else p.thresholds.astype(np.float64).mean(axis=0)


def _thresholds(p: Predictions, repeat: int) -> np.ndarray | None:
    return None if p.thresholds is None else p.thresholds[repeat].astype(np.float64)


def _holders(p: Predictions) -> dict[str, np.ndarray]:
    """Which examples hold each scored class, or each side of each scored label."""
    holders = classification.class_holders if p.label.ndim == 1 else multilabel.label_holders
    return holders(p.label, p.classes)


def _limits(p: Predictions) -> dict[str, tuple[float, float]]:
    """Of figures that another number of classes gives other limits."""
    return {"brier": (0.0, 2.0)} if p.label.ndim == 1 and len(p.classes) > 2 else {}


def per_class(p: Predictions) -> dict[str, dict[str, int]]:
    """People and examples of each class (several labels: with the label)."""
    held = {
        name: (p.label == k) if p.label.ndim == 1 else (p.label[:, k] == 1)
        for k, name in enumerate(p.classes)
    }
    return {
        "subjects_per_class": {name: len(np.unique(p.person[mine])) for name, mine in held.items()},
        "examples_per_class": {name: int(mine.sum()) for name, mine in held.items()},
    }


def _chance(p: Predictions) -> dict[str, float]:
    """Levels that nothing but luck reaches, where theory knows them."""
    found = {"auroc": 0.5}
    if p.label.ndim == 1:
        found |= {"balanced_accuracy": 1.0 / max(1, len(np.unique(p.label))), "kappa": 0.0}
        if len(p.classes) == 2:
            found["auprc"] = float(np.mean(p.label == 1))
    else:
        found["balanced_accuracy"] = 0.5
    return found


def _confusion(y: np.ndarray, p: np.ndarray, thresholds: np.ndarray | None) -> list:
    if y.ndim == 1:
        counts = np.zeros((p.shape[1],) * 2, int)
        np.add.at(counts, (y, p.argmax(axis=1)), 1)
        return counts.tolist()
    guess = p >= thresholds
    return [
        [[int(np.sum((y[:, k] == t) & (guess[:, k] == g))) for g in (0, 1)] for t in (0, 1)]
        for k in range(y.shape[1])
    ]


def _over_folds(p: Predictions) -> dict[str, float]:
    """Means over folds (and seeds) of what ranks: pooled, it compares examples of different fits.
    Folds that lack a class (a side of a scored label) are left out and counted."""
    names = ("auroc", "auprc")
    values: dict[str, list[float]] = {name: [] for name in names}
    holders, of = _holders(p).values(), 0
    for r in range(len(p.seeds)):
        cuts = _thresholds(p, r)
        for number in np.unique(p.fold[r]):
            mine, of = p.fold[r] == number, of + 1
            if not all(held[mine].any() for held in holders):
                continue
            cut = None if cuts is None else cuts[mine]
            found = _figures(p.label[mine], p.probabilities[r][mine], cut)
            for name in names:
                values[name].append(found[name])
    means = {name: float(np.mean(each)) if each else float("nan") for name, each in values.items()}
    return {**means, "used": len(values["auroc"]), "of": of}


def _notes(found: dict[str, Any], classes: list[str]) -> list[str]:
    """Takes out of the figures what they say in words and in numbers of classes, with names."""
    notes = found.pop("notes")
    if absent := found.pop("absent_classes", None):
        notes = [note for note in notes if not note.startswith("classes [")]
        notes.append(f"no scored example of {', '.join(classes[k] for k in absent)}")
    if excluded := found.pop("excluded_labels", None):
        notes = [note for note in notes if not note.startswith("label ")]
        notes += [f"label {classes[k]!r} is not scored: {why}" for k, why in excluded.items()]
    return notes


def weighted(predictions: Predictions) -> tuple[Statistic, dict[str, np.ndarray]]:
    """The figures of a row, means over its seeds, for any weights of its examples; and which
    examples hold what the figures average over (`intervals.person_intervals`)."""
    return _statistic(predictions), _holders(predictions)
