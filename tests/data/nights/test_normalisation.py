"""Normalisation of a night: by all of it, by what came before, and as published."""

from __future__ import annotations

import numpy as np
import pytest

from sleepfm_jax.data.nights import normalisation as night_normalisation
from sleepfm_jax.data.nights.normalisation import CausalState, causal, causal_step, published

N = 64


def noise(epochs=30, seed=0):
    rng = np.random.default_rng(seed)
    drift = np.cumsum(rng.normal(size=epochs * N)) * 0.05
    return 7 + 2 * rng.normal(size=epochs * N) + drift


def everything(x):
    return np.ones(len(x), bool)


# --- by the night ---------------------------------------------------------------------------------


def test_a_gap_counts_nowhere_and_is_zero():
    x, valid = noise(), everything(noise())
    valid[100:700] = False
    x[~valid] = np.nan
    z = night_normalisation.night(x, valid)
    assert abs(z[valid].mean()) < 1e-6 and abs(z[valid].std() - 1) < 1e-6
    assert not z[~valid].any()
    assert not night_normalisation.night(np.full(9, 3.0), np.ones(9, bool)).any()


# --- by what came before --------------------------------------------------------------------------


def test_the_future_changes_nothing_of_the_past_bit_for_bit():
    x, at = noise(), 17 * N
    other, gone = x.copy(), everything(x)
    other[at:] = 1e6 * noise(seed=1)[at:]
    gone[at + 5 :] = False
    first = causal(x, everything(x), N)
    np.testing.assert_array_equal(first[:at], causal(other, everything(x), N)[:at])
    np.testing.assert_array_equal(first[:at], causal(x, gone, N)[:at])
    assert (first[at:] != causal(other, everything(x), N)[at:]).any()


def test_steps_are_the_batch_bit_for_bit():
    x = noise()
    valid = np.random.default_rng(3).random(len(x)) > 0.3
    valid[4 * N : 7 * N] = False
    state, pieces = CausalState(), []
    for start in range(0, len(x), N):
        state, z = causal_step(state, x[start : start + N], valid[start : start + N])
        pieces.append(z)
    np.testing.assert_array_equal(np.concatenate(pieces), causal(x, valid, N))


def test_neither_gain_nor_offset_matters():
    x = noise()
    valid = everything(x)
    valid[300:500] = False
    np.testing.assert_allclose(
        causal(x, valid, N), causal(1e3 * x - 400, valid, N), rtol=1e-5, atol=1e-5
    )


def test_it_follows_drift_and_scale():
    rng = np.random.default_rng(0)
    x = rng.normal(size=200 * N)
    x[60 * N :] = 100 + 5 * x[60 * N :]
    z = causal(x, everything(x), N)
    late = z[-30 * N :]
    assert abs(late.mean()) < 0.1 and 0.85 < late.std() < 1.05
    assert np.isfinite(z).all() and np.abs(z).max() <= night_normalisation.LIMIT
    # its baseline runs on from one sleep_epoch to the next without a jump
    steps = np.abs(np.diff(causal(np.linspace(0, 1, 40 * N), np.ones(40 * N, bool), N)))
    edges = np.arange(10, 40) * N - 1
    assert (steps[edges] < 1.2 * steps[edges - 1]).all()


def test_a_burst_does_not_blind_it():
    x = noise(60)
    burst = x.copy()
    burst[20 * N : 21 * N] *= 1000
    calm, after = causal(x, everything(x), N)[40 * N :], causal(burst, everything(x), N)[40 * N :]
    assert after.std() > 0.5 * calm.std()


def test_silence_flatness_and_gaps_are_zero():
    x = np.concatenate([np.full(5 * N, 3.0), noise(10)])
    valid = everything(x)
    valid[-2 * N :] = False
    x[-2 * N :] = np.nan
    z = causal(x, valid, N)
    assert not z[: 5 * N].any() and not z[-2 * N :].any() and np.isfinite(z).all()
    assert z[8 * N : 9 * N].std() > 0.05
    assert not causal(np.full(90, np.nan), np.zeros(90, bool), 30).any()


# --- as published ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def extras(shared):
    with np.load(shared / "golden" / "x_extras.npz") as file:
        yield dict(file)


@pytest.mark.parametrize("samples,sfreq", [(256, "8.533"), (1024, "34.133")])
def test_the_published_causal_form_is_the_published_one(extras, samples, sfreq):
    x = extras["w2s_norm/in"]
    z, outlier = published(x, samples / 30)
    np.testing.assert_allclose(z, extras[f"w2s_norm/causal_fs{sfreq}"], rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(outlier, extras[f"w2s_norm/causal_mask_fs{sfreq}"])
    row = night_normalisation.causal_published(x, everything(x), samples)
    np.testing.assert_allclose(row, z, rtol=1e-6, atol=1e-6)


def test_the_published_z_score_is_ours_but_for_the_unbiased_sd(extras):
    x = extras["w2s_norm/in"]
    z = night_normalisation.night(x, everything(x)) * np.sqrt(1 - 1 / len(x))
    np.testing.assert_allclose(z, extras["w2s_norm/zscore"], rtol=1e-4, atol=1e-5)


def test_the_published_form_looks_ahead():
    x = noise(80).astype(np.float32)
    other = x.copy()
    other[200:] += 50
    assert (published(x, N / 30)[0][:200] != published(other, N / 30)[0][:200]).any()


def one_after_the_other(x, sfreq):
    """The published recursion, sample by sample."""
    b, v = 1 / (sfreq * 120), 1 / (sfreq * 900)
    start = x[: max(1, min(int(120 * sfreq), len(x) // 10))]
    mean, variance, out = start.mean(), max(start.var(), 0.01), []
    for t, value in enumerate(x):
        if t:
            mean = b * value + (1 - b) * mean
            limit = 4 * np.sqrt(max(variance, 0.01))
            variance = v * np.clip(value - mean, -limit, limit) ** 2 + (1 - v) * variance
        out.append((value - mean) / np.sqrt(max(variance, 0.01)))
    return np.array(out)


def test_peaks_of_an_ecg_are_clipped_as_one_after_the_other_would():
    rng = np.random.default_rng(0)
    x = 0.05 * rng.normal(size=20_000)
    x[::34] += 2 + rng.random(len(x[::34]))  # every R wave is beyond four sd
    np.testing.assert_allclose(
        published(x, 1024 / 30)[0], one_after_the_other(x, 1024 / 30), rtol=1e-8, atol=1e-8
    )
