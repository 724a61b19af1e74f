"""One simulated sleeper behaves like physiology: every channel tells of the same body."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from sleepfm_jax.simulation import sleepers
from sleepfm_jax.simulation.body import cardiorespiratory, eeg
from sleepfm_jax.simulation.body.noise import STATE_SFREQ, generator
from sleepfm_jax.simulation.body.sleep import EPOCHS_PER_HOUR, N1, N2, N3, REM, W
from sleepfm_jax.simulation.montage import ChannelPlan

SEED = 3


@pytest.fixture(scope="module")
def sleeper():
    """Traits and night of a sleeper with apnoeas and every stage."""
    for index in range(40):
        traits, night, _ = sleepers.simulate_subject(SEED, index)
        counts = np.bincount(night.stages, minlength=5)
        if len(night.apnoeas) > 60 and counts.min() > 30 and traits.tone_contrast > 0.6:
            return traits, night
    raise AssertionError("no sleeper with apnoeas among forty")


@pytest.fixture(scope="module")
def brain(sleeper):
    """C3, C4 and both EOGs of the sleeper at 128 Hz, [4, E, T]."""
    traits, night = sleeper
    sites = (("eeg", "C3"), ("eeg", "C4"), ("eog_left", "E1"), ("eog_right", "E2"))
    plans = [ChannelPlan(site, kind, 128, "uV", site) for kind, site in sites]
    heart = cardiorespiratory.Heart(generator(SEED, 1), traits, night)
    waves = eeg.render((SEED, 2), traits, night, plans, heart.wave(128))
    return np.stack(waves).reshape(4, len(night.stages), -1)


def _band(waves, sfreq, low, high):
    frequencies, power = signal.welch(waves, sfreq, nperseg=4 * sfreq)
    return power[..., (frequencies >= low) & (frequencies < high)].sum(axis=-1)


def test_eeg_shows_the_stage(sleeper, brain):
    _, night = sleeper
    stage = night.stages
    central = brain[0]
    delta, sigma, beta = (_band(central, 128, *b) for b in ((0.5, 4), (11.5, 15.5), (18, 30)))
    median = {s: np.median(delta[stage == s]) for s in range(5)}
    assert median[N3] > 2.0 * median[N2] > 2.0 * median[REM]
    relative = sigma / beta
    assert np.median(relative[stage == N2]) > 1.5 * np.median(relative[stage == REM])
    assert np.median(relative[stage == N2]) > 1.5 * np.median(relative[stage == W])
    # the stages overlap: no threshold on delta separates N1 from REM
    quartiles = np.percentile(delta[stage == N1], [25, 75])
    assert np.mean(delta[stage == REM] > quartiles[0]) > 0.1
    assert np.mean(delta[stage == REM] < quartiles[1]) > 0.1


def test_left_and_right_are_related_but_not_the_same(brain):
    correlation = np.corrcoef(brain[0].ravel(), brain[1].ravel())[0, 1]
    assert 0.3 < correlation < 0.95


def test_eyes_move_together_in_rem(sleeper, brain):
    _, night = sleeper
    sos = signal.butter(2, [0.3, 8.0], "bandpass", fs=128, output="sos")
    left, right = signal.sosfilt(sos, brain[2:], axis=-1)

    def correlation(stage):
        chosen = night.stages == stage
        return np.corrcoef(left[chosen].ravel(), right[chosen].ravel())[0, 1]

    assert correlation(REM) < -0.3
    assert correlation(N3) > 0.2  # there the EOG sees frontal slow waves


def test_muscle_tone_falls_in_rem_and_rises_awake(sleeper):
    traits, night = sleeper
    heart = cardiorespiratory.Heart(generator(SEED, 1), traits, night)
    chin = cardiorespiratory.render_emg(generator(SEED, 3), traits, night, heart, "chin", 128)
    tone = np.median(np.abs(chin).reshape(len(night.stages), -1), axis=1)
    by_stage = [np.median(tone[night.stages == s]) for s in range(5)]
    assert by_stage[REM] < 0.8 * by_stage[N2] < 0.8 * by_stage[W]


def test_the_same_breath_is_in_the_heart_and_in_the_belts(sleeper):
    traits, night = sleeper
    thorax = cardiorespiratory.render_breathing(generator(SEED, 4), traits, night, "thorax", 16)
    grid = np.arange(len(night.effort)) / STATE_SFREQ
    beats, rr = night.beats[1:], np.diff(night.beats)
    tachogram = np.interp(grid, beats, -rr)
    belt = np.interp(grid, np.arange(len(thorax)) / 16, thorax)
    frequencies, coherence = signal.coherence(tachogram, belt, STATE_SFREQ, nperseg=256)
    breathing = traits.breathing_rate / 60.0
    near = np.abs(frequencies - breathing) < 0.03
    far = (frequencies > 0.7) & (frequencies < 1.2)
    assert coherence[near].max() > 0.4
    assert coherence[near].max() > 3.0 * coherence[far].max()


def test_regular_breathing_in_deep_sleep(sleeper):
    _, night = sleeper
    rate = np.diff(night.breath) * STATE_SFREQ
    spread = [np.std(rate[w[:-1] > 0.8]) for w in night.weights]
    assert spread[N3] < 0.7 * spread[REM]
    assert spread[N3] < 0.7 * spread[W]


def test_apnoea_closes_the_airway_then_oxygen_falls_and_the_sleeper_arouses(sleeper):
    _, night = sleeper
    onsets, seconds = (night.apnoeas * STATE_SFREQ).astype(int).T
    whole = (onsets > 60) & (onsets + seconds + 320 < len(night.effort))
    onsets, ends = onsets[whole], (onsets + seconds)[whole]
    during = np.array([night.ventilation[a + 8 : b - 8].mean() for a, b in zip(onsets, ends)])
    assert np.median(during) < 0.5 * np.median(night.ventilation)
    before = night.oxygen[onsets]
    lowest = np.array([night.oxygen[b : b + 200].min() for b in ends])
    assert np.median(before - lowest) > 1.5
    delay = np.array([night.oxygen[a : b + 200].argmin() + a - b for a, b in zip(onsets, ends)])
    assert 8.0 < np.median(delay) / STATE_SFREQ < 40.0
    aroused = np.array([night.arousal[b : b + 16].max() for b in ends])
    assert np.mean(aroused > 0.4) > 0.5
    held = np.array([night.heart_rate[a + 8 : b].mean() for a, b in zip(onsets, ends)])
    surge = np.array([night.heart_rate[b : b + 48].max() for b in ends])
    assert np.median(surge / held) > 1.08


def test_effort_is_paradoxical_against_a_closed_airway(sleeper):
    traits, night = sleeper
    thorax, abdomen = (
        cardiorespiratory.render_breathing(generator(SEED, n), traits, night, kind, 16)
        for n, kind in enumerate(("thorax", "abdomen"))
    )
    closed = np.repeat(night.obstruction, 4) > 0.9
    quiet = (np.repeat(night.obstruction, 4) < 0.01) & (np.repeat(night.movement, 4) < 0.01)
    assert closed.sum() > 1000
    assert np.corrcoef(thorax[closed], abdomen[closed])[0, 1] < -0.3
    assert np.corrcoef(thorax[quiet], abdomen[quiet])[0, 1] > 0.6


def test_ecg_and_pulse_count_the_same_beats(sleeper):
    traits, night = sleeper
    heart = cardiorespiratory.Heart(generator(SEED, 1), traits, night)
    ecg = cardiorespiratory.render_ecg(generator(SEED, 5), night, heart, 256)
    pulse = cardiorespiratory.render_pleth(generator(SEED, 6), traits, night, 64)
    still = int(np.argmin(np.convolve(night.movement + night.arousal, np.ones(1200), "valid")))
    start = still / STATE_SFREQ
    a, b = int(start * 256), int((start + 300) * 256)
    steep = np.abs(np.gradient(ecg[a:b]))
    peaks, _ = signal.find_peaks(steep, height=0.4 * np.percentile(steep, 99.5), distance=90)
    expected = np.sum((night.beats >= start) & (night.beats < start + 300))
    assert abs(len(peaks) - expected) <= 0.02 * expected
    a, b = int(start * 64), int((start + 300) * 64)
    waves, _ = signal.find_peaks(pulse[a:b], prominence=0.25, distance=25)
    assert abs(len(waves) - expected) <= 0.04 * expected
    # and each pulse comes a fixed time after its R peak
    r_peaks = night.beats[(night.beats >= start + 1) & (night.beats < start + 299)]
    arrivals = waves / 64 + start
    lags = np.array([arrivals[arrivals > r][0] - r for r in r_peaks])
    assert np.std(lags[lags < 0.8]) < 0.06


def test_cutting_keeps_times_in_step():
    _, whole, _ = sleepers.simulate_subject(SEED, 0)
    _, part, _ = sleepers.simulate_subject(SEED, 0, hours=1.0)
    assert len(part.stages) == EPOCHS_PER_HOUR
    assert part.seconds == 3600.0
    first = np.flatnonzero(
        np.all(np.lib.stride_tricks.sliding_window_view(whole.oxygen, 50) == part.oxygen[:50], 1)
    )
    assert len(first) == 1
    shifted = whole.beats - first[0] / STATE_SFREQ
    inside = (part.beats > 0) & (part.beats < 3600)
    np.testing.assert_allclose(
        part.beats[inside], shifted[(shifted > 0) & (shifted < 3600)], atol=1e-6
    )


@pytest.mark.slow
def test_staging_from_band_power_is_possible_but_not_easy():
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, stages = [], []
    for index in range(20):
        traits, night, _ = sleepers.simulate_subject(SEED, index, 4.0)
        heart = cardiorespiratory.Heart(generator(index, 1), traits, night)
        plans = [ChannelPlan(site, "eeg", 100, "uV", site) for site in ("C3", "O2")]
        waves = eeg.render((index, 2), traits, night, plans, heart.wave(100))
        waves = np.stack(waves).reshape(2, len(night.stages), -1)
        bands = ((0.5, 2), (2, 4), (4, 8), (8, 11), (11, 16), (16, 30), (30, 45))
        power = np.concatenate([np.log(_band(waves, 100, *band)) for band in bands]).T
        features.append(power)
        stages.append(night.stages)
    model = make_pipeline(
        StandardScaler(), LogisticRegression(max_iter=1000, class_weight="balanced")
    )
    model.fit(np.concatenate(features[:13]), np.concatenate(stages[:13]))
    found = model.predict(np.concatenate(features[13:]))
    score = balanced_accuracy_score(np.concatenate(stages[13:]), found)
    assert 0.5 < score < 0.85
