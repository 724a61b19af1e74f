"""A run's encoder, frozen, as what makes the rows of models that read its tokens."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from sleepfm_jax import folders, pretrained
from sleepfm_jax.data.nights.tokens import TokenMaker, clip_slots
from sleepfm_jax.errors import ConfigError
from sleepfm_jax.signals.token_layout import TokenLayout

FOLDER = "tokens"
"""Of a workdir, where nothing else is said."""


class Frozen(NamedTuple):
    """Attributes:
    options: what `experiment.make_examples` is told; {} where rows need no encoder.
    people: pseudonyms of whom the encoder was trained on; None: it does not say.
    datasets: that it was trained on.
    identity: {"encoder": what tells it from others}, as `datasets.identities`; {} where none is.
    """

    options: Mapping[str, Any]
    people: frozenset[str] | None = frozenset()
    datasets: tuple[str, ...] = ()
    identity: Mapping[str, Mapping[str, Any]] = {}


def frozen(config: Mapping[str, Any], layout: Any, workdir: Path) -> Frozen:
    """What makes the rows of a layout: of tokens the encoder that `config.data.encoder` names.

    Args:
      config: checked. workdir: of the run.

    Raises:
      ConfigError: a layout of tokens and no encoder, an encoder of other tokens, or an encoder and
        a layout that needs none.
      CheckpointError: no encoder there.
    """
    data = config["data"]
    if not isinstance(layout, TokenLayout):
        if data["encoder"]:
            raise ConfigError(
                f"config.data.encoder is {data['encoder']!r}, but config.model.kind="
                f"{config['model']['kind']!r} reads no tokens: expected ''"
            )
        return Frozen({})
    if not data["encoder"]:
        raise ConfigError(
            f"config.data.encoder is '', but config.model.kind={config['model']['kind']!r} reads "
            "the tokens of an encoder: expected the workdir of a run of launch.pretrain"
        )
    encoder = pretrained.load(data["encoder"])
    model = _model(encoder.model, layout, data["encoder"])
    device = jax.local_devices()[0]  # each process embeds what it reads, by itself
    params, stats = jax.device_put((encoder.params, encoder.stats), device)

    def embed(batch):
        arrays = {key: x for key, x in batch.items() if key not in ("stages", "labels")}
        out = _tokens(model)(params, stats, jax.device_put(arrays, device))
        return tuple(np.asarray(x) for x in jax.device_get(out))

    given = data["token_folder"]
    place = folders.local(given, "config.data.token_folder") if given else workdir / FOLDER
    fingerprint = f"{encoder.fingerprint} {model!r}"
    maker = TokenMaker(model.layout, embed, fingerprint, place, encoder.preprocessing)
    identity = {"encoder": {"weights": encoder.fingerprint}}
    seen = tuple(encoder.config["data"]["datasets"])
    return Frozen({"maker": maker}, encoder.people, seen, identity)


def _model(model: Any, layout: TokenLayout, source: str) -> Any:
    """The encoder for the rows of a layout."""
    if not hasattr(model, "slots") or getattr(model.layout, "examples", "") != "clips":
        raise ConfigError(f"config.data.encoder: {source} is no encoder of clips")
    if model.width != layout.width:
        raise ConfigError(
            f"config.model.token_width is {layout.width}; expected {model.width}, the width of "
            f"config.data.encoder={source}"
        )
    if layout.slots and model.sequences != "modality":
        raise ConfigError(
            f"config.model.signals is (), but config.data.encoder={source} has tokens of single "
            "channels, not of modalities: expected names of signals"
        )
    sequences = "modality" if layout.slots else "channel"
    return dataclasses.replace(model, slots=clip_slots(layout), sequences=sequences)


@functools.cache
def _tokens(model: Any):
    """Compiled once; a model is a hashable description."""

    def tokens(params, stats, batch):
        out = model.apply(params, stats, batch)[0]
        return out["tokens"].astype(np.float32), out["token_mask"]

    return jax.jit(tokens)
