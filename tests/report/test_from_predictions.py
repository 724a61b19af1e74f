"""Numbers behind the pictures: equal to scikit-learn's, and each person's own."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn import metrics as sk

from sleepfm_jax.metrics.predictions import Predictions
from sleepfm_jax.report import from_predictions as numbers


def _found(label, probabilities, person, clip=None, sleep_epoch=None, thresholds=None):
    label, p = np.asarray(label), np.asarray(probabilities, np.float32)
    p = p[None] if p.ndim == 2 else p
    n = len(label)
    return Predictions(
        person=np.asarray(person),
        recording=np.char.add(np.asarray(person), "-1"),
        clip=np.zeros(n, int) if clip is None else np.asarray(clip),
        sleep_epoch=np.full(n, -1) if sleep_epoch is None else np.asarray(sleep_epoch),
        label=label,
        probabilities=p,
        seeds=np.arange(len(p)),
        fold=np.full((len(p), n), -1),
        thresholds=thresholds,
        about={"classes": [str(k) for k in range(p.shape[2])]},
    )


@pytest.mark.parametrize("seed", range(20))
def test_curves_are_scikit_learns(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 60))
    truth = rng.integers(0, 2, n)
    truth[:2] = 0, 1
    score = rng.integers(0, 6, n) / 5 if seed % 2 else rng.random(n)  # with ties, and without
    found = numbers.curves(truth, score)
    assert found.auroc == pytest.approx(sk.roc_auc_score(truth, score), abs=1e-12)
    assert found.auprc == pytest.approx(sk.average_precision_score(truth, score), abs=1e-12)
    assert found.share == truth.mean()
    false, true, _ = sk.roc_curve(truth, score, drop_intermediate=False)
    np.testing.assert_allclose(numbers.roc(truth, score), (false, true))


def test_a_curve_of_many_points_keeps_its_ends():
    x, y = numbers.thinned(np.linspace(0, 1, 5001), np.arange(5001))
    assert len(x) <= 400 and (x[0], x[-1], y[-1]) == (0, 1, 5000)


def test_reliability_is_that_of_the_metrics():
    score = np.repeat([0.1, 0.9], 50)
    truth = np.r_[np.ones(5), np.zeros(45), np.ones(50)].astype(int)
    said, so = numbers.curves(truth, score).reliability
    np.testing.assert_allclose(said, [0.1, 0.9])
    np.testing.assert_allclose(so, [0.1, 1.0])


def test_a_persons_own_score_is_over_the_classes_that_the_person_has():
    one_hot = np.eye(3)[[0, 0, 1, 2, 2, 0]]
    found = _found([0, 0, 0, 1, 2, 1], one_hot, ["a", "a", "a", "a", "b", "b"])
    assert numbers.person_scores(found) == {"a": pytest.approx((2 / 3 + 0) / 2), "b": 0.5}
    assert numbers.person_accuracies(found) == {"a": 0.5, "b": 0.5}


def test_unknown_labels_are_nobodys_mistake():
    label = np.array([[1, np.nan], [0, np.nan], [np.nan, np.nan]])
    p = np.array([[0.6, 0.9], [0.6, 0.1], [0.5, 0.5]])
    found = _found(label, p, ["a", "a", "b"], thresholds=np.full((1, 3, 2), 0.55, np.float32))
    assert numbers.person_scores(found) == {"a": 0.5}  # right where it is held, wrong where not
    assert set(numbers.questions(found)) == {"0"}


def test_two_classes_are_one_question_and_an_absent_class_none():
    p = np.full((3, 2), 0.5)
    assert set(numbers.questions(_found([0, 1, 1], p, ["a", "b", "c"]))) == {"1"}
    assert numbers.questions(_found([1, 1, 1], p, ["a", "b", "c"])) == {}
    three = _found([0, 0, 1], np.full((3, 3), 1 / 3), ["a", "b", "c"])
    assert set(numbers.questions(three)) == {"0", "1"}


def test_the_night_of_the_median_person_with_its_gaps():
    label = np.array([0, 1, 1, 1, 0, 0, 1, 1, 0])
    guess = np.array([1, 0, 0, 1, 0, 1, 1, 1, 0])  # a 0 of 3, b 2 of 3, c 3 of 3
    person = np.repeat(["a", "b", "c"], 3)
    clip, epoch = [0, 0, 1] * 3, [0, 1, 1] * 3
    found = _found(label, np.eye(2)[guess], person, clip, epoch)
    night = numbers.median_night(found)
    assert (night.person, night.recording) == ("b", "b-1")
    assert night.accuracy == pytest.approx(2 / 3)
    assert night.scored.tolist() == [1, 0, -1, 0]  # the first sleep epoch of clip 1 is not scored
    assert night.predicted.tolist() == [1, 0, -1, 1]
    assert np.isnan(night.probabilities[2]).all()
    assert numbers.has_nights(found)
    assert not numbers.has_nights(dataclasses.replace(found, sleep_epoch=np.full(9, -1)))
