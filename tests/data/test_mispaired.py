"""Mispaired examples: other people's modalities, every clip once, whoever makes the batch."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sleepfm_jax.data.clip_examples import ClipExamples
from sleepfm_jax.data.mispaired import Mispaired, draw
from sleepfm_jax.errors import DatasetError
from sleepfm_jax.signals.layout import Layout
from tests.helpers.records import NumberedRecords

LAYOUT = Layout((("bas", 2), ("ecg", 1), ("emg", 1)), patch_samples=10)
NAMES = ("bas", "resp", "ecg", "emg")


def people(*clips):
    """Whose each row is: so many clips of each person."""
    return np.repeat(np.arange(len(clips)), clips)


@pytest.mark.parametrize(
    "clips", [[10] * 12, [1] * 4, [3, 9, 1, 12, 7, 7, 10], [5] * 4, [2, 2, 2, 2, 1]]
)
def test_no_two_modalities_of_a_row_are_of_one_person(clips):
    person = people(*clips)
    found = draw(person, NAMES, seed=3)
    assert found[0].tolist() == list(range(len(person)))
    for rows in found:
        assert sorted(rows) == list(range(len(person))), "every clip once"
    for a, b in itertools.combinations(found, 2):
        assert (person[a] != person[b]).all()


@pytest.mark.parametrize("clips", [[8, 8], [12, 12, 12], [10, 5, 5], [12, 4, 4, 4]])
def test_with_few_people_modalities_meet_in_a_person_but_not_with_the_rows_own(clips):
    person = people(*clips)
    found = draw(person, NAMES, seed=0)
    for rows in found[1:]:
        assert sorted(rows) == list(range(len(person)))
        assert (person[rows] != person).all()
    for a, b in itertools.combinations(found, 2):
        assert (a != b).all(), "and never in one clip"


def test_clips_meet_by_chance_and_people_do_not_stay_together():
    """A roll alone would pair each person with one other."""
    person = people(*[60] * 20)
    found = draw(person, NAMES, seed=0)
    for a, b in itertools.combinations(found, 2):
        met = np.zeros((20, 20))
        np.add.at(met, (person[a], person[b]), 1)
        assert (np.diagonal(met) == 0).all()
        off = met[~np.eye(20, dtype=bool)]
        expected = 60 / 19
        assert off.max() < 15 and abs(off.var() / expected - 1) < 0.35  # as of a Poisson's
        # Nor do neighbours in time bring each other along.
        assert abs(np.corrcoef(np.argsort(a) % 60, np.argsort(b) % 60)[0, 1]) < 0.1


def test_the_draw_is_the_seeds_and_the_modalitys():
    person = people(*[5] * 10)
    one = draw(person, NAMES, seed=1)
    assert (one == draw(person, NAMES, seed=1)).all()
    assert all((a != b).any() for a, b in zip(one[1:], draw(person, NAMES, seed=2)[1:]))


@pytest.mark.parametrize(
    ("clips", "names", "why"),
    [
        ([9], NAMES, "one person has 9 of the 9 rows"),
        ([6, 5], NAMES, "one person has 6 of the 11 rows"),
        ([5, 5], NAMES[:1], "there is one modality"),
        ([], NAMES, "there is no row"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(clips, names, why):
    with pytest.raises(DatasetError, match=why) as error:
        draw(people(*clips), names, seed=0, name="split 'train'")
    assert str(error.value).startswith("config.data.mispaired: split 'train' cannot be paired")
    assert "\n" not in str(error.value)


def test_a_batch_holds_other_peoples_channels_and_the_rows_own_words():
    base = ClipExamples(NumberedRecords(24, modalities=("bas", "bas", "ecg", "emg")), LAYOUT)
    examples = Mispaired(base, LAYOUT.slots, seed=5)
    assert len(examples) == 24 and examples.people() == base.people()
    assert examples.metadata is base.metadata and examples.name == "mispaired numbered"
    assert examples.person_of(7) == base.person_of(7)
    coins = [(0, 0, row) for row in range(5)]
    rows = np.array([3, 20, -1, 0, 11])
    true, found = base.batch(rows, coins), examples.batch(rows, coins)
    assert found.keys() == true.keys()
    for name in ("index", "stages", "labels"):
        np.testing.assert_array_equal(found[name], true[name])
    real = rows >= 0
    number = found["signals"][real, :, 0].astype(int) - 100 * np.arange(4)  # the record's
    assert (number[:, :2] == rows[real, None]).all(), "the first modality is the row's own"
    for slot, modality in ((2, 1), (3, 2)):
        assert number[:, slot].tolist() == examples.sources[modality][rows[real]].tolist()
        assert (number[:, slot] // 2 != rows[real] // 2).all(), "two clips a person"
    assert not found["mask"][2].any(), "filling stays filling"
    whole = examples.batch(np.arange(24))
    for slot in range(4):
        assert sorted(whole["signals"][:, slot, 0] - 100 * slot) == list(range(24))
    # One row at a time, as another process might: the same.
    for place, row in enumerate(rows):
        alone = examples.batch(np.array([row]), coins[place : place + 1])
        for name, values in alone.items():
            np.testing.assert_array_equal(values[0], found[name][place], err_msg=name)


def test_what_a_clip_lacks_goes_with_it():
    records = NumberedRecords(12, modalities=("bas", "bas", "ecg", "emg"))
    records.items[4].modalities[2] = "other"  # no ECG
    examples = Mispaired(ClipExamples(records, LAYOUT), LAYOUT.slots, seed=0)
    mask = examples.batch(np.arange(12))["mask"].any(-1)  # [B, C]
    assert np.flatnonzero(~mask[:, 2]).tolist() == np.flatnonzero(examples.sources[1] == 4).tolist()
    assert mask[:, [0, 1, 3]].all()
