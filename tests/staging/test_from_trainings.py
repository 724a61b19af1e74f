"""Trainings that stage nights, through the loop → predictions of every subset → one table."""

from __future__ import annotations

import csv

import numpy as np

from configs.staging import wav2sleep
from sleepfm_jax import config as configuration
from sleepfm_jax.metrics import predictions
from sleepfm_jax.metrics.staging import staging_figures
from sleepfm_jax.staging import rows, tables
from tests.helpers.launched import launched


def smoke(seed: int) -> dict:
    config = wav2sleep.get_config("smoke").to_dict()
    config.update(seed=seed, steps=2)
    test = configuration.section_defaults("evaluator", "staging") | {"split": "test", "every": 0}
    test |= {"subsets": ("all", "ECG", "ECG+THX"), "keep_predictions": True, "examples": 10**9}
    config["evaluators"]["test"] = test
    return config


def test_trainings_become_a_table(tiny_data_dir, tmp_path):
    pretrain = launched("pretrain").pretrain
    runs = []
    for seed in (0, 1):
        runs.append(tmp_path / f"joint_{seed}")
        update = pretrain(smoke(seed), str(tiny_data_dir), str(runs[-1]), "as tested")
        figures = update["evaluations"]["test"]
        assert set(figures["subsets"]) == {"all", "ECG", "ECG+THX"}
        for subset, said in figures["subsets"].items():
            path = predictions.path_of(runs[-1], "simulated_psg", f"test.{subset}")
            stored = predictions.load(path)
            np.testing.assert_equal(
                staging_figures(stored), {name: said[name] for name in staging_figures(stored)}
            )
            assert stored.about["trained_on"] == ["simulated_psg"]
            assert stored.about["command"] == "as tested" and stored.about["signals"] == subset
            assert stored.seeds.tolist() == [seed]
    rows.save(tmp_path, rows.gather({"joint": runs}))
    assert "simulated_psg" in tables.write_tables(tmp_path)
    with (tmp_path / "subsets.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert {line["signals"] for line in lines} == {"all", "ECG", "ECG+THX"}
    for line in lines:
        assert line["seeds"] == "2" and line["people"] == "1" and line["unseen"] == "no"
        assert line["low"] == "" and line["published"] == ""
