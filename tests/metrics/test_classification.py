"""Metrics against scikit-learn, and intervals against their meaning."""

from __future__ import annotations

import time
import warnings

import numpy as np
import pytest
from sklearn import metrics as sk

from sleepfm_jax.metrics import classification


def _classification(rng, n=200, k=4, decimals=2):
    """Labels and probabilities that know something; rounded, so that scores tie."""
    y = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k))
    logits[np.arange(n), y] += rng.uniform(0, 2)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return y, p.round(decimals)


@pytest.mark.parametrize("seed", range(20))
def test_classification_agrees_with_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    k = int(rng.integers(2, 6))
    y, p = _classification(rng, n=int(rng.integers(60, 300)), k=k)
    ours = classification.classification_metrics(y, p)
    guess = p.argmax(axis=1)
    assert set(np.unique(y)) == set(range(k))
    assert ours["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(y, guess))
    assert ours["f1"] == pytest.approx(sk.f1_score(y, guess, average="macro"))
    assert ours["kappa"] == pytest.approx(sk.cohen_kappa_score(y, guess))
    assert ours["accuracy"] == pytest.approx(np.mean(y == guess))
    if k == 2:
        assert ours["auroc"] == pytest.approx(sk.roc_auc_score(y, p[:, 1]))
    else:
        one_hot = np.eye(k)[y]
        assert ours["auroc"] == pytest.approx(sk.roc_auc_score(one_hot, p, average="macro"))
    assert ours["absent_classes"] == [] and ours["notes"] == []


@pytest.mark.parametrize("seed", range(20))
def test_weighted_statistics_equal_metrics_of_the_repeated_examples(seed):
    """A weight of 2 is the example twice, 0 is not at all: for ties and absent classes too."""
    rng = np.random.default_rng(seed)
    k = int(rng.integers(2, 5))
    y, p = _classification(rng, n=80, k=k, decimals=1)
    weights = rng.integers(0, 3, size=(3, 80)).astype(float)
    got = classification.classification_statistic(y, p)(weights)
    for row, weight in enumerate(weights):
        index = np.repeat(np.arange(80), weight.astype(int))
        expected = classification.classification_metrics(y[index], p[index])
        for name, values in got.items():
            assert values[row] == pytest.approx(expected[name], abs=1e-12), name


@pytest.mark.parametrize("seed", range(10))
def test_multilabel_statistics_equal_metrics_of_the_repeated_examples(seed):
    rng = np.random.default_rng(seed)
    y = (rng.random((90, 3)) < [0.5, 0.3, 0.2]).astype(float)
    p = np.clip(y * 0.3 + rng.random((90, 3)) * 0.7, 0, 1).round(1)
    y[rng.random(y.shape) < 0.1] = np.nan
    thresholds = np.array([0.4, 0.5, 0.6])
    weights = rng.integers(0, 3, size=(3, 90)).astype(float)
    got = classification.multilabel_statistic(y, p, thresholds)(weights)
    for row, weight in enumerate(weights):
        index = np.repeat(np.arange(90), weight.astype(int))
        expected = classification.multilabel_metrics(y[index], p[index], thresholds)
        assert not expected["excluded_labels"]
        for name, values in got.items():
            assert values[row] == pytest.approx(expected[name], abs=1e-12), name


def test_absent_class_is_said_and_left_out_of_averages():
    y = np.array([0, 0, 1, 1])
    p = np.array([[0.8, 0.1, 0.1], [0.1, 0.2, 0.7], [0.1, 0.8, 0.1], [0.2, 0.7, 0.1]])
    got = classification.classification_metrics(y, p)
    assert got["absent_classes"] == [2]
    assert "[2]" in got["notes"][0]
    assert got["balanced_accuracy"] == pytest.approx((0.5 + 1.0) / 2)
    # Example 1 was called the absent class: it costs class 0 its recall, but is no third F1 of 0.
    assert got["f1"] == pytest.approx((2 / 3 + 1.0) / 2)
    # Class 0: 0.8 beats 0.1 and 0.2, 0.1 ties and loses; class 1: 0.8 and 0.7 beat 0.1 and 0.2.
    assert got["auroc"] == pytest.approx((2.5 / 4 + 4 / 4) / 2)


def test_single_class_gives_nan_with_its_reason():
    y, p = np.zeros(5, int), np.tile([0.9, 0.1], (5, 1))
    got = classification.classification_metrics(y, p)
    assert np.isnan(got["auroc"]) and np.isnan(got["kappa"])
    assert any("AUROC" in note for note in got["notes"])
    assert any("kappa" in note for note in got["notes"])
    assert got["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("y", "p", "message"),
    [
        ([0, -1], [[0.5, 0.5], [0.5, 0.5]], "1 of 2 labels"),
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], "1 of 2 labels"),
        ([0, 1], [[0.5, 0.5], [np.nan, 0.5]], "1 of 2 examples"),
        ([0], [[0.5, 0.5], [0.5, 0.5]], "expected y_true"),
        ([], np.zeros((0, 2)), "no examples"),
    ],
)
def test_classification_refuses(y, p, message):
    with pytest.raises(ValueError, match=message):
        classification.classification_metrics(np.array(y), np.array(p))


@pytest.mark.parametrize("seed", range(10))
def test_multilabel_agrees_with_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    y = (rng.random((120, 4)) < 0.4).astype(float)
    p = np.clip(0.3 * y + 0.7 * rng.random(y.shape), 0, 1)
    got = classification.multilabel_metrics(y, p, 0.5)
    guess = p >= 0.5
    assert got["auroc"] == pytest.approx(sk.roc_auc_score(y, p, average="macro"))
    assert got["f1"] == pytest.approx(sk.f1_score(y, guess, average="macro"))
    each = [sk.balanced_accuracy_score(y[:, k], guess[:, k]) for k in range(4)]
    assert got["balanced_accuracy"] == pytest.approx(np.mean(each))
    assert got["average_precision"] == pytest.approx(sk.average_precision_score(y, p))


def test_multilabel_leaves_out_one_sided_labels_and_unknown_values():
    y = np.array([[1, 1, np.nan], [0, 1, 1], [1, 1, 0], [0, 1, 1]], float)
    p = np.array([[0.9, 0.2, 0.0], [0.1, 0.3, 0.9], [0.8, 0.4, 0.2], [0.3, 0.5, 0.7]])
    got = classification.multilabel_metrics(y, p)
    assert got["excluded_labels"] == {1: "no negative example"}
    assert np.isnan(got["per_label"]["auroc"][1])
    assert got["auroc"] == 1.0  # label 2's unknown example would have ranked lowest
    assert got["f1"] == 1.0
    nothing = classification.multilabel_metrics(np.ones((3, 1)), np.full((3, 1), 0.5))
    assert np.isnan(nothing["auroc"]) and "every figure" in nothing["notes"][-1]


def test_thresholds_maximise_f1_and_fall_between_scores():
    rng = np.random.default_rng(3)
    y = (rng.random((60, 2)) < 0.3).astype(float)
    p = np.clip(0.25 * y + 0.75 * rng.random(y.shape), 0, 1).round(2)
    chosen = classification.choose_thresholds(y, p)
    for k in range(2):
        best = max(sk.f1_score(y[:, k], p[:, k] >= t) for t in np.unique(p[:, k]))
        assert sk.f1_score(y[:, k], p[:, k] >= chosen[k]) == pytest.approx(best)
        assert chosen[k] == p[:, k].min() or chosen[k] not in p[:, k]
    assert classification.choose_thresholds(np.ones((3, 1)), np.full((3, 1), 0.2))[0] == 0.5


def test_interval_of_a_mean_matches_the_normal_theory():
    """Ten examples a subject, all alike: the subjects, not the examples, are the sample."""
    rng = np.random.default_rng(0)
    per_subject = rng.normal(size=200)
    values, subjects = np.repeat(per_subject, 10), np.repeat(np.arange(200), 10)

    def mean(weights):
        return {"mean": weights @ values / weights.sum(axis=1)}

    low, high = classification.subject_bootstrap(subjects, mean, n=4000, seed=1)["mean"]
    half = 1.96 * per_subject.std() / np.sqrt(200)
    assert low == pytest.approx(per_subject.mean() - half, abs=0.02)
    assert high == pytest.approx(per_subject.mean() + half, abs=0.02)


def test_intervals_are_wider_over_subjects_than_over_examples():
    rng = np.random.default_rng(5)
    subjects = np.repeat(np.arange(20), 50)
    y = rng.integers(0, 2, 1000)
    skill = np.repeat(rng.uniform(-1, 3, 20), 50)  # some subjects are easy, some are not
    score = (2 * y - 1) * skill + rng.normal(size=1000)
    p = 1 / (1 + np.exp(-np.stack([-score, score], axis=1)))
    by_subject = classification.classification_intervals(y, p, subjects)
    by_example = classification.classification_intervals(y, p, np.arange(1000))
    point = classification.classification_metrics(y, p)
    for name in ("balanced_accuracy", "auroc", "f1", "kappa"):
        low, high = by_subject[name]
        assert low < point[name] < high
        assert high - low > 1.5 * (by_example[name][1] - by_example[name][0])


def test_intervals_repeat_with_their_seed():
    rng = np.random.default_rng(6)
    y, p = _classification(rng)
    subjects = rng.integers(0, 30, 200)
    first = classification.classification_intervals(y, p, subjects, n=200, seed=1)
    assert first == classification.classification_intervals(y, p, subjects, n=200, seed=1)
    assert first != classification.classification_intervals(y, p, subjects, n=200, seed=2)


def test_resamples_without_a_class_are_redrawn():
    """One subject holds all of class 1: every accepted resample draws it."""
    subjects = np.repeat(np.arange(6), 4)
    y = (subjects == 0).astype(int)
    drawn = []

    def watch(weights):
        drawn.append(weights)
        return {"n": weights.sum(axis=1)}

    classification.subject_bootstrap(subjects, watch, required=y[:, None] == [[0, 1]], n=300)
    weights = np.concatenate(drawn)
    assert len(weights) == 300
    assert (weights[:, y == 1].sum(axis=1) > 0).all() and (weights[:, y == 0].sum(axis=1) > 0).all()
    assert (weights.sum(axis=1) == 24).all()


def test_one_subject_has_no_interval():
    y, p = _classification(np.random.default_rng(0), n=30, k=2)
    got = classification.classification_intervals(y, p, np.zeros(30))
    assert all(np.isnan(bounds).all() for bounds in got.values())


def test_multilabel_intervals_hold_the_point_figures():
    rng = np.random.default_rng(7)
    y = (rng.random((300, 3)) < 0.3).astype(float)
    p = np.clip(0.3 * y + 0.7 * rng.random(y.shape), 0, 1)
    got = classification.multilabel_intervals(y, p, rng.integers(0, 60, 300), 0.5)
    point = classification.multilabel_metrics(y, p, 0.5)
    for name, (low, high) in got.items():
        assert low < point[name] < high


def test_a_thousand_resamples_of_a_night_study_are_quick():
    rng = np.random.default_rng(8)
    y, p = _classification(rng, n=3000, k=5, decimals=6)
    subjects = rng.integers(0, 150, 3000)
    spent = []
    for _ in range(2):  # the better of two: the machine is shared
        start = time.process_time()
        classification.classification_intervals(y, p, subjects, n=1000)
        spent.append(time.process_time() - start)
    assert min(spent) < 4.0


def test_scoring_says_what_it_means_and_never_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classification.classification_metrics(np.array([0, 0]), np.array([[0.1, 0.9], [0.2, 0.8]]))
        classification.multilabel_metrics(np.array([[1.0], [0.0]]), np.array([[0.1], [0.2]]), 0.9)
