"""`classification`: the figures of labelled rows, and, where asked for, what was said of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from absl import logging

from sleepfm_jax.errors import ConfigError
from sleepfm_jax.evaluators.evaluator import Means, Predict
from sleepfm_jax.metrics.classification import classification_metrics
from sleepfm_jax.metrics.multilabel import multilabel_metrics
from sleepfm_jax.metrics.predictions import Predictions

FIGURES = ("balanced_accuracy", "auroc", "auprc", "f1")
"""Beside the loss; with two classes also `f1_positive`, of the second."""

_WHOSE = ("person", "stored_recording", "clip_number")


@dataclasses.dataclass(frozen=True)
class Classification:
    """See `evaluator.Evaluator`; for objectives that predict `probabilities` [B, K].

    Attributes:
      classes: the K names. label_kind: "classification" (one class a row) or "multilabel".
      keep_predictions: is what was said of each row given, too?
    """

    classes: tuple[str, ...]
    label_kind: str
    keep_predictions: bool = False

    @property
    def wants(self) -> tuple[str, ...]:
        return ("probabilities", "labels", *(_WHOSE if self.keep_predictions else ()))

    def run(
        self, predict: Predict, batches: Iterable[Mapping[str, np.ndarray]]
    ) -> Iterator[tuple[str, Any]]:
        """Yields ("loss", mean), each of the figures (NaN where it cannot be had; labels of several
        are called at .5), and ("predictions", of one repeat) where they are kept."""
        means, found = Means(), {name: [] for name in (*self.wants, "index")}
        for batch in batches:
            predictions, metrics = predict(batch)
            means.add(metrics)
            for name, values in found.items():
                values.append(predictions[name])
        yield "loss", means["loss"]
        joined = {name: np.concatenate(values) for name, values in found.items()}
        order = np.argsort(joined["index"], kind="stable")  # of the split
        joined = {name: values[order] for name, values in joined.items()}
        label, known = self._labels(joined["labels"])
        joined = {name: values[known] for name, values in joined.items()}
        yield from self._figures(label, joined["probabilities"].astype(np.float64))
        if self.keep_predictions:
            yield "predictions", self._predictions(label, joined)

    def _labels(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Labels of the rows that have one, and which rows these are, bool [N]."""
        if self.label_kind == "multilabel":
            known = np.isfinite(labels).any(axis=1)
            return labels[known].astype(np.float64), known
        known = (labels == 1).sum(axis=1) == 1
        return np.nan_to_num(labels[known]).argmax(axis=1), known

    def _figures(self, label: np.ndarray, p: np.ndarray) -> Iterator[tuple[str, float]]:
        names = FIGURES
        if self.label_kind != "multilabel" and len(self.classes) == 2:
            names = (*FIGURES, "f1_positive")
        if not len(label) or not np.isfinite(p).all():
            why = "probabilities that are not finite" if len(label) else "no labelled row"
            logging.warning("classification: %s: no figure", why)
            figures = dict.fromkeys(names, float("nan"))
        elif self.label_kind == "multilabel":
            figures = multilabel_metrics(label, p)
        else:
            figures = classification_metrics(label, p)
        for name in names:
            yield name, figures[name]

    def _predictions(self, label: np.ndarray, joined: Mapping[str, np.ndarray]) -> Predictions:
        n = len(label)
        return Predictions(
            person=joined["person"],
            recording=joined["stored_recording"],
            clip=joined["clip_number"],
            sleep_epoch=np.full(n, -1),
            label=label,
            probabilities=joined["probabilities"].astype(np.float32)[None],
            seeds=np.zeros(1, int),
            fold=np.full((1, n), -1),
            about={"label_kind": self.label_kind, "classes": list(self.classes)},
        )


def make(row: Mapping[str, Any], objective: Any) -> Classification:
    """The evaluator of a row of the configuration.

    Raises:
      ConfigError: the objective says no labels.
    """
    if not objective.layout.labels:
        raise ConfigError(
            "an evaluator of kind 'classification' needs an objective with labels, such as "
            "config.objective.kind='classification'"
        )
    return Classification(objective.layout.labels, objective.label_kind, row["keep_predictions"])
