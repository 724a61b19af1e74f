"""What a picture needs of a predictions file: curves, each person's own score, one night.

All of the seed-averaged probabilities, as the figures of the table are.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from sleepfm_jax.metrics import calibration
from sleepfm_jax.metrics.predictions import Predictions

_MOST_POINTS = 400  # of a curve; more are not seen


def several_labels(found: Predictions) -> bool:
    return found.label.ndim == 2


def guesses(found: Predictions) -> np.ndarray:
    """What is predicted: the likeliest class, int [N]; or of each label, 0 or 1, [N, K]."""
    if several_labels(found):
        limit = 0.5 if found.thresholds is None else found.thresholds.astype(float).mean(axis=0)
        return (found.mean() >= limit).astype(int)
    return found.mean().argmax(axis=1)


def questions(found: Predictions) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{class or label: (truth 0/1 [n], probability [n])}, each against all the rest.

    Two classes are one question, of the second. Unknown labels are left out, and so is a question
    whose examples all have the same answer: it has no curve.
    """
    p = found.mean()
    asked = {}
    for k, name in enumerate(found.classes):
        if several_labels(found):
            known = ~np.isnan(found.label[:, k])
            truth, score = found.label[known, k].astype(int), p[known, k]
        elif len(found.classes) == 2 and k == 0:
            continue
        else:
            truth, score = (found.label == k).astype(int), p[:, k]
        if 0 < truth.sum() < len(truth):
            asked[name] = truth, score
    return asked


def roc(truth: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates from (0, 0) to (1, 1); equal scores are one step."""
    positive, total = _above(truth, score)
    false = np.r_[0, total - positive] / max(total[-1] - positive[-1], 1)
    true = np.r_[0, positive] / max(positive[-1], 1)
    return false, true


def precision_recall(truth: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision, from the highest score down; equal scores are one step."""
    positive, total = _above(truth, score)
    return positive / max(positive[-1], 1), positive / total


@dataclasses.dataclass(frozen=True)
class Curves:
    """One question of one row: lines (x, y) to draw, with their areas.

    `share`: how many of the examples are positive; auroc, auprc: area under the ROC, and average
    precision.
    """

    roc: tuple[np.ndarray, np.ndarray]
    precision_recall: tuple[np.ndarray, np.ndarray]
    reliability: tuple[np.ndarray, np.ndarray]
    share: float
    auroc: float
    auprc: float


def curves(truth: np.ndarray, score: np.ndarray) -> Curves:
    """The curves of truth 0/1 [n], both of which occur, and probability [n]."""
    false, true = roc(truth, score)
    recall, precision = precision_recall(truth, score)
    return Curves(
        roc=thinned(false, true),
        precision_recall=thinned(np.r_[0, recall], np.r_[precision[0], precision]),
        reliability=_reliability(truth, score),
        share=float(np.mean(truth)),
        auroc=float(np.sum(np.diff(false) * (true[1:] + true[:-1]) / 2)),
        auprc=float(np.sum(np.diff(recall, prepend=0.0) * precision)),
    )


def _reliability(truth: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found = calibration.reliability(truth, score)
    return np.array(found["mean_probability"]), np.array(found["share"])


def _above(truth: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At each distinct score, downwards: how many positives, and how many examples, reach it."""
    order = np.argsort(-score, kind="stable")
    last = np.r_[np.flatnonzero(np.diff(score[order])), len(score) - 1]
    return np.cumsum(truth[order])[last], last + 1


def thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most some hundred points of a curve, its ends among them."""
    if len(x) <= _MOST_POINTS:
        return x, y
    kept = np.unique(np.linspace(0, len(x) - 1, _MOST_POINTS).round().astype(int))
    return x[kept], y[kept]


def person_scores(found: Predictions) -> dict[str, float]:
    """{person: the person's own score}: of each class that the person has, the share of its
    examples that are predicted right, averaged over these classes. Several labels: the same of
    each label's two answers."""
    right = guesses(found) == found.label
    people, person = np.unique(found.person, return_inverse=True)
    shares = []  # of each class, [people]; NaN where a person has none of it
    if several_labels(found):
        for k in range(found.label.shape[1]):
            for answer in (0, 1):  # an unknown label is neither
                has = found.label[:, k] == answer
                shares.append(_share(right[has, k], person[has], len(people)))
    else:
        for k in range(len(found.classes)):
            has = found.label == k
            shares.append(_share(right[has], person[has], len(people)))
    table = np.array(shares)
    known = np.isfinite(table)
    count = known.sum(axis=0)
    score = np.where(known, table, 0.0).sum(axis=0) / np.maximum(count, 1)
    kept = np.flatnonzero(count)
    return dict(zip(people[kept].tolist(), score[kept].tolist(), strict=True))


def _share(right: np.ndarray, person: np.ndarray, people: int) -> np.ndarray:
    """Of each person, the share of examples that are right; NaN without an example."""
    count = np.bincount(person, minlength=people)
    hits = np.bincount(person, weights=right, minlength=people)
    return np.divide(hits, count, out=np.full(people, np.nan), where=count > 0)


def person_accuracies(found: Predictions) -> dict[str, float]:
    """{person: share of the person's examples that are predicted right}; one class an example."""
    people, person = np.unique(found.person, return_inverse=True)
    share = _share(guesses(found) == found.label, person, len(people))
    return dict(zip(people.tolist(), share.tolist(), strict=True))


@dataclasses.dataclass(frozen=True)
class Night:
    """One recording in time: E sleep_epochs, of which some may be unknown.

    Attributes:
      person, recording: whose. accuracy: share right, of the whole person.
      scored, predicted: int [E], -1 where there is no example.
      probabilities: [E, K], NaN where there is none. classes: [K].
    """

    person: str
    recording: str
    accuracy: float
    scored: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray
    classes: list[str]


def median_night(found: Predictions) -> Night:
    """The longest recording of the person whose accuracy is the median (the lower of two)."""
    accuracy = person_accuracies(found)
    ranked = sorted(accuracy, key=lambda p: (accuracy[p], p))
    person = ranked[(len(ranked) - 1) // 2]
    mine = found.person == person
    recordings, counts = np.unique(found.recording[mine], return_counts=True)
    recording = str(recordings[counts.argmax()])
    mine &= found.recording == recording
    in_a_clip = int(found.sleep_epoch.max()) + 1
    at = found.clip[mine] * in_a_clip + found.sleep_epoch[mine]
    at = (at - at.min()).astype(int)
    length, classes = int(at.max()) + 1, found.classes
    scored, predicted = np.full(length, -1), np.full(length, -1)
    probabilities = np.full((length, len(classes)), np.nan)
    scored[at], predicted[at] = found.label[mine], guesses(found)[mine]
    probabilities[at] = found.mean()[mine]
    return Night(
        person, recording, accuracy[person], scored, predicted, probabilities, list(classes)
    )


def has_nights(found: Predictions) -> bool:
    """Whether the examples are sleep_epochs of one class each."""
    return not several_labels(found) and bool(np.all(found.sleep_epoch >= 0))
