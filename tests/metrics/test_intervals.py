"""Intervals over people against their meaning, and what they cover."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import stats

from launch.bench import coverage
from sleepfm_jax.metrics import classification, intervals, multilabel
from tests.helpers.labelled_examples import labels_and_probabilities


def of_classes(y, p, people, **options):
    """Intervals of the figures of labels with one class an example."""
    holders = classification.class_holders(y, [f"c{k}" for k in range(p.shape[1])])
    statistic = classification.classification_statistic(y, p)
    return intervals.person_intervals(people, statistic, holders, **options)


def mean_of(values, name):
    return lambda weights: {name: weights @ values / weights.sum(axis=1)}


def test_interval_of_a_mean_matches_the_normal_theory():
    """Ten examples a person, all alike: the people, not the examples, are the sample."""
    per_person = np.random.default_rng(0).normal(size=400)
    values, people = np.repeat(per_person, 10), np.repeat(np.arange(400), 10)
    got, reasons = intervals.person_intervals(people, mean_of(values, "mean"), {}, n=400)
    error = per_person.std(ddof=1) / 20
    expected = stats.t.interval(0.95, 399, per_person.mean(), error)
    assert got["mean"] == pytest.approx(expected, abs=0.002) and not reasons


@pytest.mark.parametrize("right", [3, 30, 100, 196])
def test_one_example_a_person_gives_nearly_the_interval_of_a_proportion(right):
    values = (np.arange(200) < right).astype(float)
    got, _ = intervals.person_intervals(np.arange(200), mean_of(values, "accuracy"), {})
    wilson = stats.binomtest(right, 200).proportion_ci(method="wilson")
    assert got["accuracy"] == pytest.approx([wilson.low, wilson.high], abs=0.02)
    assert got["accuracy"][0] <= wilson.low + 1e-3 and got["accuracy"][1] >= wilson.high - 1e-3


def test_all_people_right_is_no_certainty():
    y = np.tile([0, 1], 10)
    got, _ = of_classes(y, np.eye(2)[y], np.repeat(np.arange(10), 2))
    for name in ("balanced_accuracy", "auroc", "f1", "accuracy"):
        low, high = got[name]
        # The share of people all right of whom ten in a row are no surprise.
        assert low == pytest.approx(10 / (10 + stats.t.ppf(0.975, 9) ** 2)) and high == 1.0
    assert 0.0 < got["kappa"][0] < got["kappa"][1] == 1.0


def test_too_few_people_or_holders_is_said():
    y, p = labels_and_probabilities(np.random.default_rng(0), n=80, k=2)
    got, reasons = of_classes(y, p, np.arange(80) % 8)
    assert set(got.values()) == {None} and set(got) == set(reasons)
    assert reasons["auroc"] == "8 people, an interval needs 10"
    people = np.arange(80) % 20
    y[:] = people < 3
    assert (
        of_classes(y, p, people)[1]["f1"] == "class 'c1' is held by 3 people, an interval needs 5"
    )
    y[:] = people < 5
    assert not of_classes(y, p, people)[1]
    assert "1 person, an" in of_classes(y, p, np.zeros(80))[1]["f1"]
    with pytest.raises(ValueError, match="no examples"):
        intervals.person_intervals([], mean_of(np.zeros(0), "a"), {})
    with pytest.raises(ValueError, match="does not fit"):
        intervals.person_intervals(people, mean_of(y, "a"), {"class": y[:5] == 1})


def test_a_figure_that_is_undefined_or_becomes_so_has_no_interval():
    y, p = np.zeros(20, int), np.tile([0.9, 0.1], (20, 1))
    got, reasons = of_classes(y, p, np.arange(20))
    assert got["auroc"] is None and reasons["auroc"] == "the figure is undefined"
    assert got["accuracy"][1] == 1.0
    p[0] = 0.1, 0.9  # the only one who is called class 1
    got, reasons = of_classes(y, p, np.arange(20))
    assert reasons["kappa"] == "without one of the people the figure is undefined"
    assert got["kappa"] is None and got["f1"] is not None


def test_intervals_are_wider_over_people_than_over_examples():
    rng = np.random.default_rng(5)
    people = np.repeat(np.arange(20), 50)
    y = rng.integers(0, 2, 1000)
    skill = np.repeat(rng.uniform(-1, 3, 20), 50)  # some people are easy, some are not
    score = (2 * y - 1) * skill + rng.normal(size=1000)
    p = 1 / (1 + np.exp(-np.stack([-score, score], axis=1)))
    by_person, _ = of_classes(y, p, people)
    by_example, _ = of_classes(y, p, np.arange(1000))
    point = classification.classification_metrics(y, p)
    for name in ("balanced_accuracy", "auroc", "auprc", "f1", "kappa", "brier"):
        low, high = by_person[name]
        assert low < point[name] < high
        assert high - low > 1.5 * (by_example[name][1] - by_example[name][0])


def test_a_paired_difference_is_narrower_than_two_intervals_and_changes_sign():
    rng = np.random.default_rng(3)
    people, y = np.repeat(np.arange(30), 10), rng.integers(0, 2, 300)
    score = y + rng.normal(size=300)

    def statistic(score):
        p = 1 / (1 + np.exp(-np.stack([0.5 - score, score - 0.5], axis=1)))
        return classification.classification_statistic(y, p)

    a, b = statistic(score + 0.3 * rng.normal(size=300)), statistic(score)
    holders = classification.class_holders(y, "ab")

    def minus(first, second):
        def difference(weights):
            one, two = first(weights), second(weights)
            return {name: one[name] - two[name] for name in one}

        return intervals.person_intervals(people, difference, holders, difference=True)[0]

    low, high = minus(a, b)["auroc"]
    alone = intervals.person_intervals(people, a, holders)[0]["auroc"]
    assert high - low < 0.7 * (alone[1] - alone[0])
    assert minus(b, a)["auroc"] == pytest.approx([-high, -low])
    assert set(map(tuple, minus(a, a).values())) == {(0.0, 0.0)}  # the same row twice


def test_rows_that_only_happen_to_agree_are_not_certain_to():
    """Equal calls of other probabilities: no accuracy differs, and next time one may."""
    y = np.tile([0, 1], 15)
    p = np.eye(2)[y]
    one = classification.classification_statistic(y, p)
    two = classification.classification_statistic(y, 0.9 * p + 0.05)

    def difference(weights):
        return {name: one(weights)[name] - two(weights)[name] for name in one(weights)}

    got, _ = intervals.person_intervals(
        np.repeat(np.arange(15), 2),
        difference,
        classification.class_holders(y, "ab"),
        difference=True,
    )
    assert got["accuracy"][0] < 0 < got["accuracy"][1]


def test_many_people_are_left_out_in_groups_and_repeat_with_the_seed():
    rng = np.random.default_rng(6)
    y, p = labels_and_probabilities(rng, n=2000)
    people = rng.integers(0, 500, 2000)
    every, _ = of_classes(y, p, people, n=1000)
    first, _ = of_classes(y, p, people, n=100, seed=1)
    assert first == of_classes(y, p, people, n=100, seed=1)[0]
    assert first != of_classes(y, p, people, n=100, seed=2)[0]
    for name, (low, high) in every.items():
        assert first[name][1] - first[name][0] == pytest.approx(high - low, rel=0.35)


def test_several_labels_have_intervals_auprc_among_them():
    rng = np.random.default_rng(7)
    y = (rng.random((300, 3)) < 0.3).astype(float)
    y[rng.random(y.shape) < 0.05] = np.nan
    p = np.clip(0.3 * np.nan_to_num(y) + 0.7 * rng.random(y.shape), 0, 1)
    people = rng.integers(0, 60, 300)
    got, reasons = intervals.person_intervals(
        people, multilabel.multilabel_statistic(y, p), multilabel.label_holders(y, "abc")
    )
    point = multilabel.multilabel_metrics(y, p)
    assert set(got) == {"balanced_accuracy", "auroc", "auprc", "f1", "brier"} and not reasons
    for name, (low, high) in got.items():
        assert low < point[name] < high
    y[people > 3, 0] = 0
    _, reasons = intervals.person_intervals(
        people, multilabel.multilabel_statistic(y, p), multilabel.label_holders(y, "abc")
    )
    assert "label 'a' is held by" in reasons["auprc"]


@pytest.mark.parametrize("skill", [2.0, 5.0])
def test_intervals_of_few_people_cover_and_the_percentile_bootstrap_does_not(skill):
    """The whole table, and the program that made it: docs/intervals.md."""
    ten, twenty = (coverage.Cell(people, (1, 4), 0.5, 0.5, skill) for people in (10, 20))
    found = coverage.measure(ten, 150, compared=150, resamples=200)
    assert min(v["covered"] for v in list(found[coverage.CHOSEN].values())[1:]) >= 0.92
    assert found[coverage.BEFORE]["auroc"]["covered"] < 0.90
    found = coverage.measure(twenty, 200, compared=0)
    assert min(v["covered"] for v in list(found[coverage.CHOSEN].values())[1:]) >= 0.92


def test_forty_nights_are_quick():
    rng = np.random.default_rng(8)
    y, p = labels_and_probabilities(rng, n=4000, k=5, decimals=6)
    people = rng.integers(0, 40, 4000)
    spent = []
    for _ in range(2):  # the better of two: the machine is shared
        start = time.process_time()
        of_classes(y, p, people)
        spent.append(time.process_time() - start)
    assert min(spent) < 1.0
