"""Times to events of simulated sleepers: a file that is read, and hazards that are meant."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sleepfm_jax.data import follow_up as stored
from sleepfm_jax.metrics.survival import concordance
from sleepfm_jax.simulation import cohorts, follow_up, sleepers

SUBJECTS = 300


@pytest.fixture(scope="module")
def lines():
    return {f"s{i}": follow_up.follow_up(0, i, 1.0) for i in range(SUBJECTS)}


def test_the_table_is_what_a_training_reads(lines, tmp_path):
    follow_up.write(tmp_path, lines)
    found = stored.read(str(tmp_path / follow_up.FILENAME), follow_up.EVENTS)
    assert len(found) == SUBJECTS
    times = np.stack([followed.times for followed in found.values()])
    events = np.stack([followed.events for followed in found.values()])
    assert np.isfinite(events).all() and (times >= 0).all() and times.max() <= 15
    assert ((events.mean(0) > 0.15) & (events.mean(0) < 0.75)).all(), "seen and censored"
    assert (times[:, 1:] <= times[:, :1]).all(), "nothing happens to the dead"
    male = [followed.demographics[1] for followed in found.values()]
    assert 0.4 < np.mean(male) < 0.6


def test_the_latents_tell_more_than_age(lines):
    tone = np.array([sleepers.draw_latents(0, i, 1.0).own.autonomic for i in range(SUBJECTS)])
    age = np.array([float(line["age"]) for line in lines.values()])
    times = np.array([float(line["heart_failure_time"]) for line in lines.values()])
    events = np.array([int(line["heart_failure_event"]) for line in lines.values()])
    alone = concordance(age, times, events)
    both = concordance(0.03 * age + 0.8 * tone, times, events)
    assert 0.6 < alone < both - 0.02 and both < 0.85


def test_a_person_is_what_seed_and_number_say(lines):
    assert follow_up.follow_up(0, 7, 1.0) == lines["s7"] != follow_up.follow_up(1, 7, 1.0)
    uncoupled = follow_up.follow_up(0, 7, 0.0)
    assert uncoupled == lines["s7"], "what is wrong is wrong, whatever shows it"


def test_only_sleepers_with_diseases_have_it(tmp_path):
    cohorts.write_psg_cohort(tmp_path / "a", subjects=1, hours=1 / 60, signals=("THX",))
    assert not (tmp_path / "a" / follow_up.FILENAME).exists()
    table = cohorts.write_psg_cohort(
        tmp_path / "b", subjects=1, hours=1 / 60, signals=("THX",), coupling=0.5
    )
    assert len(stored.read(str(table.parent / follow_up.FILENAME), follow_up.EVENTS)) == 1


def test_severity_is_of_what_was_recorded():
    night = sleepers.simulate_subject(0, 0)[1]
    hours = np.count_nonzero(night.stages > 0) / 120
    spans = np.tile([0.0, 20.0], (int(np.ceil(30 * hours)), 1))
    classes = [
        cohorts.apnoea_class(dataclasses.replace(night, apnoeas=spans[: int(rate * hours)]))
        for rate in (0, 4, 10, 20, 30)
    ]
    assert classes == ["none", "none", "mild", "moderate", "moderate"]
    assert cohorts.apnoea_class(dataclasses.replace(night, apnoeas=spans)) == "severe"
    awake = dataclasses.replace(night, stages=np.zeros_like(night.stages))
    assert cohorts.apnoea_class(awake) == ""
