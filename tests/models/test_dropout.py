"""Dropout's coins: fair, independent, and the same on any number of devices."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepfm_jax.models import dropout
from sleepfm_jax.models.dropout import Dropout, DropoutStream, add_product, coins, place_words
from sleepfm_jax.training import sharding

SHAPE = (64, 32, 64)
N = int(np.prod(SHAPE))


def flips(seed, rate=0.3, shape=SHAPE):
    """The first coins of a stream, True = kept."""
    return np.asarray(coins(DropoutStream(jax.random.key(seed)).next(), shape, 1 - rate))


def deviation(share, probability, n):
    """How far a share of n coins is from its probability, in standard deviations."""
    return abs(share - probability) / np.sqrt(probability * (1 - probability) / n)


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.3, 0.5, 0.9])
def test_the_rate_is_respected(rate):
    for seed in range(3):
        kept = flips(seed, rate)
        assert deviation(kept.mean(), 1 - rate, N) < 5
        for axis in range(3):  # no row, column or place has a rate of its own
            others = tuple(a for a in range(3) if a != axis)
            means = kept.mean(others)
            worst = max(deviation(m, 1 - rate, N // len(means)) for m in means)
            assert worst < 6


def test_the_same_key_gives_the_same_bits_and_another_key_others():
    np.testing.assert_array_equal(flips(1), flips(1))
    agreement = (flips(1) == flips(2)).mean()
    assert deviation(agreement, 0.7**2 + 0.3**2, N) < 5


def test_layers_of_one_step_are_independent():
    stream = DropoutStream(jax.random.key(0))
    layers = [np.asarray(coins(stream.next(), SHAPE, 0.5)) for _ in range(4)]
    for i in range(4):
        for j in range(i):
            assert deviation((layers[i] == layers[j]).mean(), 0.5, N) < 5


def test_neighbouring_places_are_independent():
    kept = flips(3, rate=0.5)
    for axis in range(3):
        for lag in (1, 2, 16):
            first = np.take(kept, range(kept.shape[axis] - lag), axis)
            second = np.take(kept, range(lag, kept.shape[axis]), axis)
            assert deviation((first == second).mean(), 0.5, first.size) < 5


def test_no_place_of_two_shapes_shares_coins_by_design_of_the_index():
    """The coin of a place depends on its index in the flattened array, so a taller array starts
    with the same rows: what makes a batch cut over devices see the bits of the whole."""
    np.testing.assert_array_equal(flips(5, shape=(64, 48))[:16], flips(5, shape=(16, 48)))


def test_places_are_counted_beyond_32_bits():
    """As whole numbers of Python would: at the sizes of one dimension of a large array."""
    x = np.array([0, 1, 2, 65535, 65536, 2**31, 2**32 - 1], np.uint32)
    factors = (1, 3, 65535, 65536, 2**16 + 1, 2**32 - 1, 2**32, 2**32 + 7, 5 * 2**40 + 12345)
    for factor in factors:
        for start in (0, 7, 2**32 - 1):
            low, high = add_product(jnp.full(x.shape, start, jnp.uint32), None, x, factor)
            wanted = [(start + int(v) * factor) % 2**64 for v in x]
            assert [int(a) + 2**32 * int(b) for a, b in zip(low, high)] == wanted


def test_only_arrays_beyond_32_bits_have_high_words():
    for shape in ((3, 5), (2**16, 2**16), (2**32, 1), (1, 2**32), ()):
        low, high = jax.eval_shape(lambda shape=shape: place_words(shape))
        assert low.shape == shape and low.dtype == jnp.uint32 and high is None
    for shape in ((2**16 + 1, 2**16), (2, 2**31 + 1), (2**33, 1), (2, 2**20, 2**20)):
        low, high = jax.eval_shape(lambda shape=shape: place_words(shape))
        assert low.shape == high.shape == shape


def test_coins_do_not_begin_again_after_32_bits(monkeypatch):
    """With the places of four rows of 2**30 columns each, of which some are looked at."""
    some = jnp.asarray(np.random.default_rng(0).integers(0, 2**30, 20000), jnp.uint32)
    rows = jnp.arange(8, dtype=jnp.uint32)[:, None]
    low, high = add_product(some + jnp.zeros_like(rows), None, rows, 2**30)
    assert set(np.unique(high)) == {0, 1}
    seed = DropoutStream(jax.random.key(0)).next()
    monkeypatch.setattr(dropout, "place_words", lambda shape: (low, high))
    found = np.asarray(coins(seed, low.shape, 0.5))
    monkeypatch.setattr(dropout, "place_words", lambda shape: (low, None))
    repeating = np.asarray(coins(seed, low.shape, 0.5))
    np.testing.assert_array_equal(repeating[:4], repeating[4:])
    np.testing.assert_array_equal(found[:4], repeating[:4])
    for row in range(4):
        assert deviation((found[row] == found[row + 4]).mean(), 0.5, some.size) < 5


def test_what_is_kept_is_scaled_and_evaluation_changes_nothing():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((64, 64)), jnp.float32)
    out = np.asarray(Dropout(0.25)(x, DropoutStream(jax.random.key(0))))
    kept = out != 0
    np.testing.assert_allclose(out[kept], np.asarray(x)[kept] / 0.75, rtol=1e-6)
    assert 0.7 < kept.mean() < 0.8
    assert Dropout(0.25)(x, None) is x
    assert Dropout(0.0)(x, DropoutStream(jax.random.key(0))) is x
    half = Dropout(0.25)(x.astype(jnp.bfloat16), DropoutStream(jax.random.key(0)))
    assert half.dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.asarray(half) != 0, kept)


def test_sharded_arrays_get_the_bits_of_one_device():
    assert jax.device_count() >= 4, "tests/conftest.py asks for four virtual devices"
    x = np.random.default_rng(0).standard_normal((8, 16, 4)).astype(np.float32)

    def run(x, key):
        stream = DropoutStream(key)
        return Dropout(0.5)(Dropout(0.1)(x, stream) + 1, stream)

    wanted = jax.jit(run)(x, jax.random.key(7))
    mesh = sharding.make_mesh({"data": 4, "rest": -1})
    for spec in (("data",), (None, "data"), (None, None, "data")):
        place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*spec))
        found = jax.jit(run, out_shardings=place)(jax.device_put(x, place), jax.random.key(7))
        assert len(found.sharding.device_set) == jax.device_count()
        np.testing.assert_array_equal(np.asarray(found), np.asarray(wanted))
