"""Every experiment in configs/: keys that exist, a model that can be made, a command to run it."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import re
import sys
from pathlib import Path

import jax
import pytest
from absl import flags
from flax import nnx
from ml_collections import config_flags

from sleepfm_jax import config as configuration
from sleepfm_jax import experiment
from sleepfm_jax.models.encoder import Encoder, EncoderConfig
from sleepfm_jax.training import optim

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
VARIANTS = [
    (path.relative_to(CONFIGS).with_suffix("").as_posix(), variant)
    for folder in (CONFIGS, *(CONFIGS / name for name in ("transfer", "staging", "health")))
    for path in sorted(folder.glob("*.py"))
    if path.stem not in ("__init__", "common", "predicted")
    for variant in ("", *re.findall(r'variant == "(\w+)"', path.read_text()))
]


def get(name, variant=""):
    return module_of(name).get_config(variant).to_dict()


def module_of(name):
    return importlib.import_module(f"configs.{name.replace('/', '.')}")


def encoder_shapes(section):
    """Shapes of the parameters of a section `model`."""
    fields = {field.name for field in dataclasses.fields(EncoderConfig)}
    sizes = EncoderConfig(**{k: v for k, v in section.items() if k in fields})
    model = nnx.eval_shape(lambda: Encoder(sizes, rngs=nnx.Rngs(params=0)))
    return nnx.to_pure_dict(nnx.state(model, nnx.Param))


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_an_experiment_can_be_made(name, variant):
    config = get(name, variant)
    assert configuration.check(config) == []
    objective = experiment.make_objective(config)
    params, _ = jax.eval_shape(lambda: objective.init(jax.random.key(0)))
    jax.eval_shape(optim.optimiser(config["optimiser"], config["steps"]).init, params)
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    if variant == "smoke":
        assert size < 200_000 and config["steps"] < 10


def test_each_has_a_smoke_variant_its_command_and_refuses_a_typo():
    names = {name for name, _ in VARIANTS}
    assert {name for name, variant in VARIANTS if variant == "smoke"} == names
    for name in names:
        module = module_of(name)
        assert f"configs/{name}.py" in module.__doc__ or f"launch/{name}.sh" in module.__doc__
        with pytest.raises(ValueError, match="smoek"):
            module.get_config("smoek")


def test_the_released_sizes_are_the_published_ones():
    section = get("sleepfm")["model"] | {"position_encoding": "none"}
    assert sum(leaf.size for leaf in jax.tree.leaves(encoder_shapes(section))) == 4_831_656


def test_the_reference_has_the_published_recipe():
    config = get("sleepfm", "reference")
    assert config["optimiser"]["name"] == "sgd" and config["optimiser"]["schedule"] == "step"
    assert config["optimiser"]["clip_norm"] == config["optimiser"]["warmup_steps"] == 0
    assert config["model"]["batch_statistics"] == "per_modality"
    assert config["objective"]["max_log_scale"] == 80.0


@pytest.mark.parametrize(
    ("typed", "path", "value"),
    [
        ("steps=7", "steps", 7),
        ("model.layers=4", "model.layers", 4),
        ("model.encode_absent=true", "model.encode_absent", True),
        ("optimiser.clip_norm=0", "optimiser.clip_norm", 0.0),
        ('data.datasets=("edf_folder",)', "data.datasets", ("edf_folder",)),
        ('frozen=("^encoder/",)', "frozen", ("^encoder/",)),
        ('optimiser.groups=(("^encoder/", 0.1),)', "optimiser.groups", (("^encoder/", 0.1),)),
        ("initialise_from=RUN", "initialise_from", "RUN"),
        ("evaluators.test.examples=16", "evaluators.test.examples", 16),
        ("evaluators.validation.every=0", "evaluators.validation.every", 0),
        ("keep_best.figure=validation/loss", "keep_best.figure", "validation/loss"),
        ("keep_best.largest=true", "keep_best.largest", True),
        ("mesh=data:4,fsdp:2", "mesh", "data:4,fsdp:2"),
        (
            'sharding_rules=(("up", (None, "data")), (".*", ()))',
            "sharding_rules",
            (("up", (None, "data")), (".*", ())),
        ),
    ],
)
def test_the_command_line_changes_any_key(monkeypatch, typed, path, value):
    # ml_collections looks there for the flags that it has to define.
    monkeypatch.setattr(sys, "argv", ["program", f"--config.{typed}"])
    values = flags.FlagValues()
    made = importlib.import_module("configs.pretrain_simulated").get_config("smoke")
    holder = config_flags.DEFINE_config_dict("config", made, flag_values=values)
    values(sys.argv)
    config = holder.value.to_dict()
    assert functools.reduce(dict.__getitem__, path.split("."), config) == value
    configuration.check(config)
