"""Stages of nights from subsets of their signals: who is scored, in which order, by what."""

from __future__ import annotations

import types

import numpy as np
import pytest

from sleepfm_jax import config as configuration
from sleepfm_jax.errors import ConfigError
from sleepfm_jax.evaluators import staging
from sleepfm_jax.evaluators.evaluator import FIELDS, WHOSE, flat
from sleepfm_jax.evaluators.staging import Staging
from sleepfm_jax.metrics import staging as staging_metrics
from sleepfm_jax.metrics.predictions import Predictions
from sleepfm_jax.metrics.sleep_statistics import classes_of
from sleepfm_jax.metrics.staging import FIGURES, MEDIAN, staging_figures
from sleepfm_jax.signals import STAGES
from tests.helpers.made_nights import FOUR, hypnogram

SIGNALS = ("ABD", "ECG", "PPG", "THX")
NIGHTS, LENGTH = 7, 80


@pytest.fixture
def nights():
    """Seven nights: even ones have ECG and THX, odd ones PPG, the last nothing; of the first
    nobody scored anything."""
    rng = np.random.default_rng(0)
    present = np.zeros((NIGHTS, 4), bool)
    present[::2, [1, 3]], present[1::2, 2] = True, True
    present[-1] = False
    stages = np.stack([hypnogram(rng, LENGTH) for _ in range(NIGHTS)]).astype(np.int32)
    stages[:, 70:] = -1
    stages[0] = -1
    return {"present": present, "stages": stages, "index": np.arange(NIGHTS, dtype=np.int32)}


def stand_in(classes=FOUR, broken=False):
    """A model that knows the more stages the more signals it is given; it answers in the order of
    the rows that are real."""
    calls = []

    def predict(batch):
        calls.append(batch["present"].copy())
        real = batch["index"] >= 0
        label = np.maximum(classes_of(batch["stages"], classes), 0)
        count = batch["present"].sum(axis=1)
        rng = np.random.default_rng(batch["index"].max() + 1)
        right = rng.random(label.shape) < (0.5 + 0.2 * count)[:, None]
        p = np.eye(len(classes), dtype=np.float32)[np.where(right, label, 0)]
        if broken:
            p[0, 0] = np.nan
        found = {
            "probabilities": p[real],
            "stages": batch["stages"][real],
            "present": batch["present"][real],
            "index": batch["index"][real],
            "person": np.array([f"p{i}" for i in batch["index"][real]]),
            "recording": np.array([f"r{i}" for i in batch["index"][real]]),
            "clip_number": np.zeros(real.sum(), int),
        }
        return found, {"loss": (float(count[real].sum()), int(real.sum()))}

    return predict, calls


def batches(nights):
    """In another order, the last with a filling row."""
    for rows in ([4, 0, 6], [5, 1, 2], [3]):
        batch = {name: value[rows] for name, value in nights.items()}
        if len(rows) == 1:
            batch = {name: np.concatenate([v, v[:1]]) for name, v in batch.items()}
            batch["index"][1] = -1
        yield batch


def test_a_subset_is_scored_on_the_nights_that_have_it(nights):
    evaluator = Staging(FOUR, SIGNALS, ("all", "ECG", "ECG+THX", "PPG", "PPG+THX"), True)
    predict, calls = stand_in()
    found = dict(evaluator.run(predict, batches(nights)))
    assert {name: one["nights"] for name, one in found["subsets"].items()} == {
        **{"all": 5, "ECG": 2, "ECG+THX": 2, "PPG": 3, "PPG+THX": 0}
    }
    assert len(calls) == 3 * 5
    for call, subset in zip(calls[1:5], ("ECG", "ECG+THX", "PPG", "PPG+THX")):
        assert not call[:, [s not in subset.split("+") for s in SIGNALS]].any()
    ecg, both = found["predictions.ECG"], found["predictions.ECG+THX"]
    assert isinstance(ecg, Predictions) and "predictions.PPG+THX" not in found
    assert list(dict.fromkeys(ecg.recording.tolist())) == ["r2", "r4"]  # in the split's order
    assert list(dict.fromkeys(found["predictions.all"].person.tolist())) == [
        f"p{i}" for i in (1, 2, 3, 4, 5)
    ]
    np.testing.assert_array_equal(ecg.label[:70], classes_of(nights["stages"][2, :70], FOUR))
    np.testing.assert_array_equal(ecg.sleep_epoch[:70], np.arange(70))
    assert ecg.about["signals"] == "ECG" and ecg.about["classes"] == list(FOUR)
    assert found["subsets"]["ECG+THX"]["kappa"] > found["subsets"]["ECG"]["kappa"]
    for name, value in staging_figures(both).items():
        assert found["subsets"]["ECG+THX"][name] == pytest.approx(value)
    assert np.isnan(found["subsets"]["PPG+THX"]["kappa"])
    for name in (*FIGURES, MEDIAN, "loss"):
        assert found[name] == found["subsets"]["all"][name]
    assert found["subsets"]["all"]["loss"] == pytest.approx(9 / 7)  # of all real rows
    logged = flat("test", found)
    assert logged["test/subsets_ECG+THX_kappa"] == found["subsets"]["ECG+THX"]["kappa"]
    assert not any("predictions" in name for name in logged)


def test_the_rows_of_a_long_night_are_one_night(nights):
    predict, _ = stand_in()

    def of_one(batch):
        found, metrics = predict(batch)
        who = {"person": "p", "recording": "r"}
        found |= {name: np.full(len(found["index"]), one) for name, one in who.items()}
        return found | {"clip_number": found["index"]}, metrics

    evaluator = Staging(FOUR, SIGNALS, keep_predictions=True, longest=LENGTH)
    said = dict(evaluator.run(of_one, batches(nights)))["predictions.all"]
    assert np.all(np.diff(said.sleep_epoch) > 0) and said.sleep_epoch[0] == LENGTH
    (night,) = staging_metrics.nights(said)
    np.testing.assert_array_equal(night.at, said.sleep_epoch - LENGTH)


def test_five_classes_and_predictions_only_where_asked_for(nights):
    predict, _ = stand_in(STAGES)
    found = dict(Staging(STAGES, SIGNALS, ("ECG", "all")).run(predict, batches(nights)))
    assert not [name for name in found if name.startswith("predictions")]
    assert found["kappa"] == found["subsets"]["ECG"]["kappa"] != found["subsets"]["all"]["kappa"]


def test_what_cannot_be_scored_is_nan(nights):
    predict, _ = stand_in(broken=True)
    found = dict(Staging(FOUR, SIGNALS).run(predict, batches(nights)))
    assert np.isnan(found["kappa"]) and np.isnan(found[MEDIAN])
    nights["stages"][:] = -1
    predict, _ = stand_in()
    found = dict(Staging(FOUR, SIGNALS, keep_predictions=True).run(predict, batches(nights)))
    assert np.isnan(found["kappa"]) and "predictions.all" not in found


def test_what_is_wanted_is_known_to_the_loop():
    assert {"stages", "present"} <= set(FIELDS) and {"person", "recording"} <= set(WHOSE)


def test_rows_of_a_configuration():
    def made(**row):
        layout = types.SimpleNamespace(
            **{"examples": "nights", "names": SIGNALS},
            **{"classes": FOUR, "longest": 1680},
        )
        defaults = configuration.section_defaults("evaluator", "staging")
        return staging.make(defaults | row, types.SimpleNamespace(layout=layout))

    assert made() == Staging(FOUR, SIGNALS, ("all",), False, 1680)
    assert made(subsets=["THX+ECG", "PPG"], keep_predictions=True) == Staging(
        FOUR, SIGNALS, ("ECG+THX", "PPG"), True, 1680
    )
    with pytest.raises(ConfigError, match=r"'ECG\+EEG' names EEG; the model reads ABD, ECG"):
        made(subsets=("ECG+EEG",))
    with pytest.raises(ConfigError, match="is twice in"):
        made(subsets=("ECG+THX", "THX+ECG"))
    clips = types.SimpleNamespace(layout=types.SimpleNamespace(examples="clips"))
    with pytest.raises(ConfigError, match="an objective that reads nights"):
        staging.make({}, clips)
