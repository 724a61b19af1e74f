"""The labelled EEG archives: no single number tells classes apart, people stay themselves."""

from __future__ import annotations

import csv
from collections import Counter

import numpy as np
import pytest

from sleepfm_jax.errors import SimulationError
from sleepfm_jax.simulation.archives import twins
from sleepfm_jax.simulation.archives.wake import write_archive
from sleepfm_jax.simulation.body import findings
from tests.helpers.archives import builder_of
from tests.helpers.launched import launched

bench = launched("bench.twins")
SFREQ = 128


@pytest.mark.parametrize("twin", twins.SHARES)
def test_no_single_number_tells_the_classes_apart(twin):
    every = list(bench.clips(twin, 60, seed=4))
    names = list(twins.SHARES[twin])
    label = np.array([names.index(clip.label) for clip in every])
    numbers = [bench.single_numbers(clip.signals) for clip in every]
    for name in numbers[0]:
        area = bench.area_of_one(np.array([n[name] for n in numbers]), label)
        assert area < 0.85, name
    wrong = np.mean([clip.label != clip.true for clip in every])
    assert 0.0 < wrong < 0.16
    assert set(label) == set(range(len(names)))


def test_tuab_tests_both_classes_on_two_of_five_people(tmp_path):
    write_archive("tuab", tmp_path / "out", subjects=20, seconds=20)
    with (tmp_path / "out" / "truth.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    tested = {row["subject"]: row["clips"] for row in rows if row["split"] == "test"}
    assert len(tested) == 8
    assert set(tested.values()) == {"normal:1", "abnormal:1"}
    trained = Counter(row["subject"] for row in rows if row["split"] == "train")
    assert max(trained.values()) == 2  # sessions


def test_a_person_s_recordings_are_alike():
    """Level and alpha are the person's; electrodes and mood are the day's."""

    def profile(index: int, session: int) -> np.ndarray:
        eeg = twins.tuab(1, index, session, 30, SFREQ, False).eeg
        power = np.abs(np.fft.rfft(eeg)) ** 2
        bands = np.array_split(power[:, 15 : 30 * 25], 12, axis=1)
        return np.log([band.mean(1) for band in bands]).ravel()

    first, second = (np.stack([profile(i, s) for i in range(12)]) for s in (0, 1))
    far = np.abs(first[:, None] - second[None]).mean(-1)
    own = np.diag(far)
    others = (far.sum(1) - own) / (len(far) - 1)
    assert np.mean(own < others) > 0.8
    assert twins.person(1, 3).focus == twins.person(1, 3).focus
    # a person of the TUH is the same in all of its corpora
    assert twins.person(1, 3).traits.age != twins.person(1, 4).traits.age


def test_seizures_begin_where_this_person_s_do():
    sites = np.array(twins.CHB)
    foci, near = set(), []
    for index in range(40):
        for number in (1, 2):
            found = twins.chb_mit(2, index, index, number, 60, SFREQ, rare=100.0)
            real = [e for e in found.events if e.true == "seizure"]
            if not real:
                continue
            foci.add(twins.person(2, index, 4).focus)
            start = round(real[0].start) * SFREQ
            power = found.eeg[:, start : start + 8 * SFREQ].std(1)
            reach = findings.field(findings.place(twins.CHB), twins.person(2, index, 4).focus)
            near.append(power[reach > 0.5].mean() / power[reach < 0.1].mean())
    assert len(foci) > 5
    assert foci <= set(sites)
    assert np.median(near) > 1.2


def test_shares_are_the_published_ones_unless_told():
    for name, share in twins.SHARES.items():
        assert sum(share.values()) == pytest.approx(1.0)
        assert twins.shares(name, 1.0) == pytest.approx(share)
    assert twins.shares("tuev", 5.0)["spsw"] == pytest.approx(0.05)
    assert sum(twins.shares("tuev", 5.0).values()) == pytest.approx(1.0)
    counts = Counter(e.true for i in range(300) for e in twins.tuev(0, i, 20, SFREQ).events)
    assert counts["bckg"] / counts.total() == pytest.approx(0.64, abs=0.04)
    assert 0.003 < counts["spsw"] / counts.total() < 0.02


def test_chb_mit_has_more_people_than_two_digits(tmp_path):
    written = write_archive("chb_mit", tmp_path / "out", subjects=102, seconds=20)
    people = {w.subject for w in written}
    assert len(people) == 102
    assert {"chb01", "chb103"} <= people
    assert "chb21" not in people
    builder = builder_of("chb_mit")(source=tmp_path / "out", data_dir=tmp_path / "records")
    assert {s.subject for s in builder.plan().sources} == people


@pytest.mark.parametrize(
    "name, kwargs, said",
    [
        ("eegmat", {"seconds": 30}, "seconds=30"),
        ("tuab", {"seconds": 5}, "seconds=5"),
        ("tuab", {"rare": 2.0}, "rare=2"),
        ("tuev", {"rare": 1000.0}, "rare=1000"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path, name, kwargs, said):
    with pytest.raises(SimulationError, match=said):
        write_archive(name, tmp_path / "out", subjects=2, **kwargs)
    assert not (tmp_path / "out").exists()
