"""Features of wake EEG and of ECG on signals whose answer is known."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import signal

from sleepfm_jax.metrics.plain_features import (
    BANDS,
    HEART_FEATURE_NAMES,
    HEART_RATE_NAMES,
    WAKE_FEATURE_NAMES,
    eeg_band_powers,
    heart_features,
    heart_rate_statistics,
    wake_features,
)
from sleepfm_jax.metrics.plain_features.heart import _cosen
from sleepfm_jax.metrics.plain_features.wake import _alpha_peak

SFREQ = 128.0
LEFT, MIDDLE, RIGHT = [-0.7, 0, 0.7], [0.0, 0, 1], [0.7, 0, 0.7]


def _wake(x, positions, *, sfreq=SFREQ, valid=None):
    valid = np.ones(x.shape, bool) if valid is None else valid
    seconds = x.shape[1] / sfreq
    args = (x, valid, np.array(positions), ["bas"] * len(x), sfreq, seconds)
    (row,) = wake_features(*args)
    return dict(zip(WAKE_FEATURE_NAMES, row, strict=True)), eeg_band_powers(*args)[0]


def _pink(seed, seconds=60, sfreq=SFREQ):
    """Power falls as 1 / f^2; uV."""
    white = np.random.default_rng(seed).normal(size=int(seconds * sfreq))
    return 2.0 * signal.lfilter([1.0], [1.0, -0.98], white)


def _sine(frequency, amplitude, seconds=60, sfreq=SFREQ):
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(int(seconds * sfreq)) / sfreq)


def test_powers_are_those_of_eeg_band_powers():
    x = np.stack([_pink(0), _pink(1), _pink(2)])
    row, powers = _wake(x, [LEFT, MIDDLE, RIGHT])
    regions = ("left", "midline", "right", "unplaced")
    found = [row[f"{region}_{band}"] for region in regions for band in BANDS]
    np.testing.assert_allclose(found, powers, rtol=1e-9)
    for region in regions[:3]:
        shares = [row[f"{region}_{band}_share"] for band in BANDS]
        assert sum(shares) == pytest.approx(1.0)


@pytest.mark.parametrize("peak", [8.6, 10.0, 11.3])
def test_the_alpha_peak_is_found_where_there_is_one(peak):
    x = np.stack([_pink(3), _pink(3) + _sine(peak, 8.0)])
    row, _ = _wake(x, [LEFT, RIGHT])
    assert row["right_alpha_peak_hz"] == pytest.approx(peak, abs=0.1)
    frequency = np.arange(0, 64.25, 0.25)
    line = np.maximum(frequency, 0.1)[None] ** -1.7
    assert np.isnan(_alpha_peak(frequency, line)).all(), "a line has no peak"


def test_edge_and_mobility_of_a_sine():
    row, _ = _wake((_sine(20, 10.0) + 0.1 * _pink(4))[None], [MIDDLE])
    assert row["midline_edge_hz"] == pytest.approx(20, abs=0.3)
    assert row["midline_mobility_hz"] == pytest.approx(20, abs=0.3)
    assert row["midline_log_complexity"] == pytest.approx(0, abs=0.02)
    assert np.isnan(row["left_edge_hz"])


def test_wake_features_at_a_low_rate_and_of_nothing():
    row, _ = _wake(_pink(5, sfreq=64.0)[None], [LEFT], sfreq=64.0)
    assert np.isnan(row["left_gamma"]) and np.isfinite(row["left_beta"])
    x = _pink(6)[None]
    row, _ = _wake(x, [LEFT], valid=np.zeros(x.shape, bool))
    assert np.isnan(list(row.values())).all()
    row, _ = _wake(np.full_like(x, 3.0), [LEFT])
    assert np.isnan(list(row.values())).all()
    none = np.zeros((0, 100))
    assert wake_features(none, none.astype(bool), np.zeros((0, 3)), [], 128.0, 1.0).shape == (1, 60)
    with pytest.raises(ValueError, match="too short"):
        wake_features(x, np.ones(x.shape, bool), np.array([LEFT]), ["bas"], 128.0, 0.5)


# --- the heart ------------------------------------------------------------------------------------

WAVES = {"p": (-0.16, 0.022, 120.0), "r": (0.0, 0.012, 1000.0), "t": (0.27, 0.045, 250.0)}
"""Delay from the R peak (s), width (s) and height (uV)."""


def _ecg(rr, sfreq=SFREQ, noise=10.0, **waves):
    """Beats at the given intervals (s), with waves of Gaussians."""
    beats = 0.7 + np.concatenate([[0], np.cumsum(rr)])
    t = np.arange(int((beats[-1] + 0.7) * sfreq)) / sfreq
    x = noise * np.random.default_rng(0).normal(size=t.size)
    for delay, width, height in {**WAVES, **waves}.values():
        for beat in beats:
            x += height * np.exp(-0.5 * ((t - beat - delay) / width) ** 2)
    return x


def _heart(x, names=("ECG",), sfreq=SFREQ, valid=None):
    x = np.atleast_2d(x)
    valid = np.ones(x.shape, bool) if valid is None else valid
    return dict(zip(HEART_FEATURE_NAMES, heart_features(x, valid, names, sfreq), strict=True))


def test_the_first_are_heart_rate_statistics():
    x = _ecg(np.full(20, 0.8))[None]
    wanted = heart_rate_statistics(x, np.ones(x.shape, bool), SFREQ)
    found = heart_features(x, np.ones(x.shape, bool), ["ECG"], SFREQ)
    np.testing.assert_array_equal(found[: len(HEART_RATE_NAMES)], wanted)
    assert len(found) == len(set(HEART_FEATURE_NAMES)) == 69


@pytest.mark.parametrize("sfreq", [100.0, 128.0, 500.0])
def test_the_shape_of_a_beat(sfreq):
    up = _ecg(np.full(14, 0.8), sfreq)
    down = _ecg(np.full(14, 0.8), sfreq, t=(0.27, 0.045, -250.0))
    got = _heart(np.stack([up, -down]), ("II", "V1"), sfreq)
    assert got["II_log_qrs"] == pytest.approx(3.0, abs=0.1)
    assert got["II_r_share"] > 0.8 > 0.2 > got["V1_r_share"]
    assert got["II_t_share"] == pytest.approx(0.25, abs=0.06)
    assert got["V1_t_share"] == pytest.approx(0.25, abs=0.06)
    assert got["p_share"] == pytest.approx(0.12, abs=0.06)
    assert np.isnan(got["I_log_qrs"])
    flat = _heart(_ecg(np.full(14, 0.8), sfreq, p=(-0.16, 0.022, 0.0)), sfreq=sfreq)
    assert flat["p_share"] < got["p_share"] - 0.03
    raised = _heart(_ecg(np.full(14, 0.8), sfreq, st=(0.1, 0.03, 300.0)), sfreq=sfreq)
    assert raised["st_share"] > got["st_share"] + 0.1


@pytest.mark.parametrize("sfreq", [100.0, 128.0, 500.0])
def test_a_broad_qrs_is_broader(sfreq):
    narrow, broad = (
        _heart(_ecg(np.full(14, 0.8), sfreq, r=(0.0, width, 1000.0)), sfreq=sfreq)["qrs_ms"]
        for width in (0.012, 0.025)
    )
    assert 50 < narrow < 95 and 1.4 < broad / narrow < 2.4


def test_an_irregular_heart():
    rng = np.random.default_rng(1)
    steady = _heart(_ecg(rng.normal(0.8, 0.01, 40)))
    wild_rr = rng.uniform(0.45, 1.1, 40)
    wild = _heart(_ecg(wild_rr))
    sinus = _heart(_ecg(0.8 + 0.12 * np.sin(np.arange(40) / 5)))
    assert wild["cosen"] > sinus["cosen"] + 0.5 > steady["cosen"]
    steps = np.diff(wild_rr)
    assert wild["rmssd_share"] == pytest.approx(np.sqrt(np.mean(steps**2)) / wild_rr.mean(), 0.05)
    assert wild["step_share"] == pytest.approx(np.abs(steps).mean() / wild_rr.mean(), rel=0.05)
    assert wild["rmssd_share"] > 5 * steady["rmssd_share"]


def test_sample_entropy_against_plain_loops():
    rr = np.random.default_rng(2).normal(0.8, 0.1, 15)
    n = len(rr)
    pairs = [(i, j) for i in range(n - 1) for j in range(i + 1, n - 1)]
    far = sorted(max(abs(rr[i] - rr[j]), abs(rr[i + 1] - rr[j + 1])) for i, j in pairs)
    tolerance = max(0.03, far[4])
    here = sum(abs(rr[i] - rr[j]) <= tolerance for i, j in pairs)
    ahead = sum(f <= tolerance for f in far)
    wanted = -np.log(ahead / here) + np.log(2 * tolerance) - np.log(rr.mean())
    assert _cosen(rr) == pytest.approx(wanted)
    assert np.isnan(_cosen(rr[:6]))


def test_frequencies_of_the_rate_need_two_minutes():
    beats = np.arange(200)
    slow, fast = (0.8 + 0.05 * np.sin(2 * np.pi * f * 0.8 * beats) for f in (0.1, 0.25))
    assert np.isnan(_heart(_ecg(slow[:100]))["log_lf_hf"])
    low, high = _heart(_ecg(slow)), _heart(_ecg(fast))
    assert low["log_lf_hf"] > 1 and high["log_lf_hf"] < -1
    assert low["log_lf_ms2"] == pytest.approx(np.log10(50**2 / 2), abs=0.15)
    assert high["log_hf_ms2"] == pytest.approx(np.log10(50**2 / 2), abs=0.25)


def test_gaps_noise_and_nothing():
    x = _ecg(np.full(40, 0.8))[None]
    valid = np.ones(x.shape, bool)
    valid[0, 1500:1800] = False
    spoiled, wild = np.where(valid, x, np.nan), np.where(valid, x, 1e7)
    one, other = (_heart(a, valid=valid) for a in (spoiled, wild))
    np.testing.assert_array_equal(list(one.values()), list(other.values()))
    assert one["qrs_ms"] == pytest.approx(_heart(x)["qrs_ms"], abs=8)
    noise = np.random.default_rng(3).normal(size=(1, 60 * 128))
    assert np.isnan(list(_heart(noise).values())).all()
    none = heart_features(np.zeros((0, 5000)), np.zeros((0, 5000), bool), [], SFREQ)
    assert none.shape == (69,) and np.isnan(none).all()
    dead = _heart(np.concatenate([x, np.zeros_like(x)]), ("II", "V1"))
    assert np.isnan(dead["V1_r_share"]) and np.isfinite(dead["II_r_share"])
    with pytest.raises(ValueError, match="2 names for 1 leads"):
        heart_features(x, valid, ["I", "II"], SFREQ)


@pytest.mark.real
def test_the_shape_is_the_same_at_500_and_100_hz(shared):
    """25 exams of PTB-XL; QRS widths are of adults most of whom have nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # wfdb 4.3 under pandas 3.1: inplace is deprecated
        import wfdb

    folder = shared / "data" / "ecg_ptbxl"
    headers = sorted((folder / "records500" / "00000").glob("*_hr.hea"))
    assert len(headers) >= 20
    widths, shares = [], []
    for header in headers:
        coarse = folder / "records100" / "00000" / header.stem.replace("_hr", "_lr")
        found = []
        for path, sfreq in ((header.with_suffix(""), 500.0), (coarse, 100.0)):
            record = wfdb.rdrecord(str(path))
            found.append(_heart(1000 * record.p_signal.T, record.sig_name, sfreq))
        widths.append([row["qrs_ms"] for row in found])
        shares.append([[row[f"II_{n}"] for n in ("r_share", "t_share")] for row in found])
    widths, shares = np.array(widths), np.array(shares)
    assert np.median(np.abs(widths[:, 0] - widths[:, 1])) < 5
    assert (widths[:, 0] > 45).all() and 60 < np.median(widths) < 110
    assert np.median(np.abs(shares[:, 0] - shares[:, 1])) < 0.03
