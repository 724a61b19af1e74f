"""A configuration → the objects it names, and what it is told when it names none."""

from __future__ import annotations

import pytest

from sleepfm_jax import config as configuration
from sleepfm_jax import experiment
from sleepfm_jax.errors import CheckpointError, ConfigError, DatasetError
from sleepfm_jax.evaluators.metrics import Metrics
from sleepfm_jax.evaluators.retrieval import Retrieval
from sleepfm_jax.models.sleepfm import SleepFM
from sleepfm_jax.objectives.contrastive import Contrastive
from tests.helpers.line_objective import Line
from tests.helpers.runs import LINE, WATCHER, smoke, watched
from tests.helpers.watcher_evaluator import Watcher


def test_kinds_are_found_by_name():
    config = smoke(
        **{"objective.loss": "pairwise", "frozen": ("^encoder/",), "model.dropout": 0.25}
    )
    objective = experiment.make_objective(config)
    assert isinstance(objective, Contrastive) and isinstance(objective.model, SleepFM)
    assert (objective.loss_kind, objective.log_scale) == ("pairwise", 2.5)
    assert objective.frozen == ("^encoder/",) and objective.distinct_rows
    assert objective.model == experiment.make_model(config)
    others = ("kind", "batch_statistics", "sequences")
    sizes = {k: v for k, v in config["model"].items() if k not in others}
    assert {name: getattr(objective.model.encoder, name) for name in sizes} == sizes
    hash(objective)  # a description: one compiled program for all that are alike
    assert objective == experiment.make_objective(config)
    config["evaluators"]["means"] = configuration.section_defaults("evaluator", "metrics")
    evaluators = experiment.make_evaluators(config, objective)
    assert list(evaluators) == list(config["evaluators"])  # in the order of their rows
    assert evaluators["test"] == Retrieval(("bas", "resp", "ecg", "emg"), 128, names_people=True)
    assert isinstance(evaluators["means"], Metrics)


def test_kinds_are_found_by_dotted_module():
    config = watched({"curve": {"figures": (("0", 1.5),)}})
    assert config["objective"]["kind"] == LINE
    assert config["evaluators"]["curve"]["kind"] == WATCHER
    configuration.check(config)
    objective = experiment.make_objective(config)
    assert isinstance(objective, Line)
    assert objective.layout == experiment.make_model(config).layout
    assert experiment.make_evaluators(config, objective) == {"curve": Watcher({"0": 1.5})}


def test_an_objective_that_would_not_freeze_is_refused():
    config = smoke(frozen=("^encoder/",))
    config["objective"] = {"kind": "tests.helpers.toy_objective"}
    with pytest.raises(ConfigError, match="toy_objective' does not freeze"):
        experiment.make_objective(config)


def test_slots_are_in_the_order_of_the_modalities_without_those_of_no_channel():
    config = smoke()
    config["data"]["slots"] = {"emg": 1, "ecg": 0, "bas": 2, "resp": 2}
    assert experiment.make_slots(config) == (("bas", 2), ("resp", 2), ("emg", 1))
    del config["data"]["slots"]["ecg"]
    configuration.check(config)
    assert experiment.make_slots(config) == (("bas", 2), ("resp", 2), ("emg", 1))
    layout = experiment.make_objective(config).layout
    assert layout.slots == experiment.make_slots(config) and layout.channels == 5
    assert layout.patch_samples == 640 and layout.examples in experiment.EXAMPLES


def test_what_an_object_refuses_is_an_error_of_the_configuration():
    said = "config: width 32 is not divisible"
    with pytest.raises(ConfigError, match=said) as caught, experiment.config_errors():
        raise ValueError("width 32 is not divisible by 5 heads")
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(ConfigError, match=r"^config: contrastive pretraining needs two modalit"):
        experiment.make_objective(smoke(**{"data.slots": {"bas": 2}}))


@pytest.mark.parametrize("error", [DatasetError("of data"), CheckpointError("of a checkpoint")])
def test_what_is_about_something_else_by_name_stays(error):
    with pytest.raises(type(error), match=r"^of "), experiment.config_errors():
        raise error


def test_what_is_no_fault_of_a_person_stays():
    with pytest.raises(TypeError, match="ours"), experiment.config_errors():
        raise TypeError("ours")


def test_another_input_than_that_of_the_weights_is_said():
    config, metadata = smoke(), {"sfreq": 128.0, "preprocessing": "z-scored", "clip_seconds": 30.0}
    source = {"config": smoke(), "preprocessing": dict(metadata, clip_seconds=300.0)}
    assert experiment.input_changes({}, config, metadata) == []
    assert experiment.input_changes(source, config, metadata) == []
    config["data"]["input_scaling"] = "published_uv"
    said = experiment.input_changes(source, config, metadata | {"sfreq": 400.0})
    assert said == [
        "config.initialise_from: its sfreq was 128.0, here it is 400.0",
        "config.initialise_from: its input_scaling was 'zscore', here it is 'published_uv'",
    ]
