"""Which rows each part of a run has: folds and shares of people, labels, and who leaks."""

from __future__ import annotations

import dataclasses
import itertools
import shutil

import numpy as np
import pytest

from sleepfm_jax import config as configuration
from sleepfm_jax import experiment
from sleepfm_jax.data import datasets
from sleepfm_jax.data.division import Division, deal, share, strata
from sleepfm_jax.errors import ConfigError, DatasetError, LeakError
from sleepfm_jax.signals.layout import Layout
from tests.helpers.labelled_dataset import CLASSES

NAME = "simulated_psg"
LAYOUT = Layout((("bas", 2), ("ecg", 1)), 640)
LABELLED = dataclasses.replace(LAYOUT, labels=CLASSES)
PARTS = ("train", "validation", "test")


def division(data_dir, layout=LAYOUT, **data):
    config = configuration.defaults()
    seed = data.pop("seed", 0)
    return Division(
        data_dir,
        config | {"seed": seed, "data": config["data"] | data},
        layout,
        experiment.make_examples,
    )


def row(split="test", *names):
    return {"datasets": names, "split": split}


# --- people: strata, folds, shares ----------------------------------------------------------------


@pytest.fixture(scope="module")
def cohort():
    """100 people of several rows each: 10 of class 1, 30 of 2, all others of class 0 alone."""
    person = np.array([f"p{i // 3:03d}" for i in range(300)])
    labels = np.zeros((300, 3), np.float32)
    labels[:, 0] = 1
    for i in range(0, 120, 3):  # one row of the person is of the rarer class
        labels[i] = [0, i < 30, i >= 30]
    return strata(person, labels)


def test_a_person_is_of_the_rarest_class_that_they_have(cohort):
    assert [list(cohort.values()).count(k) for k in (0, 1, 2)] == [60, 10, 30]
    assert cohort["p000"] == 1 and cohort["p010"] == 2 and cohort["p099"] == 0
    several = strata(np.array(list("aab")), np.array([[1, 1], [0, np.nan], [0, 0]]))
    assert several == {"a": 0, "b": -1}
    assert strata(np.array(["a", "b"]), None) == {"a": -1, "b": -1}


def test_folds_share_out_people_and_classes_evenly(cohort):
    fold_of = deal(cohort, 5, seed=0)
    for k, each in ((0, 12), (1, 2), (2, 6)):
        members = [fold_of[who] for who in cohort if cohort[who] == k]
        assert np.bincount(members).tolist() == [each] * 5
    assert deal(dict(reversed(cohort.items())), 5, seed=0) == fold_of
    assert deal(cohort, 5, seed=1) != fold_of


def test_a_larger_share_holds_the_smaller_ones_and_each_has_every_class(cohort):
    shares = [share(cohort, f, seed=3) for f in (0.01, 0.1, 0.5, 1)]
    assert [len(s) for s in shares] == [3, 10, 50, 100]
    for small, large in itertools.pairwise(shares):
        assert set(small) < set(large)
    assert {cohort[who] for who in shares[0]} == {0, 1, 2}
    assert [sum(cohort[who] == k for who in shares[2]) for k in (1, 2)] == [5, 15]
    assert share(cohort, 0.1, seed=4) != shares[1]


# --- rows -----------------------------------------------------------------------------------------


def test_without_keys_the_parts_are_the_datasets_splits(tiny_data_dir):
    mine = division(tiny_data_dir)
    for split, rows in zip(PARTS, (36, 24, 12)):
        records = datasets.open_records(tiny_data_dir, [NAME], split)
        examples = mine.rows(split)
        assert type(examples).__name__ == "ClipExamples" and len(examples) == rows
        assert examples.people() == records.subjects() and mine.clips(split) == rows
    assert mine.training().records is mine.records
    everybody = mine.rows("all")
    assert len(everybody) == 72 and len(everybody.people()) == 6 == len(set(map(
        everybody.person_of, range(72)
    )))  # fmt: skip


def test_folds_are_by_people_over_all_splits(tiny_data_dir):
    tested = []
    for fold in range(3):
        mine = division(tiny_data_dir, folds=3, fold=fold, fold_seed=1)
        people = {part: mine.rows(part).people() for part in PARTS}
        assert [len(people[part]) for part in PARTS] == [2, 2, 2]
        assert len(set.union(*people.values())) == 6
        assert mine.training().people() == people["train"] and mine.clips("test") == 24
        batch = mine.rows("test").batch(np.arange(24))
        base = mine.rows("test").base
        assert {base.person_of(int(i)) for i in batch["index"]} == people["test"]
        mine.check_no_leak([row()])
        tested.append(people["test"])
        following = division(tiny_data_dir, folds=3, fold=(fold + 1) % 3, fold_seed=1)
        assert people["validation"] == following.rows("test").people()
    assert set.union(*tested) == mine.rows("all").people() and sum(map(len, tested)) == 6


def test_rows_without_a_label_are_left_out_where_labels_are_asked_for(labelled_data_dir):
    mine = division(labelled_data_dir, LABELLED)
    assert len(mine.rows("validation")) == 12 and len(mine.rows("train")) == 36
    assert len(division(labelled_data_dir).rows("validation")) == 24
    batch = mine.rows("validation").batch(np.arange(12))
    assert (batch["labels"] == [0, 1]).all() and set(batch["index"]) < set(range(24))
    folds = [division(labelled_data_dir, LABELLED, folds=3, fold=f).rows("test") for f in range(3)]
    assert sorted(len(examples.people()) for examples in folds) == [1, 2, 2]
    well = dataclasses.replace(LAYOUT, labels=("well",))
    assert len(division(labelled_data_dir, well).rows("train")) == 12
    assert division(labelled_data_dir, well).rows("test") is None  # a sick person alone


def test_a_fraction_is_of_the_training_people(labelled_data_dir):
    whole = division(labelled_data_dir, LABELLED).training().people()
    for seed in range(3):
        mine = division(labelled_data_dir, LABELLED, label_fraction=0.01, seed=seed)
        people = mine.training().people()
        assert len(people) == 2 and people < whole  # one of each class
        assert mine.rows("train").people() == people
        assert len(mine.rows("validation")) == 12 and len(mine.rows("test")) == 12


def test_balanced_rows_are_those_of_training_alone(labelled_data_dir, tiny_data_dir):
    mine = division(labelled_data_dir, LABELLED, balanced=True, seed=5)
    training = mine.training()
    labels = training.batch(np.arange(len(training)))["labels"]
    assert labels.sum(0).tolist() == [24, 24]
    assert len(mine.rows("train")) == 36 and training.people() == mine.rows("train").people()
    again = division(labelled_data_dir, LABELLED, balanced=True, seed=5).training()
    np.testing.assert_array_equal(again.indices, training.indices)
    fold = division(labelled_data_dir, LABELLED, balanced=True, folds=3, fold=1).training()
    labels = fold.batch(np.arange(len(fold)))["labels"]
    assert labels.sum(0)[0] == labels.sum(0)[1] > 0
    with pytest.raises(ConfigError, match="the rows have no labels"):
        division(labelled_data_dir, balanced=True).training()
    several = division(labelled_data_dir, LABELLED, balanced=True)
    next(iter(several.records.metadata_of.values()))["label_kind"] = "multilabel"
    with pytest.raises(ConfigError, match="the rows have label_kind multilabel"):
        several.training()


def test_other_datasets_keep_their_splits(tiny_data_dir, labelled_data_dir, tmp_path):
    shutil.copytree(tiny_data_dir / NAME, tmp_path / NAME)
    shutil.copytree(labelled_data_dir / NAME, tmp_path / "labelled")
    mine = division(tmp_path, folds=3)
    assert len(mine.rows("test", ["labelled"])) == 12
    assert len(mine.rows("all", ["labelled"])) == 72
    assert mine.rows("dev", ["labelled"]) is None
    with pytest.raises(DatasetError, match="no dataset 'other'"):
        mine.rows("test", ["other"])


# --- who leaks ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def both(tiny_data_dir, resplit_data_dir, tmp_path_factory):
    """A data_dir with simulated_psg, and with the same people split otherwise as "resplit"."""
    root = tmp_path_factory.mktemp("both")
    shutil.copytree(tiny_data_dir / NAME, root / NAME)
    shutil.copytree(resplit_data_dir / NAME, root / "resplit")
    return root


def refused(mine, rows, earlier=frozenset()):
    with pytest.raises(LeakError) as error:
        mine.check_no_leak(rows, frozenset(earlier))
    return str(error.value)


def test_rows_of_other_datasets_score_nobody_who_was_trained_on(both):
    mine = division(both)
    mine.check_no_leak([row(), row("train"), row("validation")])
    trained = mine.training().people()
    scored = mine.rows("test", ["resplit"]).people()
    (leaked,) = trained & scored
    said = refused(mine, [row(), row("test", "resplit")])
    assert f"1 of the {len(scored)} subjects to be scored are in the training part" in said
    assert f"{leaked} in test of resplit" in said
    said = refused(mine, [row("all", "resplit")])
    assert "3 of the 6" in said and all(who in said for who in trained)
    assert "3 of the 6" in refused(mine, [row("all")])


def test_folds_know_the_people_of_other_rows_too(both):
    mine = division(both, folds=3)
    trained = mine.training().people()
    scored = mine.rows("all", ["resplit"]).people()
    said = refused(mine, [row("all", "resplit")])
    assert f"2 of the {len(scored)}" in said and all(who in said for who in trained)


def test_nobody_of_the_pretraining_is_scored(both):
    for options in ({}, {"folds": 3, "fold": 1}):
        mine = division(both, **options)
        mine.check_no_leak([row()], frozenset(mine.training().people()))
        for part in ("validation", "test"):
            (*_, planted) = sorted(mine.rows(part).people())
            said = refused(mine, [], {planted, "somebody else"})
            assert "1 of the" in said and planted in said and part in said
            assert "config.initialise_from" in said
    mine = division(both, datasets=["resplit"])
    stranger = sorted(mine.training().people())[:1]
    mine.check_no_leak([row()], frozenset(stranger))
