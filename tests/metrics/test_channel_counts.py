"""Combinations of channels, both readings of 95 %, and intervals over combinations and people."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from sleepfm_jax.metrics import channel_counts as cc


@pytest.mark.parametrize("count", [1, 2, 5, 11, 12])
def test_no_combination_is_drawn_twice(count):
    found = cc.random_combinations(12, count, 5, np.random.default_rng(0))
    assert len(found) == len(set(found)) == min(5, math.comb(12, count))
    assert all(list(one) == sorted(set(one)) and len(one) == count for one in found)


def test_where_there_are_fewer_combinations_all_are_taken():
    found = cc.random_combinations(5, 4, 5, np.random.default_rng(0))
    assert found == list(itertools.combinations(range(5), 4))


def test_more_combinations_hold_the_fewer():
    few = cc.random_combinations(19, 8, 3, np.random.default_rng(4))
    assert cc.random_combinations(19, 8, 6, np.random.default_rng(4))[:3] == few


def test_the_greedy_order_takes_what_is_farthest_from_those_before():
    rng = np.random.default_rng(1)
    positions = rng.normal(size=(9, 3))
    order = cc.farthest_first(positions, 4)
    assert order[0] == 4 and sorted(order) == list(range(9))
    for k in range(1, 9):
        distance = np.linalg.norm(positions[:, None] - positions[order[:k]][None], axis=-1)
        assert order[k] == distance.min(axis=1).argmax()


def test_greedy_combinations_differ_and_are_nested_in_their_start():
    positions = np.random.default_rng(2).normal(size=(8, 3))
    all_of = {c: cc.greedy_combinations(positions, c, 3, np.random.default_rng(0)) for c in (1, 4)}
    for sets, possible in all_of.values():
        assert len(set(sets)) == len(sets) <= 3 and possible >= len(sets)
    assert set(all_of[1][0][0]) <= set(all_of[4][0][0])


@pytest.mark.parametrize(
    ("kept", "first", "sustained"),
    [
        ([0, 1, 1, 1], 2, 2),
        ([1, 0, 1, 1], 1, 3),
        ([0, 1, 0, 1], 2, 4),
        ([0, 1, 1, 0], 2, None),
        ([0, 0, 0, 0], None, None),
    ],
)
def test_both_readings(kept, first, sustained):
    assert cc.fewest([1, 2, 3, 4], kept) == {"first": first, "sustained": sustained}


def _scores(means, spread, k, n, rng, people=0.01):
    """{count: [k, 1 + n]} with a person's part that all combinations share."""
    shared = np.concatenate([[0], rng.normal(scale=people, size=n)])
    found = {
        count: mean + rng.normal(scale=spread, size=(k, 1)) + shared
        for count, mean in enumerate(means, 1)
    }
    return shared, found


def test_a_curve_says_both_readings_with_intervals():
    rng = np.random.default_rng(3)
    shared, found = _scores([0.5, 0.77, 0.74, 0.79, 0.8], 1e-4, 5, 400, rng)
    said = cc.curve(0.8 + shared, found, dict.fromkeys(found, 100))
    assert {name: one["count"] for name, one in said["fewest"].items()} == {
        "first": 2,
        "sustained": 4,
    }
    low, high = said["fewest"]["first"]["interval"]
    assert 1 <= low <= 2 <= high
    assert said["counts"][0]["combinations"] == 5 and len(said["counts"][0]["values"]) == 5
    assert said["full"]["ci95"][0] < 0.8 < said["full"]["ci95"][1]


def test_combinations_and_people_both_widen_an_interval():
    rng = np.random.default_rng(4)

    def width(spread, people, possible):
        shared, found = _scores([0.7], spread, 5, 4000, rng, people)
        low, high = cc.curve(0.8 + shared, found, {1: possible})["counts"][0]["ci95"]
        return high - low

    people_alone = width(0.03, 0.01, 5)  # all combinations were taken: they are no sample
    assert people_alone == pytest.approx(2 * 1.96 * 0.01, rel=0.1)
    assert width(0.03, 0.01, 10**6) > 1.3 * people_alone


def test_the_interval_over_combinations_covers_what_it_states():
    """Five of very many combinations, one count; the mean over all is 0."""
    rng, inside = np.random.default_rng(5), 0
    for _ in range(300):
        scores = np.repeat(rng.normal(size=(5, 1)), 400, axis=1)
        low, high = np.percentile(cc.resampled(scores, 10**6, rng), [2.5, 97.5])
        inside += low <= 0 <= high
    assert 0.92 <= inside / 300 <= 0.98


def test_too_few_people_or_one_combination_have_no_interval():
    rng = np.random.default_rng(6)
    shared, found = _scores([0.5, 0.8], 0.01, 1, 50, rng)
    said = cc.curve(0.8 + shared, found, {1: 19, 2: 1})
    assert said["counts"][0]["ci95"] is None and said["counts"][1]["ci95"] is not None
    assert said["fewest"]["first"]["interval"] is None
    assert "one combination" in said["fewest"]["first"]["reason"]
    people = np.repeat([f"p{i}" for i in range(12)], 3)
    assert cc.no_interval(people, {"class 'a'": np.arange(36) < 9}).startswith("class 'a' is held")
    assert cc.no_interval(people[:9], {}).startswith("3 people")
    assert cc.no_interval(people, {"class 'a'": np.arange(36) < 30}) is None
    assert cc.curve(0.8 + shared, found, {1: 19, 2: 1}, too_few="3 people")["full"]["ci95"] is None


def test_a_persons_examples_share_their_weight():
    weights = cc.person_weights(np.array(["b", "a", "b"]), 7, np.random.default_rng(0))
    assert weights.shape == (7, 3) and (weights > 0).all()
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    assert (weights[:, 0] != weights[:, 1]).all()


def test_an_interval_over_people_is_widened_by_what_combinations_leave_open():
    rng = np.random.default_rng(7)
    shared, found = _scores([0.7], 0.02, 5, 50, rng)
    given = {None: [0.7, 0.9], 1: [0.6, 0.75]}
    said = cc.curve(0.8 + shared, found, {1: 10**6}, of_people=given)
    assert said["full"]["ci95"] == [0.7, 0.9]
    value, (low, high) = said["counts"][0]["value"], said["counts"][0]["ci95"]
    half = 2.776 * np.std(found[1][:, 0], ddof=1) / np.sqrt(5)
    assert value - low == pytest.approx(np.hypot(value - 0.6, half), rel=1e-3)
    assert high - value == pytest.approx(np.hypot(0.75 - value, half), rel=1e-3)
    assert cc.curve(0.8 + shared, found, {1: 5}, of_people=given)["counts"][0]["ci95"] == [
        pytest.approx(0.6),
        pytest.approx(0.75),
    ]
