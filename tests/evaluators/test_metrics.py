"""Means over a split weigh what counted; and when a row of the configuration is due."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sleepfm_jax.evaluators import metrics
from sleepfm_jax.evaluators.evaluator import Means, due, flat


def test_means_weigh_by_what_counted():
    means = Means()
    means.add({"loss": (np.float32(12), np.int32(4)), "top1": (1, 2)})
    means.add({"loss": (np.float32(100), np.int32(1)), "top1": (0, 6)})
    means.add({"loss": (np.float32(0), np.int32(0)), "top1": (7, 8)})  # nothing counted
    assert means["loss"] == (12 + 100) / 5 != np.mean([3, 100])
    assert means["top1"] == 8 / 16
    assert list(means) == ["loss", "top1"]
    assert isinstance(means["loss"], float)


def test_a_mean_of_nothing_is_nan_and_a_name_may_come_late():
    means = Means()
    assert list(means) == []
    means.add({"auroc": (0.0, 0)})
    means.add({"auroc": (0.0, 0), "rare": (3.0, 1)})
    assert math.isnan(means["auroc"]) and means["rare"] == 3
    with pytest.raises(KeyError):
        means["never"]


def test_sums_of_many_batches_keep_their_digits():
    means = Means()
    for _ in range(10_000):
        means.add({"loss": (np.float32(0.1), np.int32(1))})
    np.testing.assert_allclose(means["loss"], np.float32(0.1), rtol=1e-12)


def test_every_metric_of_the_objective_is_yielded_over_all_batches():
    seen = []

    def predict(batch):
        seen.append(batch)
        return {"index": np.arange(batch)}, {"loss": (2.0 * batch, batch), "presence": (1, 2)}

    evaluator = metrics.make({"kind": "metrics"}, None)
    assert evaluator.wants == (), "no prediction is computed for it"
    assert list(evaluator.run(predict, [3, 1])) == [("loss", 2.0), ("presence", 0.5)]
    assert seen == [3, 1]


def test_what_is_logged_goes_two_levels_deep():
    figures = {
        "loss": 2.0,
        "said": "a word",
        "retrieval": {
            "clips_left_out": 0,
            "within_person": {"top1": np.float64(0.5), "per_modality": {"bas": {"top1": 1.0}}},
            "modality_pairs": {"bas→ecg": {"within_person": {"top1": 1.0}}},
        },
    }
    assert flat("validation", figures) == {
        "validation/loss": 2.0,
        "validation/retrieval_clips_left_out": 0,
        "validation/retrieval_within_person_top1": 0.5,
    }


def test_when_a_row_is_due():
    often, at_the_end = {"every": 3}, {"every": 0}
    assert [step for step in range(8) if due(often, step, last=step == 7)] == [0, 3, 6, 7]
    assert [step for step in range(8) if due(at_the_end, step, last=step == 7)] == [7]
