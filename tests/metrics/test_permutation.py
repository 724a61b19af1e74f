"""Labels permuted over people."""

from __future__ import annotations

import collections

import numpy as np

from sleepfm_jax.metrics.permutation import permute_over_people


def test_everybody_has_the_labels_of_somebody():
    people = np.repeat(list("abcde"), 4)
    labels = np.arange(20)
    found = permute_over_people(labels, people, np.random.default_rng(0))
    assert sorted(found) == list(range(20)), "with equally many examples nothing is lost"
    donors = []
    for person in "abcde":
        mine = found[people == person]
        donors.append(mine[0] // 4)
        assert (mine // 4 == donors[-1]).all(), "a person's labels stay together"
        assert set(np.diff(mine) % 4) == {1}, "in their order, from some place on"
    assert sorted(donors) == list(range(5)) != donors


def test_people_with_other_numbers_of_examples():
    people = np.array(["a"] * 5 + ["b"] * 2)
    labels = np.array([0] * 5 + [1] * 2)
    seen = collections.Counter()
    for seed in range(40):
        found = permute_over_people(labels, people, np.random.default_rng(seed))
        seen[tuple(found)] += 1
    assert set(seen) == {(0, 0, 0, 0, 0, 1, 1), (1, 1, 1, 1, 1, 0, 0)}
    assert min(seen.values()) > 8


def test_several_labels_stay_together():
    people = np.repeat(list("abc"), 2)
    labels = np.arange(12.0).reshape(6, 2)
    found = permute_over_people(labels, people, np.random.default_rng(1))
    assert {tuple(row) for row in found} == {tuple(row) for row in labels}
