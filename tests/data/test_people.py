"""Who is in which split, and who may not be where: nobody leaks unseen."""

from __future__ import annotations

import json

import pytest

from sleepfm_jax.data import datasets
from sleepfm_jax.data import people as rules
from sleepfm_jax.errors import DatasetError, LeakError

# --- the rules ------------------------------------------------------------------------------------


def test_whoever_stands_in_two_places():
    pairs = [("b", "test"), ("a", "train"), ("a", "test"), ("b", "test"), ("c", "train")]
    assert rules.in_two(pairs) == {"a": ["test", "train"]}
    assert rules.in_two([]) == {}


def test_nobody_may_be_in_two_splits():
    pairs = [(f"s{i}", split) for i in range(7) for split in ("train", "test")]
    rules.refuse_shared(pairs[:1] + pairs[3:4], where="here", advice="Mend it")
    with pytest.raises(LeakError) as error:
        rules.refuse_shared([*pairs, ("z", "train")], where="table.csv", advice="Mend it")
    told = str(error.value)
    assert told.startswith("table.csv: 7 subjects are in two splits (s0 in test and train; s1 in")
    assert told.endswith("s4 in test and train; …): figures would be optimistic. Mend it")


def test_who_was_trained_on_is_not_scored():
    scored = {"validation": {"a", "b"}, "test": {"b", "c", "d"}}
    what = {"what_trained": "pretraining", "advice": "Leave them out"}
    rules.refuse_leak({"x", "y"}, scored, **what)
    rules.refuse_leak(set(), scored, **what)
    assert rules.leaked({"b", "c", "x"}, scored) == {"b": ["test", "validation"], "c": ["test"]}
    with pytest.raises(LeakError) as error:
        rules.refuse_leak({"b", "c", "x"}, scored, **what)
    assert str(error.value) == (
        "2 of the 4 subjects to be scored are in pretraining: b in test and validation; c in test; "
        "their figures would be optimistic. Leave them out"
    )


def test_datasets_of_one_cohort_must_be_split_alike():
    def people(**splits):
        return rules.People("c", {split: frozenset(names) for split, names in splits.items()})

    one, other = people(train="ab", test="c"), people(train="ab", validation="c", test="d")
    rules.refuse_leak_between({"one": one, "other": other})
    rules.refuse_leak_between({"one": one})
    with pytest.raises(LeakError, match=r"1 of the 4 .* split of one or apart: b in test of apart"):
        rules.refuse_leak_between({"one": one, "apart": people(train="a", test="bde")})
    rules.refuse_leak_between({"one": one}, earlier=frozenset("bx"))
    with pytest.raises(LeakError, match=r"1 of the 1 .*initialise_from names: c in test of one;"):
        rules.refuse_leak_between({"one": one}, earlier=frozenset("acx"))


def test_people_are_read_as_they_were_written(tmp_path):
    written = rules.manifest("clinic", {"train": ["anna", "anna"], "test": ["bert"]})
    (tmp_path / rules.FILENAME).write_text(json.dumps(written))
    found = rules.read(tmp_path)
    assert found.cohort == "clinic"
    assert found.pseudonym("anna") == "c4ab9e92bab2ad3d"  # printf 'clinic:anna' | sha256sum
    assert found.of_split("train") == {found.pseudonym("anna")}
    assert found.of_split("validation") == frozenset()
    for text in ("{}", "no JSON", '{"cohort": "x", "subjects": {"train": 3}}', "[]"):
        (tmp_path / rules.FILENAME).write_text(text)
        with pytest.raises(DatasetError, match="does not say who is in its splits"):
            rules.read(tmp_path)


# --- the guard of pretraining ---------------------------------------------------------------------


def test_pretraining_on_two_datasets_that_split_the_same_people_apart(
    tiny_data_dir, resplit_data_dir, tmp_path
):
    for name, data_dir in {"visit1": tiny_data_dir, "visit2": resplit_data_dir}.items():
        (tmp_path / name).symlink_to(data_dir / "simulated_psg")
    datasets.check_no_leak(tmp_path, ["visit1"])
    datasets.check_no_leak(tmp_path, ["visit2"])
    with pytest.raises(LeakError, match=r"split of visit1 or visit2: \w+ in \w+ of visit"):
        datasets.check_no_leak(tmp_path, ["visit1", "visit2"])
