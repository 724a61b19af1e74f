"""The probe does not score people that its encoder was trained on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from data_builders.simulated_psg.simulated_psg_dataset_builder import Builder
from sleepfm_jax import probe as probing
from sleepfm_jax.data import datasets
from sleepfm_jax.data.people import read_manifest
from sleepfm_jax.errors import LeakError
from sleepfm_jax.probe import FrozenEncoder, Probe
from sleepfm_jax.simulation.cohorts import write_psg_cohort


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
    return {s: set(names) for s, names in read_manifest(folder)["subjects"].items()}


@pytest.fixture
def encoder(tiny_data_dir, people):
    """Trained, it says, on simulated_psg's training split."""
    metadata = datasets.open_records(tiny_data_dir, ["simulated_psg"], "train").metadata
    return FrozenEncoder(None, None, None, metadata, {}, frozenset(people["train"]))


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
    assert "2 of the 4 subjects to be scored (validation and test)" in str(error.value)
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
    with pytest.raises(datasets.DatasetError, match=r"subjects of visit1's .* split are in the"):
        datasets.check_no_leak(tmp_path, ["visit1", "visit2"])


def test_by_cross_validation_everybody_is_scored(encoder, tiny_data_dir, monkeypatch):
    monkeypatch.setattr(datasets, "has_split", lambda data_dir, name, split: split == "train")
    with pytest.raises(LeakError, match=r"3 of the 3 subjects to be scored \(train\)"):
        BlindProbe(tiny_data_dir, "simulated_psg").gather({"pretrained": encoder})


def test_a_checkpoint_that_does_not_say_is_scored_with_a_warning(encoder, resplit, monkeypatch):
    said = []
    monkeypatch.setattr(probing.logging, "warning", said.append)
    silent = dataclasses.replace(encoder, subjects=None)
    BlindProbe(resplit, "simulated_psg").gather({"pretrained": silent})
    assert "does not say whom it was trained on" in said[0]
