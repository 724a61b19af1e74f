"""SleepPPG-Net: sleep stages from the pulse wave alone, the baseline of wav2sleep.

Source: K. Kotzen et al. 2022, arXiv 2202.05735, which wav2sleep grew out of; its parts are those of
`models.wav2sleep`: residual blocks of three convolutions and max-pooling, a dense layer a
sleep_epoch, dilated convolutions over the night. No mixer: there is one signal.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from sleepfm_jax.config.keys import Key
from sleepfm_jax.models.dropout import DropoutStream
from sleepfm_jax.models.pure import Pure
from sleepfm_jax.models.wav2sleep import Wav2Sleep
from sleepfm_jax.models.wav2sleep import keys as wav2sleep_keys
from sleepfm_jax.models.wav2sleep.convolution import TORCH
from sleepfm_jax.models.wav2sleep.keys import Sizes
from sleepfm_jax.models.wav2sleep.sequence import SequenceMixer
from sleepfm_jax.models.wav2sleep.signal_encoder import SignalEncoder
from sleepfm_jax.signals import night_layout

SIGNAL = "PPG"
_SAME = ("classes", "width", "initial_channels", "sequence_blocks", "sequence_kernel", "dilations",
         "dtype")  # fmt: skip

KEYS = {name: wav2sleep_keys.KEYS[name] for name in _SAME} | {
    "max_channels": Key(256, "of the last block; doubled every other block before it", low=1),
    "norm": Key("batch", "of every convolution", choices=wav2sleep_keys.NORMS[:-1]),
    "dropout": Key(
        0.2, "probability, in training, at the end of each dilated block", low=0, below=1
    ),
}


class BlockSizes(Sizes):
    """Sizes of which the last block has twice the channels of the one before: 16, 16, 32, 32, 64,
    64, 128 and 256."""

    def channels(self, samples: int) -> tuple[int, ...]:
        """Of each block."""
        blocks = samples.bit_length() - 3
        steps = [i // 2 for i in range(blocks - 1)]
        steps.append(steps[-1] + 1 if steps else 0)
        return tuple(min(self.initial_channels << step, self.max_channels) for step in steps)


class Network(nnx.Module):
    """Called as `wav2sleep.network.Network` is, with one signal."""

    def __init__(self, sizes: Sizes, *, rngs: nnx.Rngs):
        ((self.signal, samples),) = sizes.signals
        self.encoder = SignalEncoder(samples, sizes, rngs=rngs)
        self.sequence = SequenceMixer(sizes, rngs=rngs)
        self.classify = nnx.Linear(
            sizes.width, sizes.classes, kernel_init=TORCH, dtype=jnp.dtype(sizes.dtype), rngs=rngs
        )

    def __call__(
        self,
        signals: Mapping[str, jax.Array],
        present: jax.Array,
        inside: jax.Array,
        *,
        dropout: DropoutStream | None = None,
    ) -> tuple[jax.Array, jax.Array, tuple]:
        """signals {PPG: [B, E * samples]}, present bool [B, 1], inside bool [B, E] → logits
        [B, E, K], features [B, E, D] and nothing that another call would go on from."""
        within = inside & present
        x = self.encoder(signals[self.signal], within, dropout is not None)
        features = self.sequence(x, within, dropout)
        return self.classify(features), features, ()


@dataclasses.dataclass(frozen=True)
class SleepPPGNet(Wav2Sleep):
    """Parameters and outputs; methods and batches as `Wav2Sleep`'s."""

    @functools.cached_property
    def _pure(self) -> Pure:
        return Pure(lambda rngs: Network(self.sizes, rngs=rngs))


def sizes(section: Mapping[str, Any], samples: int = night_layout.SAMPLES[SIGNAL]) -> Sizes:
    """The network of a checked section `config.model`.

    Raises:
      ValueError: sizes that cannot be.
    """
    return BlockSizes(
        signals=((SIGNAL, samples),),
        encoders=(SIGNAL,),
        variant="paper2024",  # its blocks are of this network: max-pooling halves the length
        norm=section["norm"],
        sequence_norm=section["norm"],
        activation="leaky",
        sequence_activation="leaky",
        heads=1,
        max_channels=section["max_channels"],
        dropout=section["dropout"],
        **{name: section[name] for name in _SAME},
    )


def make(config: Mapping[str, Any], slots: tuple[tuple[str, int], ...]) -> SleepPPGNet:
    """The model of a checked configuration; `slots` are of clips, and not read.

    Raises:
      ValueError: sizes that cannot be.
    """
    section = config["model"]
    classes = wav2sleep_keys.CLASS_NAMES[section["classes"]]
    layout = night_layout.from_config(config["data"], (SIGNAL,), classes)
    return SleepPPGNet(sizes(section), layout)
