"""A survival objective on nights of frozen tokens, and batches for it: nothing is stored."""

from __future__ import annotations

import numpy as np

from sleepfm_jax import config as configuration
from sleepfm_jax import experiment

LABELS = ("death", "stroke")
B, E, N, P, D = 6, 3, 2, 5, 16


def objective(width=D, tokens=P, slots=None, **changes):
    """The objective of a checked configuration; changes are keys of its section."""
    config = configuration.defaults(model="tokens", objective="survival")
    config["model"] |= {"token_width": width, "tokens": tokens}
    config["data"]["slots"] = slots or {"bas": 2, "ecg": 1}
    small = {"labels": LABELS, "head_layers": 1, "head_pooling_heads": 2, "head_mlp_dim": 8}
    config["objective"] |= small | {"demographics": 4} | changes
    configuration.check(config)
    return experiment.make_objective(config)


def batch(seed=0):
    """Six nights: the third has one sequence, of the last nobody knows the second event."""
    rng = np.random.default_rng(seed)
    present = np.ones((B, N), bool)
    present[2, 1] = False
    events = (rng.random((B, 2)) < 0.6).astype(np.float32)
    events[0], events[-1, 1] = 1, np.nan
    return {
        "tokens": rng.standard_normal((B, E, N, P, D)).astype(np.float32),
        "token_mask": np.ones((B, E, N, P), bool),
        "present": present,
        "epoch_mask": np.ones((B, E), bool),
        "stages": np.full((B, E), -1, np.int32),
        "times": rng.exponential(5, (B, 2)).astype(np.float32),
        "events": events,
        "demographics": np.stack([rng.uniform(20, 80, B), rng.integers(0, 2, B)], 1).astype("f4"),
        "index": np.arange(B, dtype=np.int32),
    }
