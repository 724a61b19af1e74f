"""The probe: what it asks of an encoder, whom it does not score, and what it leaves behind."""

from __future__ import annotations

import collections
import dataclasses
import json

import jax
import numpy as np
import pytest

from sleepfm_jax import experiment, pretrained, signals
from sleepfm_jax import probe as probing
from sleepfm_jax.data import datasets
from sleepfm_jax.data import people as rules
from sleepfm_jax.errors import CheckpointError, DatasetError, LeakError
from sleepfm_jax.metrics.feature_sets import FeatureSet
from sleepfm_jax.pretrained import Pretrained
from sleepfm_jax.probe import Probe
from tests.helpers.untrained_runs import save_run, smoke


@pytest.fixture(scope="module")
def metadata(tiny_data_dir):
    return datasets.open_records(tiny_data_dir, ["simulated_psg"], "train").metadata


@pytest.fixture(scope="module")
def people(tiny_data_dir):
    """Pseudonyms by split."""
    return rules.read(datasets.find_dataset(tiny_data_dir, "simulated_psg")).splits


# --- whom it does not score -----------------------------------------------------------------------


class BlindProbe(Probe):
    """A probe whose features are zeros: here only the people count."""

    def _embedded(self, encoders, records):
        for i in range(len(records)):
            yield records[i], dict.fromkeys(encoders)

    def _rows(self, out):
        return [np.zeros(2)]

    def _plain_rows(self, record, sfreq):
        return [np.zeros(2)]


@pytest.fixture
def blind(metadata, people):
    """Trained, it says, on simulated_psg's training split."""
    return Pretrained(None, None, None, {}, metadata, people["train"])


def test_its_own_test_split_is_no_leak(blind, tiny_data_dir):
    found = BlindProbe(tiny_data_dir, "simulated_psg").gather({"pretrained": blind})
    assert {split: len(set(part.subjects)) for split, part in found["pretrained"].items()} == {
        "train": 3,
        "validation": 2,
        "test": 1,
    }


def test_a_leak_is_refused_and_says_who(blind, resplit_data_dir, people):
    probe = BlindProbe(resplit_data_dir, "simulated_psg")
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
    monkeypatch.setattr(probing.logging, "warning", lambda text, *args: said.append(text % args))
    probe = BlindProbe(resplit_data_dir, "simulated_psg", exclude_pretrained=True)
    found = probe.gather({"pretrained": blind})
    for row in ("pretrained", "features"):
        count = {split: len(set(part.subjects)) for split, part in found[row].items()}
        # Trained on and fitted on is one thing: nobody is scored in train.
        assert count == {"train": 2, "validation": 1, "test": 1}
    for split in ("validation", "test"):
        scored = {probe.people.pseudonym(s) for s in found["pretrained"][split].subjects}
        assert not scored & people["train"]
    assert "2 of the 4 subjects" in said[0] and said[0].endswith("; they are left out")


def test_by_cross_validation_everybody_is_scored(blind, tiny_data_dir, monkeypatch):
    monkeypatch.setattr(datasets, "has_split", lambda data_dir, name, split: split == "train")
    with pytest.raises(LeakError, match=r"3 of the 3 subjects .* in train;"):
        BlindProbe(tiny_data_dir, "simulated_psg").gather({"pretrained": blind})


def test_a_checkpoint_that_does_not_say_is_scored_with_a_warning(
    blind, resplit_data_dir, monkeypatch
):
    said = []
    monkeypatch.setattr(probing.logging, "warning", said.append)
    silent = dataclasses.replace(blind, people=None)
    BlindProbe(resplit_data_dir, "simulated_psg").gather({"pretrained": silent})
    assert said == [rules.NOT_TOLD]
    assert "does not say whom it was trained on" in rules.NOT_TOLD


def test_features_of_a_person_in_two_splits_are_not_scored(tiny_data_dir):
    parts = {"train": "abc", "validation": "de", "test": "fb"}
    examples = {
        split: FeatureSet(np.zeros((len(names), 2)), np.zeros(len(names), int), list(names))
        for split, names in parts.items()
    }
    with pytest.raises(LeakError, match=r"1 subjects are in two splits \(b in test and train\)"):
        BlindProbe(tiny_data_dir, "simulated_psg").score(examples, impute=False, seed=0)


def test_another_preprocessing_is_refused(blind, tiny_data_dir, metadata):
    probe = BlindProbe(tiny_data_dir, "simulated_psg")
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
        probe = Probe(tiny_data_dir, "simulated_psg", channels)
        asked = probe._with_slots(encoder)
        assert asked.fingerprint == encoder.fingerprint
        slots[channels] = dict(asked.model.layout.slots)
    assert slots["trained"] == dict(encoder.model.layout.slots)
    assert slots["all"] == most and list(slots["all"]) == list(slots["trained"])
    assert slots["all"]["bas"] > slots["trained"]["bas"]


def test_a_modality_that_no_recording_has_keeps_one_empty_slot(encoder, tiny_data_dir):
    probe = Probe(tiny_data_dir, "simulated_psg")
    probe.__dict__["_most"] = {"bas": 5, "resp": 3}
    slots = (("bas", 5), ("resp", 3), ("ecg", 1), ("emg", 1))
    assert probe._with_slots(encoder).model.layout.slots == slots


@pytest.mark.parametrize("channels", ["all", "trained"])
def test_features_are_the_means_of_tokens_and_the_vector_of_the_clip(
    encoder, tiny_data_dir, channels
):
    """By hand, of every example of the test split."""
    frozen = jax.device_get((encoder.params, encoder.stats))
    probe = Probe(tiny_data_dir, "simulated_psg", channels)
    gathered = probe.gather({"pretrained": encoder})
    assert set(gathered) == {"pretrained", "features"}
    for split, rows in gathered["pretrained"].items():
        plain = gathered["features"][split]
        assert len(rows.x) == len(rows.y) == len(plain.x) > 0
        np.testing.assert_array_equal(rows.y, plain.y)
        np.testing.assert_array_equal(rows.subjects, plain.subjects)
    records = probe.records["test"]
    asked = probe._with_slots(encoder)
    examples = experiment.make_examples(records, asked.model.layout)
    wanted, stages = [], []
    for i, out in asked.embed(examples, batch_size=8):
        (stage,) = records[i].stages  # a clip of 30 s is one sleep_epoch
        if stage == signals.UNSCORED:
            continue
        tokens, mask, clip = (out[k] for k in ("tokens", "token_mask", "clip"))
        mean = [t[m].mean(0) if m.any() else 0 * t[0] for t, m in zip(tokens, mask)]
        wanted.append(np.concatenate([np.stack(mean), clip], axis=1).ravel())
        stages.append(stage)
    found = gathered["pretrained"]["test"]
    np.testing.assert_allclose(found.x, wanted, atol=1e-5)
    np.testing.assert_array_equal(found.y, stages)
    jax.tree.map(np.testing.assert_array_equal, (encoder.params, encoder.stats), frozen)


def test_mostly_gaps_is_no_example(tiny_data_dir):
    probe = Probe(tiny_data_dir, "simulated_psg")
    tokens, mask = np.ones((2, 6, 3), np.float32), np.zeros((2, 6), bool)
    mask[0, :2] = mask[1, 5] = True
    out = {"clip": np.zeros((2, 3), np.float32), "tokens": tokens, "token_mask": mask}
    (row,) = probe._rows(out)
    assert row is not None, "three of six patches, in any modality"
    mask[1, 5] = False
    assert probe._rows(out) == [None]


# --- end to end -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def probed(workdir, tiny_data_dir):
    """What `probe` returned, and the encoders that it was about to compare."""
    seen = {}
    gather = Probe.gather

    def watched(self, encoders):
        seen.update(encoders)
        return gather(self, encoders)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Probe, "gather", watched)
        return probing.probe(workdir, tiny_data_dir, "simulated_psg", seed=3), seen


def test_a_checkpoint_is_probed_beside_two_baselines(probed, encoder):
    (name, rows), seen = probed
    assert name == "staging"
    assert list(rows) == ["pretrained", "random", "features"]
    assert seen["pretrained"].fingerprint == encoder.fingerprint
    for row in rows.values():
        assert 0 <= row["balanced_accuracy"] <= 1
        assert row["classes"] == list(signals.STAGES)
        assert row["subjects"] == 1 and row["examples"] > 0
        assert rules.NOT_TOLD not in row["notes"]
    assert len({row["examples"] for row in rows.values()}) == 1, "the same examples for all"
    json.dumps(rows)


def test_the_random_row_is_another_encoder(probed):
    (_, rows), seen = probed
    one, random = seen["pretrained"], seen["random"]
    assert random.fingerprint != one.fingerprint
    assert random.fingerprint == one.randomised(4).fingerprint, "of the seed"
    assert random.model == one.model and random.people == one.people
    found = [rows[row].probabilities for row in ("pretrained", "random")]
    assert found[0].shape == found[1].shape and not np.allclose(*found)


def test_the_row_notes_an_encoder_that_does_not_say(metadata, tiny_data_dir, tmp_path, monkeypatch):
    """Only that row: nobody trained the others."""
    save_run(tmp_path, smoke(), about={"preprocessing": metadata})
    figures = {"notes": ["as measured"]}
    monkeypatch.setattr(probing, "Probe", BlindProbe)
    monkeypatch.setattr(BlindProbe, "score", lambda self, splits, **options: dict(figures))
    _, rows = probing.probe(tmp_path, tiny_data_dir, "simulated_psg")
    assert rows["pretrained"]["notes"] == ["as measured", rules.NOT_TOLD]
    assert rows["random"]["notes"] == rows["features"]["notes"] == ["as measured"]


def test_a_leaking_checkpoint_and_none_are_refused(workdir, resplit_data_dir, tmp_path):
    with pytest.raises(LeakError, match="2 of the 4 subjects"):
        probing.probe(workdir, resplit_data_dir, "simulated_psg")
    with pytest.raises(CheckpointError, match="no such checkpoint folder"):
        probing.probe(tmp_path / "nowhere", resplit_data_dir, "simulated_psg")
    with pytest.raises(DatasetError, match="no dataset 'mesa'"):
        probing.probe(workdir, resplit_data_dir, "mesa")
