"""An objective of a few lines: every clip's mean vector, weighed, is to be 1."""

import dataclasses
from typing import Any

import jax.numpy as jnp

KEYS = {}


@dataclasses.dataclass(frozen=True)
class Ones:
    model: Any
    frozen = ()
    distinct_rows = False
    layout = property(lambda self: self.model.layout)

    def init(self, key):
        params, stats = self.model.init(key)
        return {"encoder": params, "weights": jnp.zeros(self.model.width)}, {"encoder": stats}

    def _guess(self, params, stats, batch, key):
        out, moved = self.model.apply(params["encoder"], stats["encoder"], batch, key)
        return out["clip"].mean(1) @ params["weights"], {"encoder": moved}

    def loss(self, params, stats, batch, key):
        guess, stats = self._guess(params, stats, batch, key)
        real = batch["index"] >= 0
        total = jnp.where(real, (guess - 1) ** 2, 0).sum()
        return total / real.sum(), (stats, {"loss": (total, real.sum())})

    def predict(self, params, stats, batch):
        return {"guess": self._guess(params, stats, batch, None)[0]}

    def after_update(self, params, stats, step):
        return params, stats


def make(config, model):
    return Ones(model)
