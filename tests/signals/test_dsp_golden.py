"""The published preprocessing against the numbers that the published code gave."""

from __future__ import annotations

import numpy as np
import pytest

from sleepfm_jax.signals import dsp

pytestmark = pytest.mark.real

RATES = (64, 100, 128, 200, 256, 512)


@pytest.fixture(scope="module")
def golden(shared):
    return np.load(shared / "golden" / "x_extras.npz")


@pytest.mark.parametrize("sfreq", RATES)
def test_the_published_preprocessing(golden, sfreq):
    x, filtered, out, stored = (
        golden[f"preproc/{sfreq}/{name}"] for name in ("in", "filtered", "out", "out_float16")
    )
    y = dsp.resample(x, float(sfreq), 128.0, "reference", np.float64)
    if sfreq > 128:
        at = np.arange(len(y)) * (sfreq / 128)
        np.testing.assert_allclose(y, np.interp(at, np.arange(len(x)), filtered), atol=1e-11)
    else:
        np.testing.assert_array_equal(x, filtered)
    z = (y - y.mean()) / y.std()
    np.testing.assert_allclose(z, out, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(z.astype(np.float16), stored)


@pytest.mark.parametrize("sfreq", RATES)
def test_the_published_preprocessing_through_ours(golden, sfreq):
    """As records are made: float32, gaps, the z-score of the valid samples."""
    x, out, stored = (golden[f"preproc/{sfreq}/{name}"] for name in ("in", "out", "out_float16"))
    y, valid = dsp.resample_with_gaps(x, float(sfreq), 128.0, "reference")
    assert valid.all()
    z, _, _ = dsp.zscore(y, valid)
    np.testing.assert_allclose(z, out, rtol=0, atol=1e-6)
    half = z.astype(np.float16)  # rounded twice: one value in a few hundred may go the other way
    np.testing.assert_allclose(half, stored, rtol=2**-10, atol=1e-6)
    assert (half == stored).mean() > 0.995


@pytest.mark.parametrize("sfreq", [200, 256, 512])
def test_the_default_is_another_signal(golden, sfreq):
    """The recorded input holds what the published filter lets through: parity needs the option."""
    x, out = golden[f"preproc/{sfreq}/in"], golden[f"preproc/{sfreq}/out"]
    z, _, _ = dsp.zscore(dsp.resample(x, float(sfreq), 128.0), np.ones(len(out), bool))
    assert np.sqrt(np.mean((z - out) ** 2)) > 0.02
