"""A configuration → the objects it names. Unknown keys and impossible values end here, by name."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from sleepfm_jax import signals
from sleepfm_jax.data.datasets import BatchSpec
from sleepfm_jax.errors import ConfigError, DatasetError
from sleepfm_jax.models.encoder import EncoderConfig
from sleepfm_jax.objectives.contrastive import ContrastiveTask

KEYS = {
    "": "seed steps batch_size data encoder loss log_scale max_log_scale "
    "batch_statistics optimiser mesh sharding_rules "
    "max_skipped_in_a_row log_every eval_every eval_clips test_clips candidates save_every keep",
    "data": "datasets slots num_threads prefetch",
    "data.slots": " ".join(signals.MODALITIES),
    "encoder": " ".join(field.name for field in dataclasses.fields(EncoderConfig)),
    "optimiser": "name learning_rate schedule warmup_steps decay_every decay_factor weight_decay "
    "momentum clip_norm",
}
AT_LEAST_ONE = (
    "steps",
    "batch_size",
    "log_every",
    "eval_every",
    "eval_clips",
    "test_clips",
    "save_every",
    "keep",
)


def check_config(config: Mapping[str, Any]) -> None:
    """Every key known, none missing (but a modality may be left out of the slots).

    Raises:
      ConfigError: names the key and the known ones.
    """
    for section, names in KEYS.items():
        part, known = config, set(names.split())
        for name in section.split(".") if section else ():
            part = part[name]
        where = f"config.{section}" if section else "config"
        unknown = sorted(set(part) - known)
        missing = sorted(known - set(part)) if section != "data.slots" else []
        if unknown:
            raise ConfigError(
                f"{where}: unknown key {', '.join(unknown)}; known: {', '.join(sorted(known))}"
            )
        if missing:
            raise ConfigError(f"{where}: missing key {', '.join(missing)}")
    for key in AT_LEAST_ONE:
        if config[key] < 1:
            raise ConfigError(f"config.{key} is {config[key]}; expected 1 or more")
    if config["candidates"] < 2:
        raise ConfigError(f"config.candidates is {config['candidates']}; expected 2 or more")


@contextlib.contextmanager
def config_errors() -> Iterator[None]:
    """What an object made from the configuration refuses is an error of the configuration.

    Raises:
      ConfigError: in place of any ValueError that is not about a dataset.
    """
    try:
        yield
    except (ConfigError, DatasetError):
        raise
    except ValueError as error:
        raise ConfigError(f"config: {error}") from error


def make_slots(config: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    """Channels of each modality, in the order of the model's M axis."""
    slots = config["data"]["slots"]
    return tuple((m, slots[m]) for m in signals.MODALITIES if slots.get(m))


def make_task(config: Mapping[str, Any]) -> ContrastiveTask:
    """The task of a checked configuration."""
    return ContrastiveTask(
        encoder=EncoderConfig(**config["encoder"]),
        slots=make_slots(config),
        loss=config["loss"],
        log_scale=config["log_scale"],
        max_log_scale=config["max_log_scale"],
        batch_statistics=config["batch_statistics"],
    )


def make_spec(config: Mapping[str, Any], clip_samples: int) -> BatchSpec:
    """Shapes of a batch for clips of `clip_samples`.

    Raises:
      ConfigError: a clip has more patches than the encoder has time positions.
    """
    spec = BatchSpec(make_slots(config), config["encoder"]["patch_samples"], clip_samples)
    if spec.patches > config["encoder"]["max_tokens"]:
        raise ConfigError(
            f"a clip of {clip_samples} samples is {spec.patches} patches of {spec.patch_samples}, "
            f"more than config.encoder.max_tokens={config['encoder']['max_tokens']}: build shorter "
            "clips, or pretrain with more"
        )
    return spec
