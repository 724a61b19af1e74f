"""Simulated hypnograms follow the real transition table and the shape of a night."""

from __future__ import annotations

import numpy as np
import pytest

from sleepfm_jax.signals import STAGES
from sleepfm_jax.simulation.body.noise import generator
from sleepfm_jax.simulation.body.sleep import (
    EPOCHS_PER_HOUR,
    N1,
    N2,
    N3,
    REM,
    STAGE_TRANSITIONS,
    W,
    estimate_transitions,
    simulate_hypnogram,
)

SEED = 3


def test_transition_table_is_a_probability_table():
    assert STAGE_TRANSITIONS.shape == (len(STAGES), len(STAGES))
    np.testing.assert_allclose(STAGE_TRANSITIONS.sum(axis=1), 1.0, atol=2e-4)  # four decimals
    assert STAGE_TRANSITIONS.min() >= 0.0


@pytest.mark.real
def test_transition_table_is_that_of_the_real_nights(shared):
    alphabet = {"W": W, "1": N1, "2": N2, "3": N3, "4": N3, "R": REM}
    files = sorted((shared / "data" / "hypnograms_sleepedf").glob("*.csv"))
    assert len(files) == 39
    nights = [np.array([alphabet.get(c, -1) for c in f.read_text().split()]) for f in files]
    np.testing.assert_allclose(estimate_transitions(nights), STAGE_TRANSITIONS, atol=1e-4)


def test_simulated_nights_have_the_tables_rates_and_the_nights_shape():
    nights = np.stack([simulate_hypnogram(generator(SEED, i), 960) for i in range(150)])
    np.testing.assert_allclose(estimate_transitions(nights), STAGE_TRANSITIONS, atol=0.03)
    half = 4 * EPOCHS_PER_HOUR
    early, late = nights[:, :half], nights[:, half:]
    assert np.mean(early == N3) > 1.5 * np.mean(late == N3)
    assert np.mean(late == REM) > 1.3 * np.mean(early == REM)
    assert np.all(nights[:, 0] == W)


def test_estimating_without_sleep_says_so():
    with pytest.raises(ValueError, match="without any sleep"):
        estimate_transitions([np.zeros(100, int)])
    with pytest.raises(ValueError, match="no transition out of"):
        estimate_transitions([np.array([0, 2, 2, 0])])
