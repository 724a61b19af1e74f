"""Batches of nights of tokens, and small models for them."""

from __future__ import annotations

import numpy as np

from sleepfm_jax import config as configuration
from sleepfm_jax import experiment

SMALL = {
    "token_linear": {},
    "token_lstm": {"heads": 2, "pooling_heads": 2, "mlp_dim": 16},
    "token_mixer": {"width": 8, "heads": 2, "mlp_dim": 16, "mixer_layers": 1, "dilations": 2}
    | {"sequence_blocks": 1, "sequence_kernel": 3},
}
"""Kind → sizes that compile soon."""


def tiny(kind, signals=("ABD", "ECG", "THX"), *, hours=0.1, **options):
    """A model of a kind, of tokens [.., 2, 8]."""
    config = configuration.defaults(model=kind, objective="staging")
    config["data"] |= {"night_hours": hours, "night_hours_longest": hours}
    config["model"] |= {"signals": signals, "token_width": 8, "tokens": 2}
    config["model"] |= SMALL.get(kind, {}) | options
    configuration.check(config)
    return experiment.make_model(config)


def night(layout, *, rows=2, sleep_epochs=6, lengths=None, seed=0):
    """Tokens of noise; stages at random; nights of `lengths` sleep_epochs."""
    rng = np.random.default_rng(seed)
    inside = np.arange(sleep_epochs) < np.asarray(lengths or [sleep_epochs] * rows)[:, None]
    n, p = len(layout.names), layout.tokens
    tokens = rng.standard_normal((rows, sleep_epochs, n, p, layout.width)).astype(np.float32)
    return {
        "tokens": np.where(inside[:, :, None, None, None], tokens, 0),
        "token_mask": np.broadcast_to(inside[:, :, None, None], tokens.shape[:4]).copy(),
        "present": np.ones((rows, n), bool),
        "epoch_mask": inside,
        "stages": np.where(inside, rng.integers(0, 5, inside.shape), -1).astype(np.int32),
        "index": np.arange(rows, dtype=np.int32),
    }
