"""The probe's protocol: what it may see, what it refuses, what it says."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from sleepfm_jax.metrics import linear_probe
from sleepfm_jax.metrics.linear_probe import fit_probe, grouped_cv_probe, paired_difference

QUICK = {"bootstrap": 100}


def _split(rng, name, n=150, classes=3, features=10, strength=1.0, subjects=12):
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    x = rng.normal(size=(n, features))
    x[np.arange(n), y] += strength
    x = 5.0 + x * np.linspace(0.1, 50, features)  # neither centred nor of one scale
    return x, y, np.array([f"{name}{i % subjects}" for i in range(n)])


def _splits(seed=0, **options):
    rng = np.random.default_rng(seed)
    return [_split(rng, name, **options) for name in ("train", "val", "test")]


def _labels(rng, name, n=200):
    x = rng.normal(size=(n, 6))
    y = (x[:, :3] + rng.normal(size=(n, 3)) > 0.5).astype(float)
    return x, y, np.array([f"{name}{i % 20}" for i in range(n)])


def test_finds_what_is_there_and_says_how():
    got = fit_probe(*_splits(strength=3.0), classes=("W", "N2", "REM"), **QUICK)
    assert got["balanced_accuracy"] > 0.85
    for name in ("balanced_accuracy", "auroc", "f1", "kappa"):
        low, high = got["ci95"][name]
        assert low <= got[name] <= high
    assert got["subjects"] == 12 and got["examples"] == 150
    assert got["l2"] in linear_probe.L2_GRID
    assert got["classes"] == ["W", "N2", "REM"]
    assert np.sum(got["confusion"]) == 150 and np.trace(got["confusion"]) / 150 == got["accuracy"]
    assert "validation subjects" in got["protocol"] and got["notes"] == []
    assert json.loads(json.dumps(got)) == got


def test_pure_noise_scores_chance():
    got = fit_probe(*_splits(strength=0.0, n=600), **QUICK)
    low, high = got["ci95"]["balanced_accuracy"]
    assert low < 1 / 3 < high


def test_equals_scikit_learn_with_the_same_strength():
    """One L2: the probe is a plain pipeline on the training split, whatever validation holds."""
    train, validation, test = _splits(1)
    l2 = 1e-2
    got = fit_probe(train, validation, test, l2_grid=[l2], max_iter=2000, **QUICK)
    mean, sd = train[0].mean(axis=0), train[0].std(axis=0)
    model = LogisticRegression(C=1 / (l2 * 150), class_weight="balanced", max_iter=2000)
    model.fit((train[0] - mean) / sd, train[1])
    expected = model.predict_proba((test[0] - mean) / sd)
    np.testing.assert_allclose(got.probabilities, expected, atol=1e-6)


def test_validation_chooses_the_strength():
    """Forty examples, two hundred useless features: weak regularisation overfits, and it shows."""
    rng = np.random.default_rng(2)
    splits = [
        _split(rng, name, n=n, classes=2, features=200, strength=2.0)
        for name, n in (("train", 40), ("val", 400), ("test", 400))
    ]
    scores = {
        l2: fit_probe(splits[0], splits[1], splits[1][:2] + (splits[2][2],), l2_grid=[l2], **QUICK)
        for l2 in linear_probe.L2_GRID
    }
    best = max(scores, key=lambda l2: (scores[l2]["balanced_accuracy"], l2))
    assert fit_probe(*splits, **QUICK)["l2"] == best


def test_test_labels_and_features_never_reach_the_fit():
    train, validation, test = _splits(3)
    first = fit_probe(train, validation, test, **QUICK)
    shuffled = (test[0][::-1].copy(), np.roll(test[1], 7), test[2])
    second = fit_probe(train, validation, shuffled, **QUICK)
    assert first["l2"] == second["l2"]
    np.testing.assert_allclose(first.probabilities[::-1], second.probabilities, atol=1e-12)


@pytest.mark.parametrize("pair", [(0, 1), (0, 2), (1, 2)])
def test_refuses_a_subject_in_two_splits(pair):
    splits = _splits(4)
    a, b = pair
    subjects = splits[b][2].astype(object)
    subjects[3] = splits[a][2][0]
    splits[b] = (*splits[b][:2], subjects)
    with pytest.raises(ValueError, match=f"subjects in both .*: {splits[a][2][0]}"):
        fit_probe(*splits, **QUICK)


def test_refuses_features_that_are_not_finite():
    train, validation, test = _splits(5)
    train[0][[3, 9], 2] = np.nan
    with pytest.raises(ValueError, match="train: 2 of 150 examples have NaN"):
        fit_probe(train, validation, test, **QUICK)
    test[0][0, 0] = np.inf
    with pytest.raises(ValueError, match="test: 1 of 150 examples have infinite"):
        fit_probe(train, validation, test, impute=True, **QUICK)


def test_imputation_is_the_training_mean_and_is_said():
    train, validation, test = _splits(6)
    train[0][:30, 4] = np.nan
    test[0][:5, 4] = np.nan
    got = fit_probe(train, validation, test, impute=True, **QUICK)
    assert any("missing and took their mean" in note for note in got["notes"])
    filled = [(x.copy(), y, s) for x, y, s in (train, validation, test)]
    mean = np.nanmean(train[0][:, 4])
    for x, _, _ in filled:
        x[np.isnan(x[:, 4]), 4] = mean
    by_hand = fit_probe(*filled, **QUICK)
    # Standardisation differs (the filled column varies less), the filled value does not.
    assert got["balanced_accuracy"] == pytest.approx(by_hand["balanced_accuracy"], abs=0.03)
    never = [(x.copy(), y, s) for x, y, s in filled]
    for x, _, _ in never:
        x[:, 4] = np.nan
    dropped = [(np.delete(x, 4, axis=1), y, s) for x, y, s in never]
    np.testing.assert_allclose(
        fit_probe(*never, impute=True, **QUICK).probabilities,
        fit_probe(*dropped, **QUICK).probabilities,
        atol=1e-3,
    )


def test_a_constant_feature_is_harmless():
    splits = _splits(7)
    for x, _, _ in splits:
        x[:, 5] = 1e6 + 1e-10
    assert np.isfinite(fit_probe(*splits, **QUICK).probabilities).all()


def test_missing_classes_are_said():
    train, validation, test = _splits(8)
    names = ("W", "N1", "N2", "N3")
    got = fit_probe(train, validation, test, classes=names, **QUICK)
    assert any("no training example of ['N3']" in note for note in got["notes"])
    assert any("no test example of ['N3']" in note for note in got["notes"])
    assert np.shape(got["confusion"]) == (4, 4)
    single = (train[0], np.zeros(150, int), train[2])
    with pytest.raises(ValueError, match="single class"):
        fit_probe(single, validation, test, **QUICK)


def test_stopping_early_is_recorded_not_hidden():
    got = fit_probe(*_splits(9), max_iter=2, **QUICK)
    assert any("2 iterations before converging" in note for note in got["notes"])


def test_class_weights_help_the_rare_class():
    rng = np.random.default_rng(10)

    def part(name):
        y = (rng.random(400) < 0.08).astype(int)
        return (
            rng.normal(size=(400, 4)) + y[:, None],
            y,
            np.array([f"{name}{i % 9}" for i in range(400)]),
        )

    splits = [part(name) for name in ("train", "val", "test")]
    balanced = fit_probe(*splits, **QUICK)
    plain = fit_probe(*splits, class_weight=None, **QUICK)
    assert balanced["balanced_accuracy"] > plain["balanced_accuracy"] + 0.1
    assert "class-balanced" in balanced["protocol"] and "unweighted" in plain["protocol"]


def test_several_labels():
    rng = np.random.default_rng(11)
    splits = [_labels(rng, name) for name in ("train", "val", "test")]
    for _, y, _ in splits:
        y[:4, 0] = np.nan
    splits[2][1][:, 2] = 1.0  # cannot be scored
    got = fit_probe(*splits, label_kind="multilabel", classes=("AF", "RBBB", "ST"), **QUICK)
    assert got["auroc"] > 0.75 and np.isnan(got["per_label"]["auroc"][2])
    assert any("'ST' is not scored: no negative" in note for note in got["notes"])
    assert len(got["thresholds"]) == 3 and np.shape(got["confusion"]) == (3, 2, 2)
    assert got["ci95"]["f1"][0] < got["f1"] < got["ci95"]["f1"][1]
    assert "macro AUROC" in got["protocol"]


def test_thresholds_come_from_validation():
    rng = np.random.default_rng(12)
    train, validation, test = (_labels(rng, name) for name in ("train", "val", "test"))
    first = fit_probe(train, validation, test, label_kind="multilabel", **QUICK)
    flipped = (test[0], 1 - test[1], test[2])
    second = fit_probe(train, validation, flipped, label_kind="multilabel", **QUICK)
    assert first["thresholds"] == second["thresholds"]


def test_cross_validation_predicts_everyone_once_and_out_of_fold(monkeypatch):
    x, y, subjects = _split(np.random.default_rng(13), "s", n=240, strength=2.5, subjects=15)
    seen = []
    fit = linear_probe._fit

    def watched(train, validation, test, settings):
        groups = [set(part.subjects) for part in (train, validation, test)]
        assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]
        assert set.union(*groups) == set(subjects)
        seen.append(groups[2])
        return fit(train, validation, test, settings)

    monkeypatch.setattr(linear_probe, "_fit", watched)
    got = grouped_cv_probe(x, y, subjects, folds=5, seed=0, **QUICK)
    assert len(seen) == 5 and sum(len(s) for s in seen) == 15
    assert np.isfinite(got.probabilities).all()
    assert got["examples"] == 240 and got["subjects"] == 15 and len(got["l2"]) == 5
    assert got["balanced_accuracy"] > 0.7 and "cross-validation by subject" in got["protocol"]
    again = grouped_cv_probe(x, y, subjects, folds=5, seed=0, **QUICK)
    np.testing.assert_array_equal(got.probabilities, again.probabilities)


def test_cross_validation_cannot_use_who_the_subject_is():
    """Features that name the subject, labels that depend on nothing else: chance, by subject."""
    rng = np.random.default_rng(14)
    subjects = np.repeat(np.arange(40), 6)
    x = np.repeat(rng.normal(size=(40, 30)), 6, axis=0)
    y = np.repeat(rng.permutation(np.arange(40) % 2), 6)
    got = grouped_cv_probe(x, y, subjects, **QUICK)
    low, high = got["ci95"]["balanced_accuracy"]
    assert low < 0.5 < high or got["balanced_accuracy"] < 0.6


def test_cross_validation_of_several_labels():
    x, y, subjects = _labels(np.random.default_rng(15), "s", n=300)
    got = grouped_cv_probe(x, y, subjects, folds=3, label_kind="multilabel", **QUICK)
    assert got["auroc"] > 0.75 and got["f1"] > 0.5
    assert got.thresholds.shape == (300, 3) and "thresholds" not in got


def test_cross_validation_needs_subjects():
    x, y, subjects = _split(np.random.default_rng(16), "s", subjects=4)
    with pytest.raises(ValueError, match="4 subjects cannot make 5 folds"):
        grouped_cv_probe(x, y, subjects, **QUICK)


def test_paired_difference_sees_what_separate_intervals_cannot():
    rng = np.random.default_rng(17)
    train, validation, test = _splits(17, n=600, strength=1.5, subjects=30)
    better = fit_probe(train, validation, test, **QUICK)
    noisier = [(x + 60 * rng.normal(size=x.shape), y, s) for x, y, s in (train, validation, test)]
    worse = fit_probe(*noisier, **QUICK)
    got = paired_difference(better, worse)
    expected = better["balanced_accuracy"] - worse["balanced_accuracy"]
    assert got["balanced_accuracy"] == pytest.approx(expected)
    assert got["ci95"]["balanced_accuracy"][0] > 0
    nothing = paired_difference(better, better)
    assert nothing["auroc"] == 0 and nothing["ci95"]["auroc"] == [0, 0]
    other = fit_probe(train, test, validation, **QUICK)
    with pytest.raises(ValueError, match="same examples"):
        paired_difference(better, other)


def test_paired_difference_of_several_labels():
    rng = np.random.default_rng(18)
    splits = [_labels(rng, name) for name in ("train", "val", "test")]
    splits[2][1][:, 2] = 1.0
    better = fit_probe(*splits, label_kind="multilabel", **QUICK)
    blind = [(x[:, 3:], y, s) for x, y, s in splits]
    got = paired_difference(better, fit_probe(*blind, label_kind="multilabel", **QUICK))
    assert got["ci95"]["auroc"][0] > 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_kind": "regression"}, "label_kind must be"),
        ({"l2_grid": [0.0, 1.0]}, "positive"),
        ({"classes": ("W",)}, "1 classes"),
        ({"class_weight": "heavy"}, "class_weight"),
    ],
)
def test_refuses_options(change, message):
    with pytest.raises(ValueError, match=message):
        fit_probe(*_splits(19), **QUICK, **change)


def test_refuses_unscored_examples():
    train, validation, test = _splits(20)
    test[1][0] = -1
    with pytest.raises(ValueError, match="unscored"):
        fit_probe(train, validation, test, **QUICK)


@pytest.mark.slow
def test_a_large_probe_is_quick():
    rng = np.random.default_rng(21)
    splits = [
        _split(rng, name, n=n, classes=5, features=512)
        for name, n in (("train", 4000), ("val", 1000), ("test", 1000))
    ]
    start = time.process_time()
    fit_probe(*splits)
    assert time.process_time() - start < 8.0  # about 1 s measured
