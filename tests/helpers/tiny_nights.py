"""Small wav2sleep models and batches of nights for them."""

from __future__ import annotations

import numpy as np

from sleepfm_jax.models.wav2sleep import Sizes, Wav2Sleep
from sleepfm_jax.signals.night_layout import NightLayout
from tests.helpers.arrays import random_tree

SIGNALS = (("ABD", 8), ("ECG", 16), ("THX", 8))
SMALL = {
    "width": 16,
    "heads": 2,
    "mlp_dim": 32,
    "initial_channels": 4,
    "max_channels": 8,
    "mixer_layers": 1,
    "sequence_blocks": 1,
    "dilations": 2,
    "dropout": 0.0,
}


def tiny(signals=SIGNALS, encoders=None, **options):
    """A `Wav2Sleep` of a few thousand parameters."""
    encoders = encoders or tuple(name for name, _ in signals)
    sizes = Sizes(signals=signals, encoders=encoders, **SMALL | options)
    return Wav2Sleep(sizes, NightLayout(signals, sleep_epochs=8, longest=16))


def weights(model):
    """Random (params, stats) of a model."""
    return random_tree(model.shapes())


def night(model, rows=2, sleep_epochs=8, seed=0, lengths=None, present=None):
    """A batch: signals of noise, stages at random, nights of `lengths` sleep_epochs."""
    rng = np.random.default_rng(seed)
    inside = np.arange(sleep_epochs) < np.asarray(lengths or [sleep_epochs] * rows)[:, None]
    names = model.layout.names
    present = np.ones((rows, len(names)), bool) if present is None else np.asarray(present)
    batch = {
        "present": present,
        "epoch_mask": inside,
        "stages": np.where(inside, rng.integers(0, 5, inside.shape), -1).astype(np.int32),
        "index": np.arange(rows, dtype=np.int32),
    }
    for i, (name, count) in enumerate(model.layout.signals):
        x = rng.standard_normal((rows, sleep_epochs, count)).astype(np.float32)
        x = np.where((inside & present[:, i : i + 1])[..., None], x, 0)
        batch[f"signal/{name}"] = x.reshape(rows, -1)
    return batch
