"""Metrics of several labels an example against scikit-learn."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn import metrics as sk

from sleepfm_jax.metrics import multilabel


@pytest.mark.parametrize("seed", range(10))
def test_multilabel_statistics_equal_metrics_of_the_repeated_examples(seed):
    rng = np.random.default_rng(seed)
    y = (rng.random((90, 3)) < [0.5, 0.3, 0.2]).astype(float)
    p = np.clip(y * 0.3 + rng.random((90, 3)) * 0.7, 0, 1).round(1)
    y[rng.random(y.shape) < 0.1] = np.nan
    thresholds = np.array([0.4, 0.5, 0.6])
    weights = rng.integers(0, 3, size=(3, 90)).astype(float)
    got = multilabel.multilabel_statistic(y, p, thresholds)(weights)
    for row, weight in enumerate(weights):
        index = np.repeat(np.arange(90), weight.astype(int))
        expected = multilabel.multilabel_metrics(y[index], p[index], thresholds)
        assert not expected["excluded_labels"]
        for name, values in got.items():
            assert values[row] == pytest.approx(expected[name], abs=1e-12), name


@pytest.mark.parametrize("seed", range(10))
def test_multilabel_agrees_with_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    y = (rng.random((120, 4)) < 0.4).astype(float)
    p = np.clip(0.3 * y + 0.7 * rng.random(y.shape), 0, 1)
    got = multilabel.multilabel_metrics(y, p, 0.5)
    guess = p >= 0.5
    assert got["auroc"] == pytest.approx(sk.roc_auc_score(y, p, average="macro"))
    assert got["f1"] == pytest.approx(sk.f1_score(y, guess, average="macro"))
    each = [sk.balanced_accuracy_score(y[:, k], guess[:, k]) for k in range(4)]
    assert got["balanced_accuracy"] == pytest.approx(np.mean(each))
    assert got["average_precision"] == pytest.approx(sk.average_precision_score(y, p))


def test_multilabel_leaves_out_one_sided_labels_and_unknown_values():
    y = np.array([[1, 1, np.nan], [0, 1, 1], [1, 1, 0], [0, 1, 1]], float)
    p = np.array([[0.9, 0.2, 0.0], [0.1, 0.3, 0.9], [0.8, 0.4, 0.2], [0.3, 0.5, 0.7]])
    got = multilabel.multilabel_metrics(y, p)
    assert got["excluded_labels"] == {1: "no negative example"}
    assert np.isnan(got["per_label"]["auroc"][1])
    assert got["auroc"] == 1.0  # label 2's unknown example would have ranked lowest
    assert got["f1"] == 1.0
    nothing = multilabel.multilabel_metrics(np.ones((3, 1)), np.full((3, 1), 0.5))
    assert np.isnan(nothing["auroc"]) and "every figure" in nothing["notes"][-1]


def test_thresholds_maximise_f1_and_fall_between_scores():
    rng = np.random.default_rng(3)
    y = (rng.random((60, 2)) < 0.3).astype(float)
    p = np.clip(0.25 * y + 0.75 * rng.random(y.shape), 0, 1).round(2)
    chosen = multilabel.choose_thresholds(y, p)
    for k in range(2):
        best = max(sk.f1_score(y[:, k], p[:, k] >= t) for t in np.unique(p[:, k]))
        assert sk.f1_score(y[:, k], p[:, k] >= chosen[k]) == pytest.approx(best)
        assert chosen[k] == p[:, k].min() or chosen[k] not in p[:, k]
    assert multilabel.choose_thresholds(np.ones((3, 1)), np.full((3, 1), 0.2))[0] == 0.5


def test_multilabel_intervals_hold_the_point_figures():
    rng = np.random.default_rng(7)
    y = (rng.random((300, 3)) < 0.3).astype(float)
    p = np.clip(0.3 * y + 0.7 * rng.random(y.shape), 0, 1)
    got = multilabel.multilabel_intervals(y, p, rng.integers(0, 60, 300), 0.5)
    point = multilabel.multilabel_metrics(y, p, 0.5)
    for name, (low, high) in got.items():
        assert low < point[name] < high


def test_scoring_never_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        multilabel.multilabel_metrics(np.array([[1.0], [0.0]]), np.array([[0.1], [0.2]]), 0.9)
