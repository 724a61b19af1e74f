"""A task, a condition and a mode → the configuration of a training."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sleepfm_jax import config as configuration
from sleepfm_jax import pretrained
from sleepfm_jax.errors import CheckpointError, ConfigError
from sleepfm_jax.pretrained import Pretrained

ALL = 10**9
"""Examples of an evaluator: the whole split."""
CHOSEN = "thresholds"
"""The row of `evaluators` whose people thresholds are chosen on."""


@dataclasses.dataclass(frozen=True)
class Condition:
    """Attributes:
    source: which checkpoints it starts from; "": none. positions: `model.position_encoding`.
    """

    source: str
    positions: str


CONDITIONS = {
    "scratch": Condition("", "none"),
    "pretrained": Condition("checkpoint", "none"),
    "pretrained_pe": Condition("checkpoint", "fourier"),
    "pe_from_pretraining": Condition("checkpoint_pe", "fourier"),
    "mispaired": Condition("mispaired", "none"),
}
"""The paper's three; positions that were there in pretraining already; and the control."""
MODES = ("finetune", "frozen_head", "probe", "scratch")
BASELINES = ("random", "tokens", "features")
"""Rows of linear probes that no pretraining is in, or none beyond the tokenizer's."""

_OF_THE_TASK = (*("kind", "dropout", "dtype", "position_encoding", "position_scale", "sequences"),)
"""Keys of a model that are not the checkpoint's to say."""


@dataclasses.dataclass(frozen=True)
class Task:
    """A row of the paper, or its twin.

    Attributes:
      name: as it was asked for, "tuab:twin".
      dataset: what is tested. metric: of the row. labels: that are scored, of the objective's.
      config: complete, of `configs/transfer`.
      in_folds: nobody was set apart to be tested: everybody is, in turn, where folds are asked for.
      signs: condition → predicted sign of its gain over scratch; {} of real recordings.
    """

    name: str
    dataset: str
    metric: str
    labels: tuple[str, ...]
    config: Mapping[str, Any]
    in_folds: bool = False
    signs: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Folders of data_dir."""
        return tuple(self.config["data"]["datasets"])

    @property
    def scored_row(self) -> tuple[tuple[str, ...], str]:
        """(datasets, split) of the evaluator that scores it: its own split for it, or all of a
        dataset that was not trained on."""
        if self.trained_on == (self.dataset,):
            return (), "test"
        return (self.dataset,), "all"

    def folds(self, asked: int | None) -> int:
        """How many folds; 0: the dataset's own splits."""
        if not self.in_folds or asked is None:
            return self.config["data"]["folds"]
        return asked


@dataclasses.dataclass(frozen=True)
class Encoders:
    """Pretrained encoders by what they are called: "checkpoint", "checkpoint_pe", "mispaired"."""

    of: Mapping[str, Sequence[Pretrained]]

    @classmethod
    def load(cls, folders: Mapping[str, Sequence[str]]) -> Encoders:
        """Raises:
        CheckpointError: one is not what it is called, or they are of two architectures.
        """
        found = {name: [pretrained.load(f) for f in paths] for name, paths in folders.items()}
        first = next((e for encoders in found.values() for e in encoders), None)
        for name, encoders in found.items():
            for encoder in encoders:
                _check(name, encoder, first)
            if len({e.fingerprint for e in encoders}) < len(encoders):
                raise CheckpointError(
                    f"--{name}={','.join(folders[name])}: the same weights twice are no two seeds"
                )
        return cls(found)

    def for_seed(self, source: str, seed: int) -> Pretrained:
        """That of a seed: with fewer encoders than seeds they are taken in turn.

        Raises:
          ConfigError: none was given.
        """
        if not self.of.get(source):
            raise ConfigError(f"--{source} is not given: a condition asks for it")
        return self.of[source][seed % len(self.of[source])]

    def first(self) -> Pretrained | None:
        """Whose sizes a model from scratch has, too."""
        return next((e for encoders in self.of.values() for e in encoders), None)

    def each(self) -> Iterable[tuple[str, Pretrained]]:
        """(what it is called, encoder)."""
        return ((name, e) for name, encoders in self.of.items() for e in encoders)


def _check(name: str, encoder: Pretrained, first: Pretrained) -> None:
    config, where = encoder.config, f"--{name}={encoder.source}"
    if config["model"]["kind"] != "sleepfm":
        raise CheckpointError(f"{where}: a model of kind {config['model']['kind']!r}, not sleepfm")
    if bool(config["data"]["mispaired"]) is not (name == "mispaired"):
        raise CheckpointError(f"{where}: its config.data.mispaired is {name != 'mispaired'}")
    positions = config["model"]["position_encoding"]
    if (positions != "none") is not (name == "checkpoint_pe"):
        wanted = "positions" if name == "checkpoint_pe" else "none"
        raise CheckpointError(
            f"{where}: pretrained with config.model.position_encoding={positions!r}; expected "
            f"{wanted}: conditions differ by where positions come from"
        )
    differing = [
        f"{key} {config['model'][key]!r} and {first.config['model'][key]!r}"
        for key in sizes_of(first)
        if config["model"].get(key) != first.config["model"][key]
    ]
    if differing:
        raise CheckpointError(
            f"{where} and {first.source} differ in {', '.join(differing)}: conditions are compared "
            "at one size"
        )


def sizes_of(encoder: Pretrained) -> dict[str, Any]:
    """Keys of `config.model` that every training has of the checkpoint."""
    return {k: v for k, v in encoder.config["model"].items() if k not in _OF_THE_TASK}


_SAID_OTHERWISE = {
    "data.folds": "--folds",
    "data.fold": "--folds, of which each is tested once",
    "data.label_fraction": "--label_fraction",
    "model.position_encoding": "--conditions",
    "initialise_from": "--conditions and --checkpoint",
}
"""Keys that a plan sets in every training: what a user put there would be lost."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What a whole run of the driver is trained with.

    Attributes:
      folds: of tasks that are scored in folds; None: as their configurations say.
      input_scaling: of all; None: as their configurations say.
      changes: ("optimiser.learning_rate", value) of each configuration.
    """

    folds: int | None = None
    input_scaling: str | None = None
    changes: tuple[tuple[str, Any], ...] = ()


def base(task: Task, options: Options) -> dict[str, Any]:
    """The task's configuration with what was changed for all.

    Raises:
      ConfigError: no such key, or one that a flag of its own says.
    """
    config = copy.deepcopy(dict(task.config))
    if options.input_scaling:
        config["data"]["input_scaling"] = options.input_scaling
    for path, value in options.changes:
        if path in _SAID_OTHERWISE:
            raise ConfigError(f"--set={path}: say it by {_SAID_OTHERWISE[path]}")
        *sections, key = path.split(".")
        part: Any = config
        for section in sections:
            part = part.get(section) if isinstance(part, dict) else None
        if not isinstance(part, dict) or key not in part:
            raise ConfigError(f"--set={path}: {task.name} has no such key")
        part[key] = value
    return config


def training(
    task: Task,
    condition: str,
    mode: str,
    encoders: Encoders,
    options: Options,
    *,
    seed: int,
    fold: int = 0,
    fraction: float = 1.0,
) -> tuple[dict[str, Any], Pretrained | None]:
    """The configuration of one training, with its validation row alone, and where it starts from.

    Args:
      seed: 0, 1, …: counted from the configuration's own.

    Raises:
      ConfigError: a key or value that cannot be, or no checkpoint for the condition.
    """
    config, chosen = base(task, options), CONDITIONS[condition]
    source = encoders.for_seed(chosen.source, seed) if chosen.source else None
    like = source or encoders.first()
    if like is not None:
        config["model"] |= sizes_of(like)
    config["model"]["position_encoding"] = chosen.positions
    if source is not None:
        config["initialise_from"] = source.source
    if mode == "frozen_head":
        config["frozen"] = ("^encoder/",)
    config["seed"] += seed
    folds = task.folds(options.folds)
    config["data"] |= {"folds": folds, "fold": fold, "label_fraction": fraction}
    config["evaluators"] = {"validation": config["evaluators"]["validation"]}
    configuration.check(config)
    return config, source


def with_end_rows(
    config: Mapping[str, Any], rows: Mapping[str, tuple[tuple[str, ...], str]]
) -> dict[str, Any]:
    """The configuration with the evaluations that come after the last step.

    Args:
      rows: name → (datasets, split).
    """
    row = configuration.section_defaults("evaluator", "classification")
    end = row | {"every": 0, "examples": ALL, "keep_predictions": True}
    added = {name: end | {"datasets": d, "split": split} for name, (d, split) in rows.items()}
    return {**config, "evaluators": {**config["evaluators"], **added}}
