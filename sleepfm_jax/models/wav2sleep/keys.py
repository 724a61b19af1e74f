"""Keys of `config.model` of kind wav2sleep, and the sizes that they give the network.

The defaults are the release of February 2026 for four classes from cardiorespiratory signals.
Source: arXiv 2411.04644 and its released code; docs/field.md §1.C.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from sleepfm_jax.config.keys import Key
from sleepfm_jax.signals.night_layout import CARDIORESPIRATORY, CLASSES, samples_of
from sleepfm_jax.signals.stages import STAGES

VARIANTS = ("release2026", "paper2024")
"""`release2026`: strided convolutions halve the length, instance norm with epsilon 1e-2.
`paper2024`: max-pooling does, epsilon 1e-5, channels of ABD and THX grow faster, and the mixer gets
the signals in a random order in training."""

NORMS = ("instance", "layer", "rms", "batch", "auto")
"""Of an encoder's convolutions. `auto`: instance in its first two blocks, layer after them.
`layer` and `rms` are over channels, at one point of time each; the others over time."""

CAUSAL = ("no", "chunk", "convolution")
"""How a logit of a causal model sees no later sleep_epoch: each is encoded by itself ("chunk"), or
convolutions look backwards only ("convolution": with norms over channels alone)."""

ACTIVATIONS = ("gelu", "relu", "leaky", "silu", "linear")
CLASS_NAMES = {4: CLASSES, 5: STAGES}

KEYS = {
    "variant": Key(VARIANTS[0], "of the published code", choices=VARIANTS),
    "signals": Key(CARDIORESPIRATORY, "that it knows; a night has any of them", form="names"),
    "shared": Key((), "signals that go through one encoder", form="names_or_none"),
    "signal_embedding": Key(False, "a learned vector says which signal a token is of"),
    "classes": Key(4, "4: W, N1+N2, N3, REM; 5: W, N1, N2, N3, REM", low=4, high=5),
    "width": Key(128, "numbers of a sleep_epoch's vector", low=1),
    "initial_channels": Key(16, "of an encoder's first block; doubled every other block", low=1),
    "max_channels": Key(128, "of an encoder's last block", low=1),
    "causal": Key(CAUSAL[0], "does a logit see no later sleep_epoch?", choices=CAUSAL),
    "norm": Key(NORMS[0], "of an encoder's convolutions", choices=NORMS),
    "residual": Key(True, "a block's input is added to what it makes of it"),
    "output_norm": Key(False, "a LayerNorm after each encoder"),
    "activation": Key("gelu", "in encoders", choices=ACTIVATIONS),
    "mixer_layers": Key(2, "of the transformer over the signals of a sleep_epoch", low=1),
    "heads": Key(8, "of attention; they divide the width", low=1),
    "mlp_dim": Key(512, "hidden numbers of each feed-forward", low=1),
    "registers": Key(0, "learned tokens beside the one that is read", low=0),
    "mixer_activation": Key("gelu", "in feed-forwards", choices=ACTIVATIONS),
    "sequence_blocks": Key(2, "of dilated convolutions over the night", low=1),
    "sequence_kernel": Key(7, "sleep_epochs; odd", low=1),
    "dilations": Key(6, "convolutions of a block: 1, 2, 4, … sleep_epochs apart", low=1),
    "sequence_norm": Key("layer", "of these convolutions", choices=NORMS[:-1]),
    "sequence_activation": Key("gelu", "in these blocks", choices=ACTIVATIONS),
    "dropout": Key(0.1, "probability, in training", low=0, below=1),
    "dtype": Key("float32", "of the arithmetic", choices=("float32", "bfloat16")),
    "recompute": Key(
        False,
        "encoders run again in the backward pass: far less memory, a third more arithmetic",
        changes_numbers=False,
    ),
}


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The network; see `KEYS` for what is not said here.

    Attributes:
      signals: (name, samples a sleep_epoch), alphabetical. N: how many.
      encoders: the name of each signal's encoder; signals may share one.
      sequence_causal: do convolutions over the night look backwards only? None: as the encoders.
    """

    signals: tuple[tuple[str, int], ...]
    encoders: tuple[str, ...]
    variant: str = KEYS["variant"].default
    signal_embedding: bool = KEYS["signal_embedding"].default
    classes: int = KEYS["classes"].default
    width: int = KEYS["width"].default
    initial_channels: int = KEYS["initial_channels"].default
    max_channels: int = KEYS["max_channels"].default
    causal: str = KEYS["causal"].default
    norm: str = KEYS["norm"].default
    residual: bool = KEYS["residual"].default
    output_norm: bool = KEYS["output_norm"].default
    activation: str = KEYS["activation"].default
    mixer_layers: int = KEYS["mixer_layers"].default
    heads: int = KEYS["heads"].default
    mlp_dim: int = KEYS["mlp_dim"].default
    registers: int = KEYS["registers"].default
    mixer_activation: str = KEYS["mixer_activation"].default
    sequence_blocks: int = KEYS["sequence_blocks"].default
    sequence_kernel: int = KEYS["sequence_kernel"].default
    dilations: int = KEYS["dilations"].default
    sequence_norm: str = KEYS["sequence_norm"].default
    sequence_activation: str = KEYS["sequence_activation"].default
    sequence_causal: bool | None = None
    dropout: float = KEYS["dropout"].default
    dtype: str = KEYS["dtype"].default
    recompute: bool = KEYS["recompute"].default

    def __post_init__(self):
        if len(self.encoders) != len(self.signals):
            raise ValueError(f"{len(self.encoders)} encoders of {len(self.signals)} signals")
        samples: dict[str, int] = {}
        for (name, count), encoder in zip(self.signals, self.encoders):
            if count < 8 or count & (count - 1):
                raise ValueError(f"{name} has {count} samples a sleep_epoch; expected 8, 16, 32 …")
            if samples.setdefault(encoder, count) != count:
                raise ValueError(
                    f"{name} has {count} samples a sleep_epoch, others of its encoder "
                    f"{samples[encoder]}: they cannot share one"
                )
        for name in ("variant", "causal", "norm"):
            if getattr(self, name) not in KEYS[name].choices:
                raise ValueError(
                    f"{name} {getattr(self, name)!r} is not one of {KEYS[name].choices}"
                )
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by {self.heads} heads")
        if self.sequence_kernel % 2 == 0:
            raise ValueError(f"sequence_kernel {self.sequence_kernel} must be odd")
        if self.variant == "paper2024" and self.causal == "convolution":
            raise ValueError("max-pooling of variant 'paper2024' looks ahead: no 'convolution'")

    @property
    def backwards(self) -> bool:
        """Do convolutions over the night look backwards only?"""
        return self.causal != "no" if self.sequence_causal is None else self.sequence_causal

    def looks_ahead(self) -> str:
        """What of it sees later sleep_epochs; "": nothing does, in evaluation."""
        if self.causal == "no":
            return "causal='no': its encoders convolve over the whole night"
        if self.causal == "convolution" and self.norm in ("instance", "auto"):
            return f"norm={self.norm!r} of its encoders is over the whole night"
        if not self.backwards:
            return "its convolutions over the night look both ways"
        if self.sequence_norm == "instance":
            return "sequence_norm='instance' is over the whole night"
        return ""

    def channels(self, samples: int) -> tuple[int, ...]:
        """Of the blocks of an encoder, each of which halves the length, down to four vectors."""
        blocks = samples.bit_length() - 3
        if self.variant == "paper2024" and blocks == 6:
            steps = (0, 1, 2, 2, 3, 3)
        else:
            steps = tuple(i // 2 for i in range(blocks))
        return tuple(min(self.initial_channels << step, self.max_channels) for step in steps)

    def block_norm(self, block: int) -> str:
        """The norm of an encoder's block."""
        return self.norm if self.norm != "auto" else ("instance" if block < 2 else "layer")

    @property
    def instance_epsilon(self) -> float:
        """Of the encoders' instance norm."""
        return 1e-2 if self.variant == "release2026" else 1e-5


def sizes(section: Mapping[str, Any]) -> Sizes:
    """The network of a checked section `config.model`.

    Raises:
      ConfigError: no such signal. ValueError: sizes that cannot be.
    """
    signals = samples_of(section["signals"])
    shared = sorted(section["shared"])
    if missing := sorted(set(shared) - {name for name, _ in signals}):
        raise ValueError(f"shared names {', '.join(missing)}, which signals does not")
    encoders = tuple(shared[0] if name in shared else name for name, _ in signals)
    same = {k: v for k, v in section.items() if k not in ("kind", "signals", "shared")}
    return Sizes(signals=signals, encoders=encoders, **same)
