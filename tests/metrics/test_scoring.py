"""Figures of rows, from predictions alone: against scikit-learn, and against their own words."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from sklearn import metrics as sk

from sleepfm_jax.metrics import predictions as files
from sleepfm_jax.metrics import scoring
from tests.helpers.made_predictions import made_predictions


def test_a_row_is_the_mean_over_seeds_and_each_seed_stands_beside():
    made = made_predictions(people=12, each=6, classes=3)
    row = scoring.score(made)
    guess = made.probabilities.astype(float).mean(axis=0).argmax(axis=1)
    together = row["ensemble"]
    value = sk.balanced_accuracy_score(made.label, guess)
    assert together["balanced_accuracy"] == pytest.approx(value)
    assert together["f1"] == pytest.approx(sk.f1_score(made.label, guess, average="macro"))
    assert together["kappa"] == pytest.approx(sk.cohen_kappa_score(made.label, guess))
    alone = [sk.balanced_accuracy_score(made.label, p.argmax(axis=1)) for p in made.probabilities]
    assert row["per_seed"]["balanced_accuracy"] == pytest.approx(alone)
    assert row["balanced_accuracy"] == pytest.approx(np.mean(alone))
    assert row["balanced_accuracy"] < together["balanced_accuracy"], "an ensemble is more than one"
    assert len(set(alone)) == 3 and row["seeds"] == [0, 1, 2]
    low, high = row["ci95"]["balanced_accuracy"]
    assert low < row["balanced_accuracy"] < high
    np.testing.assert_array_equal(row["confusion"], sk.confusion_matrix(made.label, guess))
    assert row["subjects"] == 12 and row["examples"] == 72
    for k in range(3):
        assert row["subjects_per_class"][f"class {k}"] == len(set(made.person[made.label == k]))
    assert row["examples_per_class"] == {f"class {k}": 24 for k in range(3)}
    assert row["chance"]["balanced_accuracy"] == pytest.approx(1 / 3)
    assert "as made" in row["notes"] and row["how"]["command"] == "python -m launch.probe"
    assert "folds" not in row
    assert json.loads(json.dumps(row)) == row


def test_the_threshold_of_two_classes_is_that_of_validation():
    made = made_predictions(strength=1.0, repeats=1)
    cut = dataclasses.replace(made, thresholds=np.full_like(made.thresholds, 0.8))
    guess = made.mean()[:, 1] >= 0.8
    row = scoring.score(cut)
    assert row["sensitivity"] == pytest.approx(guess[made.label == 1].mean())
    assert row["specificity"] == pytest.approx((~guess)[made.label == 0].mean())
    assert row["sensitivity"] < scoring.score(made)["sensitivity"]
    assert row["balanced_accuracy"] == scoring.score(made)["balanced_accuracy"], "of the largest"


def test_too_few_people_have_a_figure_and_no_interval():
    row = scoring.score(made_predictions(people=6))
    assert 0 < row["balanced_accuracy"] < 1
    assert row["ci95"]["balanced_accuracy"] is None
    assert "6" in row["reasons"]["balanced_accuracy"]


def test_folds_are_scored_one_by_one_too():
    made = made_predictions(people=15, folds=True)
    row = scoring.score(made)
    by_hand = [
        sk.roc_auc_score(made.label[f == k], p[f == k, 1])
        for p, f in zip(made.probabilities, made.fold)
        for k in range(3)
    ]
    assert row["folds"]["auroc"] == pytest.approx(np.mean(by_hand))
    assert row["folds"]["auroc"] != row["auroc"]
    assert row["folds"]["used"] == row["folds"]["of"] == 9
    label = np.where(made.fold[0] == 1, 0, made.label)  # a fold without the second class
    row = scoring.score(dataclasses.replace(made, label=label))
    assert (row["folds"]["used"], row["folds"]["of"]) == (6, 9)
    assert set(row["folds"]) == {"auroc", "auprc", "used", "of"}, "what ranks, and nothing else"


def test_several_labels():
    made = made_predictions("multilabel", people=20, classes=3)
    row = scoring.score(made)
    y = made.label
    known = np.isfinite(y[:, 0])
    wanted = [
        [sk.average_precision_score(y[known, k], p[known, k]) for k in range(3)]
        for p in made.probabilities
    ]
    assert row["auprc"] == pytest.approx(np.mean(wanted))
    assert row["per_label"]["auprc"] == pytest.approx(np.mean(wanted, axis=0))
    low, high = row["ci95"]["auprc"]
    assert low < row["auprc"] < high
    assert np.shape(row["confusion"]) == (3, 2, 2) and len(row["per_label"]["auroc"]) == 3
    assert "unweighted" not in row and set(row["subjects_per_class"]) == set(made.classes)
    json.dumps(row)


def test_a_class_that_nobody_has_is_named():
    made = made_predictions(classes=3)
    about = made.about | {"classes": ["W", "N1", "N2", "N3"]}
    wider = np.concatenate([made.probabilities, np.zeros((*made.probabilities.shape[:2], 1))], 2)
    made = dataclasses.replace(made, probabilities=wider, unweighted=None, about=about)
    row = scoring.score(made)
    assert any("N3" in note for note in row["notes"])
    assert row["subjects_per_class"]["N3"] == 0
    assert row["ci95"]["balanced_accuracy"] is not None, "an absent class takes no interval away"


# --- differences ----------------------------------------------------------------------------------


def test_a_difference_is_paired_and_claimed_where_interval_and_seeds_agree():
    better = made_predictions(people=30, strength=2.5, seed=1)
    worse = made_predictions(people=30, strength=0.5, seed=2)
    got = scoring.difference(better, worse)
    one, other = scoring.score(better), scoring.score(worse)
    metric = got["metric"]
    assert metric == "balanced_accuracy"
    assert got["value"] == pytest.approx(one[metric] - other[metric])
    alone = np.subtract(one["per_seed"][metric], other["per_seed"][metric])
    assert got["per_seed"] == pytest.approx(alone.tolist())
    assert got["ci95"][0] > 0 and got["claim"] is True and got["no_claim"] is None
    assert got["metrics"]["auroc"]["value"] == pytest.approx(one["auroc"] - other["auroc"])
    back = scoring.difference(worse, better)
    assert back["value"] == pytest.approx(-got["value"]) and back["claim"] is True
    json.dumps(got)


def test_one_seed_that_says_otherwise_takes_the_claim_away():
    better = made_predictions(people=30, strength=3.0, seed=1)
    worse = made_predictions(people=30, strength=0.5, seed=2)
    p = better.probabilities.copy()
    p[1] = worse.probabilities[1][:, ::-1]
    got = scoring.difference(dataclasses.replace(better, probabilities=p), worse)
    assert got["ci95"][0] > 0 and min(got["per_seed"]) < 0
    assert got["claim"] is False and got["no_claim"] == "seeds disagree"


def test_one_seed_stands_against_every_seed():
    one = made_predictions(people=12, repeats=1, strength=2.5)
    many = made_predictions(people=12, repeats=5, strength=0.5, seed=3)
    got = scoring.difference(one, many)
    value = scoring.score(one)["balanced_accuracy"]
    others = scoring.score(many)["per_seed"]["balanced_accuracy"]
    assert got["per_seed"] == pytest.approx([value - other for other in others])


def test_other_numbers_of_seeds_are_all_compared():
    two = made_predictions(people=12, repeats=2)
    three = made_predictions(people=12, repeats=3, seed=3)
    got = scoring.difference(two, three)
    ours, theirs = (scoring.score(p)["per_seed"]["balanced_accuracy"] for p in (two, three))
    assert got["per_seed"] == pytest.approx([a - b for a in ours for b in theirs])


def test_one_run_of_training_claims_nothing():
    def of(strength, *weights):
        return made_predictions(people=30, strength=strength, weights=list(weights), row="mine")

    plain = made_predictions(people=30, strength=0.2, seed=2)
    assert scoring.difference(of(3.0, "a", "b", "c"), plain)["claim"] is True
    once = scoring.difference(of(3.0, "a"), plain)
    assert once["claim"] is False
    assert once["no_claim"] == "mine was trained once, a claim needs 3 seeds"
    assert once["ci95"] == scoring.difference(of(3.0, "a", "b", "c"), plain)["ci95"]


def test_two_builds_of_a_dataset_are_not_compared():
    one = made_predictions(dataset_fingerprint="0001")
    with pytest.raises(ValueError, match="dataset_fingerprint is '0001' of one row and '0002'"):
        scoring.difference(one, made_predictions(dataset_fingerprint="0002"))
    with pytest.raises(ValueError, match="by other recipes"):
        scoring.difference(made_predictions(recipe="50"), made_predictions(recipe="100"))
    scoring.difference(made_predictions(recipe="50"), made_predictions())  # a probe has none


def test_nothing_differs_from_itself():
    made = made_predictions(people=20)
    got = scoring.difference(made, made)
    assert got["value"] == 0 and got["ci95"] == [0, 0]
    assert got["claim"] is False and got["no_claim"] == "the interval holds 0"


def test_other_examples_have_no_difference():
    made = made_predictions()
    other = dataclasses.replace(made, clip=made.clip[::-1])
    with pytest.raises(ValueError, match="same examples"):
        scoring.difference(made, other)
    found = scoring.differences({"pretrained": made, "features": other})
    assert found["pretrained-features"]["value"] is None
    assert "same examples" in found["pretrained-features"]["reason"]


def test_tables_of_a_dataset():
    rows = {
        name: made_predictions(seed=i, row=name)
        for i, name in enumerate(("features", "mine", "mispaired", "pretrained", "random"))
    }
    rng = np.random.default_rng(0)
    labels = np.stack([rng.permutation(rows["mine"].label) for _ in range(3)])
    rows["permuted"] = dataclasses.replace(rows["pretrained"], permuted=labels)
    scored, differences = scoring.tables(rows)
    assert list(scored) == ["pretrained", "mispaired", "random", "features", "mine"]
    assert list(differences) == [
        "pretrained-mispaired",
        "pretrained-random",
        "pretrained-features",
        "pretrained-mine",
        "mispaired-random",
    ]
    chance = scored["pretrained"]["permuted"]["balanced_accuracy"]
    guess = rows["permuted"].probabilities.argmax(axis=-1)
    values = [sk.balanced_accuracy_score(y, g) for y, g in zip(labels, guess)]
    assert chance["values"] == pytest.approx(values)
    assert chance["mean"] == pytest.approx(np.mean(values))
    assert chance["band"] == pytest.approx(np.percentile(values, [2.5, 97.5]).tolist())


def test_a_row_is_rebuilt_from_its_file_alone(tmp_path):
    made = made_predictions(people=15, classes=3)
    path = files.path_of(tmp_path, "made", "pretrained")
    files.save(path, made)
    assert scoring.score(files.load(path)) == scoring.score(made)
