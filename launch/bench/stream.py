"""A night staged while it is recorded: how late is a logit, and how much is remembered?"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

NATIVE = {"ABD": 32.0, "ECG": 256.0, "EOG-L": 256.0, "EOG-R": 256.0, "PPG": 256.0, "THX": 32.0}
"""Hz at which the signals are recorded."""

COUNT, FIRST = 200, 10


def measure(config: dict[str, Any], count: int = COUNT) -> dict[str, Any]:
    """Prints and returns milliseconds of `count` sleep_epochs and bytes of the states.

    Args:
      config: of a checked configuration; made causal, as configs/staging/wav2sleep.py has it.
    """
    import jax

    from sleepfm_jax import experiment
    from sleepfm_jax.data.nights.stream import NightStream
    from sleepfm_jax.models.wav2sleep import streaming

    config = config | {
        "model": config["model"] | {"causal": "chunk"},
        "data": config["data"] | {"night_normalisation": "causal"},
    }
    model = experiment.make_model(config)
    params, stats = model.init(jax.random.key(0))
    native = tuple((name, NATIVE[name]) for name in model.layout.names)
    stream = NightStream(model.layout, native)
    step = jax.jit(streaming.step, static_argnums=0, donate_argnums=3)
    raw_state, state = stream.begin(), streaming.start(model)
    rng = np.random.default_rng(0)
    seconds = []
    for i in range(FIRST + count):
        raw = {n: rng.standard_normal(round(hz * 30)).astype(np.float32) for n, hz in native}
        begun = time.perf_counter()
        raw_state, batch = stream.step(raw_state, raw)
        ready = time.perf_counter()
        samples = {name: batch[f"signal/{name}"] for name in model.layout.names}
        out, state = step(model, params, stats, state, samples, batch["present"])
        logits = np.asarray(out["logits"])
        done = time.perf_counter()
        if not np.isfinite(logits).all():
            raise RuntimeError("logits that are not finite")
        if i >= FIRST:  # the first compile, and fill what resampling looks back on
            seconds.append((ready - begun, done - ready, done - begun))
    parts = dict(zip(("samples", "network", "whole"), np.array(seconds).T * 1e3))
    found: dict[str, Any] = {
        name: {"median_ms": float(np.median(ms)), "p95_ms": float(np.quantile(ms, 0.95))}
        for name, ms in parts.items()
    }
    leaves = {"samples": jax.tree.leaves(raw_state), "network": jax.tree.leaves(state)}
    found["state_bytes"] = {k: sum(np.asarray(a).nbytes for a in v) for k, v in leaves.items()}
    names = "+".join(model.layout.names)
    print(f"{count} sleep_epochs of {names}, one at a time, from raw samples to logits")
    for name, row in found.items():
        if name != "state_bytes":
            print(f"{name:10} median {row['median_ms']:8.2f} ms   p95 {row['p95_ms']:8.2f} ms")
    sizes = found["state_bytes"]
    print(f"state: {sizes['samples']} bytes of samples, {sizes['network']} of the network")
    return found
