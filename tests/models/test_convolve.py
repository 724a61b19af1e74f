"""The same convolution, arranged otherwise: values and gradients are XLA's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepfm_jax.models.wav2sleep.convolve import by_xla, convolve


@pytest.mark.parametrize(
    ("taps", "channels", "stride", "dilation", "pad"),
    [
        (3, 1, 1, 1, (1, 1)),
        (1, 1, 2, 1, (0, 0)),
        (3, 1, 2, 1, (1, 1)),
        (3, 4, 1, 1, (1, 1)),
        (3, 4, 1, 1, (2, 0)),  # of the past alone
        (7, 4, 1, 8, (24, 24)),
        (7, 4, 1, 8, (0, 0)),  # what was before is there already
        (3, 4, 2, 1, (1, 1)),
        (3, 4, 2, 1, (2, 0)),
        (1, 4, 2, 1, (0, 0)),
    ],
)
def test_values_and_gradients_are_those_of_one_convolution(taps, channels, stride, dilation, pad):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((2, 96, channels)), jnp.float32)
    kernel = jnp.asarray(rng.standard_normal((taps, channels, 5)), jnp.float32)
    ours, back = jax.vjp(lambda *a: convolve(*a, stride, dilation, pad), x, kernel)
    theirs, back_theirs = jax.vjp(lambda *a: by_xla(*a, stride, dilation, pad), x, kernel)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    weight = jnp.asarray(rng.standard_normal(ours.shape), jnp.float32)
    for a, b in zip(back(weight), back_theirs(weight)):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_a_stride_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="stride 2 of length 7"):
        convolve(jnp.zeros((1, 7, 2)), jnp.zeros((3, 2, 2)), 2, 1, (1, 1))
