"""The probe's rows: their encoders, seeds and predictions, and what they are refused for."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sleepfm_jax import labelled, pretrained, signals
from sleepfm_jax import probe as probing
from sleepfm_jax.data import datasets
from sleepfm_jax.data import people as rules
from sleepfm_jax.errors import CheckpointError, DatasetError, LeakError
from sleepfm_jax.labelled import Gathered, Labelled, Labels
from sleepfm_jax.metrics import predictions as files
from sleepfm_jax.metrics import scoring
from tests.helpers.untrained_runs import save_run, smoke


@pytest.fixture(scope="module")
def metadata(tiny_data_dir):
    return datasets.open_records(tiny_data_dir, ["simulated_psg"], "train").metadata


@pytest.fixture(scope="module")
def people(tiny_data_dir):
    """Pseudonyms by split."""
    return rules.read(datasets.find_dataset(tiny_data_dir, "simulated_psg")).splits


@pytest.fixture(scope="module")
def workdir(metadata, people, tmp_path_factory):
    """A run's, of an encoder trained, it says, on simulated_psg's training split."""
    folder = tmp_path_factory.mktemp("run")
    about = {"preprocessing": metadata, "subjects": sorted(people["train"])}
    save_run(folder, smoke(), about=about)
    return folder


@pytest.fixture(scope="module")
def probed(workdir, tiny_data_dir, tmp_path_factory):
    """The rows of a probe, where they lie, and the encoders that it compared."""
    out = tmp_path_factory.mktemp("out")
    seen = {}
    gather = Labelled.gather

    def watched(self, encoders, **options):
        seen.update(encoders)
        return gather(self, encoders, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Labelled, "gather", watched)
        written = probing.probe(
            [workdir],
            tiny_data_dir,
            "simulated_psg",
            out,
            mispaired=[workdir],
            seeds=2,
            permutations=3,
            seed=3,
            command="python -m launch.probe --seed=3",
        )
    rows, problems = files.load_all(out)
    assert list(rows) == ["simulated_psg"] and problems == []
    assert sorted(written) == sorted(rows["simulated_psg"])
    return rows["simulated_psg"], seen


def test_a_checkpoint_is_probed_beside_its_baselines(probed, workdir):
    rows, seen = probed
    assert set(rows) == {"pretrained", "mispaired", "random", "tokens", "features", "permuted"}
    encoder = pretrained.load(workdir)
    assert seen["pretrained 1"].fingerprint == encoder.fingerprint
    for name, row in rows.items():
        for one, other in zip(row.examples(), rows["features"].examples()):
            np.testing.assert_array_equal(one, other)  # the same examples for all
        np.testing.assert_array_equal(row.label, rows["features"].label)
        assert row.classes == list(signals.STAGES) and row.about["row"] == name
        assert row.about["command"] == "python -m launch.probe --seed=3"
        assert row.about["dataset"] == "simulated_psg" and row.about["split"] == "test"
        np.testing.assert_allclose(row.probabilities.sum(-1), 1, atol=1e-5)
        assert rules.NOT_TOLD not in row.about["notes"]
    about = rows["pretrained"].about
    assert about["checkpoints"] == [str(workdir)] and about["weights"] == [encoder.fingerprint]
    assert about["steps"] == [encoder.step] and about["input_scaling"] == "zscore"
    assert rows["features"].about["weights"] == []
    assert rows["pretrained"].map.shape == (len(rows["pretrained"].label), 2)
    tables = scoring.tables(rows)
    json.dumps(tables)
    assert list(tables[0]) == ["pretrained", "mispaired", "random", "tokens", "features"]
    assert tables[0]["pretrained"]["ci95"]["balanced_accuracy"] is None  # one person
    assert len(tables[0]["pretrained"]["permuted"]["balanced_accuracy"]["values"]) == 3


def test_what_was_trained_alike_scores_alike(probed):
    """The "mispaired" run is the same one here: nothing else may differ between two rows."""
    rows, _ = probed
    np.testing.assert_array_equal(rows["pretrained"].probabilities, rows["mispaired"].probabilities)
    found = scoring.differences(rows)["pretrained-mispaired"]
    assert found["value"] == 0 and found["claim"] is False


def test_the_random_row_is_of_other_encoders(probed):
    rows, seen = probed
    one = seen["pretrained 1"]
    random = [seen["random 1"], seen["random 2"]]
    prints = {encoder.fingerprint for encoder in [one, *random]}
    assert len(prints) == 3
    weights = [one.randomised(seed).fingerprint for seed in (4, 5)]
    assert not set(weights) & prints, "their statistics were calibrated"
    for encoder in random:
        assert encoder.model == one.model and encoder.people == one.people
        assert encoder.source == "" and encoder.step is None
    p = rows["random"].probabilities
    assert p.shape[0] == 2 and rows["random"].seeds.tolist() == [3, 4]
    assert not np.allclose(p[0], p[1]) and not np.allclose(p[0], rows["pretrained"].probabilities)


def test_the_control_has_labels_of_its_own(probed):
    rows, _ = probed
    row = rows["permuted"]
    assert row.permuted.shape == (3, len(row.label))
    assert len({labels.tobytes() for labels in row.permuted}) == 3
    for labels in row.permuted:
        assert sorted(labels) == sorted(row.label)  # one person: their own, rolled
    (l2,) = {l2 for each in row.about["l2"] for l2 in each}
    assert l2 == rows["pretrained"].about["l2"][0][0], "of the strength that the true labels chose"


def test_the_row_notes_an_encoder_that_does_not_say(metadata, tiny_data_dir, tmp_path, monkeypatch):
    """Only those of its weights: nobody trained the others."""
    save_run(tmp_path, smoke(), about={"preprocessing": metadata})
    said = []
    monkeypatch.setattr(labelled.logging, "warning", lambda text, *args: said.append(text))
    probing.probe([tmp_path], tiny_data_dir, "simulated_psg", tmp_path, seeds=1, permutations=0)
    rows = files.load_all(tmp_path)[0]["simulated_psg"]
    noted = {name for name, row in rows.items() if rules.NOT_TOLD in row.about["notes"]}
    assert noted == {"pretrained", "tokens"} and rules.NOT_TOLD in said
    assert "permuted" not in rows


def test_a_leaking_checkpoint_and_none_are_refused(workdir, resplit_data_dir, tmp_path):
    with pytest.raises(LeakError, match="2 of the 4 subjects"):
        probing.probe([workdir], resplit_data_dir, "simulated_psg", tmp_path)
    with pytest.raises(CheckpointError, match="no such checkpoint folder"):
        probing.probe([tmp_path / "nowhere"], resplit_data_dir, "simulated_psg", tmp_path)
    with pytest.raises(DatasetError, match="no dataset 'mesa'"):
        probing.probe([workdir], resplit_data_dir, "mesa", tmp_path)
    assert not (tmp_path / files.FOLDER).exists()


# --- protocols, on features that were made --------------------------------------------------------


class Made:
    """A dataset of 12 people with one useful feature; see `Labelled`."""

    name, label_kind, classes = "made", "classification", ["no", "yes"]

    def __init__(self, protocol, people=12):
        self.protocol = protocol
        rng = np.random.default_rng(0)
        splits = {"splits": ("train", "validation", "test"), "test": ("train", "test")}
        examples, features = {}, {"a": {}, "b": {}}
        for split in splits.get(protocol, ("train",)):
            n = people * 6
            y = rng.integers(0, 2, n)
            who = np.array([f"{split}{i % people}" for i in range(n)])
            clip = np.arange(n)
            examples[split] = Labels(who, who, clip, np.full(n, -1), y)
            for name in features:
                features[name][split] = rng.normal(size=(n, 3)) + 2 * y[:, None]
        self.gathered = Gathered(examples, features, {})


def test_given_splits_leave_nothing_to_a_seed():
    data = Made("splits")
    fits, seeds = probing._repeats(data, data.gathered, probing.Row("x", ("a",)), 5, 0)
    assert len(fits) == 1 and seeds.tolist() == [0]
    two = probing._repeats(data, data.gathered, probing.Row("x", ("a", "b")), 5, 0)[0]
    assert len(two) == 2 and not np.allclose(two[0].probabilities, two[1].probabilities)


@pytest.mark.parametrize("protocol", ["test", "cross-validation"])
def test_what_is_drawn_is_drawn_again(protocol):
    data = Made(protocol)
    row = probing.Row("x", ("a", "b"))
    fits, seeds = probing._repeats(data, data.gathered, row, 4, 7)
    assert seeds.tolist() == [7, 8, 9, 10]
    assert len({fit.probabilities.tobytes() for fit in fits}) == 4
    alone = probing.fit(data, data.gathered, "a", seed=9)
    np.testing.assert_array_equal(fits[2].probabilities, alone.probabilities)
    other = probing._repeats(data, data.gathered, probing.Row("y", ("a",)), 4, 7)[0]
    np.testing.assert_array_equal(fits[0].fold, other[0].fold)  # rows are paired fold by fold
    if protocol == "cross-validation":
        assert set(fits[0].fold) == set(range(probing.FOLDS))
    else:
        assert "2 validation" in fits[0].protocol and "10 train" in fits[0].protocol


def test_few_people_are_few_folds_and_fewer_are_an_error():
    data = Made("cross-validation", people=4)
    assert set(probing.fit(data, data.gathered, "a", seed=0).fold) == {0, 1, 2, 3}
    data = Made("cross-validation", people=2)
    with pytest.raises(DatasetError, match="made cannot be probed: 2 subjects cannot make"):
        probing.fit(data, data.gathered, "a", seed=0)


def test_labels_that_mean_nothing_score_chance():
    data = Made("cross-validation", people=30)
    row = probing.Row("x", ("a",))
    fits, labels = probing._permuted(data, data.gathered, row, 20, 0, 0.01)
    recalls = [
        np.mean([(fit.probabilities.argmax(1) == y)[y == k].mean() for k in (0, 1)])
        for fit, y in zip(fits, labels)
    ]
    assert abs(np.mean(recalls) - 0.5) < 0.04
    true = probing.fit(data, data.gathered, "a", seed=0).probabilities.argmax(1)
    assert (true == data.gathered.examples["train"].label).mean() > 0.9


def test_a_person_in_two_splits_is_refused():
    data = Made("splits")
    data.records = {"train": type("R", (), {"folders": ["here"]})}
    train = data.gathered.examples["train"]
    data.gathered.examples["test"] = train
    with pytest.raises(LeakError, match=r"12 subjects are in two splits"):
        probing._check_people(data, data.gathered)
