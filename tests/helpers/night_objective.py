"""An objective of three numbers on nights: is somebody awake, by the loudness of a signal?"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from sleepfm_jax.signals.night_layout import NightLayout, from_config

SAMPLES = {"ABD": 16, "ECG": 64, "PPG": 64, "THX": 16}
KEYS = {}


@dataclasses.dataclass(frozen=True)
class Awake:
    """Logistic regression of W on the root mean square of each present signal."""

    layout: NightLayout
    frozen: tuple[str, ...] = ()
    distinct_rows = False

    def init(self, key: jax.Array) -> tuple[Any, Any]:
        return {"w": jnp.zeros(len(self.layout.signals)), "bias": jnp.zeros(())}, {}

    def _logits(self, params, batch):
        b, e = batch["epoch_mask"].shape
        total = params["bias"]
        for column, (name, samples) in enumerate(self.layout.signals):
            loud = jnp.sqrt((batch[f"signal/{name}"].reshape(b, e, samples) ** 2).mean(-1) + 1e-6)
            total += jnp.where(batch["present"][:, column, None], loud * params["w"][column], 0)
        return total  # [B, E]

    def loss(self, params, stats, batch, key):
        logits = self._logits(params, batch)
        scored = batch["epoch_mask"] & (batch["stages"] >= 0)
        sign = jnp.where(batch["stages"] == 0, 1.0, -1.0)
        total = jnp.where(scored, jax.nn.softplus(-sign * logits), 0).sum()
        return total / jnp.maximum(scored.sum(), 1), (stats, {"loss": (total, scored.sum())})

    def predict(self, params, stats, batch):
        return {"awake": jax.nn.sigmoid(self._logits(params, batch))}

    def after_update(self, params, stats, step):
        return params, stats


def make(config, model):
    names = [name for name, _ in SAMPLES.items()]
    return Awake(from_config(config["data"], names, samples=SAMPLES), tuple(config["frozen"]))
