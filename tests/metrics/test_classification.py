"""Metrics of one class an example against scikit-learn."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn import metrics as sk

from sleepfm_jax.metrics import classification
from tests.helpers.labelled_examples import labels_and_probabilities


@pytest.mark.parametrize("seed", range(20))
def test_classification_agrees_with_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    k = int(rng.integers(2, 6))
    y, p = labels_and_probabilities(rng, n=int(rng.integers(60, 300)), k=k)
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
    y, p = labels_and_probabilities(rng, n=80, k=k, decimals=1)
    weights = rng.integers(0, 3, size=(3, 80)).astype(float)
    got = classification.classification_statistic(y, p)(weights)
    for row, weight in enumerate(weights):
        index = np.repeat(np.arange(80), weight.astype(int))
        expected = classification.classification_metrics(y[index], p[index])
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


def test_scoring_never_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classification.classification_metrics(np.array([0, 0]), np.array([[0.1, 0.9], [0.2, 0.8]]))
