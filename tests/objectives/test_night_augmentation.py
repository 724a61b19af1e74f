"""Signals are left out as published, never all of a night; polarity by a fair coin."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepfm_jax.objectives import night_augmentation, staging

SIGNALS = ("ABD", "ECG", "EOG-L", "EOG-R", "PPG", "THX")
RATES = {name: key.default for name, key in staging.KEYS["masking"].items()}
NIGHTS = 20_000


def kept(there, rates=RATES, seed=0):
    """bool [NIGHTS, N] of nights that have these signals."""
    present = np.isin(SIGNALS, there)
    present = jnp.broadcast_to(present, (NIGHTS, len(SIGNALS)))
    draw = functools.partial(night_augmentation.mask_signals, signals=SIGNALS, rates=rates)
    found = np.asarray(jax.jit(draw)(jax.random.key(seed), present))
    assert not (found & ~np.asarray(present)).any(), "a signal that was not there"
    assert found.any(1).all(), "a night without any signal"
    return found


def rate_of(found, name):
    return found[:, SIGNALS.index(name)].mean()


@pytest.mark.real
@pytest.mark.parametrize(
    ("case", "there"), [("all", ("ABD", "THX", "ECG", "PPG")), ("no_ppg", ("ABD", "THX", "ECG"))]
)
def test_signals_are_kept_as_often_as_published(shared, case, there):
    golden = np.load(shared / "golden" / "x_extras.npz")
    found = kept(there)
    for name, rate in zip(golden["w2s_masker/order"], golden[f"w2s_masker/keep_rate_{case}"]):
        assert abs(rate_of(found, str(name)) - rate) < 0.015, name  # both are draws


def test_rates_are_those_that_the_rule_gives():
    found = kept(SIGNALS)
    nothing = 0.7**4 * 0.5 * 0.1  # the coins leave none: then ECG or PPG
    wanted = {"ABD": 0.3, "ECG": 0.5 + nothing / 2, "PPG": 0.9 + nothing / 2, "EOG-L": 0.3}
    for name, rate in wanted.items():
        assert abs(rate_of(found, name) - rate) < 0.012, name


@pytest.mark.parametrize("there", [("ABD", "THX"), ("EOG-L", "EOG-R"), ("THX",), ("ECG", "THX")])
def test_one_stays_whatever_a_night_has(there):
    """The published masker raises where a night has neither ECG nor PPG."""
    found = kept(there, dict.fromkeys(SIGNALS, 1.0))
    assert (found.sum(1) == 1).all()
    if "ECG" in there:
        assert rate_of(found, "ECG") == 1
    elif len(there) == 2:  # evenly
        assert abs(rate_of(found, there[0]) - 0.5) < 0.012


def test_a_night_without_signals_stays_without_and_no_rate_leaves_all():
    nothing = jnp.zeros((3, len(SIGNALS)), bool)
    draw = functools.partial(night_augmentation.mask_signals, jax.random.key(0))
    assert not draw(nothing, SIGNALS, RATES).any()
    present = jax.random.bernoulli(jax.random.key(1), shape=(50, len(SIGNALS)))
    np.testing.assert_array_equal(draw(present, SIGNALS, {}), present)


def test_coins_are_of_each_night_and_signal():
    found = kept(SIGNALS, dict.fromkeys(SIGNALS, 0.5))
    correlation = np.corrcoef(found.T) - np.eye(len(SIGNALS))
    assert np.abs(correlation).max() < 0.05
    assert (found != kept(SIGNALS, dict.fromkeys(SIGNALS, 0.5), seed=1)).any()
    np.testing.assert_array_equal(found, kept(SIGNALS, dict.fromkeys(SIGNALS, 0.5)))


def test_signals_are_turned_over_whole_half_of_the_time():
    signals = ("ECG", "THX")
    rng = np.random.default_rng(0)
    batch = {f"signal/{name}": rng.normal(size=(2000, 3)).astype(np.float32) for name in signals}
    batch |= {"present": np.ones((2000, 2), bool), "stages": np.zeros((2000, 1))}
    turned = night_augmentation.turn_over(jax.random.key(0), batch, signals)
    assert set(turned) == set(batch) and turned["stages"] is batch["stages"]
    sides = []
    for name in signals:
        ratio = np.asarray(turned[f"signal/{name}"] / batch[f"signal/{name}"])
        assert (np.abs(ratio) == 1).all() and (ratio == ratio[:, :1]).all()
        sides.append(ratio[:, 0])
    assert np.abs(np.mean(sides, 1)).max() < 0.08
    assert abs(np.corrcoef(sides)[0, 1]) < 0.08
