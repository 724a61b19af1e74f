"""Trainings → rows → subsets.csv: seeds put together, pairs, unseen cohorts, published figures."""

from __future__ import annotations

import csv
import dataclasses
import json

import numpy as np
import pytest

from sleepfm_jax.errors import DatasetError
from sleepfm_jax.metrics import predictions
from sleepfm_jax.metrics.staging import staging_score
from sleepfm_jax.report.staging import published, stored
from sleepfm_jax.signals import STAGES
from sleepfm_jax.simulation.second_scorer import second_scorer
from sleepfm_jax.staging import rows, tables
from sleepfm_jax.staging.scorers import second_opinion
from tests.helpers.made_nights import FOUR, hypnogram, made_nights


def train(folder, dataset, signals, *, seed, strength, trained_on, split="test"):
    """What a training leaves behind of one cohort and subset."""
    one = made_nights(
        **{"seed": seed, "strength": strength, "signals": signals, "dataset": dataset},
        **{"trained_on": trained_on, "split": split},
    )
    path = predictions.path_of(folder, dataset, f"{split}_{dataset}.{signals}")
    predictions.save(path, one)
    return folder


@pytest.fixture
def runs(tmp_path):
    """Two models of three seeds: one of two cohorts, one of the first alone."""
    found = {"joint": [], "ecg": []}
    for seed in range(3):
        joint, ecg = tmp_path / f"joint{seed}", tmp_path / f"ecg{seed}"
        for cohort, signals in (("shhs", "ECG"), ("shhs", "ECG+THX"), ("mesa", "PPG")):
            both = ["shhs", "mesa"]
            train(joint, cohort, signals, seed=seed, strength=2.5, trained_on=both)
        train(joint, "shhs", "ECG", seed=seed, strength=9, trained_on=both, split="validation")
        train(joint, "cfs", "ECG", seed=seed, strength=2.0, trained_on=both)
        train(ecg, "shhs", "ECG", seed=seed + 10, strength=1.2, trained_on=["shhs"])
        train(ecg, "cfs", "ECG", seed=seed + 10, strength=1.0, trained_on=["shhs"])
        found["joint"].append(joint)
        found["ecg"].append(ecg)
    return found


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_the_table_of_subsets(runs, tmp_path):
    rows.save(tmp_path, rows.gather(runs))
    said = tables.write_tables(tmp_path, ["joint", "ecg"])
    lines = read(tmp_path / "subsets.csv")
    assert [(ln["cohort"], ln["signals"], ln["model"]) for ln in lines] == [
        ("cfs", "ECG", "joint"),
        ("cfs", "ECG", "ecg"),
        ("mesa", "PPG", "joint"),
        ("shhs", "ECG", "joint"),
        ("shhs", "ECG", "ecg"),
        ("shhs", "ECG+THX", "joint"),
    ]
    wanted = ("model", "cohort", "signals", "kappa", "low", "high", "people")
    assert tuple(lines[0])[:7] == wanted
    for line in lines:
        assert float(line["low"]) < float(line["kappa"]) < float(line["high"])
        assert line["people"] == "12" and line["seeds"] == "3"
        assert line["unseen"] == ("yes" if line["cohort"] == "cfs" else "no")
    by_name = {(ln["cohort"], ln["signals"], ln["model"]): ln for ln in lines}
    ecg = by_name["shhs", "ECG", "joint"]
    assert ecg["published"] == "0.739" and "paper2024" in ecg["published_variant"]
    assert by_name["cfs", "ECG", "joint"]["published"] == ""
    gains = read(tmp_path / "subset_gains.csv")
    pooled = [ln for ln in gains if ln["metric"] == "kappa"]
    assert [(ln["cohort"], ln["model"], ln["against"]) for ln in pooled] == [
        ("cfs", "joint", "ecg"),
        ("shhs", "joint", "ecg"),
    ]
    for line in pooled:
        a, b = (by_name[line["cohort"], "ECG", name] for name in ("joint", "ecg"))
        gain = float(a["kappa"]) - float(b["kappa"])
        assert float(line["gain"]) == pytest.approx(gain, abs=1e-5)
        assert line["claim"] == "yes" and line["people"] == "12"
    section = json.loads((tmp_path / "results.json").read_text())["staging"]
    assert set(section) == {"cfs", "mesa", "shhs"}
    assert section["shhs"]["ECG"]["joint"]["kappa"] == pytest.approx(float(ecg["kappa"]), abs=1e-5)
    assert said.index("Unseen by a model") > said.index("Cohorts that were trained on")
    assert "cfs" not in said[: said.index("Unseen")]
    again = tables.write_tables(tmp_path)  # from what is stored alone, in the same order
    assert again == said and read(tmp_path / "subsets.csv") == lines


def test_seeds_are_put_together_in_one_order(runs):
    one = rows.gather(runs)["shhs", "ECG", "joint"]
    assert one.seeds.tolist() == [0, 1, 2] and one.probabilities.shape[0] == 3
    assert one.about["weights"] == ["seed 0", "seed 1", "seed 2"]
    first = made_nights(seed=0, strength=2.5)
    order = np.random.default_rng(0).permutation(len(first.label))
    names = ("person", "recording", "clip", "sleep_epoch", "label")
    mixed = dataclasses.replace(
        first,
        **{name: getattr(first, name)[order] for name in names},
        probabilities=first.probabilities[:, order],
    )
    other = made_nights(seed=1, strength=2.5)
    np.testing.assert_array_equal(
        rows.together([mixed, other], "m").probabilities[0], first.probabilities[0]
    )
    with pytest.raises(DatasetError, match="each training needs its own"):
        rows.together([first, first], "m")
    with pytest.raises(DatasetError, match="scored on other nights"):
        rows.together([first, made_nights(seed=1, people=11)], "m")


def test_a_folder_without_what_is_needed_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="keep_predictions=True"):
        rows.gather({"joint": [tmp_path]})
    train(tmp_path, "shhs", "ECG", seed=0, strength=1, trained_on=["shhs"])
    path = predictions.path_of(tmp_path, "shhs", "other")
    predictions.save(path, made_nights(dataset="shhs"))
    with pytest.raises(DatasetError, match="two rows are of ECG in shhs"):
        rows.gather({"joint": [tmp_path]})


def test_other_nights_are_a_difference_without_a_value():
    found = tables.scored({"a": made_nights(people=10), "b": made_nights(people=11)})
    one = found["differences"]["a-b"]
    assert one["value"] is None and "same examples" in one["no_claim"]
    lines = list(tables.gain_lines({"made": {"ECG": found}}))
    assert lines[0]["gain"] is None and lines[0]["claim"] == "no"
    assert "same examples" in tables.text(
        list(tables.subset_lines({"made": {"ECG": found}})), lines
    )


def test_people_of_a_leaking_list_are_counted_in_the_table():
    rows_of = {"a": made_nights(leaks={"test of shhs": 2}), "b": made_nights(seed=1)}
    lines = list(tables.subset_lines({"shhs": {"ECG": tables.scored(rows_of)}}))
    assert [line["leaked"] for line in lines] == [2, None]
    assert "12 (2 trained on)" in tables.text(lines, [])


def test_nothing_published_beside_what_is_simulated_or_of_other_classes():
    assert published.beside("shhs", "ECG", FOUR).kappa == 0.739
    assert published.beside("SHHS", "ECG", STAGES) is None
    assert published.beside("simulated_shhs", "ECG", FOUR) is None
    assert published.beside("shhs", "PPG", FOUR) is None


def test_published_figures_are_those_of_the_facts(root):
    facts = (root / "docs" / "field.md").read_text()
    for one in published.TABLE:
        assert f"{one.kappa:.3f}"[1:] in facts


def test_two_people_agree_as_people_do(tmp_path):
    rng = np.random.default_rng(1)
    stages = hypnogram(rng, 20000)
    stages[100:140] = -1
    second = second_scorer(stages, rng)
    np.testing.assert_array_equal(second == -1, stages == -1)
    share = [np.mean(second[stages == k] == k) for k in range(5)]
    np.testing.assert_allclose(share, [0.841, 0.63, 0.852, 0.674, 0.905], atol=0.06)
    first = made_nights(people=12, classes=STAGES)
    whole = {}
    for person, recording in sorted(set(zip(first.person.tolist(), first.recording.tolist()))):
        mine = first.recording == recording
        night = np.full(240, -1)
        night[first.sleep_epoch[mine]] = first.label[mine]
        whole[person, recording] = second_scorer(night, rng)
    ceiling = second_opinion(first, whole, "simulated")
    row = staging_score(ceiling)
    assert 0.6 < row["kappa"] < 0.85 and row["nights"] == 12
    found = tables.scored({"made": first, stored.SCORER: ceiling})
    assert list(found) == ["made", stored.SCORER, "differences"]
    assert found["differences"][f"made-{stored.SCORER}"]["value"] is not None
    del whole["p00", "p00-n0"]
    with pytest.raises(DatasetError, match="p00, p00-n0: no second scoring"):
        second_opinion(first, whole, "simulated")
