"""A configuration → the objects it names."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from sleepfm_jax import config as configuration
from sleepfm_jax import signals
from sleepfm_jax.config.keys import module_of_kind
from sleepfm_jax.data import datasets
from sleepfm_jax.data.clip_examples import ClipExamples
from sleepfm_jax.data.examples import Examples
from sleepfm_jax.data.follow_up import FollowedUp
from sleepfm_jax.data.nights.examples import NightExamples
from sleepfm_jax.data.nights.tokens import TokenNights
from sleepfm_jax.errors import ConfigError, SleepFMError
from sleepfm_jax.evaluators.evaluator import Evaluator
from sleepfm_jax.objectives.objective import Objective
from sleepfm_jax.signals.layout import Layout
from sleepfm_jax.signals.night_layout import NightLayout
from sleepfm_jax.signals.token_layout import TokenLayout

EXAMPLES = {"clips": ClipExamples, "nights": NightExamples, "night_tokens": TokenNights}
"""What a row is (`Layout.examples`) → where rows come from."""


@contextlib.contextmanager
def config_errors() -> Iterator[None]:
    """What an object made from the configuration refuses is an error of the configuration.

    Raises:
      ConfigError: in place of any ValueError that is not about something else by name.
    """
    try:
        yield
    except SleepFMError:
        raise
    except ValueError as error:
        raise ConfigError(f"config: {error}") from error


def make_slots(config: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    """Channels of each modality, in the order of the model's M axis."""
    slots = config["data"]["slots"]
    return tuple((m, slots[m]) for m in signals.MODALITIES if slots.get(m))


def make_model(config: Mapping[str, Any]) -> Any:
    """The model of a checked configuration."""
    return _module("model", config["model"]["kind"]).make(config, make_slots(config))


def make_objective(config: Mapping[str, Any]) -> Objective:
    """The objective of a checked configuration, with its model."""
    kind = config["objective"]["kind"]
    with config_errors():
        objective = _module("objective", kind).make(config, make_model(config))
    if ignored := [p for p in config["frozen"] if p not in objective.frozen]:
        raise ConfigError(f"config.frozen: objective {kind!r} does not freeze {', '.join(ignored)}")
    return objective


def make_evaluators(config: Mapping[str, Any], objective: Objective) -> dict[str, Evaluator]:
    """The evaluators of a checked configuration, by the names of their rows."""
    return {
        name: _module("evaluator", row["kind"]).make(row, objective)
        for name, row in config["evaluators"].items()
    }


def make_examples(
    records: datasets.Records, layout: Layout | NightLayout | TokenLayout, **options: Any
) -> Examples:
    """The rows that a model asks for.

    Args:
      options: what `ClipExamples` is told of what training draws, or `NightExamples` of memory;
        of tokens their maker (`frozen_tokens`).
    """
    examples = EXAMPLES[layout.examples](records, layout, **options)
    return FollowedUp(examples, records, layout.follow_up) if layout.follow_up else examples


def input_changes(
    source: Mapping[str, Any], config: Mapping[str, Any], metadata: Mapping[str, Any]
) -> list[str]:
    """In what a run's input is another than that of the weights it starts from: possible (the
    transfer paper does so), and to be known.

    Args:
      source: `Start.source`. metadata: of the run's records.
    """
    if not source:
        return []
    before = {key: source["preprocessing"].get(key) for key in datasets.MADE_ALIKE}
    before["input_scaling"] = configuration.upgrade(source["config"])["data"]["input_scaling"]
    now = {key: metadata.get(key) for key in datasets.MADE_ALIKE}
    now["input_scaling"] = config["data"]["input_scaling"]
    return [
        f"config.initialise_from: its {key} was {value!r}, here it is {now[key]!r}"
        for key, value in before.items()
        if value != now[key]
    ]


def _module(section: str, kind: str) -> ModuleType:
    return importlib.import_module(module_of_kind(section, kind))
