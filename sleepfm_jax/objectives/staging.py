"""Sleep stages of whole nights, from whatever signals a night has: wav2sleep's training.

A model's logits [B, E, K] of every sleep_epoch → cross-entropy with the scored ones. In training
signals are left out at random and turned over, so that one model learns every subset of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from sleepfm_jax.config import Key
from sleepfm_jax.losses import classification
from sleepfm_jax.objectives import night_augmentation
from sleepfm_jax.signals.night_layout import NightLayout
from sleepfm_jax.signals.stages import class_of_stage
from sleepfm_jax.training import freezing, moving_average

_RATES = {"ABD": 0.7, "ECG": 0.5, "EOG-L": 0.7, "EOG-R": 0.7, "PPG": 0.1, "THX": 0.7}
_RATES |= {"BAS": 0.5, "EMG": 0.7, "RESP": 0.7}  # modalities of tokens; no published ones

KEYS = {
    "masking": {
        name: Key(rate, "probability that it is left out of a night, in training", low=0, high=1)
        for name, rate in _RATES.items()
    },
    "turn_over": Key(True, "each signal of a night by a fair coin, in training"),
    "average_decay": Key(
        0.0, "of the moving average of weights that is evaluated; 0: none", low=0, below=1
    ),
    "average_from": Key(2000, "step that is first averaged", low=0),
}


@dataclasses.dataclass(frozen=True)
class Staging:
    """A model of nights; see `objective.Objective`.

    A sleep_epoch counts that is inside of a night, scored as a stage that has a class, and of a
    night with a signal at all.

    Attributes:
      model: gives `logits` [B, E, K] of a batch with `present` bool [B, N], `epoch_mask` bool
        [B, E] and `signal/NAME`; its layout names the N signals and the K classes.
      masking: (signal, probability that it is left out of a night in training).
      turn_over: are signals turned over at random in training?
      average_decay, average_from: of the moving average of weights (`training.moving_average`)
        that evaluation takes; decay 0: the weights themselves.
    """

    model: Any
    masking: tuple[tuple[str, float], ...] = tuple(_RATES.items())
    turn_over: bool = True
    average_decay: float = 0.0
    average_from: int = 2000
    frozen: tuple[str, ...] = ()
    distinct_rows = False

    @property
    def layout(self) -> NightLayout:
        """The model's."""
        return self.model.layout

    def init(self, key: jax.Array) -> tuple[dict, dict]:
        """Fresh (params, stats)."""
        encoder, stats = self.model.init(key)
        params, stats = {"encoder": encoder}, {"encoder": stats}
        if self.average_decay:
            stats["average"] = moving_average.begin(params)
        return params, stats

    def loss(
        self, params, stats, batch: Mapping[str, jax.Array], key: jax.Array | None
    ) -> tuple[jax.Array, tuple[dict, dict]]:
        """→ loss, (stats, metrics); see `objective.Objective`."""
        if key is None:
            params = self._evaluated(params, stats)
        else:
            batch = self._augmented(batch, key)
        logits, encoder = self._logits(params, stats, batch, key)
        classes, counts = self._targets(batch)
        loss = classification.cross_entropy(logits, classes, counts)
        right = (logits.argmax(-1) == classes) & counts
        count = counts.sum()
        metrics = {"loss": (loss * count, count), "accuracy": (right.sum(), count)}
        return loss, (stats | {"encoder": encoder}, metrics)

    def predict(self, params, stats, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """Evaluation mode: probabilities float32 [B, E, K], from the signals that `present` has.

        Of sleep_epochs beyond a night, and of a night without a signal, they say nothing.
        """
        logits, _ = self._logits(self._evaluated(params, stats), stats, batch, None)
        return {"probabilities": jax.nn.softmax(logits)}

    def after_update(self, params, stats, step: jax.Array) -> tuple[dict, dict]:
        """The parameters as they are; their average moves."""
        if not self.average_decay:
            return params, stats
        average = moving_average.moved(
            stats["average"], params, step, decay=self.average_decay, start=self.average_from
        )
        return params, stats | {"average": average}

    def _evaluated(self, params, stats):
        """The weights of evaluation."""
        return moving_average.weights(stats["average"], params) if self.average_decay else params

    def _augmented(self, batch, key) -> dict[str, jax.Array]:
        masking, sides = (jax.random.fold_in(key, turn) for turn in (1, 2))
        signals = self.layout.names
        present = night_augmentation.mask_signals(
            masking, batch["present"], signals, dict(self.masking)
        )
        batch = dict(batch) | {"present": present}
        return night_augmentation.turn_over(sides, batch, signals) if self.turn_over else batch

    def _logits(self, params, stats, batch, key):
        """Float32 (or more) [B, E, K]; statistics."""
        frozen = freezing.below("encoder", self.frozen)
        out, encoder = self.model.apply(params["encoder"], stats["encoder"], batch, key, frozen)
        logits = out["logits"]
        return logits.astype(jnp.promote_types(logits.dtype, jnp.float32)), encoder

    def _targets(self, batch):
        """Class numbers int32 [B, E], below 0 where there is none; bool [B, E], does it count?"""
        table = jnp.array(class_of_stage(self.layout.classes))
        stages = batch["stages"]
        classes = jnp.where(stages >= 0, table[jnp.maximum(stages, 0)], -1)
        real = (batch["index"] >= 0) & batch["present"].any(-1)
        return classes, (classes >= 0) & batch["epoch_mask"] & real[:, None]


def make(config: Mapping[str, Any], model: Any) -> Staging:
    """The objective of a checked configuration.

    Raises:
      ValueError: an average that would begin with weights that a run does not start from; tokens
        that are to be turned over.
    """
    section = config["objective"]
    if section["turn_over"] and model.layout.examples != "nights":
        raise ValueError(
            "objective.turn_over is True, but tokens of a frozen encoder cannot be turned over, as "
            "signals can; expected False"
        )
    if section["average_decay"] and config["initialise_from"] and not section["average_from"]:
        raise ValueError(
            "objective.average_from is 0: the average would begin with fresh weights, where "
            "initialise_from takes others; expected 1 or more"
        )
    return Staging(
        model=model,
        masking=tuple(sorted(section["masking"].items())),
        turn_over=section["turn_over"],
        average_decay=section["average_decay"],
        average_from=section["average_from"],
        frozen=tuple(config["frozen"]),
    )
