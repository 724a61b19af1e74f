"""Figures of staging beside scikit-learn's; intervals of a median; differences by person."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics

from sleepfm_jax.metrics.predictions import load, save
from sleepfm_jax.metrics.staging import (
    FIGURES,
    MEDIAN,
    median_interval,
    night_statistics,
    nights,
    staging_difference,
    staging_figures,
    staging_score,
)
from sleepfm_jax.signals import STAGES
from tests.helpers.made_nights import FOUR, made_nights
from tests.helpers.made_predictions import made_predictions


@pytest.mark.parametrize("classes", [FOUR, STAGES])
def test_figures_are_those_of_scikit_learn(classes):
    p = made_nights(repeats=2, classes=classes, strength=1.2)
    row = staging_score(p)
    guess = p.probabilities.argmax(axis=2)
    wanted = {
        "kappa": sklearn_metrics.cohen_kappa_score,
        "accuracy": sklearn_metrics.accuracy_score,
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score,
        "f1": lambda y, g: sklearn_metrics.f1_score(y, g, average="macro"),
    }
    for name, figure in wanted.items():
        each = [figure(p.label, g) for g in guess]
        np.testing.assert_allclose(row["per_seed"][name], each, atol=1e-12)
        assert row[name] == pytest.approx(np.mean(each))
    by_class = np.mean([sklearn_metrics.f1_score(p.label, g, average=None) for g in guess], axis=0)
    np.testing.assert_allclose(list(row["f1_by_class"].values()), by_class, atol=1e-12)
    confusion = sum(sklearn_metrics.confusion_matrix(p.label, g) for g in guess)
    np.testing.assert_array_equal(row["confusion"], confusion)
    whose = np.unique(p.recording)
    of_nights = [
        np.mean([sklearn_metrics.cohen_kappa_score(p.label[at], g[at]) for g in guess])
        for at in (p.recording == name for name in whose)
    ]
    assert row[MEDIAN] == pytest.approx(np.median(of_nights))
    plain = staging_figures(p)
    assert plain == {name: pytest.approx(row[name]) for name in (*FIGURES, MEDIAN)}
    assert row["nights"] == row["subjects"] == 12 and row["examples"] == len(p.label)
    for name in (*FIGURES, MEDIAN):
        low, high = row["ci95"][name]
        assert low < row[name] < high
    for name, (low, high) in row["f1_by_class_ci95"].items():
        assert 0 <= low < row["f1_by_class"][name] < high <= 1


def test_a_perfect_reader_and_one_who_says_wake():
    p = made_nights(strength=60.0)
    row = staging_score(p)
    assert row["kappa"] == row[MEDIAN] == row["f1"] == 1
    assert all(one["bias"] == 0 for one in row["agreement"].values())
    wake = np.zeros_like(p.probabilities)
    wake[:, :, 0] = 1
    row = staging_score(dataclasses.replace(p, probabilities=wake))
    assert row["kappa"] == 0 and row["f1_by_class"]["REM"] == 0
    assert row["agreement"]["SOL"]["nights"] == 0  # no sleep, no latency
    assert row["agreement"]["TST"]["bias"] < 0


def test_few_people_have_no_interval_and_the_reason():
    row = staging_score(made_nights(people=4))
    for name in (*FIGURES, MEDIAN):
        assert row["ci95"][name] is None and row["reasons"][name] == (
            "4 people, an interval needs 10"
        )
    assert set(row["f1_by_class_ci95"].values()) == {None}
    assert row["agreement"]["TST"]["ci95"]["bias"] is None


def test_a_class_that_nobody_has():
    p = made_nights()
    rows = p.label != 3
    names = ("person", "recording", "clip", "sleep_epoch", "label")
    few = dataclasses.replace(
        p,
        **{name: getattr(p, name)[rows] for name in names},
        probabilities=np.where(np.arange(4) == 3, 0, p.probabilities[:, rows]),
        fold=p.fold[:, rows],
    )
    row = staging_score(few)
    assert np.isnan(row["f1_by_class"]["REM"]) and row["f1_by_class_ci95"]["REM"] is None
    assert np.isfinite(row["f1"]) and row["ci95"]["kappa"] is not None


def test_nights_are_put_in_time_again(tmp_path):
    p = made_nights(people=2, nights=2, length=60)
    order = np.random.default_rng(0).permutation(len(p.label))
    names = ("person", "recording", "clip", "sleep_epoch", "label")
    mixed = dataclasses.replace(
        p,
        **{name: getattr(p, name)[order] for name in names},
        probabilities=p.probabilities[:, order],
    )
    save(tmp_path / "row.npz", mixed)
    mixed = load(tmp_path / "row.npz")
    assert [n.recording for n in nights(mixed)] == sorted(np.unique(p.recording).tolist())
    for one, other in zip(nights(p), nights(mixed)):
        np.testing.assert_array_equal(one.at, other.at)
        np.testing.assert_array_equal(
            one.hypnogram(p.label[one.rows]), other.hypnogram(mixed.label[other.rows])
        )
    assert (next(nights(p)).hypnogram(p.label[next(nights(p)).rows]) == -1).any()  # unscored
    assert staging_figures(mixed) == pytest.approx(staging_figures(p))
    table, again = night_statistics(p), night_statistics(mixed)
    np.testing.assert_array_equal(table["TST"], again["TST"])


def test_examples_that_are_no_sleep_epochs_are_refused():
    with pytest.raises(ValueError, match="not of sleep_epochs"):
        staging_score(made_predictions())


@pytest.mark.parametrize("n", [10, 14, 20, 35, 80])
def test_the_interval_of_a_median_covers(n):
    """Exactly: the ends are ordered values, the number of values below the median is binomial."""
    values = np.arange(n, dtype=float)
    middle, (low, high), why = median_interval(np.arange(n), values)
    assert middle == (n - 1) / 2 and why is None and low + high == n - 1
    covered = stats.binom.cdf(high, n, 0.5) - stats.binom.cdf(low, n, 0.5)
    assert 0.93 < covered < 0.99


def test_the_interval_of_a_median_is_over_people():
    rng = np.random.default_rng(2)
    values = rng.normal(size=12)
    once = median_interval(np.arange(12), values)
    often = median_interval(np.repeat(np.arange(12), 5), np.repeat(values, 5))
    assert often[0] == once[0] and often[1] == once[1]
    values[3] = np.nan
    assert median_interval(np.arange(12), values)[1] is not None
    assert median_interval(np.arange(3), np.full(3, np.nan))[2] == "no night has a value"
    assert median_interval(np.arange(12), np.ones(12))[:2] == (1.0, [1.0, 1.0])


def test_differences_are_paired():
    weak = made_nights(repeats=3, strength=1.0, people=15, weights=["a", "b", "c"])
    strong = made_nights(repeats=3, strength=1.6, people=15, seed=5, weights=["d", "e", "f"])
    found = staging_difference(strong, weak)
    a, b = staging_score(strong), staging_score(weak)
    for name in FIGURES:
        assert found["metrics"][name]["value"] == pytest.approx(a[name] - b[name])
    low, high = found["ci95"]
    assert 0 < low < found["value"] < high and found["claim"] and len(found["per_seed"]) == 3
    assert high - low < b["ci95"]["kappa"][1] - b["ci95"]["kappa"][0]  # hard nights are hard twice
    assert found["metrics"][MEDIAN]["claim"]
    same = staging_difference(weak, weak)
    assert same["ci95"] == [0, 0] and not same["claim"]
    assert same["metrics"][MEDIAN]["ci95"] == [0, 0]
    once = dataclasses.replace(strong, about={**strong.about, "weights": ["d"]})
    assert "a claim needs 3 seeds" in staging_difference(once, weak)["no_claim"]
    with pytest.raises(ValueError, match="same examples"):
        staging_difference(weak, made_nights(people=11, repeats=3))
