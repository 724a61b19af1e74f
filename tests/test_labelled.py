"""Features of labelled examples: what is asked of an encoder, whom nobody scores, what is kept."""

from __future__ import annotations

import collections
import dataclasses

import jax
import numpy as np
import pytest

from sleepfm_jax import experiment, labelled, pretrained, signals
from sleepfm_jax.data import datasets
from sleepfm_jax.data import people as rules
from sleepfm_jax.errors import DatasetError, LeakError
from sleepfm_jax.labelled import FEATURES, RAW, Labelled
from sleepfm_jax.pretrained import Pretrained
from tests.helpers.untrained_runs import save_run, smoke


@pytest.fixture(scope="module")
def metadata(tiny_data_dir):
    return datasets.open_records(tiny_data_dir, ["simulated_psg"], "train").metadata


@pytest.fixture(scope="module")
def people(tiny_data_dir):
    """Pseudonyms by split."""
    return rules.read(datasets.find_dataset(tiny_data_dir, "simulated_psg")).splits


# --- whom it does not score -----------------------------------------------------------------------


@pytest.fixture
def blind(metadata, people, monkeypatch):
    """Trained, it says, on simulated_psg's training split. All features are zeros: here only the
    people count."""
    monkeypatch.setattr(labelled, "plain_rows", lambda *_: [np.zeros(2)])
    monkeypatch.setattr(Labelled, "with_slots", lambda self, encoder: encoder)

    def embedded(self, encoder, what, *, raw):
        return [np.zeros(2)] * len(self.places), []

    monkeypatch.setattr(labelled._Rows, "embedded", embedded)
    return Pretrained(None, None, None, {}, metadata, people["train"])


def test_its_own_test_split_is_no_leak(blind, tiny_data_dir):
    found = Labelled(tiny_data_dir, "simulated_psg").gather({"pretrained": blind})
    assert {split: len(set(part.person)) for split, part in found.examples.items()} == {
        "train": 3,
        "validation": 2,
        "test": 1,
    }


def test_a_leak_is_refused_and_says_who(blind, resplit_data_dir, people):
    probe = Labelled(resplit_data_dir, "simulated_psg")
    scored = probe.records["validation"].subjects() | probe.records["test"].subjects()
    leaked = people["train"] & scored
    assert len(leaked) == 2 and len(scored) == 4
    unknowing = dataclasses.replace(blind, people=frozenset())
    for encoders in ({"a": blind, "b": blind}, {"a": unknowing, "b": blind}):  # any of them
        with pytest.raises(LeakError) as error:
            probe.gather(encoders)
        assert "2 of the 4 subjects to be scored are in the checkpoint's" in str(error.value)
        assert "in test" in str(error.value) and "in validation" in str(error.value)
        assert all(pseudonym in str(error.value) for pseudonym in leaked)
        assert "--exclude_pretrained" in str(error.value)
    probe.gather({"a": unknowing})


def test_a_leak_is_left_out_when_asked(blind, resplit_data_dir, people, monkeypatch):
    said = []
    monkeypatch.setattr(labelled.logging, "warning", lambda text, *args: said.append(text % args))
    probe = Labelled(resplit_data_dir, "simulated_psg", exclude_pretrained=True)
    found = probe.gather({"pretrained": blind})
    count = {split: len(set(part.person)) for split, part in found.examples.items()}
    # Trained on and fitted on is one thing: nobody is scored in train.
    assert count == {"train": 2, "validation": 1, "test": 1}
    for row in ("pretrained", FEATURES):
        for split, part in found.examples.items():
            assert len(found.features[row][split]) == len(part.label)
    for split in ("validation", "test"):
        assert not set(found.examples[split].person) & people["train"]
    reason = "people that a checkpoint was trained on"
    left_out = {split: why.get(reason) for split, why in found.left_out.items()}
    assert left_out == {"train": None, "validation": 1, "test": 1}
    assert "2 of the 4 subjects" in said[0] and said[0].endswith("; they are left out")


def test_by_cross_validation_everybody_is_scored(blind, tiny_data_dir, monkeypatch):
    monkeypatch.setattr(datasets, "has_split", lambda data_dir, name, split: split == "train")
    with pytest.raises(LeakError, match=r"3 of the 3 subjects .* in train;"):
        Labelled(tiny_data_dir, "simulated_psg").gather({"pretrained": blind})


def test_a_checkpoint_that_does_not_say_is_scored_with_a_warning(
    blind, resplit_data_dir, monkeypatch
):
    said = []
    monkeypatch.setattr(labelled.logging, "warning", said.append)
    silent = dataclasses.replace(blind, people=None)
    Labelled(resplit_data_dir, "simulated_psg").gather({"pretrained": silent})
    assert said == [rules.NOT_TOLD]
    assert "does not say whom it was trained on" in rules.NOT_TOLD


def test_another_preprocessing_is_refused(blind, tiny_data_dir, metadata):
    probe = Labelled(tiny_data_dir, "simulated_psg")
    for key, value in (("sfreq", 64.0), ("preprocessing", "by somebody else")):
        other = dataclasses.replace(blind, preprocessing=metadata | {key: value})
        with pytest.raises(DatasetError, match=rf"{key} is .* but the checkpoint has {value!r}"):
            probe.gather({"random": blind, "pretrained": other})
    longer = dataclasses.replace(blind, preprocessing=metadata | {"clip_seconds": 300.0})
    probe.gather({"pretrained": longer})  # an encoder takes clips of any length


# --- features of an encoder -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def workdir(metadata, people, tmp_path_factory):
    """A run's, of an encoder trained, it says, on simulated_psg's training split."""
    folder = tmp_path_factory.mktemp("run")
    about = {"preprocessing": metadata, "subjects": sorted(people["train"])}
    save_run(folder, smoke(), about=about)
    return folder


@pytest.fixture(scope="module")
def encoder(workdir):
    return pretrained.load(workdir)


def test_a_probe_sees_every_channel_unless_asked_for_as_trained(encoder, tiny_data_dir):
    splits = ("train", "validation", "test")
    records = [datasets.open_records(tiny_data_dir, ["simulated_psg"], split) for split in splits]
    every = [collections.Counter(r[i].modalities) for r in records for i in range(len(r))]
    most = {m: max(count[m] for count in every) for m in encoder.model.layout.modalities}
    slots = {}
    for channels in ("all", "trained"):
        probe = Labelled(tiny_data_dir, "simulated_psg", channels)
        asked = probe.with_slots(encoder)
        assert asked.fingerprint == encoder.fingerprint
        slots[channels] = dict(asked.model.layout.slots)
    assert slots["trained"] == dict(encoder.model.layout.slots)
    assert slots["all"] == most and list(slots["all"]) == list(slots["trained"])
    assert slots["all"]["bas"] > slots["trained"]["bas"]


def test_a_modality_that_no_recording_has_keeps_one_empty_slot(encoder, tiny_data_dir):
    probe = Labelled(tiny_data_dir, "simulated_psg")
    probe.__dict__["_most"] = {"bas": 5, "resp": 3}
    slots = (("bas", 5), ("resp", 3), ("ecg", 1), ("emg", 1))
    assert probe.with_slots(encoder).model.layout.slots == slots


@pytest.mark.parametrize("channels", ["all", "trained"])
def test_features_are_the_means_of_tokens_and_the_vector_of_the_clip(
    encoder, tiny_data_dir, channels
):
    """By hand, of every example of the test split."""
    frozen = jax.device_get((encoder.params, encoder.stats))
    probe = Labelled(tiny_data_dir, "simulated_psg", channels)
    gathered = probe.gather({"pretrained": encoder}, raw_tokens_of="pretrained")
    assert set(gathered.features) == {"pretrained", RAW + "pretrained", FEATURES}
    for split, part in gathered.examples.items():
        assert len({len(column) for column in part}) == 1
        for features in gathered.features.values():
            assert features[split].ndim == 2 and len(features[split]) == len(part.label) > 0
    records = probe.records["test"]
    asked = probe.with_slots(encoder)
    examples = experiment.make_examples(records, asked.model.layout)
    wanted, raw, stages, where = [], [], [], []
    for i, out in asked.embed(examples, batch_size=8, outputs=("clip", "tokens", "raw_tokens")):
        (stage,) = records[i].stages  # a clip of 30 s is one sleep_epoch
        if stage == signals.UNSCORED:
            continue
        tokens, mask, clip = (out[k] for k in ("tokens", "token_mask", "clip"))
        mean = [t[m].mean(0) if m.any() else 0 * t[0] for t, m in zip(tokens, mask)]
        wanted.append(np.concatenate([np.stack(mean), clip], axis=1).ravel())
        tokens = out["raw_tokens"]
        mean = [t[m].mean(0) if m.any() else 0 * t[0] for t, m in zip(tokens, mask)]
        raw.append(np.ravel(mean))
        stages.append(stage)
        person = probe.people.pseudonym(records[i].subject)
        where.append((person, records[i].recording, records[i].clip, 0))
    np.testing.assert_allclose(gathered.features["pretrained"]["test"], wanted, atol=1e-5)
    np.testing.assert_allclose(gathered.features[RAW + "pretrained"]["test"], raw, atol=1e-5)
    found = gathered.examples["test"]
    np.testing.assert_array_equal(found.label, stages)
    assert list(zip(*(column.tolist() for column in found[:4]))) == where
    jax.tree.map(np.testing.assert_array_equal, (encoder.params, encoder.stats), frozen)


def test_mostly_gaps_is_no_example():
    tokens, mask = np.ones((2, 6, 3), np.float32), np.zeros((2, 6), bool)
    mask[0, :2] = mask[1, 5] = True
    every = np.ones(6, bool)
    mean = labelled._mean_tokens(tokens, mask, every)
    np.testing.assert_array_equal(mean, np.ones((2, 3)))  # three of six patches, in any modality
    mask[1, 5] = False
    assert labelled._mean_tokens(tokens, mask, every) is None


def test_patches_of_the_sleep_epochs_of_a_long_clip(tiny_data_dir):
    data = Labelled(tiny_data_dir, "simulated_psg")
    data.clip_seconds = 75.0  # two sleep_epochs and a half
    found = data.windows(15)  # patches of 5 s
    assert [np.flatnonzero(mine).tolist() for mine in found] == [
        [0, 1, 2, 3, 4, 5],
        [6, 7, 8, 9, 10, 11],
        [12, 13, 14],
    ]


def test_an_official_test_split_is_used(tiny_data_dir, monkeypatch):
    has = {"test": True, "validation": False}
    monkeypatch.setattr(datasets, "has_split", lambda data_dir, name, split: has[split])
    data = Labelled(tiny_data_dir, "simulated_psg")
    assert data.protocol == "test" and data.scored == ("test",)
    has["test"] = False
    data = Labelled(tiny_data_dir, "simulated_psg")
    assert data.protocol == "cross-validation" and data.scored == ("train",)
    has["validation"] = True  # people who were set apart, for a test that there is not
    data = Labelled(tiny_data_dir, "simulated_psg")
    assert data.protocol == "cross-validation" and data.scored == ("train", "validation")


def test_who_is_cross_validated_is_in_one_place(blind, tiny_data_dir, monkeypatch):
    has = {"test": False, "validation": True}
    monkeypatch.setattr(datasets, "has_split", lambda data_dir, name, split: has[split])
    nobody = dataclasses.replace(blind, people=frozenset())
    found = Labelled(tiny_data_dir, "simulated_psg").gather({"pretrained": nobody})
    assert list(found.examples) == ["train"] and len(set(found.examples["train"].person)) == 5
    assert len(found.features[FEATURES]["train"]) == len(found.examples["train"].label)
    assert set(found.left_out) == {"train", "validation"}
