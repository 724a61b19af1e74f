"""An objective of one number with labels: the first class where a clip's scales are small."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from sleepfm_jax.config import Key
from tests.helpers.labelled_dataset import CLASSES

KEYS = {"labels": Key(CLASSES, "of the rows", form="names")}

TRACED = []
"""One entry whenever the loss is traced."""


@dataclasses.dataclass(frozen=True)
class Labels:
    """loss = cross-entropy of logits (0, w * scale); a row without a label does not count."""

    model: Any
    labels: tuple[str, ...]
    frozen: tuple[str, ...] = ()
    label_kind = "classification"
    distinct_rows = False

    @property
    def layout(self):
        return dataclasses.replace(self.model.layout, labels=self.labels)

    def init(self, key):
        return {"w": jax.random.normal(key)}, {"calls": jnp.float32(0)}

    def _logits(self, params, batch):
        x = params["w"] * batch["scale"].mean(1)
        return jnp.stack([jnp.zeros_like(x), x], axis=1)

    def loss(self, params, stats, batch, key):
        TRACED.append(key is not None)
        labels = jnp.nan_to_num(batch["labels"])
        known = (labels.sum(1) == 1) & (batch["index"] >= 0)
        each = -(labels * jax.nn.log_softmax(self._logits(params, batch))).sum(1)
        total = jnp.where(known, each, 0).sum()
        if key is not None:
            stats = {"calls": stats["calls"] + 1}
        return total / jnp.maximum(known.sum(), 1), (stats, {"loss": (total, known.sum())})

    def predict(self, params, stats, batch):
        return {"probabilities": jax.nn.softmax(self._logits(params, batch))}

    def after_update(self, params, stats, step):
        return params, stats


def make(config, model):
    return Labels(model, tuple(config["objective"]["labels"]), tuple(config["frozen"]))
