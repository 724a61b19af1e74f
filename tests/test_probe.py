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
from tests.helpers.made_predictions import made_predictions
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
def mispaired(metadata, people, tmp_path_factory):
    """The same weights, of a run that says it was mispaired."""
    folder = tmp_path_factory.mktemp("mispaired")
    about = {"preprocessing": metadata, "subjects": sorted(people["train"])}
    config = smoke()
    config["data"]["mispaired"] = True
    save_run(folder, config, about=about)
    return folder


@pytest.fixture(scope="module")
def probed(workdir, mispaired, tiny_data_dir, tmp_path_factory):
    """The rows of a probe, where they lie, and the encoders that it compared."""
    out = tmp_path_factory.mktemp("out")
    seen = {}
    gather = Labelled.gather

    def watched(self, encoders, **options):
        seen.update(encoders)
        return gather(self, encoders, **options)

    stale = files.path_of(out, "simulated_psg", "mine")
    files.save(stale, made_predictions())  # a row that is not of this program stays
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Labelled, "gather", watched)
        written = probing.probe(
            [workdir],
            tiny_data_dir,
            "simulated_psg",
            out,
            mispaired=[mispaired],
            seeds=2,
            permutations=3,
            seed=3,
            command="python -m launch.probe --seed=3",
        )
    rows, problems = files.load_all(out)
    assert list(rows) == ["simulated_psg"] and not problems
    assert rows["simulated_psg"].pop("mine")
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
    assert about["encoder_seeds"] == [smoke()["seed"]] == rows["pretrained"].seeds.tolist()
    assert rows["features"].map is None
    assert rows["features"].about["weights"] == []
    assert rows["pretrained"].map.shape == (len(rows["pretrained"].label), 2)
    tables = scoring.tables(rows)
    json.dumps(tables)
    assert list(tables[0]) == ["pretrained", "mispaired", "random", "tokens", "features"]
    assert tables[0]["pretrained"]["ci95"]["balanced_accuracy"] is None  # one person
    assert len(tables[0]["pretrained"]["permuted"]["balanced_accuracy"]["values"]) == 3


def test_what_was_trained_alike_scores_alike(probed):
    """The mispaired run has the same weights here: nothing else may differ between two rows."""
    rows, _ = probed
    np.testing.assert_array_equal(rows["pretrained"].probabilities, rows["mispaired"].probabilities)
    found = scoring.differences(rows)["pretrained-mispaired"]
    assert found["value"] == 0 and found["claim"] is False
    assert rows["mispaired"].about["features"] != rows["pretrained"].about["features"]


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
    assert p.shape[0] == 2 and rows["random"].seeds.tolist() == [4, 5]
    assert rows["random"].about["checkpoints"] == rows["random"].about["steps"] == []
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
    for old in ("mispaired", "permuted"):  # of a probe of something else
        files.save(files.path_of(tmp_path, "simulated_psg", old), made_predictions())
    probing.probe([tmp_path], tiny_data_dir, "simulated_psg", tmp_path, seeds=1, permutations=0)
    rows = files.load_all(tmp_path)[0]["simulated_psg"]
    noted = {name for name, row in rows.items() if rules.NOT_TOLD in row.about["notes"]}
    assert noted == {"pretrained", "tokens"} and rules.NOT_TOLD in said
    assert "permuted" not in rows and "mispaired" not in rows


def test_a_leaking_checkpoint_and_none_are_refused(workdir, resplit_data_dir, tmp_path):
    with pytest.raises(LeakError, match="2 of the 4 subjects"):
        probing.probe([workdir], resplit_data_dir, "simulated_psg", tmp_path)
    with pytest.raises(CheckpointError, match="no such checkpoint folder"):
        probing.probe([tmp_path / "nowhere"], resplit_data_dir, "simulated_psg", tmp_path)
    with pytest.raises(DatasetError, match="no dataset 'mesa'"):
        probing.probe([workdir], resplit_data_dir, "mesa", tmp_path)
    assert not (tmp_path / files.FOLDER).exists()


def test_a_checkpoint_is_what_it_is_called(workdir, mispaired, metadata, tmp_path):
    one, control = pretrained.load(workdir), pretrained.load(mispaired)
    probing._check_encoders([one], [control])
    with pytest.raises(CheckpointError, match=r"--checkpoint=.*config.data.mispaired is True"):
        probing._check_encoders([control], [])
    with pytest.raises(CheckpointError, match=r"--mispaired=.*config.data.mispaired is False"):
        probing._check_encoders([one], [one])
    with pytest.raises(CheckpointError, match="the same weights twice"):
        probing._check_encoders([one, one], [])
    other = smoke()
    other["seed"] = 5
    save_run(tmp_path / "seed", other, (6,), about={"preprocessing": metadata})
    probing._check_encoders([one, pretrained.load(tmp_path / "seed")], [])
    other["optimiser"]["learning_rate"] = 0.5
    save_run(tmp_path / "rate", other, (8,), about={"preprocessing": metadata})
    with pytest.raises(CheckpointError, match=r"trained otherwise than .*learning_rate"):
        probing._check_encoders([one, pretrained.load(tmp_path / "rate")], [])


# --- protocols, on features that were made --------------------------------------------------------


class Made:
    """A dataset of 12 people with useful features; see `Labelled`."""

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
    row = probing.Row("x", ("a",), (), (9,))
    fits, seeds = probing._repeats(data, data.gathered, row, 5, 0)
    assert len(fits) == 1 and seeds.tolist() == [9]
    row = probing.Row("x", ("a", "b"), (), (4, 5))
    two, seeds = probing._repeats(data, data.gathered, row, 5, 0)
    assert len(two) == 2 and not np.allclose(two[0].probabilities, two[1].probabilities)
    assert seeds.tolist() == [4, 5]


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
        assert "official test split, validation subjects drawn" in fits[0].protocol


def test_few_people_are_few_folds_and_fewer_are_an_error():
    data = Made("cross-validation", people=4)
    assert set(probing.fit(data, data.gathered, "a", seed=0).fold) == {0, 1, 2, 3}
    data = Made("cross-validation", people=2)
    with pytest.raises(DatasetError, match="made cannot be probed: 2 subjects cannot make"):
        probing.fit(data, data.gathered, "a", seed=0)


def test_labels_that_mean_nothing_score_chance():
    data = Made("cross-validation", people=30)
    about = {"classes": data.classes}
    control = probing._permuted(data, data.gathered, about, "a", 20, 0, 0.01)
    recalls = [
        np.mean([(p.argmax(1) == y)[y == k].mean() for k in (0, 1)])
        for p, y in zip(control.probabilities, control.permuted)
    ]
    assert abs(np.mean(recalls) - 0.5) < 0.04 and control.about["notes"] == []
    assert "median of the L2s" in control.about["protocol"]
    true = probing.fit(data, data.gathered, "a", seed=0).probabilities.argmax(1)
    assert (true == data.gathered.examples["train"].label).mean() > 0.9


@pytest.mark.parametrize(("people", "positive"), [(6, 2), (10, 3), (20, 3)])
def test_a_label_of_few_people_is_probed_all_the_same(people, positive):
    """Labels of the person, as with a diagnosis: folds leave some of each class to train on."""
    for number in range(4):
        data = Made("cross-validation", people)
        rng = np.random.default_rng(number)
        who = np.repeat([f"p{i:02d}" for i in range(people)], 3)
        y = np.repeat(rng.permutation(np.arange(people) < positive).astype(int), 3)
        x = rng.normal(size=(len(y), 3)) + 2 * y[:, None]
        part = Labels(who, who, np.arange(len(y)), np.full(len(y), -1), y)
        gathered = Gathered({"train": part}, {"a": {"train": x}}, {})
        found = probing.fit(data, gathered, "a", seed=number)
        for fold in np.unique(found.fold):
            assert set(y[found.fold != fold]) == {0, 1}
        about = {"classes": data.classes}
        control = probing._permuted(data, gathered, about, "a", 5, number, 0.01)
        assert len(control.seeds) == 5


def test_a_person_in_two_splits_is_refused():
    data = Made("splits")
    data.records = {"train": type("R", (), {"folders": ["here"]})}
    train = data.gathered.examples["train"]
    data.gathered.examples["test"] = train
    with pytest.raises(LeakError, match=r"12 subjects are in two splits"):
        probing._check_people(data, data.gathered)
