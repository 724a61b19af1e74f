"""Random weights of every published kind of model, at small sizes of our own."""

from __future__ import annotations

import functools

import jax
import numpy as np
from flax import nnx

from sleepfm_jax.interop import KINDS, to_torch
from sleepfm_jax.models.encoder import Encoder, EncoderConfig
from sleepfm_jax.models.heads import LinearHead, ResBlocksHead
from sleepfm_jax.models.recurrent import CoxLSTM, StagingLSTM
from sleepfm_jax.models.wav2sleep.keys import Sizes
from sleepfm_jax.models.wav2sleep.network import Network

SIZES = {"width": 32, "mlp_dim": 48}
CONFIG = EncoderConfig(
    patch_samples=64, layers=2, heads=4, pooling_heads=2, position_encoding="none", **SIZES
)
TRUNCATED = EncoderConfig(
    patch_samples=64,
    layers=1,
    heads=4,
    pooling_heads=2,
    position_encoding="fourier_truncated",
    **SIZES,
)
NIGHTS = Sizes(
    signals=(("ABD", 16), ("ECG", 32)),
    encoders=("ABD", "ECG"),
    heads=4,
    norm="batch",
    classes=5,
    initial_channels=4,
    max_channels=4,
    mixer_layers=1,
    sequence_blocks=1,
    dilations=2,
    registers=1,
    **SIZES,
)

MAKE = {
    "set_transformer": functools.partial(Encoder, CONFIG),
    "set_transformer_pe": functools.partial(Encoder, TRUNCATED),
    "linear_head": functools.partial(LinearHead, TRUNCATED, 3, 2),
    "resblocks_head": functools.partial(ResBlocksHead, 16, 5, 3, 5),
    "staging_lstm": functools.partial(
        StagingLSTM, heads=4, pooling_heads=2, layers=2, classes=5, max_tokens=40, **SIZES
    ),
    "cox_lstm": functools.partial(
        CoxLSTM, pooling_heads=2, layers=2, classes=7, demographics=8, **SIZES
    ),
    "wav2sleep": functools.partial(Network, NIGHTS),
}
HEADS = {"heads": 4, "pooling_heads": 2}


def options(kind):
    return {name: value for name, value in HEADS.items() if name in KINDS[kind].options}


@functools.cache
def weights(kind):
    """A random state dict of the kind; no initialiser is compiled."""
    rng = np.random.default_rng(len(kind))
    model = nnx.eval_shape(lambda: MAKE[kind](rngs=nnx.Rngs(0)))
    _, *states = nnx.split(model, nnx.Param, nnx.BatchStat)
    params, stats = (nnx.to_pure_dict(state) for state in states)

    def draw(path, x):
        centre = 1.0 if str(path[-1].key).endswith("scale") else 0.0  # norms let the input through
        return (centre + 0.3 * rng.standard_normal(x.shape)).astype(np.float32)

    params = jax.tree_util.tree_map_with_path(draw, params)
    stats = jax.tree.map(lambda x: rng.uniform(0.5, 2, x.shape).astype(np.float32), stats)
    return to_torch(kind, params, stats, max_tokens=40)
