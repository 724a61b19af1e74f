"""The concordance index against its definition, pair by pair."""

from __future__ import annotations

import numpy as np
import pytest

from sleepfm_jax.metrics.survival import (
    concordance,
    concordance_interval,
    concordance_statistic,
)


def by_definition(hazards, times, events, weights):
    right = pairs = 0.0
    for i in range(len(times)):
        for j in range(len(times)):
            later = times[j] > times[i] or (times[j] == times[i] and not events[j])
            if i == j or not events[i] or not later:
                continue
            pair = weights[i] * weights[j]
            pairs += pair
            right += pair * (1.0 if hazards[i] > hazards[j] else 0.5 * (hazards[i] == hazards[j]))
    return right / pairs if pairs else np.nan


def made(seed, n=25):
    """Hazards and times with ties, half of the events censored."""
    rng = np.random.default_rng(seed)
    hazards = rng.integers(0, 8, n).astype(float)
    times = np.ceil(rng.exponential(np.exp(-0.2 * hazards)) * 8)
    return hazards, times, rng.random(n) < 0.5


@pytest.mark.parametrize("seed", range(5))
def test_as_defined(seed, monkeypatch):
    monkeypatch.setattr("sleepfm_jax.metrics.survival._CHUNK", 60)  # several at a time, and a rest
    hazards, times, events = made(seed)
    weights = np.random.default_rng(seed).integers(0, 3, (4, len(times))).astype(float)
    found = concordance_statistic(hazards, times, events)(weights)["concordance"]
    wanted = [by_definition(hazards, times, events, w) for w in weights]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    ones = np.ones(len(times))
    assert concordance(hazards, times, events) == pytest.approx(
        by_definition(hazards, times, events, ones)
    )


def test_the_ends_the_middle_and_nothing():
    times = np.arange(6.0)
    seen = np.ones(6)
    assert concordance(-times, times, seen) == 1
    assert concordance(times, times, seen) == 0
    assert concordance(np.zeros(6), times, seen) == 0.5
    assert np.isnan(concordance(times, times, np.zeros(6)))
    assert np.isnan(concordance(times, np.ones(6), seen)), "events at one time are not comparable"
    assert concordance([1.0, 0.0], [3.0, 3.0], [1, 0]) == 1, "censored at the time of an event"
    with pytest.raises(ValueError, match="finite"):
        concordance([np.nan, 0.0], [1.0, 2.0], [1, 1])
    with pytest.raises(ValueError, match=r"three \[N\]"):
        concordance(np.zeros(3), np.zeros(2), np.zeros(3))


def test_an_interval_holds_the_figure_and_few_people_have_none():
    rng = np.random.default_rng(0)
    hazards = rng.standard_normal(120)
    times, events = rng.exponential(np.exp(-hazards)), rng.random(120) < 0.6
    people = np.array([f"p{i}" for i in range(120)])
    (low, high), reason = concordance_interval(people, hazards, times, events)
    assert 0 < low < concordance(hazards, times, events) < high < 1 and not reason
    assert 0.05 < high - low < 0.3
    few, reason = concordance_interval(people[:8], hazards[:8], times[:8], events[:8])
    assert few is None and "8 people" in reason
