"""The polyphase filter as a matrix product is the filter as scipy does it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from sleepfm_jax.signals import dsp

SFREQS = (1, 4, 10, 25, 32, 50, 64, 100, 125, 200, 250, 256, 400, 500, 512, 1000, 1024, 31.25)


@pytest.mark.parametrize("target", [64, 100, 128, 400])
@pytest.mark.parametrize("sfreq", SFREQS)
def test_both_ways_agree(sfreq, target, monkeypatch):
    ratio = Fraction(target / sfreq).limit_denominator(20_000)
    if ratio == 1:
        return
    assert dsp._band(ratio.numerator, ratio.denominator) is not None
    rng = np.random.default_rng(0)
    signals = [rng.standard_normal(n) * 30 + 1000 for n in (1, 2, 3, 50, 501, 9_001)]
    matrix = [dsp.resample(x, sfreq, target, dtype=np.float64) for x in signals]
    monkeypatch.setattr(dsp, "_band", lambda up, down: None)
    for x, y in zip(signals, matrix):
        np.testing.assert_allclose(dsp.resample(x, sfreq, target, dtype=np.float64), y, atol=1e-10)


def test_rates_with_little_in_common_make_no_matrix():
    """199.99 Hz to 128 Hz would be a matrix of two gigabytes."""
    assert dsp._band(12_800, 19_999) is None
    assert len(dsp.resample(np.ones(20_000), 199.99, 128)) == 12_801
    for sfreq in SFREQS:
        ratio = Fraction(128 / sfreq).limit_denominator(20_000)
        assert dsp._band(ratio.numerator, ratio.denominator)[0].nbytes < 1e6
