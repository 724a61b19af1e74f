"""How much of an embedding is who it is of: a linear probe that names the person from a clip.

Retrieval among the clips of many people, and any figure whose examples of one person are alike,
can be had by knowing the person. This says how well the person is known.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from sleepfm_jax.metrics.retrieval import directions

L2 = 0.01
"""Weight of the penalty beside the mean log loss of standardised features; stated, not chosen."""

MOST_PEOPLE = 50
MOST_CLIPS = 100  # of each part of each person, spread evenly
FITTED, SCORED = 0.4, 0.4
"""Shares of a person's clips, in time: the first are fitted on, the last are scored, and what is
between them is the gap."""

_LEAST_CLIPS = 5  # one of them is the gap
_MAX_ITER = 500

PROTOCOL = (
    f"one affine layer, softmax over the people, L2 {L2}, on standardised vectors of one modality; "
    f"fitted on the first {FITTED:.0%} of each person's clips and scored on the last {SCORED:.0%}, "
    f"the rest is a gap in time; at most {MOST_PEOPLE} people of {_LEAST_CLIPS} clips or more"
)


@threadpool_limits.wrap(limits=1)  # small products: threads that wait cost more than they bring
def person_probe(
    embeddings: np.ndarray, presence: np.ndarray, person: np.ndarray, names: Sequence[str]
) -> dict:
    """Names the person of later clips, from what their earlier clips look like.

    One probe a modality, among the people who have it: which modalities somebody has would name
    them, too.

    Args:
      embeddings: float [M, N, D]; a person's clips in the order of time.
      presence: bool [M, N]. person: [N], who each clip is of. names: of the M modalities.

    Returns:
      `accuracy`, `balanced_accuracy` (mean over people) and `chance` (one in the number of people,
      of both): means over the modalities; `people` (the most of any), `protocol` in words, `l2`,
      `per_modality` {name: {"accuracy", "balanced_accuracy", "chance", "people", "clips" (scored),
      "notes"}}. Figures are NaN with fewer than two people of enough clips.
    """
    unit, here, _ = directions(np.asarray(embeddings, np.float64), np.asarray(presence, bool))
    person = np.asarray(person)
    each = {name: name_people(unit[m][here[m]], person[here[m]]) for m, name in enumerate(names)}
    asked = [figures for figures in each.values() if figures["clips"]]

    def mean(key: str) -> float:
        return float(np.mean([figures[key] for figures in asked])) if asked else float("nan")

    return {
        **{key: mean(key) for key in ("accuracy", "balanced_accuracy", "chance")},
        "people": max((figures["people"] for figures in asked), default=0),
        "protocol": PROTOCOL,
        "l2": L2,
        "per_modality": each,
    }


def name_people(vectors: np.ndarray, person: np.ndarray) -> dict:
    """The probe of one modality: its row of `per_modality`.

    Args:
      vectors: float [N, D], a person's rows in the order of time.
      person: [N], who each is of.
    """
    names, whose, counts = np.unique(person, return_inverse=True, return_counts=True)
    enough = np.flatnonzero(counts >= _LEAST_CLIPS)
    if len(enough) > MOST_PEOPLE:
        enough = enough[np.linspace(0, len(enough) - 1, MOST_PEOPLE).round().astype(int)]
    notes: list[str] = []
    if len(enough) < 2:
        notes.append(f"{len(enough)} of {len(names)} people have {_LEAST_CLIPS} clips or more")
        none = float("nan")
        return {
            "accuracy": none,
            "balanced_accuracy": none,
            "chance": none,
            "people": len(enough),
            "clips": 0,
            "notes": notes,
        }
    fit, score = [], []
    for k in enough:
        rows = np.flatnonzero(whose == k)
        first, last = int(FITTED * len(rows)), len(rows) - int(SCORED * len(rows))
        fit.append(_thinned(rows[: max(1, first)]))
        score.append(_thinned(rows[last:]))
    train, test = np.concatenate(fit), np.concatenate(score)
    x = np.asarray(vectors, np.float64)
    mean, sd = x[train].mean(axis=0), x[train].std(axis=0)
    sd = np.where(sd > 1e-7 * np.maximum(np.abs(mean), 1e-20), sd, 1.0)
    model = LogisticRegression(C=1.0 / (L2 * len(train)), max_iter=_MAX_ITER)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit((x[train] - mean) / sd, whose[train])
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            notes.append(f"lbfgs stopped at {_MAX_ITER} iterations before converging")
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    right = model.predict((x[test] - mean) / sd) == whose[test]
    return {
        "accuracy": float(right.mean()),
        "balanced_accuracy": float(np.mean([right[whose[test] == k].mean() for k in enough])),
        "chance": 1.0 / len(enough),
        "people": len(enough),
        "clips": len(test),
        "notes": notes,
    }


def _thinned(rows: np.ndarray) -> np.ndarray:
    count = min(len(rows), MOST_CLIPS)
    return rows[np.linspace(0, len(rows) - 1, count).round().astype(int)]
