"""Resampling against analytic sines and scipy, gaps, z-scores, quantisation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from sleepfm_jax.signals import dsp

RATES = [1.0, 3.0, 50.0, 75.0, 100.0, 125.0, 128.0, 199.99, 200.0, 256.0, 500.0, 512.0]


def sine(frequency: float, sfreq: float, seconds: float, phase: float = 0.3) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(round(seconds * sfreq)) / sfreq + phase)


@pytest.mark.parametrize("sfreq", RATES)
@pytest.mark.parametrize("samples", [1, 2, 7, 500])
def test_length_and_type(sfreq: float, samples: int):
    y = dsp.resample(np.ones((2, 3, samples)), sfreq, 128.0)
    assert y.dtype == np.float32
    assert y.shape == (2, 3, max(1, round(samples * 128.0 / sfreq)))
    np.testing.assert_allclose(y, 1.0, atol=1e-6)  # a constant stays, ends included


def test_a_channel_of_one_sample_a_sleep_epoch():
    y = dsp.resample(np.array([1.0, 1.0, 3.0, 3.0]), 1 / 30, 128.0)
    assert len(y) == 4 * 30 * 128
    np.testing.assert_allclose(y[[0, 3840, 7680, 11520]], [1, 1, 3, 3], atol=0.05)


@pytest.mark.parametrize("sfreq", [1 / 29.999, 0.010000000100000002, 1 / 30.000001])
def test_a_slow_channel_at_an_odd_rate_needs_no_long_filter(sfreq: float):
    """A stage channel whose data records are not quite 30 s: exactly, a filter of 10^9 taps."""
    y = dsp.resample(np.array([1.0, 1.0, 3.0, 3.0]), sfreq, 64.0)
    assert len(y) == round(4 * 64 / sfreq)
    places = np.round(np.arange(4) * 64 / sfreq).astype(int)
    np.testing.assert_allclose(y[places], [1, 1, 3, 3], atol=0.05)


@pytest.mark.parametrize("sfreq", [50.0, 75.0, 100.0, 199.99, 200.0, 256.0, 512.0])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.84])
def test_pass_band_keeps_amplitude_and_time(sfreq: float, part: float):
    """Against the sine itself at the new rate: gain and delay at once."""
    frequency = part * min(sfreq, 128.0) / 2
    y = dsp.resample(sine(frequency, sfreq, 60), sfreq, 128.0)
    expected = sine(frequency, 128.0, len(y) / 128.0)
    inner = slice(5 * 128, -5 * 128)
    assert np.abs(y - expected)[inner].max() < 1e-3


@pytest.mark.parametrize(
    ("sfreq", "tone"), [(256, 65), (256, 100), (512, 70), (200, 90), (500, 240)]
)
def test_tones_above_the_new_nyquist_vanish(sfreq: float, tone: float):
    y = dsp.resample(sine(tone, sfreq, 60), sfreq, 128.0)
    assert np.abs(y[640:-640]).max() < 1e-3  # -60 dB; without a filter it would alias at full size


def test_tones_above_the_old_nyquist_do_not_appear():
    """Upsampling leaves no images: nothing above 50 Hz in a signal that had 100 Hz."""
    y = dsp.resample(np.random.default_rng(0).normal(size=6000), 100.0, 500.0)
    frequencies, power = signal.welch(y, 500.0, nperseg=1000)
    assert power[frequencies > 51].max() < 1e-6 * power[frequencies < 40].mean()


def test_agrees_with_scipy_fourier_resampling():
    """An independent method, on band-limited noise."""
    noise = signal.sosfiltfilt(
        signal.butter(8, 40.0, fs=256.0, output="sos"),
        np.random.default_rng(1).normal(size=256 * 60),
    )
    expected = signal.resample(noise, 128 * 60)
    y = dsp.resample(noise, 256.0, 128.0)
    assert np.abs(y - expected)[500:-500].max() < 1e-3 * expected.std()


def test_an_impulse_keeps_its_place():
    for sfreq in (100.0, 256.0, 199.99):
        x = np.zeros(round(20 * sfreq))
        x[round(10 * sfreq)] = 1.0
        at = round(10 * sfreq) / sfreq
        y = dsp.resample(x, sfreq, 128.0).astype(np.float64)
        centre = np.sum(np.arange(len(y)) * y) / np.sum(y) / 128.0
        assert centre == pytest.approx(at, abs=1e-3)


def test_no_drift_over_a_night_at_an_odd_rate():
    sfreq = 199.9871
    y = dsp.resample(sine(5.0, sfreq, 4 * 3600), sfreq, 128.0)
    end = slice(len(y) - 1280, len(y) - 640)
    assert np.abs(y - sine(5.0, 128.0, len(y) / 128.0))[end].max() < 5e-3


@pytest.mark.parametrize("sfreq", [50.0, 200.0, 256.0, 512.0])
def test_ends_of_a_slope_have_no_transient(sfreq: float):
    """A large offset and a slope, as of an amplifier that drifts: the ends stay on the line."""
    t = np.arange(round(30 * sfreq)) / sfreq
    y = dsp.resample(5000 + 20 * t, sfreq, 128.0)
    np.testing.assert_allclose(y, 5000 + 20 * np.arange(len(y)) / 128.0, atol=0.01)


def test_equal_rates_change_nothing():
    x = np.random.default_rng(0).normal(size=(2, 300)).astype(np.float32)
    y = dsp.resample(x, 128.0, 128.0)
    np.testing.assert_array_equal(y, x)
    assert not np.shares_memory(x, y)


@pytest.mark.parametrize(
    ("x", "sfreq", "message"),
    [
        (np.zeros(0), 100.0, "empty"),
        (np.array([1.0, np.nan]), 100.0, "resample_with_gaps"),
        (np.ones(5), 0.0, "sfreq"),
        (np.ones(5), float("nan"), "sfreq"),
        (np.ones(5), -1.0, "sfreq"),
        (np.ones(5), 1e9, "too far apart"),
    ],
)
def test_resample_says_what_is_wrong(x: np.ndarray, sfreq: float, message: str):
    with pytest.raises(ValueError, match=message):
        dsp.resample(x, sfreq, 128.0)


# --- the published resampling ---------------------------------------------------------------------


def gain(method: str, frequency: float, sfreq: float, target: float = 128.0) -> float:
    """Amplitude at which a tone of amplitude 1 comes out, at its own place or at its alias's."""
    seconds, edge = 30, round(8 * target)
    tone = np.cos(2 * np.pi * frequency * np.arange(seconds * round(sfreq)) / sfreq)
    y = dsp.resample(tone, sfreq, target, method, np.float64)[edge:-edge]
    at = abs(frequency - target * round(frequency / target))
    angle = 2 * np.pi * at * np.arange(edge, edge + len(y)) / target
    if at == target / 2:  # only the cosine exists there
        return abs((y * np.cos(angle)).mean())
    waves = np.stack([np.cos(angle), np.sin(angle)], axis=1)  # [T, 2]
    return float(np.linalg.norm(np.linalg.lstsq(waves, y)[0]))


PASSED = (1, 10, 30, 50, 53.7, 60, 64)  # Hz, below or at the new Nyquist frequency
STOPPED = (64.1, 70, 77, 90, 100)


def test_the_default_keeps_what_the_reference_loses_and_stops_what_it_lets_through():
    for sfreq in (256.0, 512.0):
        ours, theirs = (
            {f: gain(method, f, sfreq) for f in PASSED + STOPPED} for method in dsp.METHODS
        )
        for frequency in PASSED:
            if frequency <= 0.84 * 64:
                assert ours[frequency] == pytest.approx(1, abs=1e-3)
        for frequency in STOPPED:
            assert 20 * np.log10(ours[frequency]) < -60
            assert theirs[frequency] > 100 * ours[frequency] or frequency == 100
        assert theirs[10] == pytest.approx(1, abs=1e-3)
        assert theirs[50] < 0.95
        assert theirs[64] == pytest.approx(0.5, abs=1e-3)
        assert theirs[70] > 0.2
    # Half power twice over, as the recorded probe of the published filter: 0.5 and 0.072.
    assert gain("reference", 77, 256.0) == pytest.approx(0.07, abs=5e-3)
    assert gain("reference", 77, 512.0) == pytest.approx(0.157, abs=5e-3)
    # Between samples it interpolates on a straight line, which costs a tenth at 30 Hz.
    assert gain("reference", 30, 200.0) < 0.93 < 0.999 < gain("polyphase", 30, 200.0)


def test_the_reference_is_filter_and_straight_lines():
    rng = np.random.default_rng(0)
    slow, fast = rng.normal(size=500), rng.normal(size=2000)
    y = dsp.resample(slow, 50.0, 128.0, "reference", np.float64)  # upsampled: no filter
    np.testing.assert_allclose(y, np.interp(np.arange(1280) / 128, np.arange(500) / 50, slow))
    y = dsp.resample(fast, 200.0, 128.0, "reference", np.float64)
    filtered = signal.filtfilt(*signal.butter(4, 64 / 100), fast)
    expected = np.interp(np.arange(1280) / 128, np.arange(2000) / 200, filtered)
    np.testing.assert_allclose(y, expected, atol=1e-12)
    single = dsp.resample(fast.reshape(2, 1000), 200.0, 128.0, "reference")
    assert (single.dtype, single.shape) == (np.float32, (2, 640))
    np.testing.assert_array_equal(dsp.resample(slow, 50.0, 50.0, "reference", np.float64), slow)


@pytest.mark.parametrize("sfreq", RATES)
@pytest.mark.parametrize("samples", [1, 2, 7, 500])
def test_length_of_the_reference(sfreq: float, samples: int):
    """Rounded down, as published; it takes any length, and a constant stays."""
    y = dsp.resample(np.ones((2, samples)), sfreq, 128.0, "reference")
    assert y.shape == (2, max(1, int(samples / sfreq * 128.0)))
    np.testing.assert_allclose(y, 1.0, atol=1e-6)


def test_the_reference_at_a_very_high_rate():
    y = dsp.resample(sine(3.0, 2e5, 4), 2e5, 128.0, "reference")
    assert np.abs(y - sine(3.0, 128.0, 4))[128:-128].max() < 1e-3


@pytest.mark.parametrize("sfreq", [100.0, 256.0, 199.99])
def test_a_gap_stays_where_it_is_in_the_reference(sfreq: float):
    x = sine(3.0, sfreq, 60)
    start, stop = round(20 * sfreq), round(25 * sfreq)
    gap = x.copy()
    gap[start:stop] = np.nan
    y, valid = dsp.resample_with_gaps(gap, sfreq, 128.0, "reference")
    assert np.isfinite(y).all()
    at = np.arange(len(y)) / 128.0
    expected = (at <= (start - 1) / sfreq + 1e-9) | (at >= stop / sfreq - 1e-9)
    assert np.sum(valid != expected) <= (0 if sfreq != 199.99 else 2)  # shared out, not 1 / 128 s
    whole = dsp.resample(x, sfreq, 128.0, "reference")
    far = (at < 19.5) | (at > 25.5)
    np.testing.assert_allclose(y[far], whole[far], atol=1e-4)
    nothing, valid = dsp.resample_with_gaps(np.full_like(x, np.nan), sfreq, 128.0, "reference")
    assert len(nothing) == len(valid) == len(y) and not valid.any()


def test_an_unknown_method_is_named():
    for function in (dsp.resample, dsp.resample_with_gaps):
        with pytest.raises(ValueError, match="polyphase, reference, not 'fourier'"):
            function(np.ones(5), 100.0, 128.0, "fourier")


def test_float64_on_request():
    x = 1e6 + np.random.default_rng(0).normal(size=500)
    fine, coarse = (dsp.resample(x, 256.0, 128.0, dtype=t) for t in (np.float64, np.float32))
    assert (fine.dtype, coarse.dtype) == (np.float64, np.float32)
    np.testing.assert_array_equal(fine.astype(np.float32), coarse)
    np.testing.assert_array_equal(dsp.resample(x, 128.0, 128.0, dtype=np.float64), x)


# --- gaps -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("sfreq", [100.0, 128.0, 199.99, 256.0])
def test_a_gap_stays_where_it_is(sfreq: float, missing: float):
    x = sine(3.0, sfreq, 60)
    start, stop = round(20 * sfreq), round(25 * sfreq)
    gap = x.copy()
    gap[start:stop] = missing
    y, valid = dsp.resample_with_gaps(gap, sfreq, 128.0)
    assert y.dtype == np.float32
    assert np.isfinite(y).all()
    at = np.arange(len(y)) / 128.0
    # valid exactly where both neighbouring input samples were there
    expected = (at <= (start - 1) / sfreq + 1e-9) | (at >= stop / sfreq - 1e-9)
    np.testing.assert_array_equal(valid, expected)
    # away from the gap (by the filter's length) nothing changed; the last second is the end's
    whole = dsp.resample(x, sfreq, 128.0)
    far = (at < 19.5) | (at > 25.5)
    np.testing.assert_allclose(y[far], whole[far], atol=1e-4)
    # beside it the error stays of the signal's size: no ringing
    assert np.abs(y).max() < 1.5


def test_gaps_at_the_ends_and_everywhere():
    x = np.full(1000, 2.0)
    x[:100] = np.nan
    x[-300:] = np.nan
    y, valid = dsp.resample_with_gaps(x, 100.0, 50.0)
    np.testing.assert_allclose(y, 2.0, atol=1e-6)
    assert (np.flatnonzero(valid)[[0, -1]] == [50, 349]).all()
    assert valid.sum() == 300
    y, valid = dsp.resample_with_gaps(np.full(1000, np.nan), 100.0, 50.0)
    assert not valid.any()
    np.testing.assert_array_equal(y, np.zeros(500, np.float32))


def test_without_gaps_it_is_resample():
    x = np.random.default_rng(0).normal(size=999).astype(np.float32)
    y, valid = dsp.resample_with_gaps(x, 200.0, 128.0)
    np.testing.assert_array_equal(y, dsp.resample(x, 200.0, 128.0))
    assert valid.all()
    with pytest.raises(ValueError, match=r"one non-empty channel"):
        dsp.resample_with_gaps(np.ones((2, 5)), 100.0, 128.0)


# --- z-score --------------------------------------------------------------------------------------


def test_zscore_uses_valid_samples_only_and_can_be_undone():
    rng = np.random.default_rng(0)
    x = rng.normal(40.0, 7.0, 5000).astype(np.float32)
    valid = np.ones(5000, bool)
    valid[1000:2000] = False
    x[1000:2000] = 1e6
    z, mean, sd = dsp.zscore(x, valid)
    assert z.dtype == np.float32
    assert mean == pytest.approx(x[valid].mean(dtype=np.float64))
    assert sd == pytest.approx(x[valid].std(dtype=np.float64))
    assert (z[~valid] == 0).all()
    np.testing.assert_allclose(z[valid] * sd + mean, x[valid], rtol=1e-5)
    assert z[valid].mean() == pytest.approx(0, abs=1e-5)
    assert z[valid].std() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("value", [0.0, 123.4, -1e6])
def test_a_flat_channel_stays_flat(value: float):
    flat = dsp.resample(np.full(3000, value), 200.0, 128.0)
    z, mean, sd = dsp.zscore(flat, np.ones(len(flat), bool))
    assert sd == 0.0
    assert mean == pytest.approx(value)
    assert (z == 0).all()


def test_a_small_signal_on_a_large_offset_is_not_flat():
    x = 1e5 + 10 * sine(1.0, 128.0, 10)  # an amplifier without a high-pass
    z, _, sd = dsp.zscore(x, np.ones(len(x), bool))
    assert sd == pytest.approx(10 / np.sqrt(2), rel=1e-3)
    assert z.std() == pytest.approx(1, abs=1e-4)


def test_zscore_of_nothing_and_of_nonsense():
    z, mean, sd = dsp.zscore(np.full(5, np.nan), np.zeros(5, bool))
    assert (mean, sd) == (0.0, 0.0)
    assert (z == 0).all()
    for nonsense in (np.nan, np.inf):
        with pytest.raises(ValueError, match="marked valid"):
            dsp.zscore(np.array([1.0, nonsense]), np.ones(2, bool))
    with pytest.raises(ValueError, match="one shape"):
        dsp.zscore(np.ones(3), np.ones(2, bool))


# --- int16 ----------------------------------------------------------------------------------------


def test_quantisation_is_off_by_half_a_step_at_most():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(4, 10_000)) * np.array([[1.0], [1e-6], [300.0], [0.0]])
    z[2, 17] = -5000.0  # an artefact sets the step
    q, scale = dsp.quantise(z.astype(np.float32))
    assert (q.dtype, scale.dtype) == (np.int16, np.float32)
    assert q.min() >= -32767
    back = dsp.dequantise(q, scale)
    assert back.dtype == np.float32
    error = np.abs(back.astype(np.float64) - z.astype(np.float32))
    assert (error <= scale[:, None] * 0.503).all()  # float32 rounds the product
    np.testing.assert_allclose(scale[:3], np.abs(z).max(axis=1)[:3] / 32767, rtol=1e-6)
    assert (back[3] == 0).all()
    # once quantised, always the same
    again, scale_again = dsp.quantise(back)
    np.testing.assert_array_equal(again, q)
    np.testing.assert_allclose(scale_again, scale, rtol=1e-6)


def test_quantise_says_what_is_wrong():
    with pytest.raises(ValueError, match="NaN"):
        dsp.quantise(np.array([[np.nan, 1.0]]))
    with pytest.raises(ValueError, match=r"\[C, T\]"):
        dsp.quantise(np.ones(3))
    q, scale = dsp.quantise(np.zeros((0, 5)))
    assert (q.shape, scale.shape) == ((0, 5), (0,))


# --- masks as runs --------------------------------------------------------------------------------


def test_mask_and_gaps_are_one_thing():
    rng = np.random.default_rng(0)
    for density in (0.0, 0.1, 0.5, 0.9, 1.0):
        valid = rng.random((5, 400)) >= density
        gaps = dsp.mask_to_gaps(valid)
        assert gaps.dtype == np.int32
        np.testing.assert_array_equal(dsp.gaps_to_mask(gaps, 5, 400), valid)
        assert (gaps[:, 2] > gaps[:, 1]).all()
    valid = np.ones((2, 6), bool)
    valid[0, :2] = valid[1, 4:] = False
    np.testing.assert_array_equal(dsp.mask_to_gaps(valid), [[0, 0, 2], [1, 4, 6]])
    assert dsp.mask_to_gaps(np.ones((2, 6), bool)).shape == (0, 3)


@pytest.mark.parametrize("gap", [(2, 0, 1), (0, -1, 2), (0, 3, 7), (0, 4, 3), (-1, 0, 1)])
def test_gaps_outside_the_array_are_refused(gap: tuple[int, int, int]):
    with pytest.raises(ValueError, match="outside"):
        dsp.gaps_to_mask(np.array([gap]), 2, 6)
