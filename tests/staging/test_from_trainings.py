"""Trainings that stage nights, through the loop → predictions of every subset → one table."""

from __future__ import annotations

import csv
import dataclasses

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from configs.staging import wav2sleep
from sleepfm_jax import config as configuration
from sleepfm_jax.errors import DatasetError
from sleepfm_jax.metrics import predictions
from sleepfm_jax.metrics.staging import nights, staging_figures
from sleepfm_jax.simulation.cohorts import write_second_scorer
from sleepfm_jax.staging import rows, scorers, tables
from tests.helpers.launched import launched

MODEL = "tests.helpers.night_means"  # compiled in a moment; its rows have 8 sleep_epochs


def smoke(seed: int) -> dict:
    config = wav2sleep.get_config("smoke").to_dict()
    config.update(seed=seed, steps=2)
    config["model"] = configuration.section_defaults("model", MODEL)
    test = configuration.section_defaults("evaluator", "staging") | {"split": "test", "every": 0}
    test |= {"subsets": ("all", "ECG", "ECG+THX"), "keep_predictions": True, "examples": 10**9}
    config["evaluators"]["test"] = test
    return config


@pytest.mark.slow
def test_trainings_become_a_table(tiny_data_dir, tmp_path):
    run, other = tmp_path / "joint_0", tmp_path / "joint_1"
    update = launched("pretrain").pretrain(smoke(0), str(tiny_data_dir), str(run), "as tested")
    figures = update["evaluations"]["test"]
    assert set(figures["subsets"]) == {"all", "ECG", "ECG+THX"}
    for subset, said in figures["subsets"].items():
        path = predictions.path_of(run, "simulated_psg", f"test.{subset}")
        stored = predictions.load(path)
        mine = staging_figures(stored)
        np.testing.assert_equal(mine, {name: said[name] for name in mine})
        assert stored.about["trained_on"] == ["simulated_psg"]
        assert stored.about["command"] == "as tested" and stored.about["signals"] == subset
        assert stored.seeds.tolist() == [0]
        assert 8 <= stored.sleep_epoch.max() < 12  # the night of 6 min is two rows
        assert len(list(nights(stored))) == 1
        again = dataclasses.replace(stored, seeds=np.ones(1, int))  # as another training
        predictions.save(predictions.path_of(other, "simulated_psg", path.stem), again)
    runs = [run, other]
    rows.save(tmp_path, rows.gather({"joint": runs}))
    assert "simulated_psg" in tables.write_tables(tmp_path)
    with (tmp_path / "subsets.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert {line["signals"] for line in lines} == {"all", "ECG", "ECG+THX"}
    for line in lines:
        assert line["seeds"] == "2" and line["people"] == "1" and line["unseen"] == "no"
        assert line["low"] == "" and line["published"] == ""
    write_second_scorer(tiny_data_dir.parent / "recordings", tmp_path / "second")
    subsets = launched("subsets")
    given = [f"--models=joint={run},{other}", f"--second_scorer=simulated_psg={tmp_path}/second"]
    with flagsaver.flagsaver():
        flags.FLAGS(["subsets", *given, f"--workdir={tmp_path}"])
        assert subsets.main(["subsets"]) == 0
    with (tmp_path / "subsets.csv").open() as file:
        lines = list(csv.DictReader(file))
    ceiling = {line["signals"]: line for line in lines if line["model"] == "second scorer"}
    assert set(ceiling) == {"all", "ECG", "ECG+THX"} and len(lines) == 6
    said = predictions.load(tmp_path / "staging" / "simulated_psg" / "all" / "second scorer.npz")
    assert said.about["features"] == "a second person's stages: simulated"
    agree = np.mean(said.probabilities[0].argmax(axis=-1) == said.label)
    assert 0.2 < agree <= 1.0 and float(ceiling["all"]["accuracy"]) == pytest.approx(
        agree, abs=1e-4
    )
    assert "second scorer" in (tmp_path / "report" / "index.html").read_text()
    for file in (tmp_path / "second").glob("*-Hypnogram.edf"):
        file.unlink()
    with pytest.raises(DatasetError, match="no second scoring of 1 of 1 nights, such as sim"):
        scorers.second_rows(rows.gather({"joint": runs}), {"simulated_psg": tmp_path / "second"})
    with pytest.raises(DatasetError, match="a second scorer of mesa: no model was scored on it"):
        scorers.second_rows(rows.gather({"joint": runs}), {"mesa": tmp_path / "second"})
