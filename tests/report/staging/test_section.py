"""The page's section of stages: every figure said, pictures with words, parts missing."""

from __future__ import annotations

import json

import pytest

from sleepfm_jax.report import page as report
from sleepfm_jax.report.staging import stored
from sleepfm_jax.staging import rows, tables
from tests.helpers.made_nights import made_nights
from tests.report.test_page import Page


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("staged")
    found = {}
    for cohort, trained in (("shhs", True), ("cfs", False)):
        for signals, strength in (("all", 2.5), ("ECG", 1.5)):
            for model, gain in (("joint", 0.4), ("ecg", 0.0), (stored.SCORER, 2.0)):
                if signals == "all" and model == "ecg":
                    continue
                found[cohort, signals, model] = made_nights(
                    **{"strength": strength + gain, "signals": signals, "dataset": cohort},
                    **{"repeats": 3, "seed": len(model), "length": 120},
                    trained_on=["shhs"] if trained else ["mesa"],
                )
    rows.save(folder, found)
    tables.write_tables(folder, ["joint", "ecg"])
    return folder


def test_every_figure_is_on_the_page(workdir):
    page = Page(report.write_report(workdir).read_text(encoding="utf-8"))
    text = " ".join(page.text.split())
    assert "could not be shown" not in text
    section = json.loads((workdir / "results.json").read_text())["staging"]
    for subsets in section.values():
        for models in subsets.values():
            for model, row in models.items():
                if model != "differences":
                    assert f"{row['kappa']:.3f}" in text and model in text
    for expected in (
        "cfs: not trained on",
        "0.739, paper2024; second-hand",
        "joint \N{MINUS SIGN} ecg",
        "A closer look: joint from all",
        "REM latency, min",
        "time in N1+N2, min",
        "the person of median accuracy",
        "F1 N1+N2",
    ):
        assert expected in text, expected
    assert text.index("shhs") < text.index("cfs: not trained on")
    pictures = {p.stem for p in (workdir / "report").glob("*.png") if "dark" not in p.stem}
    assert pictures == {
        f"staging-{cohort}-{kind}"
        for cohort in ("shhs", "cfs")
        for kind in ("subsets", "confusion", "agreement", "night")
    }
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    assert len(images) == 8 and all(len(attrs["alt"]) > 30 for attrs in images)


def test_what_is_missing_is_said_and_the_rest_is_shown(workdir, tmp_path):
    tmp_path.joinpath("results.json").write_text((workdir / "results.json").read_text())
    page = Page(report.write_report(tmp_path).read_text(encoding="utf-8"))
    text = " ".join(page.text.split())
    assert text.count("no predictions of this cohort: no pictures of nights") == 2
    assert "could not be shown" not in text


def test_a_run_without_stages_has_no_such_section(tmp_path):
    html = report.write_report(tmp_path).read_text(encoding="utf-8")
    assert 'id="staging"' not in html and "#staging" not in html
