"""Figures of labelled rows, from what is predicted, and what is kept of it."""

from __future__ import annotations

import types

import numpy as np
import pytest

from sleepfm_jax.errors import ConfigError
from sleepfm_jax.evaluators import classification
from sleepfm_jax.evaluators.classification import Classification
from sleepfm_jax.evaluators.evaluator import flat
from sleepfm_jax.metrics.classification import classification_metrics
from sleepfm_jax.metrics.multilabel import multilabel_metrics
from sleepfm_jax.metrics.predictions import Predictions
from tests.helpers.labelled_examples import labels_and_probabilities, multilabel_split

CLASSES = ("a", "b", "c", "d")


def run(evaluator, labels, probabilities, size=32):
    """Of rows that come in any order, a loss of 2 each."""
    order = np.random.default_rng(1).permutation(len(labels))

    def predict(rows):
        found = {
            "labels": labels[rows].astype(np.float32),
            "probabilities": probabilities[rows].astype(np.float32),
            "index": 10 * rows,
            "person": np.array([f"p{i // 3}" for i in rows]),
            "stored_recording": np.array([f"r{i}" for i in rows]),
            "clip_number": 100 + rows,
        }
        wanted = {name: found[name] for name in (*evaluator.wants, "index")}
        return wanted, {"loss": (2.0 * len(rows), len(rows))}

    return dict(evaluator.run(predict, np.split(order, range(size, len(labels), size))))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("k", [2, 4])
def test_figures_of_one_class_a_row_are_those_of_the_metrics(rng, k):
    y, p = labels_and_probabilities(rng, k=k)
    labels = np.eye(k)[y]
    labels[5], labels[7] = np.nan, 0  # nobody knows; none of these
    found = run(Classification(CLASSES[:k], "classification"), labels, p)
    kept = np.delete(np.arange(len(y)), [5, 7])
    wanted = classification_metrics(y[kept], p.astype(np.float32)[kept].astype(float))
    names = {"balanced_accuracy", "auroc", "auprc", "f1"} | ({"f1_positive"} if k == 2 else set())
    assert found.keys() == names | {"loss"} and found["loss"] == 2
    for name in names:
        assert found[name] == pytest.approx(wanted[name], abs=1e-12)


def test_figures_of_several_labels_are_those_of_the_metrics(rng):
    _, labels, _ = multilabel_split(rng, "p")
    labels[3:9, 1] = np.nan
    labels[4] = np.nan
    p = rng.random(labels.shape).round(2)
    found = run(Classification(CLASSES[:3], "multilabel", True), labels, p)
    kept = np.delete(np.arange(len(labels)), 4)
    wanted = multilabel_metrics(labels[kept], p.astype(np.float32)[kept].astype(float))
    assert found["f1"] == pytest.approx(wanted["f1"]) and "f1_positive" not in found
    said = found["predictions"]
    np.testing.assert_array_equal(said.label, labels[kept])
    assert said.about == {"label_kind": "multilabel", "classes": list(CLASSES[:3])}


def test_what_is_kept_is_in_the_order_of_the_split_and_never_logged(rng):
    y, p = labels_and_probabilities(rng, n=50, k=3)
    labels = np.eye(3)[y]
    labels[5] = np.nan
    found = run(Classification(CLASSES[:3], "classification", True), labels, p)
    said, kept = found["predictions"], np.delete(np.arange(50), 5)
    assert isinstance(said, Predictions)
    np.testing.assert_array_equal(said.label, y[kept])
    np.testing.assert_array_equal(said.probabilities, p.astype(np.float32)[kept][None])
    np.testing.assert_array_equal(said.clip, 100 + kept)
    assert said.recording.tolist() == [f"r{i}" for i in kept]
    assert said.person.tolist() == [f"p{i // 3}" for i in kept]
    assert (said.fold == -1).all() and (said.sleep_epoch == -1).all()
    assert flat("test", found).keys() == {f"test/{n}" for n in found if n != "predictions"}


def test_what_cannot_be_scored_is_nan(rng):
    y, p = labels_and_probabilities(rng, n=20, k=2)
    evaluator = Classification(CLASSES[:2], "classification")
    p[3, 1] = np.inf
    assert np.isnan(run(evaluator, np.eye(2)[y], p)["auroc"])
    p[3, 1] = 0.5
    assert np.isnan(run(evaluator, np.full((20, 2), np.nan), p)["balanced_accuracy"])
    assert np.isnan(run(evaluator, np.eye(2)[np.ones(20, int)], p)["auroc"])


def test_an_objective_without_labels_has_none_to_score():
    layout = types.SimpleNamespace(labels=())
    with pytest.raises(ConfigError, match="needs an objective with labels"):
        classification.make({}, types.SimpleNamespace(layout=layout))
    layout.labels = ("a", "b")
    objective = types.SimpleNamespace(layout=layout, label_kind="multilabel")
    made = classification.make({"keep_predictions": True}, objective)
    assert made == Classification(("a", "b"), "multilabel", True)
