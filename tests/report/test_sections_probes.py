"""The probes on the page: every row, difference, picture and citation; what is broken is said."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from sleepfm_jax.metrics import predictions
from sleepfm_jax.report import page as report
from sleepfm_jax.report.results import text_table
from tests.helpers import scored_runs
from tests.report.test_page import Page


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A workdir of three datasets, its results, its page."""
    workdir = tmp_path_factory.mktemp("scored")
    results = scored_runs.fill(workdir, people=8, epochs=60)
    html = report.write_report(workdir).read_text(encoding="utf-8")
    return workdir, results, Page(html)


def _words(page: Page) -> str:
    return " ".join(page.text.split())


def test_every_dataset_shows_its_rows_differences_people_and_levels(run):
    _, results, page = run
    text = _words(page)
    assert "could not be shown" not in text
    for name, rows in results["probes"].items():
        for row in rows.values():
            assert f"{row['auroc']:.3f}" in text
        assert f"How to cite a row of {name}" in text
    for expected in (
        "Untrained encoder",
        "Raw-token mean",
        "Mispaired pretraining",
        "Chance",
        "Labels permuted over people",
        "Plain features: L2 at the edge of its grid",
        "1 8 people, an interval needs 10",  # said once, and pointed at
        "not shown: no interval",
        "Pretrained \N{MINUS SIGN} Plain features",
        "mean over folds",
        "fit without class weights",
        "sensitivity",
        "Chosen by rule: the person of median accuracy",
        "weights 9be1d0aa42c7",
        "fingerprint 3f2a9c0d71e4",
        "step 4000",
        "L2 0.01",
        "python -m launch.probe --workdir=RUN --dataset=short_ecg",
        "predictions/diagnoses/random.npz",
    ):
        assert expected in text, expected


def test_pictures_of_each_kind_with_words(run):
    workdir, _, page = run
    names = {p.stem for p in (workdir / "report").glob("*.png") if not p.stem.endswith("-dark")}
    kinds = {
        "demo_nights": {"scores", "people", "differences", "curves", "night"}
        | {"map-class", "map-person"}
        | {f"confusion-{row}" for row in ("pretrained", "features", "random")},
        "short_ecg": {"scores", "people", "differences", "curves", "map-class", "map-person"}
        | {f"confusion-{row}" for row in ("pretrained", "features", "random")},
        "diagnoses": {"scores", "people", "differences", "curves", "map-class", "map-person"},
    }
    assert names == {f"probes-{d}-{kind}" for d, found in kinds.items() for kind in found}
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    assert len(images) == len(names) and all(len(attrs["alt"]) > 30 for attrs in images)
    assert any("Chance is 0.200" in attrs["alt"] for attrs in images)


def test_people_per_class_and_label_by_label(run):
    _, results, page = run
    text = _words(page)
    rows = results["probes"]["diagnoses"]["pretrained"]
    people, examples = rows["subjects_per_class"], rows["examples_per_class"]
    assert f"stroke {people['stroke']} {examples['stroke']}" in text
    assert "Label by label" in text and f"{scored_runs.HOSTILE} 0 0" in text


def test_one_broken_file_costs_its_row_only(run, tmp_path):
    workdir, _, _ = run
    shutil.copytree(workdir / "predictions/short_ecg", tmp_path / "predictions/short_ecg")
    (tmp_path / "predictions/short_ecg/features.npz").write_text("PK broken")
    text = _words(Page(report.write_report(tmp_path).read_text()))
    assert "features.npz: no predictions in it" in text
    assert "Confusion" in text and "could not be shown" not in text


@pytest.mark.parametrize("content", [None, "{"])
def test_predictions_are_shown_without_results(run, tmp_path, content):
    workdir, _, _ = run
    shutil.copytree(workdir / "predictions/short_ecg", tmp_path / "predictions/short_ecg")
    if content:
        (tmp_path / "results.json").write_text(content)
    text = _words(Page(report.write_report(tmp_path).read_text()))
    assert "results.json is missing" in text or "results.json cannot be read" in text
    assert "People per class" in text and "Confusion" in text and "no paired differences" in text


def test_results_are_shown_without_predictions(run, tmp_path):
    workdir, results, _ = run
    shutil.copy(workdir / "results.json", tmp_path / "results.json")
    text = _words(Page(report.write_report(tmp_path).read_text()))
    assert "predictions/demo_nights/ holds no predictions" in text
    assert "How to cite a row of demo_nights" in text and "9be1d0aa42c7" in text
    assert f"{results['probes']['demo_nights']['pretrained']['auroc']:.3f}" in text


def test_a_part_that_fails_is_said_and_the_others_stay(run, tmp_path):
    workdir, _, _ = run
    path = predictions.path_of(tmp_path, "nights", "pretrained")
    found = predictions.load(predictions.path_of(workdir, "demo_nights", "pretrained"))
    label = found.label.copy()
    label[0] = 99  # a class that there is not
    predictions.save(path, predictions.Predictions(**{**vars(found), "label": label}))
    text = _words(Page(report.write_report(tmp_path).read_text()))
    assert "could not be shown: IndexError" in text and "Map of the embeddings" not in text
    assert "Curves" in text


def test_names_that_no_file_can_have(tmp_path):
    rows = {"pretrained": {"auroc": 0.7, "chance": {"auroc": 0.5}}}
    results = {"probes": {"../a b": rows, "___a_b": rows}}
    (tmp_path / "results.json").write_text(json.dumps(results))
    page = Page(report.write_report(tmp_path).read_text())
    assert len(list((tmp_path / "report").glob("probes-*-scores.png"))) == 2
    assert not list(tmp_path.glob("*.png"))
    anchors = [a["id"] for tag, a in page.tags if tag == "article"]
    assert len(set(anchors)) == 2 and all(" " not in a and "/" not in a for a in anchors)


def test_one_example_of_each_and_nobody_on_the_map(tmp_path):
    base = {"person": np.array(["a", "b"]), "recording": np.array(["r", "s"])}
    about = {"classes": ["no", "yes"], "label_kind": "classification", "split": "test"}
    found = predictions.Predictions(
        **base,
        clip=np.zeros(2, int),
        sleep_epoch=np.full(2, -1),
        label=np.array([0, 1]),
        probabilities=np.full((1, 2, 2), 0.5, np.float32),
        seeds=np.zeros(1, int),
        fold=np.full((1, 2), -1),
        map=np.full((2, 2), np.nan, np.float32),
        about=about,
    )
    predictions.save(predictions.path_of(tmp_path, "two", "pretrained"), found)
    text = _words(Page(report.write_report(tmp_path).read_text()))
    assert "could not be shown" not in text and "Confusion" in text


def test_the_text_table_has_the_differences(run):
    _, results, _ = run
    lines = text_table(results).splitlines()
    at = lines.index("")
    heads = lines[at + 1].split()
    assert heads[:4] == ["dataset", "difference", "metric", "value"]
    rows = lines[at + 3 :]
    found = results["differences"]
    assert len(rows) == sum(map(len, found.values())) == 15
    assert rows[0].startswith("demo_nights")
    assert all(row.endswith("  no: 8 people, an interval needs 10") for row in rows[:5])
    for row, one in zip(rows, [d for pairs in found.values() for d in pairs.values()], strict=True):
        assert f"{one['value']:+.3f}" in row
        assert " ".join(f"{v:+.3f}" for v in one["per_seed"]) in row
        assert row.endswith(" holds") == one["claim"]
