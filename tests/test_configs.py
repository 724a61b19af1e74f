"""Every experiment in configs/: known keys, objects that can be made, a command to run it."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import jax
import pytest

from sleepfm_jax import experiment
from sleepfm_jax.training import optim

VARIANTS = [
    (path.stem, variant)
    for path in sorted((Path(__file__).resolve().parents[1] / "configs").glob("*.py"))
    if path.stem not in ("__init__", "common")
    for variant in ("", *re.findall(r'variant == "(\w+)"', path.read_text()))
]


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_an_experiment_can_be_made(name, variant):
    config = importlib.import_module(f"configs.{name}").get_config(variant).to_dict()
    experiment.check_config(config)
    task = experiment.make_task(config)
    params, _ = jax.eval_shape(task.init, jax.random.key(0))
    jax.eval_shape(optim.optimiser(config["optimiser"], config["steps"]).init, params)
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    if variant == "smoke":
        assert size < 200_000 and config["steps"] < 10


def test_each_has_a_smoke_variant_its_command_and_refuses_a_typo():
    names = {name for name, _ in VARIANTS}
    assert {name for name, variant in VARIANTS if variant == "smoke"} == names
    for name in names:
        module = importlib.import_module(f"configs.{name}")
        assert f"configs/{name}.py" in module.__doc__ or f"launch/{name}.sh" in module.__doc__
        with pytest.raises(ValueError, match="smoek"):
            module.get_config("smoek")


def test_the_released_sizes_are_the_published_ones():
    config = importlib.import_module("configs.sleepfm").get_config("").to_dict()
    config["encoder"]["position_encoding"] = "none"
    params, _ = jax.eval_shape(experiment.make_task(config).init, jax.random.key(0))
    # 4,831,656 in the reference's encoder, and the logit scale.
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 4_831_656 + 1
