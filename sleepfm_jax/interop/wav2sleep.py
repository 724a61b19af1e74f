"""The published wav2sleep: its options off its weights and its configuration, and how it is called.

Source: docs/field.md §1.C.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from sleepfm_jax.errors import ConfigError, WeightsError
from sleepfm_jax.interop import names
from sleepfm_jax.models.pure import Pure
from sleepfm_jax.models.wav2sleep.keys import KEYS, Sizes, sizes
from sleepfm_jax.models.wav2sleep.network import Network

if TYPE_CHECKING:
    from sleepfm_jax.interop.kinds import StateDict

ENCODERS = "signal_encoders.encoders."
LAYERS = "epoch_mixer.transformer_encoder.layers."
BLOCKS = "sequence_mixer.dilated_convs."
TOKENS = "epoch_mixer.register_tokens"

OPTIONS = {  # that weights do not tell; None: from cfg, and without one as the release has it
    "cfg": None,
    "signal_map": None,
    "variant": None,
    "heads": None,
    "activation": None,
    "mixer_activation": None,
    "sequence_activation": None,
    "causal": None,
    "sequence_causal": None,
    "dropout": None,
    "dtype": "float32",
}


class PublishedCall(Network):
    """The network, called as the published one is; without presence, that is read off as there."""

    def __call__(
        self,
        signals: Mapping[str, jax.Array],
        present: Mapping[str, jax.Array] | jax.Array | None = None,
        epoch_mask: jax.Array | None = None,
    ) -> jax.Array:
        """
        Args:
          signals: name → [B, E * samples]; what is left out, no night has.
          present: bool [B, N] in the order of `sizes.signals`, or name → bool [B]; None: a signal
            whose first sample is infinite is absent, as the published code marks it.
          epoch_mask: bool [B, E]; None: every sleep_epoch is of the night.

        Returns:
          logits [B, E, K].

        Raises:
          ValueError: no signal, one that the model does not know, or lengths that do not fit.
        """
        samples = dict(self.sizes.signals)
        if not signals or set(signals) - set(samples):
            raise ValueError(f"signals {sorted(signals)}; expected some of {sorted(samples)}")
        name, x = next(iter(signals.items()))
        b, e = x.shape[0], x.shape[1] // samples[name]
        inside = jnp.ones((b, e), bool) if epoch_mask is None else epoch_mask
        if present is None:
            present = {name: ~jnp.isinf(x[:, 0]) for name, x in signals.items()}
        if isinstance(present, Mapping):
            none = jnp.zeros(b, bool)
            present = jnp.stack([present.get(name, none) for name in samples], 1)
        given = {
            name: jnp.where(jnp.isfinite(signals[name]), signals[name], 0)
            if name in signals
            else jnp.zeros((b, e * count), jnp.float32)
            for name, count in samples.items()
        }
        there = jnp.array([name in signals for name in samples])
        return super().__call__(given, present & there, inside)[0]


def make(sd: StateDict, options: dict[str, Any]):
    """(constructor, name pairs); fills in the options. Reshapes entries with axes of one."""
    read = _read_cfg(options.pop("cfg"))
    for name, value in read.items():
        if options[name] is None:
            options[name] = value
    options["cfg"] = None  # all that it said is in the others
    read_off = _sizes(sd, options)
    for name in list(sd):
        if name == TOKENS and sd[name].shape[:2] == (1, 1):
            sd[name] = sd[name][0, 0]
        elif _is_channel_norm(name, sd) and sd[name].ndim == 3:
            sd[name] = sd[name][0, :, 0]
    call = functools.partial(PublishedCall, read_off)
    pairs = names.wav2sleep(*Pure(lambda rngs: call(rngs=rngs)).shapes())
    return call, pairs


def options_of(network: Sizes) -> dict[str, Any]:
    """`OPTIONS` of a network of ours: what its weights do not tell."""
    names_ = [name for name, _ in network.signals]
    same = set(OPTIONS) - {"cfg", "signal_map"}
    return {"cfg": None, "signal_map": dict(zip(names_, network.encoders))} | {
        name: getattr(network, name) for name in sorted(same)
    }


def published_cfg(network: Sizes) -> dict[str, Any]:
    """A network's configuration as the release has it (`config.yaml`).

    Raises:
      WeightsError: the release has no such network.
    """
    if network.variant != "release2026":
        raise WeightsError(f"variant {network.variant!r} has no published configuration")
    module = "wav2sleep.models.wav2sleep"
    names_ = [name for name, _ in network.signals]
    encoders = {
        "_target_": f"{module}.SignalEncoders",
        "activation": network.activation,
        "causal": network.causal != "no",
        "chunk_causal": network.causal == "chunk",
        "feature_dim": network.width,
        "initial_channels": network.initial_channels,
        "max_channels": network.max_channels,
        "norm": network.norm,
        "output_norm": network.output_norm,
        "signal_map": dict(zip(names_, network.encoders)),
        "use_residual": network.residual,
    }
    if network.signal_embedding:
        encoders["embed_signals"] = True
    mixer = {
        "_target_": f"{module}.MultiModalAttentionEmbedder",
        "activation": network.mixer_activation,
        "dim_ff": network.mlp_dim,
        "dropout": network.dropout,
        "feature_dim": network.width,
        "layers": network.mixer_layers,
        "nhead": network.heads,
    }
    if network.registers:
        mixer["register_tokens"] = network.registers
    sequence = {
        "_target_": f"{module}.SequenceCNN",
        "activation": network.sequence_activation,
        "causal": network.backwards,
        "dropout": network.dropout,
        "feature_dim": network.width,
        "kernel_size": network.sequence_kernel,
        "norm": network.sequence_norm,
        "num_dilations": network.dilations,
        "num_layers": network.sequence_blocks,
    }
    return {
        "_target_": f"{module}.Wav2Sleep",
        "epoch_mixer": mixer,
        "num_classes": network.classes,
        "sequence_mixer": sequence,
        "signal_encoders": encoders,
    }


def section(of_sizes: Sizes) -> dict[str, Any]:
    """The keys of `config.model` that give this network; its encoders may be called otherwise.

    Raises:
      WeightsError: no configuration of ours gives it.
    """
    groups = Counter(of_sizes.encoders)
    several = sorted(name for name, count in groups.items() if count > 1)
    if len(several) > 1:
        raise WeightsError(f"encoders {', '.join(several)} are each shared: ours share one")
    names_ = [name for name, _ in of_sizes.signals]
    shared = [n for n, encoder in zip(names_, of_sizes.encoders) if encoder in several]
    found = {name: getattr(of_sizes, name) for name in KEYS if name not in ("signals", "shared")}
    found |= {"signals": tuple(names_), "shared": tuple(shared)}
    try:
        ours = sizes(found)
    except (ConfigError, ValueError) as error:
        raise WeightsError(str(error)) from error
    if ours.signals != of_sizes.signals:
        raise WeightsError(
            f"samples a sleep_epoch are {dict(of_sizes.signals)}; nights have {dict(ours.signals)}"
        )
    if ours.backwards != of_sizes.backwards:
        raise WeightsError("its encoders and its mixer of the night are not both causal")
    return found


def called(params: Mapping[str, Any], names_: Mapping[str, str]) -> dict[str, Any]:
    """A tree with other names of its encoders, {now: then}; those that are not named stay."""
    if "encoders" not in params:
        return dict(params)
    encoders = {names_.get(name, name): tree for name, tree in params["encoders"].items()}
    return {**params, "encoders": encoders}


def torch_shapes(sd: dict[str, Any]) -> dict[str, Any]:
    """The entries in PyTorch's shapes: what `make` took off."""
    found = dict(sd)
    for name, value in sd.items():
        if name == TOKENS:
            found[name] = value[None, None]
        elif _is_channel_norm(name, sd):
            found[name] = value[None, :, None]
    return found


def _is_channel_norm(name: str, sd: Mapping[str, Any]) -> bool:
    """Is it an entry of a norm over channels? Of batch norms, running statistics are there."""
    layer, _, last = name.rpartition(".")
    norm = layer.endswith(".norm") and layer.startswith((ENCODERS, BLOCKS))
    return norm and last in ("weight", "bias") and f"{layer}.running_mean" not in sd


def _read_cfg(cfg: Mapping[str, Any] | str | None) -> dict[str, Any]:
    """What the published configuration says, under the names of our options."""
    if cfg is None:
        return _options({}, {}, {})
    cfg = json.loads(cfg) if isinstance(cfg, str) else cfg
    try:
        return _options(cfg["signal_encoders"], cfg["epoch_mixer"], cfg["sequence_mixer"])
    except (KeyError, TypeError) as error:
        raise WeightsError(
            "cfg: expected sections signal_encoders, epoch_mixer and sequence_mixer"
        ) from error


def _options(encoders, mixer, sequence) -> dict[str, Any]:
    causal = "no"
    if encoders.get("causal", False):
        causal = "chunk" if encoders.get("chunk_causal", True) else "convolution"
    return {
        "signal_map": dict(encoders["signal_map"]) if "signal_map" in encoders else None,
        "variant": "release2026",
        "heads": mixer.get("nhead", 8),
        "activation": encoders.get("activation", "gelu"),
        "mixer_activation": mixer.get("activation", "gelu"),
        "sequence_activation": sequence.get("activation", "gelu"),
        "causal": causal,
        "sequence_causal": bool(sequence["causal"]) if "causal" in sequence else None,
        "dropout": mixer.get("dropout", 0.0),
    }


def _sizes(sd: StateDict, options: dict[str, Any]) -> Sizes:
    encoders = sorted({n.removeprefix(ENCODERS).split(".")[0] for n in sd if ENCODERS in n})
    if not encoders:
        sd.require(f"{ENCODERS}ECG.linear.bias")  # says what is missing
    if options["signal_map"] is None:
        options["signal_map"] = {name: name for name in encoders}
    signals = sorted(options["signal_map"].items())
    if {encoder for _, encoder in signals} != set(encoders):
        raise WeightsError(f"signal_map {dict(signals)}, but there are encoders {encoders}")
    blocks = {name: sd.count(f"{ENCODERS}{name}.cnn.") for name in encoders}
    first = f"{ENCODERS}{encoders[0]}"
    of_blocks = [_norm(sd, f"{first}.cnn.{i}.conv1.norm") for i in range(blocks[encoders[0]])]
    conv = sd.require(f"{BLOCKS}0.conv_layers.0.conv.weight")
    last = [f"{ENCODERS}{n}.cnn.{count - 1}.conv1.conv.weight" for n, count in blocks.items()]
    same = ("variant", "heads", "activation", "mixer_activation", "sequence_activation")
    return Sizes(
        signals=tuple((name, 4 << blocks[encoder]) for name, encoder in signals),
        encoders=tuple(encoder for _, encoder in signals),
        signal_embedding="signal_encoders.embedder.weight" in sd,
        classes=sd.length("classifier.bias"),
        width=sd.length(f"{first}.linear.bias"),
        initial_channels=len(sd.require(f"{first}.cnn.0.conv1.conv.weight")),
        max_channels=max(len(sd.require(name)) for name in last),
        norm="auto" if of_blocks[0] != of_blocks[-1] else of_blocks[0],
        residual=f"{first}.cnn.0.downsample.weight" in sd,
        output_norm=f"{first}.output_norm.weight" in sd,
        mixer_layers=sd.count(LAYERS),
        mlp_dim=sd.length(f"{LAYERS}0.linear1.bias"),
        registers=sd.require(TOKENS).shape[-1] - 1,
        sequence_blocks=sd.count(BLOCKS),
        sequence_kernel=conv.shape[-1],
        dilations=sd.count(f"{BLOCKS}0.conv_layers."),
        sequence_norm=_norm(sd, f"{BLOCKS}0.conv_layers.0.norm"),
        causal=options["causal"],
        sequence_causal=options["sequence_causal"],
        dropout=options["dropout"],
        dtype=options["dtype"],
        **{name: options[name] for name in same},
    )


def _norm(sd: StateDict, name: str) -> str:
    """Which norm has entries of this name."""
    if f"{name}.running_mean" in sd:
        return "batch"
    if f"{name}.weight" not in sd:
        return "instance"
    return "layer" if f"{name}.bias" in sd else "rms"
