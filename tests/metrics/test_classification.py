"""Metrics of one class an example against scikit-learn."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import sklearn
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from sleepfm_jax.metrics import calibration, classification


def case(rng):
    """Labels, probabilities, weights, threshold: ties, absent and single classes happen often."""
    k, n = int(rng.integers(2, 5)), int(rng.integers(1, 40))
    among = rng.permutation(k)[: rng.integers(1, k + 1)]  # which classes occur
    y = rng.choice(among, n)
    logits = rng.normal(size=(n, k))
    logits[np.arange(n), y] += rng.uniform(0, 3)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    p = p.round(int(rng.integers(1, 4)))  # rounded, so that scores tie
    threshold = float(rng.choice(p[:, 1])) if k == 2 else None
    return y, p, rng.uniform(0.1, 3.0, n), threshold


def by_scikit_learn(y, p, weight, threshold):
    """Every figure as scikit-learn has it; NaN is the defined n/a."""
    classes, nan = p.shape[1], float("nan")
    guess, present = p.argmax(axis=1), np.unique(y)
    w = {"sample_weight": weight}
    ranks = {"auroc": nan, "auprc": nan}
    if present.size > 1:
        scored = [1] if classes == 2 else present
        each = [sk.roc_auc_score(y == k, p[:, k], **w) for k in scored]
        area = [sk.average_precision_score(y == k, p[:, k], **w) for k in scored]
        ranks = {"auroc": np.mean(each), "auprc": np.mean(area)}
    if classes == 2:
        brier = sk.brier_score_loss(y, p[:, 1], labels=[0, 1], **w)
    else:  # scikit-learn's own wants rows that sum to 1, which rounded ones do not
        brier = np.average(((p - np.eye(classes)[y]) ** 2).sum(axis=1), weights=weight)
    figures = {
        **ranks,
        "balanced_accuracy": sk.balanced_accuracy_score(y, guess, **w),
        "f1": sk.f1_score(y, guess, average="macro", **w),
        "f1_weighted": sk.f1_score(y, guess, average="weighted", **w),
        "kappa": sk.cohen_kappa_score(y, guess, **w) if len({*y, *guess}) > 1 else nan,
        "accuracy": sk.accuracy_score(y, guess, **w),
        "brier": brier,
    }
    if classes == 2:
        called = (p[:, 1] >= threshold).astype(int)
        figures["f1_positive"] = sk.f1_score(y, guess, zero_division=nan, **w)
        recall = sk.recall_score(y, called, labels=[0, 1], average=None, zero_division=nan, **w)
        figures["specificity"], figures["sensitivity"] = recall
    return figures


def test_a_thousand_random_cases_agree_with_scikit_learn():
    """Unweighted and weighted by turns; and the metrics are the statistic at weight 1."""
    rng = np.random.default_rng(0)
    undefined = absent = single = 0
    quick = sklearn.config_context(skip_parameter_validation=True, assume_finite=True)
    with warnings.catch_warnings(), quick:
        warnings.simplefilter("ignore")  # scikit-learn's, of absent classes
        for number in range(1000):
            y, p, weight, threshold = case(rng)
            metrics = classification.classification_metrics(y, p, threshold=threshold)
            notes, missing = metrics.pop("notes"), metrics.pop("absent_classes")
            statistic = classification.classification_statistic(y, p, threshold=threshold)
            if number % 2:
                weight = np.ones(len(y))
                ours = metrics
            else:
                ours = {name: v[0] for name, v in statistic(weight[None]).items()}
                assert {*ours} == {*metrics}
            theirs = by_scikit_learn(y, p, weight, threshold)
            assert ours == pytest.approx(theirs, abs=1e-12, nan_ok=True), (number, notes)
            said = [note for note in notes if "undefined" in note]
            assert len(said) == sum(np.isnan(v) for v in metrics.values())
            assert bool(missing) == any("do not occur" in note for note in notes)
            undefined += bool(said)
            absent += bool(missing)
            single += len(np.unique(y)) == 1
    assert min(undefined, absent, single) > 100  # the hard cases are among them


@pytest.mark.parametrize("seed", range(10))
def test_a_whole_weight_is_the_example_repeated(seed):
    """A weight of 2 is the example twice, 0 is not at all; a class without weight gives NaN."""
    rng = np.random.default_rng(seed)
    y, p, _, threshold = case(rng)
    weights = rng.integers(0, 3, size=(4, len(y))).astype(float)
    weights[:, 0] += 1
    got = classification.classification_statistic(y, p, threshold=threshold)(weights)
    for row, weight in enumerate(weights):
        index = np.repeat(np.arange(len(y)), weight.astype(int))
        if {*y[index]} != {*y}:
            assert np.isnan(got["balanced_accuracy"][row])
        elif {*y[index], *p[index].argmax(axis=1)} == {*y, *p.argmax(axis=1)}:
            expected = classification.classification_metrics(
                y[index], p[index], threshold=threshold
            )
            for name, values in got.items():
                assert values[row] == pytest.approx(expected[name], abs=1e-12, nan_ok=True), name


def test_a_predicted_class_that_is_absent_costs_f1():
    y = np.array([0, 0, 1, 1])
    p = np.array([[0.8, 0.1, 0.1], [0.1, 0.2, 0.7], [0.1, 0.8, 0.1], [0.2, 0.7, 0.1]])
    got = classification.classification_metrics(y, p)
    assert got["absent_classes"] == [2]
    assert "[2]" in got["notes"][0]
    assert got["balanced_accuracy"] == pytest.approx((0.5 + 1.0) / 2)
    assert got["f1"] == pytest.approx((2 / 3 + 1.0 + 0.0) / 3)
    # Class 0: 0.8 beats 0.1 and 0.2, 0.1 ties and loses; class 1: 0.8 and 0.7 beat 0.1 and 0.2.
    assert got["auroc"] == pytest.approx((2.5 / 4 + 4 / 4) / 2)


def test_single_class_gives_nan_with_its_reason():
    y, p = np.zeros(5, int), np.tile([0.9, 0.1], (5, 1))
    got = classification.classification_metrics(y, p, threshold=0.5)
    for name, word in (("auroc", "AUROC"), ("auprc", "AUPRC"), ("kappa", "kappa")):
        assert np.isnan(got[name]) and any(word in note for note in got["notes"])
    assert np.isnan(got["sensitivity"]) and got["specificity"] == 1.0
    assert got["accuracy"] == 1.0


def test_the_threshold_may_differ_by_example():
    y, p1 = np.array([0, 0, 1, 1]), np.array([0.3, 0.2, 0.3, 0.6])
    p = np.stack([1 - p1, p1], axis=1)
    got = classification.classification_metrics(y, p, threshold=np.array([0.4, 0.1, 0.25, 0.5]))
    assert (got["sensitivity"], got["specificity"]) == (1.0, 0.5)
    assert "sensitivity" not in classification.classification_metrics(y, p)
    with pytest.raises(ValueError, match="one of two classes"):
        classification.classification_metrics(y, np.full((4, 3), 1 / 3), threshold=0.5)


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


def test_holders_are_named_and_only_of_classes_that_occur():
    got = classification.class_holders(np.array([0, 2, 0]), ["seiz", "lpd", "other"])
    assert {name: held.tolist() for name, held in got.items()} == {
        "class 'seiz'": [True, False, True],
        "class 'other'": [False, True, False],
    }


def test_reliability_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    p1 = rng.beta(1, 2, 2000)
    p1[:3] = 0.0, 0.2, 1.0
    event = (rng.random(2000) < p1**1.5).astype(float)
    got = calibration.reliability(np.append(event, np.nan), np.append(p1, 0.5), bins=7)
    share, mean = calibration_curve(event, p1, n_bins=7)
    assert got["share"] == pytest.approx(share)
    assert got["mean_probability"] == pytest.approx(mean)
    assert sum(got["count"]) == 2000
    expected = np.dot(got["count"], np.abs(share - mean)) / 2000
    assert got["ece"] == pytest.approx(expected) and expected > 0.05
    p = np.stack([1 - p1, p1], axis=1)
    assert calibration.class_reliability(event.astype(int), p, bins=7) == got


def test_reliability_of_many_classes_is_of_the_called_one():
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.65, 0.25]])
    got = calibration.class_reliability(np.array([0, 2]), p)
    assert (got["share"], got["count"]) == ([0.5], [2])
    assert got["mean_probability"] == pytest.approx([0.675])
    with pytest.raises(ValueError, match=r"outside 0\.\.1"):
        calibration.reliability([1.0], [1.5])
