"""Metrics of several labels an example against scikit-learn."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import sklearn
from sklearn import metrics as sk

from sleepfm_jax.metrics import multilabel

NAMES = ("balanced_accuracy", "auroc", "auprc", "f1", "brier")


def test_random_cases_agree_with_scikit_learn():
    """Ties, unknown values, labels of one side; weighted and unweighted by turns."""
    rng = np.random.default_rng(0)
    quick = sklearn.config_context(skip_parameter_validation=True, assume_finite=True)
    excluded = 0
    with warnings.catch_warnings(), quick:
        warnings.simplefilter("ignore")  # scikit-learn's, where a side is never called
        for number in range(200):
            n, k = int(rng.integers(1, 40)), int(rng.integers(1, 4))
            y = (rng.random((n, k)) < rng.choice([0.05, 0.5], k)).astype(float)
            p = np.clip(0.3 * y + 0.7 * rng.random((n, k)), 0, 1).round(int(rng.integers(1, 4)))
            y[rng.random((n, k)) < 0.1] = np.nan
            thresholds = rng.random(k)
            weight = rng.uniform(0.1, 3.0, n) if number % 2 else np.ones(n)
            theirs = {name: [] for name in NAMES}
            for j in range(k):
                known = ~np.isnan(y[:, j])
                truth, score, w = y[known, j].astype(int), p[known, j], weight[known]
                if len(np.unique(truth)) < 2:
                    excluded += 1
                    continue
                guess = (score >= thresholds[j]).astype(int)
                for name, value in (
                    (
                        "balanced_accuracy",
                        sk.balanced_accuracy_score(truth, guess, sample_weight=w),
                    ),
                    ("auroc", sk.roc_auc_score(truth, score, sample_weight=w)),
                    ("auprc", sk.average_precision_score(truth, score, sample_weight=w)),
                    ("f1", sk.f1_score(truth, guess, sample_weight=w)),
                    ("brier", sk.brier_score_loss(truth, score, sample_weight=w)),
                ):
                    theirs[name].append(value)
            theirs = {name: np.mean(v) if v else float("nan") for name, v in theirs.items()}
            ours = multilabel.multilabel_statistic(y, p, thresholds)(weight[None])
            ours = {name: v[0] for name, v in ours.items()}
            assert ours == pytest.approx(theirs, abs=1e-12, nan_ok=True), number
            metrics = multilabel.multilabel_metrics(y, p, thresholds)
            alone = multilabel.multilabel_statistic(y, p, thresholds)(np.ones((1, n)))
            for name in NAMES:
                assert alone[name][0] == pytest.approx(metrics[name], abs=1e-12, nan_ok=True)
    assert excluded > 20


@pytest.mark.parametrize("seed", range(5))
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


def test_multilabel_leaves_out_one_sided_labels_and_unknown_values():
    y = np.array([[1, 1, np.nan], [0, 1, 1], [1, 1, 0], [0, 1, 1]], float)
    p = np.array([[0.9, 0.2, 0.0], [0.1, 0.3, 0.9], [0.8, 0.4, 0.2], [0.3, 0.5, 0.7]])
    got = multilabel.multilabel_metrics(y, p)
    assert got["excluded_labels"] == {1: "no negative example"}
    assert np.isnan(got["per_label"]["auroc"][1])
    assert got["auroc"] == 1.0  # label 2's unknown example would have ranked lowest
    assert got["f1"] == 1.0
    nothing = multilabel.multilabel_metrics(np.ones((3, 1)), np.full((3, 1), 0.5))
    assert all(np.isnan(nothing[name]) for name in NAMES)
    assert "every figure" in nothing["notes"][-1]


def test_a_weighting_that_loses_a_side_has_no_figure():
    y, p = np.array([[1.0], [0.0], [0.0]]), np.array([[0.9], [0.2], [0.4]])
    got = multilabel.multilabel_statistic(y, p)(np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]]))
    assert all(np.isnan(got[name]).all() for name in NAMES[:3])


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


def test_both_sides_of_a_scored_label_are_held():
    y = np.array([[1, 1], [0, 1], [np.nan, 1]], float)
    got = multilabel.label_holders(y, ["spsw", "gped"])
    assert {name: held.tolist() for name, held in got.items()} == {
        "label 'spsw'": [True, False, False],
        "the absence of 'spsw'": [False, True, False],
    }
