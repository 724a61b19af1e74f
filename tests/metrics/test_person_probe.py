"""The probe that names people: what knows them, what does not, and who is asked."""

from __future__ import annotations

import numpy as np
import pytest

from sleepfm_jax.metrics import person_probe
from sleepfm_jax.metrics.person_probe import name_people


def clips_of(people, clips):
    return np.repeat([f"p{i:03}" for i in range(people)], clips)


def test_vectors_of_people_name_them_and_random_ones_do_not():
    rng = np.random.default_rng(0)
    person = clips_of(12, 40)
    knows = np.repeat(rng.normal(size=(12, 16)), 40, axis=0) + 0.1 * rng.normal(size=(480, 16))
    found = name_people(knows, person)
    assert found["accuracy"] == found["balanced_accuracy"] == 1 and not found["notes"]
    assert (found["people"], found["clips"], found["chance"]) == (12, 12 * 16, 1 / 12)
    blind = name_people(rng.normal(size=(480, 16)), person)
    assert blind["accuracy"] == pytest.approx(1 / 12, abs=4 * np.sqrt(1 / 12 / 192))


def test_fitted_on_the_first_clips_scored_on_the_last():
    """What people are like in the middle of the night is never seen; what changes by the morning
    is not known."""
    rng = np.random.default_rng(1)
    who = rng.normal(size=(4, 8))
    night = np.repeat(who[:, None], 10, axis=1)
    night[:, 4:6] = 1e6  # the gap
    person = clips_of(4, 10)
    assert name_people(night.reshape(40, 8), person)["accuracy"] == 1
    night[:, 6:] = np.roll(who, 1, axis=0)[:, None]  # everybody is somebody else
    assert name_people(night.reshape(40, 8), person)["accuracy"] == 0


def test_who_is_asked():
    rng = np.random.default_rng(2)
    person = np.concatenate([clips_of(3, 6), np.repeat(["few"], 4), np.repeat(["alone"], 1)])
    assert name_people(rng.normal(size=(23, 4)), person)["people"] == 3
    nobody = name_people(rng.normal(size=(8, 4)), clips_of(2, 4))
    assert np.isnan(nobody["accuracy"]) and nobody["people"] == nobody["clips"] == 0
    assert nobody["notes"] == ["0 of 2 people have 5 clips or more"]
    many = name_people(rng.normal(size=(60 * 5, 2)), clips_of(60, 5))
    assert many["people"] == person_probe.MOST_PEOPLE


def test_each_modality_among_those_who_have_it():
    """Who lacks a modality is not named by its lack."""
    rng = np.random.default_rng(3)
    person = clips_of(6, 20)
    e = rng.normal(size=(2, 120, 8))
    e[0] = np.repeat(rng.normal(size=(6, 8)), 20, axis=0)
    here = np.ones((2, 120), bool)
    here[1, :60] = False
    found = person_probe.person_probe(e, here, person, ("bas", "ecg"))
    assert [f["people"] for f in found["per_modality"].values()] == [6, 3]
    assert found["per_modality"]["bas"]["accuracy"] == 1
    assert found["per_modality"]["ecg"]["accuracy"] < 0.7
    assert found["chance"] == pytest.approx((1 / 6 + 1 / 3) / 2) and found["people"] == 6
    assert found["l2"] == person_probe.L2 and "gap in time" in found["protocol"]
    e[1] = np.nan  # absent, and of no direction where present
    assert person_probe.person_probe(e, here, person, ("bas", "ecg"))["people"] == 3
