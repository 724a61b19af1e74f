"""The probe's protocol: what it may see, what it refuses, what it says."""

from __future__ import annotations

import time

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from sleepfm_jax.metrics import linear_probe
from sleepfm_jax.metrics.linear_probe import fit_probe, grouped_cv_probe
from tests.helpers.labelled_examples import class_split, class_splits, multilabel_split


def recall(fit, part):
    """Balanced accuracy of what a probe says of a split."""
    return balanced_accuracy_score(part[1], fit.probabilities.argmax(axis=1))


def test_finds_what_is_there_and_says_how():
    train, validation, test = class_splits(strength=3.0)
    got = fit_probe(train, validation, test, classes=("W", "N2", "REM"))
    assert recall(got, test) > 0.85
    np.testing.assert_allclose(got.probabilities.sum(axis=1), 1)
    assert got.l2[0] in linear_probe.L2_GRID
    assert (got.fold == -1).all() and got.thresholds is None
    assert "validation subjects" in got.protocol and "12 test subjects" in got.protocol
    assert [note for note in got.notes if "of the grid" not in note] == []


def test_pure_noise_scores_chance():
    splits = class_splits(strength=0.0, n=600)
    assert abs(recall(fit_probe(*splits), splits[2]) - 1 / 3) < 0.06  # three standard errors


def test_equals_scikit_learn_with_the_same_strength():
    """One L2: the probe is a plain pipeline on the training split, whatever validation holds."""
    train, validation, test = class_splits(1)
    l2 = 1e-2
    got = fit_probe(train, validation, test, l2_grid=[l2], max_iter=2000)
    mean, sd = train[0].mean(axis=0), train[0].std(axis=0)
    model = LogisticRegression(C=1 / (l2 * 150), class_weight="balanced", max_iter=2000)
    model.fit((train[0] - mean) / sd, train[1])
    expected = model.predict_proba((test[0] - mean) / sd)
    np.testing.assert_allclose(got.probabilities, expected, atol=1e-6)


def test_validation_chooses_the_strength():
    """Forty examples, two hundred useless features: weak regularisation overfits, and it shows."""
    rng = np.random.default_rng(2)
    splits = [
        class_split(rng, name, n=n, classes=2, features=200, strength=2.0)
        for name, n in (("train", 40), ("val", 400), ("test", 400))
    ]
    scores = {
        l2: fit_probe(splits[0], splits[1], splits[1][:2] + (splits[2][2],), l2_grid=[l2])
        for l2 in linear_probe.L2_GRID
    }
    best = max(scores, key=lambda l2: (recall(scores[l2], splits[1]), l2))
    assert fit_probe(*splits).l2 == [best]


def test_test_labels_and_features_never_reach_the_fit():
    train, validation, test = class_splits(3)
    first = fit_probe(train, validation, test)
    shuffled = (test[0][::-1].copy(), np.roll(test[1], 7), test[2])
    second = fit_probe(train, validation, shuffled)
    assert first.l2 == second.l2
    np.testing.assert_allclose(first.probabilities[::-1], second.probabilities, atol=1e-12)


def test_refuses_features_that_are_not_finite():
    train, validation, test = class_splits(5)
    train[0][[3, 9], 2] = np.nan
    with pytest.raises(ValueError, match="train: 2 of 150 examples have NaN"):
        fit_probe(train, validation, test)
    test[0][0, 0] = np.inf
    with pytest.raises(ValueError, match="test: 1 of 150 examples have infinite"):
        fit_probe(train, validation, test, impute=True)


def test_imputation_is_the_training_mean_and_is_said():
    train, validation, test = class_splits(6)
    train[0][:30, 4] = np.nan
    test[0][:5, 4] = np.nan
    got = fit_probe(train, validation, test, impute=True)
    assert any("missing and took their mean" in note for note in got.notes)
    filled = [(x.copy(), y, s) for x, y, s in (train, validation, test)]
    mean = np.nanmean(train[0][:, 4])
    for x, _, _ in filled:
        x[np.isnan(x[:, 4]), 4] = mean
    by_hand = fit_probe(*filled)
    # Standardisation differs (the filled column varies less), the filled value does not.
    assert recall(got, test) == pytest.approx(recall(by_hand, test), abs=0.03)
    never = [(x.copy(), y, s) for x, y, s in filled]
    for x, _, _ in never:
        x[:, 4] = np.nan
    dropped = [(np.delete(x, 4, axis=1), y, s) for x, y, s in never]
    np.testing.assert_allclose(
        fit_probe(*never, impute=True).probabilities,
        fit_probe(*dropped).probabilities,
        atol=1e-3,
    )


def test_a_constant_feature_is_harmless():
    splits = class_splits(7)
    for x, _, _ in splits:
        x[:, 5] = 1e6 + 1e-10
    assert np.isfinite(fit_probe(*splits).probabilities).all()


def test_missing_classes_are_said():
    train, validation, test = class_splits(8)
    names = ("W", "N1", "N2", "N3")
    got = fit_probe(train, validation, test, classes=names)
    assert any("no training example of ['N3']" in note for note in got.notes)
    assert got.probabilities.shape == (150, 4) and not got.probabilities[:, 3].any()
    single = (train[0], np.zeros(150, int), train[2])
    with pytest.raises(ValueError, match="single class"):
        fit_probe(single, validation, test)


def test_stopping_early_is_recorded_not_hidden():
    got = fit_probe(*class_splits(9), max_iter=2)
    assert any("2 iterations before converging" in note for note in got.notes)


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
    balanced = fit_probe(*splits)
    plain = fit_probe(*splits, class_weight=None)
    assert recall(balanced, splits[2]) > recall(plain, splits[2]) + 0.1
    # Beside the balanced one there is the unweighted one, with the L2 that the balanced one chose.
    alike = fit_probe(*splits, class_weight=None, l2_grid=balanced.l2)
    np.testing.assert_allclose(balanced.unweighted, alike.probabilities, atol=1e-4)
    np.testing.assert_array_equal(plain.unweighted, plain.probabilities)
    assert "class-balanced" in balanced.protocol and "unweighted" in plain.protocol


def test_two_classes_have_a_threshold_of_their_validation_examples():
    rng = np.random.default_rng(20)
    splits = [class_split(rng, name, classes=2, n=300) for name in ("train", "val", "test")]
    got = fit_probe(*splits)
    assert got.thresholds.shape == (300, 1) and len(np.unique(got.thresholds)) == 1
    p = fit_probe(splits[0], splits[1], splits[1], l2_grid=got.l2).probabilities[:, 1]
    y = splits[1][1]

    def youden(cut):
        return (p[y == 1] >= cut).mean() - (p[y == 1 - 1] >= cut).mean()

    assert youden(got.thresholds[0, 0]) == pytest.approx(max(youden(cut) for cut in p))


def test_what_validation_could_not_decide_is_said():
    train, validation, test = class_splits(21, classes=2)
    got = fit_probe(train, (validation[0], 0 * validation[1], validation[2]), test)
    assert sum("hold a single class" in note for note in got.notes) == 2
    assert (got.thresholds == 0.5).all()
    edge = fit_probe(train, validation, test, l2_grid=(0.1, 10.0))  # one of two is at an edge
    word = {0.1: "weakest", 10.0: "strongest"}[edge.l2[0]]
    assert any(f"is the {word} of the grid" in note for note in edge.notes)
    alone = fit_probe(train, validation, test, l2_grid=(1.0,))
    assert not any("of the grid" in note for note in alone.notes)


def test_validation_people_are_cut_from_training_people():
    train = class_split(np.random.default_rng(22), "s", n=200, subjects=10)
    kept, held = linear_probe.hold_out_validation(train, seed=3)
    assert sorted([*kept, *held]) == list(range(200))
    assert len(set(train[2][held])) == 2 and not set(train[2][held]) & set(train[2][kept])
    again = linear_probe.hold_out_validation(train, seed=3)
    np.testing.assert_array_equal(held, again[1])
    others = [linear_probe.hold_out_validation(train, seed=s)[1] for s in range(8)]
    assert len({tuple(sorted(set(train[2][each]))) for each in others}) > 1


def test_several_labels():
    rng = np.random.default_rng(11)
    splits = [multilabel_split(rng, name) for name in ("train", "val", "test")]
    for _, y, _ in splits:
        y[:4, 0] = np.nan
    got = fit_probe(*splits, label_kind="multilabel", classes=("AF", "RBBB", "ST"))
    y = splits[2][1]
    known = np.isfinite(y[:, 0])
    assert roc_auc_score(y[known, 0], got.probabilities[known, 0]) > 0.75
    assert got.thresholds.shape == (200, 3) and got.unweighted is None
    assert "macro AUROC" in got.protocol


def test_thresholds_come_from_validation():
    rng = np.random.default_rng(12)
    train, validation, test = (multilabel_split(rng, name) for name in ("train", "val", "test"))
    first = fit_probe(train, validation, test, label_kind="multilabel")
    flipped = (test[0], 1 - test[1], test[2])
    second = fit_probe(train, validation, flipped, label_kind="multilabel")
    assert (first.thresholds == second.thresholds).all()


def test_cross_validation_predicts_everyone_once_and_out_of_fold(monkeypatch):
    x, y, subjects = class_split(np.random.default_rng(13), "s", n=240, strength=2.5, subjects=15)
    seen = []
    fit = linear_probe.fit_and_predict

    def watched(train, validation, test, settings):
        groups = [set(part.subjects) for part in (train, validation, test)]
        assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]
        assert set.union(*groups) == set(subjects)
        seen.append(groups[2])
        return fit(train, validation, test, settings)

    monkeypatch.setattr(linear_probe, "fit_and_predict", watched)
    got = grouped_cv_probe(x, y, subjects, folds=5, seed=0)
    assert len(seen) == 5 and sum(len(s) for s in seen) == 15
    assert np.isfinite(got.probabilities).all()
    assert len(got.l2) == 5 and sorted(np.unique(got.fold)) == [0, 1, 2, 3, 4]
    assert all(len(np.unique(got.fold[subjects == s])) == 1 for s in np.unique(subjects))
    assert recall(got, (x, y)) > 0.7 and "cross-validation by subject" in got.protocol
    again = grouped_cv_probe(x, y, subjects, folds=5, seed=0)
    np.testing.assert_array_equal(got.probabilities, again.probabilities)


def test_cross_validation_cannot_use_who_the_subject_is():
    """Features that name the subject, labels that depend on nothing else: chance, by subject."""
    rng = np.random.default_rng(14)
    subjects = np.repeat(np.arange(40), 6)
    x = np.repeat(rng.normal(size=(40, 30)), 6, axis=0)
    y = np.repeat(rng.permutation(np.arange(40) % 2), 6)
    got = grouped_cv_probe(x, y, subjects)
    # Of 40 independent people: three standard errors. Leaking folds score 1.
    assert abs(recall(got, (x, y)) - 0.5) < 0.24


def test_cross_validation_of_several_labels():
    x, y, subjects = multilabel_split(np.random.default_rng(15), "s", n=300)
    got = grouped_cv_probe(x, y, subjects, folds=3, label_kind="multilabel")
    assert all(roc_auc_score(y[:, k], got.probabilities[:, k]) > 0.7 for k in range(3))
    assert got.thresholds.shape == (300, 3) and got.unweighted is None


def test_cross_validation_needs_subjects():
    x, y, subjects = class_split(np.random.default_rng(16), "s", subjects=4)
    with pytest.raises(ValueError, match="4 subjects cannot make 5 folds"):
        grouped_cv_probe(x, y, subjects)


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
        fit_probe(*class_splits(19), **change)


def test_refuses_unscored_examples():
    train, validation, test = class_splits(20)
    test[1][0] = -1
    with pytest.raises(ValueError, match="unscored"):
        fit_probe(train, validation, test)


@pytest.mark.slow
def test_a_large_probe_is_quick():
    rng = np.random.default_rng(21)
    splits = [
        class_split(rng, name, n=n, classes=5, features=512)
        for name, n in (("train", 4000), ("val", 1000), ("test", 1000))
    ]
    start = time.process_time()
    fit_probe(*splits)
    assert time.process_time() - start < 8.0  # about 1 s measured
