"""A model of nights in a few lines: every sleep_epoch's mean of each present signal, weighed."""

import dataclasses

import jax
import jax.numpy as jnp

from sleepfm_jax.config import Key
from sleepfm_jax.signals.night_layout import CLASSES, NightLayout

KEYS = {
    "signals": Key(("ABD", "ECG", "THX"), "of a night", form="names"),
    "samples": Key(256, "a sleep_epoch, of every signal", low=1),
    "classes": Key(CLASSES, "of a sleep_epoch", form="names"),
}


@dataclasses.dataclass(frozen=True)
class NightMeans:
    layout: NightLayout

    def init(self, key):
        n, k = len(self.layout.signals), len(self.layout.classes)
        params = {"kernel": jax.random.normal(key, (n, k)), "bias": jnp.zeros(k)}
        return params, {"calls": jnp.float32(0)}

    def apply(self, params, stats, batch, key=None, is_frozen=None):
        b, e = batch["epoch_mask"].shape
        means = [batch[f"signal/{name}"].reshape(b, e, -1).mean(-1) for name in self.layout.names]
        features = jnp.where(batch["present"][:, None], jnp.stack(means, -1), 0)  # [B, E, N]
        logits = features @ params["kernel"] + params["bias"]
        moved = stats if key is None else {"calls": stats["calls"] + 1}
        return {"logits": logits, "features": features}, moved


def make(config, slots):
    section = config["model"]
    signals = tuple((name, section["samples"]) for name in sorted(section["signals"]))
    return NightMeans(
        NightLayout(signals, sleep_epochs=8, longest=8, classes=tuple(section["classes"]))
    )
