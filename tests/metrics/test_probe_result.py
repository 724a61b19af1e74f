"""Two probes on the same people: their difference, where separate intervals say little."""

from __future__ import annotations

import numpy as np
import pytest

from sleepfm_jax.metrics.linear_probe import fit_probe
from sleepfm_jax.metrics.probe_result import paired_difference
from tests.helpers.labelled_examples import class_splits, multilabel_split

QUICK = {"bootstrap": 100}


def test_paired_difference_sees_what_separate_intervals_cannot():
    rng = np.random.default_rng(17)
    train, validation, test = class_splits(17, n=600, strength=1.5, subjects=30)
    better = fit_probe(train, validation, test, **QUICK)
    noisier = [(x + 60 * rng.normal(size=x.shape), y, s) for x, y, s in (train, validation, test)]
    worse = fit_probe(*noisier, **QUICK)
    got = paired_difference(better, worse)
    expected = better["balanced_accuracy"] - worse["balanced_accuracy"]
    assert got["balanced_accuracy"] == pytest.approx(expected)
    assert got["ci95"]["balanced_accuracy"][0] > 0
    nothing = paired_difference(better, better)
    assert nothing["auroc"] == 0 and nothing["ci95"]["auroc"] == [0, 0]
    other = fit_probe(train, test, validation, **QUICK)
    with pytest.raises(ValueError, match="same examples"):
        paired_difference(better, other)


def test_paired_difference_of_several_labels():
    rng = np.random.default_rng(18)
    splits = [multilabel_split(rng, name) for name in ("train", "val", "test")]
    splits[2][1][:, 2] = 1.0
    better = fit_probe(*splits, label_kind="multilabel", **QUICK)
    blind = [(x[:, 3:], y, s) for x, y, s in splits]
    got = paired_difference(better, fit_probe(*blind, label_kind="multilabel", **QUICK))
    assert got["ci95"]["auroc"][0] > 0.1
