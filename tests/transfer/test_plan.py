"""What a plan trains: conditions as configurations, keys of cells, cells that tasks share."""

from __future__ import annotations

import dataclasses

import pytest

from sleepfm_jax.data import datasets
from sleepfm_jax.errors import ConfigError
from sleepfm_jax.pretrained import Pretrained
from sleepfm_jax.transfer import Plan, tables
from sleepfm_jax.transfer.conditions import Encoders, Options
from tests.helpers.launched import launched

program = launched("transfer")
find_task, known_tasks = program.find_task, program.known_tasks
PAPER = ("tuev", "tuab", "tusl", "braincapture", "chb_mit", "ptbxl", "g12ec", "cpsc")


@pytest.fixture(autouse=True)
def built(monkeypatch):
    """Every dataset is built, and its fingerprint its name."""
    monkeypatch.setattr(datasets, "fingerprint", lambda folder, name: name)


def encoder(name="a", **model):
    """One that is only looked at."""
    config = find_task("tuab:smoke").config
    config = {**config, "model": {**config["model"], **model}}
    found = Pretrained(None, {}, {}, config, {}, frozenset(), source=name)
    found.__dict__["fingerprint"] = f"weights of {name}"
    return found


def planned(tmp_path, tasks=("tuab:smoke",), of=None, **given):
    of = of or {"checkpoint": [encoder()]}
    return Plan(
        **{
            "tasks": [find_task(name) for name in tasks],
            "conditions": ("scratch",),
            "mode": "finetune",
            "encoders": Encoders(of),
            "data_dir": tmp_path,
            "workdir": tmp_path,
        }
        | given
    )


def only(plan):
    (cell,) = plan.cells
    return cell


def test_every_task_of_the_paper_is_there_with_its_twin_and_a_sign():
    assert set(PAPER) <= set(known_tasks())
    for name in PAPER:
        twin = find_task(f"{name}:twin")
        assert twin.signs["pretrained"] in "+0" and find_task(name).signs == {}
        assert program.signs(name, "coupling 0")["pretrained"] == "0"
    with pytest.raises(ConfigError, match="there are braincapture"):
        find_task("taub")
    with pytest.raises(ConfigError, match="unknown variant 'twins'"):
        find_task("tuab:twins")


def test_a_condition_says_where_it_starts_and_what_it_knows_of_places(tmp_path):
    of = {"checkpoint": [encoder("a", layers=2)], "checkpoint_pe": [encoder("b", layers=2)]}
    conditions = ("scratch", "pretrained", "pretrained_pe", "pe_from_pretraining")
    found = {}
    for condition in conditions:
        config = only(planned(tmp_path, of=of, conditions=(condition,))).config
        found[condition] = config["initialise_from"], config["model"]["position_encoding"]
        assert config["model"]["layers"] == 2  # of scratch, too
    assert found == {
        "scratch": ("", "none"),
        "pretrained": ("a", "none"),
        "pretrained_pe": ("a", "fourier"),
        "pe_from_pretraining": ("b", "fourier"),
    }
    assert len(planned(tmp_path, of=of, conditions=conditions).cells) == 4
    frozen = only(planned(tmp_path, mode="frozen_head")).config
    assert tuple(frozen["frozen"]) == ("^encoder/",)


def test_seeds_take_checkpoints_in_turn(tmp_path):
    of = {"checkpoint": [encoder("a"), encoder("b")]}
    cells = planned(tmp_path, of=of, conditions=("pretrained",), seeds=3).cells
    assert [c.config["initialise_from"] for c in cells] == ["a", "b", "a"]
    assert [c.config["seed"] for c in cells] == [0, 1, 2]


def test_the_three_ecg_tasks_are_asked_of_one_training(tmp_path):
    cell = only(planned(tmp_path, ("ptbxl:smoke", "g12ec:smoke", "cpsc:smoke")))
    assert cell.config["data"]["datasets"] == ("code15",)
    assert cell.asked == {
        "thresholds": ((), "validation"),
        "ptbxl_rhythm": (("ptbxl_rhythm",), "all"),
        "g12ec": (("g12ec",), "all"),
        "cpsc2018": (("cpsc2018",), "all"),
    }


def test_the_key_is_of_all_that_changes_numbers(tmp_path):
    plain = only(planned(tmp_path))
    keys = {plain.key}
    for name, value in (
        ("optimiser.learning_rate", 0.5),
        ("objective.label_smoothing", 0.3),
        ("keep_best.patience", 5),
        ("evaluators.validation.every", 1),
        ("data.slots", {"bas": 3}),
    ):
        keys.add(only(planned(tmp_path, options=Options(changes=((name, value),)))).key)
    keys.add(only(planned(tmp_path, options=Options(input_scaling="zscore"))).key)
    keys.add(only(planned(tmp_path, conditions=("pretrained",))).key)
    other = {"checkpoint": [encoder("b")]}
    keys.add(only(planned(tmp_path, conditions=("pretrained",), of=other)).key)
    keys.add(only(planned(tmp_path, fractions=(0.5,))).key)
    keys.add(dataclasses.replace(plain, data="another build").key)
    assert len(keys) == 11
    for name, value in (("data.num_threads", 1), ("log_every", 7), ("mesh", "data:1")):
        same = planned(tmp_path, options=Options(changes=((name, value),)))
        assert only(same).key == plain.key


def test_a_recipe_is_of_what_all_conditions_share(tmp_path):
    conditions = {"conditions": ("scratch", "pretrained"), "seeds": 2, "fractions": (0.1, 1.0)}
    for name in ("tuab:smoke", "tusl:smoke"):
        task = find_task(name)
        one, other = planned(tmp_path, (name,)), planned(tmp_path, (name,), **conditions)
        assert one.recipe(task) == other.recipe(task)
        steps = planned(tmp_path, (name,), options=Options(changes=(("steps", 9),)))
        threads = planned(tmp_path, (name,), options=Options(changes=(("data.num_threads", 9),)))
        assert steps.recipe(task) != one.recipe(task) == threads.recipe(task)


def test_folds_are_of_tasks_whose_people_nobody_set_apart(tmp_path):
    names = ("tuab:smoke", "tusl:smoke")
    plan = planned(tmp_path, names, options=Options(folds=5))
    assert [c.config["data"]["folds"] for c in plan.cells] == [0, 5, 5, 5, 5, 5]
    assert sorted(c.config["data"]["fold"] for c in plan.cells[1:]) == [0, 1, 2, 3, 4]


def test_what_cannot_be_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no such condition"):
        planned(tmp_path, conditions=("pretraind",))
    with pytest.raises(ConfigError, match=r"label_fraction"):
        planned(tmp_path, fractions=(0.0,))
    for twice in ({"fractions": (1.0, 0.1, 1.0)}, {"conditions": ("scratch", "scratch")}):
        with pytest.raises(ConfigError, match="each once"):
            planned(tmp_path, **twice)
    with pytest.raises(ConfigError, match="positions start fresh"):
        _ = planned(tmp_path, mode="probe", conditions=("pretrained_pe",)).cells
    with pytest.raises(ConfigError, match="has no such key"):
        _ = planned(tmp_path, options=Options(changes=(("optimizer.name", 1),))).cells
    with pytest.raises(ConfigError, match=r"--set=data\.folds: say it by --folds"):
        _ = planned(tmp_path, options=Options(changes=(("data.folds", 3),))).cells
    assert program.changes(["steps=5", "data.slots={'bas': 2}", "optimiser.name=sgd"]) == (
        ("steps", 5),
        ("data.slots", {"bas": 2}),
        ("optimiser.name", "sgd"),
    )


@pytest.mark.parametrize(
    ("sign", "low", "high", "said"),
    [
        ("+", 0.01, 0.1, "yes"),
        ("+", -0.01, 0.1, "no"),
        ("0", -0.01, 0.1, "yes"),
        ("0", 0.01, 0.1, "no"),
        ("", 0.01, 0.1, ""),
        ("+", None, None, ""),
    ],
)
def test_a_prediction_holds_or_fails_by_the_interval(sign, low, high, said):
    assert tables.as_predicted(sign, low, high) == said
