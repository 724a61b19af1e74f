"""Plain features on signals whose answer is known, and on real ECG."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from sleepfm_jax.metrics.plain_features import (
    BAND_POWER_NAMES,
    BANDS,
    HEART_RATE_NAMES,
    eeg_band_powers,
    heart_rate_statistics,
    r_peaks,
)

SFREQ = 128.0
LEFT, MIDDLE, RIGHT, NOWHERE = [-0.7, 0, 0.7], [0.0, 0, 1], [0.7, 0, 0.7], [np.nan] * 3


def _powers(x, positions, *, valid=None, modalities=None, window=30.0, sfreq=SFREQ):
    valid = np.ones(x.shape, bool) if valid is None else valid
    modalities = ["bas"] * len(x) if modalities is None else modalities
    rows = eeg_band_powers(x, valid, np.array(positions), modalities, sfreq, window)
    return [dict(zip(BAND_POWER_NAMES, row, strict=True)) for row in rows]


def _sine(frequency, amplitude, seconds=60, sfreq=SFREQ):
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(int(seconds * sfreq)) / sfreq)


@pytest.mark.parametrize(
    ("band", "frequency"),
    [("delta", 2), ("theta", 6), ("alpha", 10), ("sigma", 13.5), ("beta", 20)],
)
def test_a_sine_has_its_power_in_its_band(band, frequency):
    rng = np.random.default_rng(0)
    x = _sine(frequency, 20.0)[None] + 0.1 * rng.normal(size=(1, int(60 * SFREQ)))
    for row in _powers(x, [LEFT]):
        assert row[f"left_{band}"] == pytest.approx(np.log10(20.0**2 / 2), abs=0.02)
        others = [row[f"left_{other}"] for other in BANDS if other != band]
        assert max(others) < row[f"left_{band}"] - 2


def test_electrodes_go_to_their_side():
    rng = np.random.default_rng(1)
    amplitudes = np.array([1.0, 10.0, 100.0, 1000.0])
    x = amplitudes[:, None] * rng.normal(size=(4, int(30 * SFREQ)))
    (row,) = _powers(x, [LEFT, MIDDLE, RIGHT, NOWHERE])
    alpha = [row[f"{region}_alpha"] for region in ("left", "midline", "right", "unplaced")]
    np.testing.assert_allclose(np.diff(alpha), 2.0, atol=0.3)  # ten times the amplitude


def test_regions_average_logarithms():
    x = np.stack([_sine(10, 1.0), _sine(10, 100.0)])
    row = _powers(x, [LEFT, [-0.3, 0.5, 0.8]])[0]
    assert row["left_alpha"] == pytest.approx(np.log10(0.5 * 100), abs=0.02)  # of 1 and 10,000
    assert np.isnan(row["right_alpha"])


def test_only_bas_is_read():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(3, int(30 * SFREQ)))
    loud = x * np.array([[1.0], [1e3], [1e3]])
    alone = _powers(x[:1], [LEFT])
    got = _powers(loud, [LEFT, NOWHERE, NOWHERE], modalities=["bas", "ecg", "emg"])
    assert got[0]["left_beta"] == alone[0]["left_beta"] and np.isnan(got[0]["unplaced_beta"])
    none = _powers(x[:1], [NOWHERE], modalities=["ecg"])
    assert len(none) == 1 and np.isnan(list(none[0].values())).all()


def test_invalid_samples_never_enter():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(1, int(60 * SFREQ)))
    valid = np.ones(x.shape, bool)
    valid[0, 1000:1400] = False
    marred, wild = x.copy(), x.copy()
    marred[~valid], wild[~valid] = np.nan, 1e6
    got = [[row["left_alpha"] for row in _powers(a, [LEFT], valid=valid)] for a in (marred, wild)]
    assert got[0] == got[1] and np.isfinite(got[0]).all()
    clean = _powers(x, [LEFT])
    assert _powers(wild, [LEFT], valid=valid)[0]["left_beta"] == pytest.approx(
        clean[0]["left_beta"], abs=0.1
    )


def test_windows_and_the_partial_last_one():
    x = _sine(10, 10.0, seconds=80)[None]
    rows = _powers(x, [LEFT])
    assert len(rows) == 3  # 30, 30 and 20 s of 30
    assert all(np.isfinite(row["left_alpha"]) for row in rows)
    rows = _powers(x[:, : int(70 * SFREQ)], [LEFT])
    assert len(rows) == 3 and np.isnan(rows[2]["left_alpha"])  # 10 s of 30 is too little
    valid = np.ones(x.shape, bool)
    valid[:, int(30 * SFREQ) : int(52 * SFREQ)] = False
    rows = _powers(x, [LEFT], valid=valid)
    assert np.isnan(rows[1]["left_alpha"]) and np.isfinite(rows[0]["left_alpha"])


def test_a_flat_channel_is_not_a_quiet_brain():
    x = np.stack([np.full(int(30 * SFREQ), 7.0), _sine(10, 10.0, seconds=30)])
    (row,) = _powers(x, [LEFT, LEFT])
    assert row["left_alpha"] == pytest.approx(np.log10(50), abs=0.02)
    (row,) = _powers(x[:1], [LEFT])
    assert np.isnan(row["left_alpha"])


def test_one_row_a_clip_of_any_length():
    x = _sine(10, 10.0, seconds=60)[None]
    assert len(_powers(x, [LEFT], window=60.0)) == 1


def test_band_powers_refuse():
    x = np.zeros((2, 1000))
    with pytest.raises(ValueError, match="expected signals"):
        _powers(x, [LEFT])
    with pytest.raises(ValueError, match="1 modalities for 2"):
        _powers(x, [LEFT, LEFT], modalities=["bas"])
    with pytest.raises(ValueError, match="need 60"):
        _powers(x, [LEFT, LEFT], sfreq=50.0)
    with pytest.raises(ValueError, match="too short"):
        _powers(x, [LEFT, LEFT], window=0.5)


def _ecg(beats, seconds, sfreq, rng, noise=0.02, t_wave=0.25):
    """P, QRS and T waves as Gaussians at known beat times (s), in millivolts, with drift."""
    t = np.arange(int(seconds * sfreq)) / sfreq
    x = 0.3 * np.sin(2 * np.pi * 0.25 * t) + noise * rng.normal(size=t.size)
    for delay, width, height in (
        (-0.17, 0.025, 0.12),
        (-0.025, 0.010, -0.12),
        (0.0, 0.011, 1.0),
        (0.028, 0.010, -0.25),
        (0.26, 0.045, t_wave),
    ):
        for beat in beats:
            x += height * np.exp(-0.5 * ((t - beat - delay) / width) ** 2)
    return x


def _statistics(x, sfreq, valid=None):
    x = np.atleast_2d(x)
    valid = np.ones(x.shape, bool) if valid is None else valid
    return dict(zip(HEART_RATE_NAMES, heart_rate_statistics(x, valid, sfreq), strict=True))


@pytest.mark.parametrize("sfreq", [100.0, 128.0, 500.0])
@pytest.mark.parametrize("bpm", [45, 72, 110, 160])
def test_steady_heart(bpm, sfreq):
    rng = np.random.default_rng(bpm)
    beats = np.arange(0.4, 59.6, 60 / bpm)
    got = _statistics(_ecg(beats, 60, sfreq, rng), sfreq)
    assert got["mean_hr_bpm"] == pytest.approx(bpm, abs=0.5)
    assert got["beats"] == pytest.approx(len(beats), abs=1)
    assert got["sdnn_ms"] < 12 and got["pnn50"] == 0
    assert got["min_hr_bpm"] == pytest.approx(bpm, rel=0.04)
    assert got["max_hr_bpm"] == pytest.approx(bpm, rel=0.04)
    assert got["r_amplitude_cv"] < 0.1


def test_variability_is_measured():
    rng = np.random.default_rng(0)
    rr = rng.normal(0.9, 0.08, 130).clip(0.6, 1.2)
    beats = 0.5 + np.concatenate([[0], np.cumsum(rr)])
    got = _statistics(_ecg(beats, beats[-1] + 1, 500.0, rng), 500.0)
    assert got["sdnn_ms"] == pytest.approx(1000 * rr.std(ddof=1), rel=0.05)
    assert got["rmssd_ms"] == pytest.approx(1000 * np.sqrt(np.mean(np.diff(rr) ** 2)), rel=0.05)
    assert got["pnn50"] == pytest.approx(np.mean(np.abs(np.diff(rr)) > 0.05), abs=0.05)


def test_peaks_stand_on_the_r_waves():
    beats = np.arange(0.5, 29.5, 0.83)
    x = _ecg(beats, 30, 250.0, np.random.default_rng(1))
    found = r_peaks(x[None], np.ones((1, x.size), bool), 250.0) / 250.0
    assert len(found) == len(beats)
    np.testing.assert_allclose(found, beats, atol=0.02)


def test_polarity_unit_and_dead_leads_do_not_matter():
    x = _ecg(np.arange(0.5, 59.5, 0.8), 60, 128.0, np.random.default_rng(2))
    plain = heart_rate_statistics(x[None], np.ones((1, x.size), bool), 128.0)
    changed = np.stack([-1000.0 * x, np.zeros_like(x), np.full_like(x, 3.0)])
    got = heart_rate_statistics(changed, np.ones(changed.shape, bool), 128.0)
    np.testing.assert_allclose(got, plain, rtol=1e-6)


def test_tall_t_waves_are_no_beats():
    rng = np.random.default_rng(3)
    x = _ecg(np.arange(0.5, 59.5, 0.9), 60, 128.0, rng, t_wave=0.8)
    assert _statistics(x, 128.0)["mean_hr_bpm"] == pytest.approx(60 / 0.9, abs=1)


def test_intervals_across_a_gap_are_left_out():
    x = _ecg(np.arange(0.5, 59.5, 0.8), 60, 128.0, np.random.default_rng(4))[None]
    valid = np.ones(x.shape, bool)
    valid[0, 20 * 128 : int(22.1 * 128)] = False
    x[~valid] = np.nan
    got = _statistics(x, 128.0, valid)
    assert got["mean_hr_bpm"] == pytest.approx(75, abs=0.5)
    assert got["min_hr_bpm"] > 70 and got["sdnn_ms"] < 12


@pytest.mark.parametrize("seed", range(5))
def test_noise_has_no_heart_rate(seed):
    x = np.random.default_rng(seed).normal(size=(1, 60 * 128))
    assert np.isnan(heart_rate_statistics(x, np.ones(x.shape, bool), 128.0)).all()


def test_nothing_to_detect_is_nan():
    sfreq = 128.0
    flat = np.zeros((1, 5000))
    everything = np.ones(flat.shape, bool)
    assert np.isnan(heart_rate_statistics(flat, everything, sfreq)).all()
    assert np.isnan(heart_rate_statistics(flat[:, :100], everything[:, :100], sfreq)).all()
    assert np.isnan(heart_rate_statistics(flat, ~everything, sfreq)).all()
    assert np.isnan(heart_rate_statistics(flat[:0], everything[:0], sfreq)).all()
    two = _ecg([1.0, 2.0], 4, sfreq, np.random.default_rng(5))[None]
    assert np.isnan(heart_rate_statistics(two, np.ones(two.shape, bool), sfreq)).all()


def test_heart_rate_refuses():
    with pytest.raises(ValueError, match="expected ecg"):
        heart_rate_statistics(np.zeros((1, 10)), np.ones((2, 10), bool), 128.0)
    with pytest.raises(ValueError, match="at least 40"):
        r_peaks(np.zeros((1, 1000)), np.ones((1, 1000), bool), 25.0)


def _wfdb():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # wfdb 4.3 under pandas 3.1: inplace is deprecated
        import wfdb
        import wfdb.processing
    return wfdb


def _xqrs_rate(x, sfreq):
    processing = _wfdb().processing

    detector = processing.XQRS(sig=x, fs=sfreq)
    detector.detect(verbose=False)
    peaks = detector.qrs_inds
    return 60 / np.mean(np.diff(peaks) / sfreq) if len(peaks) > 3 else np.nan


@pytest.mark.real
def test_agrees_with_xqrs_on_ptb_xl(shared):
    """The 25 exams at 500 Hz: XQRS counts T waves at 100 Hz, where ours must agree with 500 Hz."""
    wfdb = _wfdb()
    folder = shared / "data" / "ecg_ptbxl"
    headers = sorted((folder / "records500" / "00000").glob("*_hr.hea"))
    assert len(headers) >= 20
    differences, rates = [], []
    for header in headers:
        fine = wfdb.rdrecord(str(header.with_suffix(""))).p_signal.T  # [12, T]
        coarse_path = folder / "records100" / "00000" / header.stem.replace("_hr", "_lr")
        coarse = wfdb.rdrecord(str(coarse_path)).p_signal.T
        ours = _statistics(fine, 500.0)["mean_hr_bpm"]
        differences.append(abs(ours - _xqrs_rate(fine[1], 500)))
        rates.append(abs(ours - _statistics(coarse, 100.0)["mean_hr_bpm"]))
    assert np.median(differences) < 2 and np.mean(np.array(differences) < 2) > 0.9
    assert np.max(rates) < 2


@pytest.mark.real
def test_agrees_with_xqrs_on_eegmat(shared):
    """One ECG lead beside the EEG, rest and arithmetic; the heart is faster in arithmetic."""
    import edfio

    paths = sorted((shared / "data" / "wake_eeg_eegmat").glob("Subject0[4-9]_*.edf"))
    assert len(paths) == 12
    ours, theirs = [], []
    for path in paths:
        (channel,) = [s for s in edfio.read_edf(path).signals if "ECG" in s.label]
        ours.append(_statistics(channel.data, channel.sampling_frequency)["mean_hr_bpm"])
        theirs.append(_xqrs_rate(channel.data, channel.sampling_frequency))
    assert np.median(np.abs(np.subtract(ours, theirs))) < 2
    assert np.mean(np.array(ours[1::2]) > ours[::2]) >= 5 / 6
