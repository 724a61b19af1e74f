"""`staging`: sleep stages of whole nights, from all of their signals and from subsets of them.

A subset is asked of the same weights: the other signals are said to be absent. It is scored on the
nights that have all of its signals, so that two models are compared on the same nights; "all" is
whatever a night has.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from absl import logging

from sleepfm_jax.config import Key
from sleepfm_jax.errors import ConfigError
from sleepfm_jax.evaluators.evaluator import Means, Predict
from sleepfm_jax.metrics.predictions import Predictions
from sleepfm_jax.metrics.sleep_statistics import classes_of
from sleepfm_jax.metrics.staging import FIGURES, MEDIAN, staging_figures
from sleepfm_jax.signals.night_layout import OF_NIGHTS

ALL = "all"
KEYS = {
    "subsets": Key(
        (ALL,), "signals that stages are read from, as 'ECG+THX'; all: what there is", form="names"
    ),
    "keep_predictions": Key(False, "what was said of each sleep_epoch is kept, with its stage"),
}
"""Of a row, besides those of every row."""


@dataclasses.dataclass(frozen=True)
class Staging:
    """See `evaluator.Evaluator`; for objectives that predict `probabilities` [B, E, K] of nights.

    Attributes:
      classes: the K names. signals: the N names along `present`.
      subsets: as in `KEYS`; the first is the headline. keep_predictions: are they given, too?
      longest: sleep_epochs of a row; a longer night is several, one after the other.
    """

    classes: tuple[str, ...]
    signals: tuple[str, ...]
    subsets: tuple[str, ...] = (ALL,)
    keep_predictions: bool = False
    longest: int = 0
    wants = ("probabilities", "stages", "present", "person", "recording", "clip_number")

    def run(
        self, predict: Predict, batches: Iterable[Mapping[str, np.ndarray]]
    ) -> Iterator[tuple[str, Any]]:
        """Yields ("loss", mean of the first subset), the first subset's figures (NaN where none can
        be had), ("subsets", {subset: its figures with "loss" and "nights"}), and, where they are
        kept, ("predictions.SUBSET", of one repeat) of each that any night has."""
        means = {subset: Means() for subset in self.subsets}
        found: dict[str, list] = {subset: [] for subset in self.subsets}
        for batch in batches:
            for subset in self.subsets:
                wanted = self._columns(subset)
                said, metrics = predict(batch | {"present": batch["present"] & wanted})
                means[subset].add(metrics)
                found[subset] += self._nights(said, wanted, subset == ALL)
        told, kept = {}, {}
        for subset, nights in found.items():
            kept[subset] = self._predictions(subset, nights) if nights else None
            figures = self._figures(subset, kept[subset])
            told[subset] = {"loss": means[subset]["loss"], "nights": len(nights)} | figures
        for name, value in told[self.subsets[0]].items():
            if name != "nights":
                yield name, value
        yield "subsets", told
        if self.keep_predictions:
            for subset, said in kept.items():
                if said is not None:
                    yield f"predictions.{subset}", said

    def _columns(self, subset: str) -> np.ndarray:
        """bool [N]: the subset's signals."""
        names = self.signals if subset == ALL else subset.split("+")
        return np.isin(self.signals, names)

    def _nights(self, said: Mapping[str, np.ndarray], wanted: np.ndarray, whole: bool) -> list:
        """(index, person, recording, sleep_epochs, label, probabilities) of each night that has the
        signals, and any scored sleep_epoch; scored ones alone."""
        nights = []
        for row, present in enumerate(said["present"]):
            label = classes_of(said["stages"][row], self.classes)
            scored = np.flatnonzero(label >= 0)
            if not scored.size or not (present.any() if whole else present[wanted].all()):
                continue
            whose = (int(said["index"][row]), said["person"][row], said["recording"][row])
            p = said["probabilities"][row][scored].astype(np.float32)
            at = scored + self.longest * said["clip_number"][row]
            nights.append((*whose, at, label[scored], p))
        return nights

    def _predictions(self, subset: str, nights: list) -> Predictions:
        nights = sorted(nights, key=lambda night: night[0])  # of the split
        lengths = [len(night[3]) for night in nights]
        total = sum(lengths)
        return Predictions(
            person=np.repeat([night[1] for night in nights], lengths),
            recording=np.repeat([night[2] for night in nights], lengths),
            clip=np.zeros(total, int),
            sleep_epoch=np.concatenate([night[3] for night in nights]),
            label=np.concatenate([night[4] for night in nights]).astype(np.int64),
            probabilities=np.concatenate([night[5] for night in nights])[None],
            seeds=np.zeros(1, int),
            fold=np.full((1, total), -1),
            about={
                "label_kind": "staging",
                "classes": list(self.classes),
                "signals": subset,
                "metric": "kappa",
                "against": [],  # a table of subsets compares them with other models
            },
        )

    def _figures(self, subset: str, said: Predictions | None) -> dict[str, float]:
        nothing = dict.fromkeys((*FIGURES, MEDIAN), float("nan"))
        if said is None or not np.isfinite(said.probabilities).all():
            why = "no scored night has these signals" if said is None else "not finite"
            logging.warning("staging from %s: %s: no figure", subset, why)
            return nothing
        return staging_figures(said)


def make(row: Mapping[str, Any], objective: Any) -> Staging:
    """The evaluator of a row of the configuration.

    Raises:
      ConfigError: an objective that reads no nights, a subset of signals that the model does not
        read, or one that is there twice.
    """
    layout = objective.layout
    if getattr(layout, "examples", None) not in OF_NIGHTS:
        raise ConfigError(
            "an evaluator of kind 'staging' needs an objective that reads nights, such as "
            "config.objective.kind='staging'"
        )
    signals = tuple(layout.names)
    subsets = tuple(row["subsets"])
    for subset in subsets:
        if unknown := [s for s in subset.split("+") if subset != ALL and s not in signals]:
            raise ConfigError(
                f"config.evaluators: subset {subset!r} names {', '.join(unknown)}; the model reads "
                f"{', '.join(signals)}"
            )
    # In one order, so that tables of several models know a subset by its name.
    order = (ALL, *signals)
    subsets = tuple("+".join(sorted(subset.split("+"), key=order.index)) for subset in subsets)
    if len(set(subsets)) < len(subsets):
        raise ConfigError(f"config.evaluators: a subset is twice in {', '.join(subsets)}")
    return Staging(tuple(layout.classes), signals, subsets, row["keep_predictions"], layout.longest)
