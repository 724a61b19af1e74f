"""The published models: what they are called with, how their sizes are read off their weights, and
which of their quirks there is a switch for. Source: docs/field.md §1.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from flax import nnx

from sleepfm_jax.errors import WeightsError
from sleepfm_jax.interop import names, wav2sleep
from sleepfm_jax.models.encoder import Encoder, EncoderConfig
from sleepfm_jax.models.heads import LinearHead, ResBlocksHead
from sleepfm_jax.models.recurrent import CoxLSTM, StagingLSTM

PE = "positional_encoding.pe"


class StateDict(dict):
    """Names and arrays of a PyTorch module, with the wrappers of saved files taken off."""

    def __init__(self, given: Mapping[str, Any]):
        if "state_dict" in given and isinstance(given["state_dict"], Mapping):
            given = given["state_dict"]
        super().__init__({k.removeprefix("module."): np.asarray(v) for k, v in given.items()})

    def length(self, name: str) -> int:
        """Size of a one-dimensional entry; sizes are read off these, which no transposition hides.

        Raises:
          WeightsError: no such entry, or one of more dimensions.
        """
        self.require(name)
        if self[name].ndim != 1:
            raise WeightsError(f"{name} has shape {self[name].shape}; expected one dimension")
        return len(self[name])

    def require(self, name: str) -> np.ndarray:
        """An entry.

        Raises:
          WeightsError: there is none.
        """
        if name not in self:
            some = ", ".join(sorted(self)[:3]) or "nothing"
            raise WeightsError(f"missing entry {name} (there are {len(self)}: {some}, …)")
        return self[name]

    def count(self, prefix: str) -> int:
        """One more than the largest number that follows the prefix in any name; 0 without one."""
        found = (re.match(rf"{re.escape(prefix)}(\d+)", name) for name in self)
        return max((int(match[1]) + 1 for match in found if match), default=0)


def _encoder_config(sd: StateDict, options: Mapping[str, Any], prefix: str = "") -> EncoderConfig:
    first_norm = sd.require(f"{prefix}{names.TOKENIZER}.3.weight")  # [C, patch / 2]
    table = sd.require(prefix + PE)  # [1, S, D]
    if table.ndim != 3:
        raise WeightsError(f"{prefix}{PE} has shape {table.shape}; expected (1, S, D)")
    same = ("single_channel_shortcut", "mean_over_padding", "encode_absent", "dtype")
    return EncoderConfig(
        patch_samples=options["patch_samples"] or 2 * first_norm.shape[-1],
        width=sd.length(f"{prefix}layer_norm.weight"),
        layers=sd.count(f"{prefix}transformer_encoder.layers."),
        heads=options["heads"],
        pooling_heads=options["pooling_heads"],
        mlp_dim=sd.length(f"{prefix}spatial_pooling.transformer_layer.linear1.bias"),
        max_tokens=table.shape[1],
        position_encoding=options.get("position_encoding", "none"),
        **{name: options[name] for name in same},
    )


def _with_positions(options: Mapping[str, Any]) -> bool:
    return options.get("position_encoding", "none") != "none"


def _make_encoder(sd, options):
    config = _encoder_config(sd, options)
    pairs = names.encoder(config.layers, positions=_with_positions(options))
    return functools.partial(Encoder, config), pairs


def _make_linear_head(sd, options):
    if options["position_encoding"] is None:
        there = "encoder.channel_pe_mlp.0.weight" in sd
        options["position_encoding"] = "fourier_truncated" if there else "none"
    config = _encoder_config(sd, options, "encoder.")
    read = sd.length("extended_classifier.1.bias") // (3 * config.width)
    if options["pool_length"] not in (None, read):
        raise WeightsError(
            f"pool_length={options['pool_length']}, but the classifier's size "
            f"{sd.length('extended_classifier.1.bias')} = 3 x {config.width} x {read}"
        )
    options["pool_length"] = read
    make = functools.partial(LinearHead, config, sd.length("clf.bias"), read)
    return make, names.linear_head(config.layers, positions=_with_positions(options))


def _make_resblocks_head(sd, options):
    blocks = sd.count("blocks.")
    kernel = sd.require("stem.0.weight").shape[-1]
    make = functools.partial(
        ResBlocksHead, sd.length("stem.1.weight"), sd.length("classifier.bias"), blocks, kernel
    )
    return make, names.resblocks_head(blocks)


def _recurrent_sizes(sd, options, classes):
    return {
        "width": 2 * (sd.length("lstm.bias_ih_l0") // 4),
        "mlp_dim": sd.length("spatial_pooling.transformer_layer.linear1.bias"),
        "layers": sd.count("lstm.bias_ih_l"),
        "classes": sd.length(classes),
        **options,
    }


def _make_staging_lstm(sd, options):
    sizes = _recurrent_sizes(sd, options, "fc.bias")
    make = functools.partial(StagingLSTM, max_tokens=sd.require(PE).shape[1], **sizes)
    return make, names.staging_lstm(sizes["layers"])


def _make_cox_lstm(sd, options):
    sizes = _recurrent_sizes(sd, options, "disease_heads.bias")
    make = functools.partial(CoxLSTM, demographics=sd.length("demo_embedding.0.bias"), **sizes)
    return make, names.cox_lstm(sizes["layers"])


@dataclasses.dataclass(frozen=True)
class Kind:
    """A published model.

    Attributes:
      call: how the model that `from_torch` returns is called.
      make: (state dict, options) → (constructor, name pairs); fills in options that it reads off.
      options: their defaults, those of the published code.
      faithful: options that `faithful=True` sets: the published quirks.
    """

    call: str
    make: Callable[[StateDict, dict[str, Any]], tuple[Callable[..., nnx.Module], names.Pairs]]
    options: Mapping[str, Any]
    faithful: Mapping[str, Any]


_ENCODER = {
    "patch_samples": None,  # None: read off the weights
    "heads": 8,
    "pooling_heads": 8,
    "single_channel_shortcut": False,
    "mean_over_padding": False,
    "encode_absent": False,
    "dtype": "float32",  # of the arithmetic
}
_RECURRENT = {"single_channel_shortcut": False, "corner_masks": False}
_STAGING = {"additive_temporal_mask": False, "unpacked_lstm": False}
_SHORTCUT = {"single_channel_shortcut": True, "encode_absent": True}


def _on(switches: Iterable[str]) -> dict[str, bool]:
    return dict.fromkeys(switches, True)


KINDS: dict[str, Kind] = {
    "set_transformer": Kind(
        "model(x[B,C,T], channel_mask[B,C] | None) -> clip[B,D], tokens[B,S,D]",
        _make_encoder,
        _ENCODER,
        _SHORTCUT,
    ),
    "set_transformer_pe": Kind(
        "model(x, channel_mask | None, positions[B,C,3] | [C,3] | None) -> clip, tokens",
        _make_encoder,
        _ENCODER | {"position_encoding": "fourier_truncated"},
        _SHORTCUT | {"mean_over_padding": True, "position_encoding": "fourier_truncated"},
    ),
    "linear_head": Kind(
        "model(x, channel_mask=None, positions=None) -> logits[B,K]",
        _make_linear_head,
        _ENCODER | {"position_encoding": None, "pool_length": None},
        _SHORTCUT | {"mean_over_padding": True},
    ),
    "resblocks_head": Kind("model(tokens[B,S,D]) -> logits[B,K]", _make_resblocks_head, {}, {}),
    "staging_lstm": Kind(
        "model(tokens[B,C,S,D], mask[B,C,S]) -> logits[B,S,K]",
        _make_staging_lstm,
        {"heads": 4, "pooling_heads": 4} | _RECURRENT | _STAGING,
        _on((*_RECURRENT, *_STAGING)),
    ),
    "cox_lstm": Kind(
        "model(tokens[B,C,S,D], mask[B,C,S], demographics[B,2]) -> hazards[B,K]",
        _make_cox_lstm,
        {"pooling_heads": 8} | _RECURRENT,
        _on(_RECURRENT),
    ),
    "wav2sleep": Kind(
        "model({name: x[B,E*samples]}, present[B,N] | {name: [B]} | None, epoch_mask[B,E] | None)"
        " -> logits[B,E,K]",
        wav2sleep.make,
        wav2sleep.OPTIONS,
        {},
    ),
}
"""The published models by kind."""
