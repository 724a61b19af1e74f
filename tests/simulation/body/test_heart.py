"""Hearts with pathology: sleepers' in one lead and a pulse, exams' in twelve."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest

from sleepfm_jax.metrics.plain_features import HEART_FEATURE_NAMES, heart_features, r_peaks
from sleepfm_jax.simulation import sleepers
from sleepfm_jax.simulation.body import cardiorespiratory, conduction, exam
from sleepfm_jax.simulation.body.noise import generator
from sleepfm_jax.simulation.body.pathology import Pathology

SITE = exam.SITES["ptbxl"]
RARE = 4.0


@pytest.fixture(scope="module")
def sleeper():
    return sleepers.simulate_subject(3, 1, 0.1)


def test_the_healthy_are_rendered_as_they_were():
    digest = hashlib.sha256()
    for index in range(2):
        traits, night, montage = sleepers.simulate_subject(3, index, 0.05)
        for channel in sleepers.render_psg(3, index, traits, night, montage):
            digest.update(channel.digital.tobytes())
    assert digest.hexdigest()[:16] == "3d32b4f07084ce34"


def intervals(night, pathology):
    return np.diff(cardiorespiratory.beats_of(night, pathology).seconds)


def irregular(rr):
    return np.abs(np.diff(rr)).mean() / rr.mean()


def test_pulse_and_ecg_of_one_fibrillation_have_the_same_beats(sleeper):
    traits, night, _ = sleeper
    ill = Pathology(fibrillation=1.0)
    heart = cardiorespiratory.Heart(generator(1), traits, night, pathology=ill)
    ecg = cardiorespiratory.render_ecg(generator(2), night, heart, 128)
    pulse = cardiorespiratory.render_pleth(generator(3), traits, night, 128, pathology=ill)
    found = r_peaks(ecg[None] * 1000, np.ones((1, len(ecg)), bool), 128.0) / 128
    beats = heart.beats.seconds
    beats = beats[(beats > 0.5) & (beats < night.seconds - 0.5)]
    assert abs(len(found) - len(beats)) < 0.1 * len(beats)
    assert irregular(np.diff(beats)) > 5 * irregular(intervals(night, Pathology(pr=0.17)))
    # after a short interval little comes out, after a long one much
    rr = np.diff(beats, prepend=beats[0] - 1)
    height = [pulse[int((t + 0.1) * 128) : int((t + 0.6) * 128)].max() for t in beats[:-1]]
    assert np.corrcoef(rr[1:-1], height[1:])[0, 1] > 0.3


def test_what_the_pulse_shows_of_fibrillation_is_by_the_coupling(sleeper):
    _, night, _ = sleeper
    found = {}
    for coupling in (0.0, 1.0):
        own, seen = [], []
        for index in range(150):
            latents = sleepers.draw_latents(5, index, coupling)
            own.append(latents.own.fibrillation)
            seen.append(irregular(intervals(night, latents.seen)))
        found[coupling] = np.corrcoef(own, seen)[0, 1]
    assert abs(found[0.0]) < 0.2
    assert found[1.0] > 0.7


def test_another_fibrillation_has_other_beats(sleeper):
    _, night, _ = sleeper
    one, two = (intervals(night, Pathology(fibrillation=1.0, ectopy=e)) for e in (0.0, 0.01))
    size = min(len(one), len(two))
    assert abs(np.corrcoef(one[:size], two[:size])[0, 1]) < 0.3


def test_a_left_bundle_makes_the_pulse_late(sleeper):
    traits, night, _ = sleeper
    lag = {}
    for bundle in ("left", "right"):
        ill = Pathology(qrs=0.15, bundle=bundle)
        pulse = cardiorespiratory.render_pleth(generator(3), traits, night, 128, pathology=ill)
        plain = cardiorespiratory.render_pleth(generator(3), traits, night, 128)
        shifts = np.arange(0, 20)
        lag[bundle] = (
            shifts[np.argmax([np.dot(np.roll(plain, shift), pulse) for shift in shifts])] / 128
        )
    assert lag["right"] == 0
    assert 0.03 < lag["left"] < 0.1


def test_the_width_of_the_qrs_follows_the_latent():
    """Steep slopes begin and end where the latent says, with one bundle as with the other."""
    for bundle in ("left", "right"):
        ends = []
        for qrs in (0.105, 0.115, 0.125, 0.14, 0.155):
            parts = conduction.waves(Pathology(qrs=qrs, bundle=bundle), np.ones(5))
            late = parts[-1]
            ends.append(late.centre + 1.8 * late.width + 0.045)
        np.testing.assert_allclose(ends, (0.105, 0.115, 0.125, 0.14, 0.155), atol=1e-6)


@pytest.fixture(scope="module")
def exams():
    found = []
    for index in range(1500):
        rng = generator(7, index)
        person = exam.draw_person(rng, SITE, RARE)
        found.append((exam.examine(rng, person, SITE, RARE), rng))
    return found


def test_labels_are_cut_from_continua_by_readers_who_err(exams):
    wanted = exam.shares(SITE, RARE)
    for label in exam.LABELS:
        said = np.array([label in held.labels for held, _ in exams])
        latent = np.array([held.latents[label] for held, _ in exams])
        there = latent >= exam.CUTS[label]
        assert abs(said.mean() - wanted[label]) < 0.35 * wanted[label] + 0.01, label
        assert 0.01 < np.mean(said != there) < 0.10, label
        assert np.mean(said[there]) > 0.75, label
    width = np.array([held.person.pathology.qrs for held, _ in exams])
    bundle = np.array([held.person.pathology.bundle for held, _ in exams]) != ""
    assert 0.15 < np.mean((width[bundle] > 0.11) & (width[bundle] < 0.12)) < 0.45


def test_ectopy_is_as_irregular_as_fibrillation(exams):
    step = HEART_FEATURE_NAMES.index("step_share")
    spread = {"fibrillation": [], "ectopy": []}
    for held, rng in exams:
        kind = "fibrillation" if held.fibrillates else "ectopy"
        often = held.person.pathology.ectopy > 0.12
        if (held.fibrillates or often) and len(spread[kind]) < 40:
            leads = 1000 * exam.render(rng, held, SITE, 10.0)
            valid = np.ones(leads.shape, bool)
            spread[kind].append(heart_features(leads[1:2], valid[1:2], ["II"], SITE.sfreq)[step])
    low, high = np.nanpercentile(spread["fibrillation"], [25, 75])
    middle = np.nanmedian(spread["ectopy"])
    assert low * 0.8 < middle < high * 1.2, (low, middle, high)


def test_leads_obey_einthoven_and_a_person_keeps_their_heart():
    rng = generator(9)
    person = exam.draw_person(rng, SITE, 1.0)
    person = dataclasses.replace(
        person, pathology=dataclasses.replace(person.pathology, fibrillation=0.0, ectopy=0.0)
    )
    beats = []
    for _ in range(2):
        leads = exam.render(rng, exam.examine(rng, person, SITE), SITE, 10.0)
        assert leads.shape == (12, 5000)
        assert leads.dtype == np.float32
        np.testing.assert_allclose(leads[0] + leads[2], leads[1], atol=1e-3)
        beats.append(np.percentile(leads, [1, 99], axis=1).ravel())
    assert np.corrcoef(*beats)[0, 1] > 0.95
