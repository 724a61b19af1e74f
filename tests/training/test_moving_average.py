"""The average of weights against its formula; what it begins with."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepfm_jax.training import moving_average


def averages(values, *, decay, start, average=None):
    """What is evaluated after each step whose parameters are `values`; values[0] is fresh."""
    move = jax.jit(functools.partial(moving_average.moved, decay=decay, start=start))
    average = average or moving_average.begin({"w": jnp.float32(values[0])})
    found = [moving_average.weights(average, {"w": jnp.float32(values[0])})["w"]]
    for step, value in enumerate(values[1:], start=1):
        params = {"w": jnp.float32(value)}
        average = move(average, params, jnp.int32(step))
        found.append(moving_average.weights(average, params)["w"])
    return np.array(found)


@pytest.mark.parametrize("start", [0, 1, 2, 4])
def test_it_is_the_average_from_its_start(start):
    values = [7.0, 1.0, -2.0, 3.0, 10.0, 4.0]
    wanted, mean = [7.0], 7.0
    for step, value in enumerate(values[1:], start=1):
        keeps = step >= start and (start == 0 or step > 1)
        mean = 0.9 * mean + 0.1 * value if keeps else value
        wanted.append(mean)
    np.testing.assert_allclose(averages(values, decay=0.9, start=start), wanted, rtol=1e-6)


def test_the_initial_weights_are_gone_where_the_published_ones_stay():
    values = [100.0] + [1.0] * 50
    assert averages(values, decay=0.9999, start=20)[-1] == 1.0
    published = 1 + 99 * 0.9999**31  # it holds the initial weights until step 20
    assert published > 90


def test_what_stays_is_the_average_bit_for_bit():
    """As what is frozen does."""
    odd = np.float32(1 / 3)
    assert (averages([odd] * 30, decay=0.9999, start=0) == odd).all()


def test_before_the_first_update_the_weights_are_evaluated():
    """Those of a run that was initialised from elsewhere, too."""
    average = moving_average.begin({"w": jnp.float32(5.0)})
    found = averages([-1.0, -2.0, -3.0], decay=0.5, start=1, average=average)
    np.testing.assert_allclose(found, [-1, -2, -2.5])
