"""launch.subsets: models and their runs, as they are typed; and what the trainings score."""

from __future__ import annotations

import pytest
from absl import app

from configs.staging import simulated_cohorts
from sleepfm_jax import config as configuration
from tests.helpers.launched import launched


def test_models_are_read_with_their_runs():
    subsets = launched("subsets")
    found = subsets.runs_of("joint=a,b;ecg=c")
    assert found == {"joint": ["a", "b"], "ecg": ["c"]} and list(found) == ["joint", "ecg"]
    for wrong in ("joint", "joint=", "=a", "a=b;a=c"):
        with pytest.raises(app.UsageError, match="--models"):
            subsets.runs_of(wrong)


def test_second_scorings_are_read_with_their_cohorts():
    subsets = launched("subsets")
    assert subsets.scorings_of("") == {}
    assert subsets.scorings_of("a=x; b=y/z") == {"a": "x", "b": "y/z"}
    for wrong in ("a", "a=", "=x", "a=x;a=y"):
        with pytest.raises(app.UsageError, match="--second_scorer"):
            subsets.scorings_of(wrong)


def scored(variant):
    """{cohort: subsets} of the test rows."""
    rows = simulated_cohorts.get_config(variant).to_dict()["evaluators"]
    return {row["datasets"][0]: row["subsets"] for row in rows.values() if row["split"] == "test"}


def test_every_subset_is_scored_that_a_model_and_a_cohort_have():
    every = ("all", "ECG", "ECG+THX", "PPG", "PPG+THX")
    joint = {"ecg_thx": ("ECG", "ECG+THX"), "ppg": ("PPG",), "all_signals": every, "unseen": every}
    assert scored("joint") == scored("no_masking") == joint
    one = ("ECG",)
    assert scored("ecg") == {"ecg_thx": one, "all_signals": one, "unseen": one}
    assert set(scored("ppg")) == {"ppg", "all_signals", "unseen"}
    assert scored("ecg_thx")["unseen"] == ("ECG", "ECG+THX")
    for variant in ("joint", "no_masking", "ecg", "ppg", "ecg_thx"):
        config = simulated_cohorts.get_config(variant).to_dict()
        configuration.check(config)
        assert all(
            row["keep_predictions"]
            for name, row in config["evaluators"].items()
            if name.startswith("test")
        )
        assert "unseen" not in config["data"]["datasets"]
        alone = variant not in ("", "joint")
        assert (set(config["objective"]["masking"].values()) == {0.0}) == alone
