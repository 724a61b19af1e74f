"""Intervals over subjects against their meaning."""

from __future__ import annotations

import time

import numpy as np
import pytest

from sleepfm_jax.metrics import classification, intervals
from tests.helpers.labelled_examples import labels_and_probabilities


def test_interval_of_a_mean_matches_the_normal_theory():
    """Ten examples a subject, all alike: the subjects, not the examples, are the sample."""
    rng = np.random.default_rng(0)
    per_subject = rng.normal(size=200)
    values, subjects = np.repeat(per_subject, 10), np.repeat(np.arange(200), 10)

    def mean(weights):
        return {"mean": weights @ values / weights.sum(axis=1)}

    low, high = intervals.subject_bootstrap(subjects, mean, n=4000, seed=1)["mean"]
    half = 1.96 * per_subject.std() / np.sqrt(200)
    assert low == pytest.approx(per_subject.mean() - half, abs=0.02)
    assert high == pytest.approx(per_subject.mean() + half, abs=0.02)


def test_intervals_are_wider_over_subjects_than_over_examples():
    rng = np.random.default_rng(5)
    subjects = np.repeat(np.arange(20), 50)
    y = rng.integers(0, 2, 1000)
    skill = np.repeat(rng.uniform(-1, 3, 20), 50)  # some subjects are easy, some are not
    score = (2 * y - 1) * skill + rng.normal(size=1000)
    p = 1 / (1 + np.exp(-np.stack([-score, score], axis=1)))
    by_subject = classification.classification_intervals(y, p, subjects)
    by_example = classification.classification_intervals(y, p, np.arange(1000))
    point = classification.classification_metrics(y, p)
    for name in ("balanced_accuracy", "auroc", "f1", "kappa"):
        low, high = by_subject[name]
        assert low < point[name] < high
        assert high - low > 1.5 * (by_example[name][1] - by_example[name][0])


def test_intervals_repeat_with_their_seed():
    rng = np.random.default_rng(6)
    y, p = labels_and_probabilities(rng)
    subjects = rng.integers(0, 30, 200)
    first = classification.classification_intervals(y, p, subjects, n=200, seed=1)
    assert first == classification.classification_intervals(y, p, subjects, n=200, seed=1)
    assert first != classification.classification_intervals(y, p, subjects, n=200, seed=2)


def test_resamples_without_a_class_are_redrawn():
    """One subject holds all of class 1: every accepted resample draws it."""
    subjects = np.repeat(np.arange(6), 4)
    y = (subjects == 0).astype(int)
    drawn = []

    def watch(weights):
        drawn.append(weights)
        return {"n": weights.sum(axis=1)}

    intervals.subject_bootstrap(subjects, watch, required=y[:, None] == [[0, 1]], n=300)
    weights = np.concatenate(drawn)
    assert len(weights) == 300
    assert (weights[:, y == 1].sum(axis=1) > 0).all() and (weights[:, y == 0].sum(axis=1) > 0).all()
    assert (weights.sum(axis=1) == 24).all()


def test_one_subject_has_no_interval():
    y, p = labels_and_probabilities(np.random.default_rng(0), n=30, k=2)
    got = classification.classification_intervals(y, p, np.zeros(30))
    assert all(np.isnan(bounds).all() for bounds in got.values())


def test_a_thousand_resamples_of_a_night_study_are_quick():
    rng = np.random.default_rng(8)
    y, p = labels_and_probabilities(rng, n=3000, k=5, decimals=6)
    subjects = rng.integers(0, 150, 3000)
    spent = []
    for _ in range(2):  # the better of two: the machine is shared
        start = time.process_time()
        classification.classification_intervals(y, p, subjects, n=1000)
        spent.append(time.process_time() - start)
    assert min(spent) < 4.0
