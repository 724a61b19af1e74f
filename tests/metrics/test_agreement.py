"""Bias and limits of agreement, beside Bland and Altman's own formulas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sleepfm_jax.metrics.agreement import agreement


def test_a_table_by_hand():
    reference = np.array([400.0, 420, 380, 410, np.nan])
    measured = np.array([410.0, 415, 395, 410, 300])
    found = agreement(["a", "b", "c", "d", "e"], reference, measured)
    # differences 10, -5, 15, 0: mean 5, squares 25 + 100 + 100 + 25 over 3
    assert found["bias"] == 5 and found["sd"] == pytest.approx(np.sqrt(250 / 3))
    assert found["low"] == pytest.approx(5 - 1.96 * np.sqrt(250 / 3))
    assert found["high"] == pytest.approx(5 + 1.96 * np.sqrt(250 / 3))
    assert (found["nights"], found["people"], found["left_out"]) == (4, 4, 1)
    assert found["ci95"]["bias"] is None and "needs 10" in found["reasons"]["bias"]


def test_intervals_are_those_of_the_formulas_where_they_hold():
    rng = np.random.default_rng(3)
    n = 150
    difference = rng.normal(12, 30, n)
    found = agreement(np.arange(n), np.zeros(n), difference)
    sd, t = difference.std(ddof=1), stats.t.ppf(0.975, n - 1)
    plain = stats.ttest_1samp(difference, 0).confidence_interval()
    assert found["bias"] == pytest.approx(difference.mean())
    np.testing.assert_allclose(found["ci95"]["bias"], [plain.low, plain.high], rtol=0.02)
    half = t * sd * np.sqrt(1 / n + 1.96**2 / (2 * (n - 1)))
    for key in ("low", "high"):
        low, high = found["ci95"][key]
        assert (low + high) / 2 == pytest.approx(found[key])
        assert (high - low) / 2 == pytest.approx(half, rel=0.15)


def test_limits_hold_95_of_100_and_their_interval_covers():
    rng, held = np.random.default_rng(0), 0
    for _ in range(300):
        found = agreement(np.arange(20), np.zeros(20), rng.normal(0, 1, 20))
        low, high = found["ci95"]["high"]
        held += low <= 1.96 <= high
    assert 0.9 <= held / 300 <= 0.99
    found = agreement(np.arange(5000), np.zeros(5000), rng.normal(0, 1, 5000))
    assert stats.norm.cdf(found["high"]) - stats.norm.cdf(found["low"]) == pytest.approx(
        0.95, abs=0.01
    )


def test_several_nights_of_a_person_are_not_so_many_people():
    rng = np.random.default_rng(1)
    of_person = rng.normal(0, 20, 15)
    once = agreement(np.arange(15), np.zeros(15), of_person)
    often = agreement(np.repeat(np.arange(15), 8), np.zeros(120), np.repeat(of_person, 8))
    np.testing.assert_allclose(once["ci95"]["bias"], often["ci95"]["bias"], rtol=1e-6)
    assert (often["nights"], often["people"]) == (120, 15)


def test_nothing_to_compare():
    found = agreement(["a", "b"], np.array([np.nan, 1]), np.array([1, np.nan]))
    assert np.isnan(found["bias"]) and found["left_out"] == 2 and found["ci95"]["low"] is None
    one = agreement(["a"], np.array([1.0]), np.array([3.0]))
    assert one["bias"] == 2 and np.isnan(one["sd"]) and np.isnan(one["high"])
    with pytest.raises(ValueError, match="do not fit"):
        agreement(["a"], np.zeros(2), np.zeros(2))
