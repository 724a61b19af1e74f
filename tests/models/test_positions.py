"""Electrode codes: one for each place on the head, near for near places."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sleepfm_jax import signals
from sleepfm_jax.models.positions import ElectrodePositions, fourier_code, sinusoids
from sleepfm_jax.signals import aliases


@pytest.fixture(scope="module")
def electrodes():
    """Positions [N, 3] of every electrode of the 10-05 system, old names beside the new ones."""
    names = sorted(aliases.STANDARD_ELECTRODES) + ["A1", "A2", "T3", "T4", "T5", "T6"]
    positions = signals.electrode_positions(names)
    assert np.isfinite(positions).all() and len(positions) > 300
    return positions


@pytest.fixture(scope="module")
def codes(electrodes):
    return np.asarray(fourier_code(jnp.asarray(electrodes)), np.float64)


def distances(x):
    square = ((x[:, None] - x[None]) ** 2).sum(-1)
    return np.sqrt(square[np.triu_indices(len(x), 1)])


def test_every_electrode_has_its_own_code(electrodes, codes):
    """Synonyms (T3 and T7) share a place, and so a code; all others are well apart."""
    apart, of_codes = distances(electrodes.astype(np.float64)), distances(codes)
    synonyms = apart < 1e-6
    assert synonyms.sum() == 6
    assert of_codes[synonyms].max() < 1e-5
    assert of_codes[~synonyms].min() > 1  # the codes' length is 8


def test_codes_are_smooth_in_distance(electrodes, codes):
    apart, of_codes = distances(electrodes.astype(np.float64)), distances(codes)
    assert (of_codes <= 26 * 2 * np.pi / 2.8 * apart + 1e-5).all()  # the phases' largest slope
    near = apart < 0.25
    assert np.corrcoef(apart[near], of_codes[near])[0, 1] > 0.5
    # The nearest electrode by code is a near electrode.
    gram = ((codes[:, None] - codes[None]) ** 2).sum(-1) + np.where(np.eye(len(codes)), np.inf, 0)
    nearest = gram.argmin(1)
    assert np.linalg.norm(electrodes - electrodes[nearest], axis=-1).max() < 0.3


def test_left_and_right_are_far_apart():
    for left, right in (("C3", "C4"), ("Fp1", "Fp2"), ("O1", "O2"), ("T7", "T8")):
        code = np.asarray(fourier_code(jnp.asarray(signals.electrode_positions([left, right]))))
        assert np.linalg.norm(code[0] - code[1]) > 4, (left, right)


def test_codes_are_cosines_and_sines_of_mixed_phases():
    position = np.array([0.3, -0.5, 0.8])
    code = np.asarray(fourier_code(jnp.asarray(position, jnp.float32)))
    multiples = np.stack(np.meshgrid(*[range(4)] * 3, indexing="ij"), -1).reshape(-1, 3)
    wanted = 2 * np.pi / 2.8 * multiples @ position
    np.testing.assert_allclose(code, np.concatenate([np.cos(wanted), np.sin(wanted)]), atol=2e-5)


def test_a_channel_without_a_position_is_left_as_it_is():
    module = nnx.eval_shape(lambda: ElectrodePositions(16, dtype=jnp.float32, rngs=nnx.Rngs(0)))
    graph, state = nnx.split(module)
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: rng.standard_normal(x.shape).astype(x.dtype), state)
    positions = np.array([[0.1, 0.2, 0.3], [np.nan] * 3, [0.1, np.nan, 0.3]], np.float32)

    @jax.jit
    @functools.partial(jax.grad, has_aux=True)
    def total(params):
        out = nnx.merge(graph, params)(positions)
        return (out**2).sum(), out

    grads, out = jax.device_get(total(params))
    assert np.abs(out[0]).max() > 0.01
    np.testing.assert_array_equal(out[1:], 0)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))


def test_time_codes_are_interleaved_sines_and_cosines():
    table = sinusoids(128, 32)
    assert table.shape == (128, 32) and table.dtype == np.float32
    for step, pair in ((0, 3), (7, 0), (127, 15)):
        angle = step / 10000 ** (2 * pair / 32)
        found = table[step, 2 * pair : 2 * pair + 2]
        np.testing.assert_allclose(found, [np.sin(angle), np.cos(angle)], atol=1e-5)
    assert sinusoids(4, 5).shape == (4, 5)
