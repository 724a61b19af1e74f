"""RUN/paper/: what is there, what is said to be missing, and that no twin passes for real."""

from __future__ import annotations

import csv
import importlib
import io
import json
import re

import pytest

from sleepfm_jax.report.figures import LIGHT
from sleepfm_jax.report.paper import figures, published, run_tables, table
from sleepfm_jax.report.paper.write import efficiency, write_paper
from tests.helpers.transfer_run import made_ablation, made_run

NUMBER = re.compile(r"[+-]?\d+\.\d+")


@pytest.fixture
def twins(tmp_path):
    return made_run(tmp_path, ["tuab:twin", "tuev:twin", "ptbxl:twin"])


def test_markdown_latex_and_csv_agree_number_for_number(tmp_path):
    made_run(tmp_path, ["tuab", "tuab:twin", "cpsc:twin"])
    run = run_tables.read(tmp_path)
    for grid in (table.results(run), table.gains(run)):
        rows = list(csv.reader(io.StringIO(grid.csv())))[1:]
        markdown = [line for line in grid.markdown().splitlines() if line.startswith("| ")][2:]
        latex = grid.latex().split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
        assert len(rows) == len(markdown) == len(latex) == len(grid.lines)
        for one, other, third in zip(rows, markdown, latex):
            numbers = NUMBER.findall(" ".join(one))
            assert numbers == NUMBER.findall(other) == NUMBER.findall(third.replace("$-$", "-"))
    assert sum("0.8255 ± 0.0023" in line for line in table.results(run).csv().splitlines()) == 1


def test_a_task_that_was_not_run_is_said(twins):
    page = write_paper(twins).read_text()
    assert "Not run on real recordings: TUEV, TUAB, TUSL, BrainCapture, CHB-MIT" in page
    assert page.count("ours, real recordings: not run") == 8
    assert "channels.json is not there: launch.ablate_channels writes it." in page


def test_nothing_but_a_folder_is_still_a_paper(tmp_path):
    page = write_paper(tmp_path).read_text()
    assert page.count("Not drawn: ") == 3 and "transfer.csv is not there" in page
    assert not list((tmp_path / "paper").glob("*.png"))
    with pytest.raises(FileNotFoundError):
        write_paper(tmp_path / "nowhere")


def test_a_twin_never_stands_without_the_word_simulated(twins):
    write_paper(twins)
    lines = list(csv.reader(io.StringIO((twins / "paper" / "table.csv").read_text())))[1:]
    ours = [line for line in lines if "ours" in line[1] and "not run" not in line[1]]
    assert ours and all("simulated" in line[1] and "not comparable" in line[1] for line in ours)
    assert all(line[8:] == ["–", "–"] for line in ours)  # no rival in a twin's line
    assert not (twins / "paper" / "figure1.png").exists()
    assert (twins / "paper" / "figure1_simulated.pdf").exists()
    gains = (twins / "paper" / "gains.csv").read_text().splitlines()[1:]
    assert gains and all("simulated" in line for line in gains)


def test_beside_a_twin_no_published_value_is_drawn(tmp_path):
    made_run(tmp_path, ["tuab", "tuab:twin"])
    run = run_tables.read(tmp_path)

    def labels(tasks):
        drawn = figures.bars(LIGHT, tasks, "finetune")
        return [text.get_text() for text in drawn.legends[0].get_texts()]

    assert "published" in labels(run.real()) and "the paper's SOTA" in labels(run.real())
    assert set(labels(run.twins())) <= set(run_tables.CONDITIONS.values())


def test_a_predicted_sign_marks_a_twin_whatever_its_name(tmp_path):
    made_run(tmp_path, ["tuab"], signs=True)
    assert run_tables.read(tmp_path).real() == []


def test_failed_predictions_and_nulls_are_reported(twins):
    said = " ".join(table.predictions(run_tables.read(twins)))
    assert "Signs were predicted of 9 differences" in said
    assert "Predictions that failed: " in said and "tuev:twin pretrained (finetune)" in said
    assert "Predicted nulls (no gain): tuev:twin" in said
    assert run_tables.as_predicted({"predicted_sign": "", "as_predicted": "True"}) == ""
    assert run_tables.as_predicted({"predicted_sign": "+", "as_predicted": ""}) == "undecided"


def test_the_ablation_shows_both_readings_and_published_ones_beside_real_alone(twins):
    ablation = {"tuab:twin": made_ablation("balanced_accuracy"), "tuab": made_ablation("accuracy")}
    (twins / "channels.json").write_text(json.dumps({"tasks": ablation}))
    page = write_paper(twins).read_text()
    twin, real = sorted(
        (line for line in page.splitlines() if line.startswith("- TUAB") and "95 %" in line),
        key=lambda line: "simulated" not in line,
    )
    assert "95 % at 2 [1, 3] of 4, all larger too: 3 [2, 4]" in twin and "Published" not in twin
    assert "Published: 3 of 19, full score 0.827 (accuracy)." in real
    assert "No ablation yet: TUEV, simulated; PTB-XL, simulated" in page
    assert {path.name for path in (twins / "paper").glob("figure2*.png")} == {
        "figure2.png",
        "figure2_simulated.png",
    }


def test_label_efficiency_is_of_the_tasks_metric(twins):
    run = run_tables.read(twins)
    found = efficiency(run, True)
    assert set(found) == {"TUAB, simulated", "TUEV, simulated", "PTB-XL, simulated"}
    line = found["TUAB, simulated"]["lines"]["pretrained"]
    assert [fraction for fraction, _ in line] == [0.01, 0.1, 1.0]
    assert efficiency(run, False) == {}


def test_an_older_figure_does_not_outlive_its_data(twins):
    write_paper(twins)
    (twins / "transfer.csv").unlink()
    write_paper(twins)
    assert not (twins / "paper" / "figure1_simulated.png").exists()


@pytest.mark.parametrize("name", [*published.TASKS, *published.BESIDE])
def test_names_of_files_and_flags_are_one_task(name):
    assert published.of(name)[1] == ""
    for mark in ":_.-":
        assert published.of(f"{name}{mark}twin") == (published.of(name)[0], "twin")
    assert published.key_of(f"{name}:twin") == name


def test_published_scores_are_scores():
    for task in published.TASKS.values():
        scores = [*task.paper.values(), *((rival.value, rival.sd) for rival in task.rivals)]
        assert all(0.5 < value < 1 and (sd is None or 0 < sd < 0.2) for value, sd in scores)
        assert task.sota and task.strongest and task.ablation
        assert "scratch" in task.paper and "pretrained" in task.paper


@pytest.mark.parametrize("name", published.TASKS)
def test_the_row_in_a_configurations_docstring_is_the_published_one(name):
    module = importlib.import_module(f"configs.transfer.{name}")
    task = published.TASKS[name]
    assert module.TASK["metric"] == task.metric and "paper" not in module.TASK
    scores = [*task.paper.values(), (task.sota.value, task.sota.sd)]
    for value in (number for pair in scores for number in pair):
        assert re.search(rf"\D{f'{value:g}'[1:]}0*\b", module.__doc__), (name, value)
