"""Features of sleep_epochs on signals whose answer is known, their night against plain loops."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
import scipy.stats

from sleepfm_jax.metrics.plain_features import (
    BAND_POWER_NAMES,
    STAGING_FEATURE_NAMES,
    eeg_band_powers,
    staging_features,
    traces,
    with_context,
)
from sleepfm_jax.metrics.plain_features.staging import is_eye

SFREQ = 128.0
LEFT, RIGHT, NOWHERE = [-0.7, 0, 0.7], [0.7, 0, 0.7], [np.nan] * 3
MODALITY = {"C3-M2": "bas", "C4-M1": "bas", "E1-M2": "bas", "E2-M1": "bas", "CHIN": "emg"}
MODALITY |= {"LEG L": "emg", "ECG": "ecg", "THX": "resp"}
PLACE = {"C3-M2": LEFT, "C4-M1": RIGHT}


def _features(channels, *, valid=None, sfreq=SFREQ):
    """[{name: value}] of each sleep_epoch, from {channel: trace}."""
    names = list(channels)
    x = np.stack([channels[name] for name in names])
    valid = np.ones(x.shape, bool) if valid is None else valid
    positions = np.array([PLACE.get(name, NOWHERE) for name in names])
    modalities = [MODALITY[name] for name in names]
    rows = staging_features(x, valid, positions, modalities, names, sfreq)
    assert rows.shape[1] == len(STAGING_FEATURE_NAMES)
    return [dict(zip(STAGING_FEATURE_NAMES, row, strict=True)) for row in rows]


def _noise(seed, seconds=30, sfreq=SFREQ, scale=10.0):
    return scale * np.random.default_rng(seed).normal(size=int(seconds * sfreq))


def _sine(frequency, amplitude, seconds=30, sfreq=SFREQ):
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(int(seconds * sfreq)) / sfreq)


def test_names_are_distinct():
    assert len(set(STAGING_FEATURE_NAMES)) == len(STAGING_FEATURE_NAMES)


@pytest.mark.parametrize("gap", [False, True])
def test_powers_are_those_of_eeg_band_powers(gap):
    x = np.stack([_noise(0, 80), _noise(1, 80)])
    valid = np.ones(x.shape, bool)
    valid[0, 500 : 1500 if gap else 500] = False
    rows = _features({"C3-M2": x[0], "C4-M1": x[1]}, valid=valid)
    wanted = eeg_band_powers(x, valid, np.array([LEFT, RIGHT]), ["bas"] * 2, SFREQ, 30.0)
    assert len(rows) == 3
    for row, powers in zip(rows, wanted, strict=True):
        for name, power in zip(BAND_POWER_NAMES, powers, strict=True):
            np.testing.assert_allclose(row[f"eeg_{name}"], power, rtol=1e-9)


def test_shares_ratios_and_edge_of_two_sines():
    (row,) = _features({"C3-M2": _sine(2, 30.0) + _sine(10, 10.0) + _noise(0, scale=0.1)})
    assert row["eeg_delta_share"] == pytest.approx(0.9, abs=0.01)
    assert row["eeg_alpha_share"] == row["eeg_left_alpha_share"] == pytest.approx(0.1, abs=0.01)
    assert row["eeg_delta"] - row["eeg_theta"] == pytest.approx(row["eeg_delta_theta"])
    assert row["eeg_edge_hz"] == pytest.approx(10, abs=0.3)
    assert np.isnan(row["eeg_right_alpha_share"])


def test_a_spindle_is_a_burst():
    quiet = _noise(2)
    spindle = quiet.copy()
    spindle[1000:1128] += _sine(13.5, 40.0, seconds=1)
    before, after = (_features({"C3-M2": x})[0]["eeg_sigma_burst"] for x in (quiet, spindle))
    assert before < 1 < before + 0.5 < after


def test_measures_in_time_against_plain_loops():
    rng = np.random.default_rng(3)
    x = np.cumsum(rng.normal(size=(2, 1920)), axis=1) % 17.0
    valid = np.ones(x.shape, bool)
    valid[1, 300:700] = False
    found = traces.time_measures(np.where(valid, x, 1e9), valid, 64.0, 1920)
    for row, trace, good in zip(found, x, valid, strict=True):
        measure = dict(zip(traces.TIME_NAMES, row, strict=True))
        known = trace[good]
        assert measure["log_sd"] == pytest.approx(np.log10(known.std()))
        assert measure["log_iqr"] == pytest.approx(np.log10(scipy.stats.iqr(known)))
        kurtosis = scipy.stats.kurtosis(known, fisher=False)
        assert measure["log_kurtosis"] == pytest.approx(np.log10(kurtosis))
        pieces = [trace] if good.all() else [trace[:300], trace[700:]]
        slope = np.concatenate([np.diff(p) for p in pieces])
        bend = np.concatenate([np.diff(p, n=2) for p in pieces])
        mobility = np.sqrt(np.mean(slope**2)) / known.std()
        complexity = np.sqrt(np.mean(bend**2) / np.mean(slope**2)) / mobility
        assert measure["mobility_hz"] == pytest.approx(64 / np.pi * np.arcsin(mobility / 2))
        assert measure["log_complexity"] == pytest.approx(np.log10(complexity))
        signs = [np.diff((p - known.mean() >= 0).astype(int)) != 0 for p in pieces]
        assert measure["crossings_hz"] == pytest.approx(64 * np.mean(np.concatenate(signs)))
        orders = [
            tuple(np.argsort(p[i : i + 3], kind="stable"))
            for p in pieces
            for i in range(len(p) - 2)
        ]
        share = np.array([orders.count(o) for o in itertools.permutations(range(3))]) / len(orders)
        entropy = -np.sum(share[share > 0] * np.log2(share[share > 0]))
        assert measure["permutation_entropy"] == pytest.approx(entropy, abs=1e-6)


def test_quantiles_and_deviations_are_numpys():
    x = np.random.default_rng(4).normal(size=(5, 21))
    x[1, ::3] = x[2, 1:] = x[3] = np.nan
    known = [row[~np.isnan(row)] for row in x]
    for q in (0.0, 0.1, 0.5, 0.99, 1.0):
        wanted = [np.quantile(row, q) if row.size else np.nan for row in known]
        np.testing.assert_allclose(traces.quantile(x, q), wanted)
    wanted = [row.std(ddof=1) if row.size > 1 else np.nan for row in known]
    np.testing.assert_allclose(traces.deviation(x), wanted)


def test_eye_movements_are_told_from_brain_waves():
    brain, movement = _noise(5, scale=3.0), np.zeros(int(30 * SFREQ))
    for start in range(200, 3600, 300):
        movement[start : start + 100] += 80.0
    still, opposed, alike = (
        _features({"E1-M2": brain + a, "E2-M1": _noise(6, scale=3.0) + b})[0]
        for a, b in ((0, 0), (movement, -movement), (movement, movement))
    )
    assert opposed["eog_correlation"] < -0.9 < -0.3 < still["eog_correlation"] < 0.3
    assert alike["eog_correlation"] > 0.9
    assert opposed["eog_opposition"] > 1 and alike["eog_opposition"] < -1
    assert opposed["eog_log_peak"] > still["eog_log_peak"] + 0.7
    assert opposed["eog_slope_peak"] > still["eog_slope_peak"] + 0.3
    one = _features({"E1-M2": brain})[0]
    assert np.isnan(one["eog_correlation"]) and np.isfinite(one["eog_log_sd"])
    assert np.isnan(one["eeg_log_sd"]), "an eye is no EEG"


def test_left_and_right_are_found_among_eyes():
    a, b = _noise(7), _noise(8)
    channels = {"E1-M2": a, "E2-M1": -a}
    one = _features(channels)[0]["eog_correlation"]
    x = np.stack([b, -a, a])
    got = staging_features(
        x, np.ones(x.shape, bool), np.full((3, 3), np.nan), ["bas"] * 3, ["EOG", "E2", "E1"], SFREQ
    )[0, STAGING_FEATURE_NAMES.index("eog_correlation")]
    assert got == pytest.approx(one) == pytest.approx(-1)
    assert all(map(is_eye, ("E1", "E2-M1", "EOG H", "EOG", "E1#2", "LUC")))
    assert not any(map(is_eye, ("C3-M2", "EEG", "Fpz", "CHIN")))


def test_tone_of_chin_and_limb():
    loud, quiet = _noise(9, scale=20.0), _noise(10, scale=2.0)
    (row,) = _features({"CHIN": loud, "LEG L": quiet})
    assert row["chin_low"] - row["limb_low"] == pytest.approx(2.0, abs=0.1)
    assert row["chin_high"] - row["limb_high"] == pytest.approx(2.0, abs=0.1)
    twitch = quiet.copy()
    twitch[2000:2100] *= 30
    (moved,) = _features({"CHIN": quiet, "LEG L": twitch})
    assert moved["limb_burst"] > moved["chin_burst"] + 1
    assert moved["limb_variability"] > 2 * moved["chin_variability"]
    assert moved["limb_floor"] == pytest.approx(moved["chin_floor"], abs=0.1)


def test_bands_above_nyquist_are_unknown():
    x = _noise(11, sfreq=64.0)
    (row,) = _features({"C3-M2": x, "CHIN": x}, sfreq=64.0)
    assert np.isfinite(row["eeg_beta"]) and np.isfinite(row["chin_low"])
    assert np.isnan(row["chin_high"])


def test_what_is_invalid_never_enters_and_flat_is_unknown():
    x = {name: _noise(20 + i, 60) for i, name in enumerate(MODALITY)}
    valid = np.ones((len(x), int(60 * SFREQ)), bool)
    valid[:, 1000:1300] = False
    valid[:, 3900:7600] = False
    spoiled = {name: np.where(valid[0], trace, np.nan) for name, trace in x.items()}
    wild = {name: np.where(valid[0], trace, 1e7) for name, trace in x.items()}
    one, other = _features(spoiled, valid=valid), _features(wild, valid=valid)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(list(a.values()), list(b.values()))
    clean = _features(x)[0]
    assert one[0]["eeg_log_sd"] == pytest.approx(clean["eeg_log_sd"], abs=0.05)
    assert np.isnan(list(one[1].values())).all()
    flat = _features(dict.fromkeys(MODALITY, np.full(int(30 * SFREQ), 5.0)))
    assert np.isnan(list(flat[0].values())).all()
    assert np.isnan(list(_features({"THX": _noise(1)})[0].values())).all()


def test_staging_features_refuse():
    x, valid, place = np.zeros((1, 3840)), np.ones((1, 3840), bool), np.zeros((1, 3))
    with pytest.raises(ValueError, match="expected signals"):
        staging_features(x, valid, place[0], ["bas"], ["C3"], SFREQ)
    with pytest.raises(ValueError, match="2 names for 1 channels"):
        staging_features(x, valid, place, ["bas"], ["C3", "C4"], SFREQ)
    with pytest.raises(ValueError, match=r"bands up to 30\.0 Hz need 60\.0 Hz"):
        staging_features(x, valid, place, ["bas"], ["C3"], 50.0)


def test_it_is_quick():
    x = np.random.default_rng(0).normal(size=(8, int(300 * SFREQ)))
    names = ["C3-M2", "C4-M1", "F3-M2", "F4-M1", "E1-M2", "E2-M1", "CHIN", "LEG L"]
    args = (np.ones(x.shape, bool), np.zeros((8, 3)), ["bas"] * 6 + ["emg"] * 2, names, SFREQ)
    staging_features(x, *args)
    start = time.process_time()
    staging_features(x, *args)
    assert (time.process_time() - start) / 10 < 0.06, "s a sleep_epoch: four times what it takes"


# --- the night ------------------------------------------------------------------------------------


def test_context_against_plain_loops():
    rng = np.random.default_rng(12)
    seconds = 30.0 * np.delete(np.arange(60), [5, 6, 7, 8, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39])
    rows = rng.normal(size=(len(seconds), 3))
    rows[rng.random(rows.shape) < 0.2] = np.nan
    shuffled = rng.permutation(len(seconds))
    got = with_context(rows[shuffled], seconds[shuffled])[np.argsort(shuffled)]
    assert got.shape == (len(rows), 12)
    np.testing.assert_array_equal(got[:, :3], rows)
    low, middle, high = np.nanquantile(rows, [0.05, 0.5, 0.95], axis=0)
    night = (rows - middle) / (high - low)
    np.testing.assert_allclose(got[:, 3:6], night)
    for i, t in enumerate(seconds):
        for f in range(3):
            for column, before, after in ((6, 150, 150), (9, 120, 0)):
                near = [
                    night[j, f]
                    for j, other in enumerate(seconds)
                    if t - before <= other <= t + after and np.isfinite(night[j, f])
                ]
                wanted = np.mean(near) if near else np.nan
                np.testing.assert_allclose(got[i, column + f], wanted, atol=1e-12)


def test_the_night_forgets_gain_and_offset():
    rng = np.random.default_rng(13)
    rows, seconds = rng.normal(size=(40, 2)), 30.0 * np.arange(40)
    one, other = (with_context(r, seconds)[:, 2:] for r in (rows, 7.0 * rows - 3.0))
    np.testing.assert_allclose(one, other, atol=1e-9)


def test_a_short_or_constant_night_is_unknown():
    rng = np.random.default_rng(14)
    short = with_context(rng.normal(size=(9, 2)), 30.0 * np.arange(9))
    assert np.isfinite(short[:, :2]).all() and np.isnan(short[:, 2:]).all()
    constant = with_context(np.full((40, 2), 3.0), 30.0 * np.arange(40))
    assert np.isnan(constant[:, 2:]).all()
    assert with_context(np.zeros((0, 2)), np.zeros(0)).shape == (0, 8)
    with pytest.raises(ValueError, match="expected rows"):
        with_context(np.zeros((3, 2)), np.zeros(2))
