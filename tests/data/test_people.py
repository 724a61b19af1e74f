"""Who is in which split, who may not be where, and guards that ask: nobody leaks unseen."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from data_builders.simulated_psg.simulated_psg_dataset_builder import Builder
from sleepfm_jax import probe as probing
from sleepfm_jax.data import datasets
from sleepfm_jax.data import people as rules
from sleepfm_jax.errors import DatasetError, LeakError
from sleepfm_jax.metrics.feature_sets import Examples
from sleepfm_jax.probe import FrozenEncoder, Probe
from sleepfm_jax.simulation.cohorts import write_psg_cohort

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


# --- the guards: a probe does not score people that its encoder was trained on --------------------


class BlindProbe(Probe):
    """A probe whose features are zeros: here only the people count."""

    def _embedded(self, encoders, records):
        for i in range(len(records)):
            yield records[i], dict.fromkeys(encoders)

    def _rows(self, out):
        return [np.zeros(2)]

    def _plain_rows(self, record, sfreq):
        return [np.zeros(2)]


@pytest.fixture(scope="module")
def people(tiny_data_dir):
    """Pseudonyms by split."""
    folder = datasets.find_dataset(tiny_data_dir, "simulated_psg")
    return rules.read(folder).splits


@pytest.fixture
def encoder(tiny_data_dir, people):
    """Trained, it says, on simulated_psg's training split."""
    metadata = datasets.open_records(tiny_data_dir, ["simulated_psg"], "train").metadata
    return FrozenEncoder(None, None, None, metadata, {}, people["train"])


@pytest.fixture(scope="module")
def resplit(tmp_path_factory):
    """The same people split otherwise: of the three trained on one is in each split now."""
    root = tmp_path_factory.mktemp("resplit")
    write_psg_cohort(root / "recordings", subjects=6, hours=0.1, seed=1)
    old = {s.subject: s.split for s in Builder(source=root / "recordings").plan().sources}
    new = {}
    for trained_on in (True, False):
        group = sorted(name for name, split in old.items() if (split == "train") == trained_on)
        new |= dict(zip(group, ("train", "validation", "test")))
    table = root / "recordings" / "table.csv"
    rows = table.read_text()
    for name, split in new.items():
        rows = rows.replace(f"{name}.edf,{name},{old[name]}", f"{name}.edf,{name},{split}")
    table.write_text(rows)
    builder = Builder(source=root / "recordings", data_dir=root / "data", clip_seconds=30)
    builder.download_and_prepare()
    return root / "data"


def test_its_own_test_split_is_no_leak(encoder, tiny_data_dir):
    found = BlindProbe(tiny_data_dir, "simulated_psg").gather({"pretrained": encoder})
    assert len(found["pretrained"]["test"].y)


def test_a_leak_is_refused_and_says_who(encoder, resplit, people):
    probe = BlindProbe(resplit, "simulated_psg")
    scored = probe.records["validation"].subjects() | probe.records["test"].subjects()
    leaked = people["train"] & scored
    assert len(leaked) == 2 and len(scored) == 4
    with pytest.raises(LeakError) as error:
        probe.gather({"pretrained": encoder, "random": encoder})
    assert "2 of the 4 subjects to be scored are in the checkpoint's" in str(error.value)
    assert "in test" in str(error.value) and "in validation" in str(error.value)
    assert all(pseudonym in str(error.value) for pseudonym in leaked)
    assert "--exclude_pretrained" in str(error.value)


def test_a_leak_is_left_out_when_asked(encoder, resplit):
    probe = BlindProbe(resplit, "simulated_psg", exclude_pretrained=True)
    found = probe.gather({"pretrained": encoder})["pretrained"]
    count = {split: len(set(examples.subjects)) for split, examples in found.items()}
    # Trained on and fitted on is one thing: nobody is scored in train.
    assert count == {"train": 2, "validation": 1, "test": 1}


def test_pretraining_on_two_datasets_that_split_the_same_people_apart(
    tiny_data_dir, resplit, tmp_path
):
    for name, data_dir in {"visit1": tiny_data_dir, "visit2": resplit}.items():
        (tmp_path / name).symlink_to(data_dir / "simulated_psg")
    datasets.check_no_leak(tmp_path, ["visit1"])
    datasets.check_no_leak(tmp_path, ["visit2"])
    with pytest.raises(LeakError, match=r"split of visit1 or visit2: \w+ in \w+ of visit"):
        datasets.check_no_leak(tmp_path, ["visit1", "visit2"])


def test_by_cross_validation_everybody_is_scored(encoder, tiny_data_dir, monkeypatch):
    monkeypatch.setattr(datasets, "has_split", lambda data_dir, name, split: split == "train")
    with pytest.raises(LeakError, match=r"3 of the 3 subjects .* in train;"):
        BlindProbe(tiny_data_dir, "simulated_psg").gather({"pretrained": encoder})


def test_a_checkpoint_that_does_not_say_is_scored_with_a_warning(encoder, resplit, monkeypatch):
    said = []
    monkeypatch.setattr(probing.logging, "warning", said.append)
    silent = dataclasses.replace(encoder, subjects=None)
    BlindProbe(resplit, "simulated_psg").gather({"pretrained": silent})
    assert "does not say whom it was trained on" in said[0]


def test_features_of_a_person_in_two_splits_are_not_scored(tiny_data_dir):
    parts = {"train": "abc", "validation": "de", "test": "fb"}
    examples = {
        split: Examples(np.zeros((len(names), 2)), np.zeros(len(names), int), list(names))
        for split, names in parts.items()
    }
    with pytest.raises(LeakError, match=r"1 subjects are in two splits \(b in test and train\)"):
        BlindProbe(tiny_data_dir, "simulated_psg").score(examples, impute=False, seed=0)
