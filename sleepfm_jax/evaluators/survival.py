"""`survival`: in which order do people fall ill, and was it told?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from absl import logging

from sleepfm_jax.errors import ConfigError
from sleepfm_jax.evaluators.evaluator import Means, Predict
from sleepfm_jax.metrics.survival import NAME, concordance, concordance_interval

KEYS: dict[str, Any] = {}


@dataclasses.dataclass(frozen=True)
class Survival:
    """See `evaluator.Evaluator`; for objectives that predict `log_hazards` [B, K].

    A person counts once: with the mean of the log hazards of all rows that they have.

    Attributes:
      labels: the K events. intervals: have figures intervals? They take seconds a thousand people.
    """

    labels: tuple[str, ...]
    intervals: bool = False
    wants = ("log_hazards", "times", "events", "person")

    def run(
        self, predict: Predict, batches: Iterable[Mapping[str, np.ndarray]]
    ) -> Iterator[tuple[str, Any]]:
        """Yields ("loss", mean over events), ("concordance", mean over the events that have one)
        and ("labels", {event: {"concordance", "people", "events", and where asked for "low" and
        "high" or the "reason" that there is none}})."""
        means, found = Means(), {name: [] for name in (*self.wants, "index")}
        for batch in batches:
            predictions, metrics = predict(batch)
            means.add(metrics)
            for name, values in found.items():
                values.append(predictions[name])
        yield "loss", means["loss"]
        joined = {name: np.concatenate(values) for name, values in found.items()}
        told = self._figures(*_by_person(joined))
        figures = [figure[NAME] for figure in told.values() if np.isfinite(figure[NAME])]
        yield NAME, float(np.mean(figures)) if figures else float("nan")
        yield "labels", told

    def _figures(self, person, hazards, times, events) -> dict[str, dict[str, Any]]:
        told = {}
        for k, label in enumerate(self.labels):
            known = np.isfinite(events[:, k])
            rows = [x[known, k] for x in (hazards, times, events)]
            told[label] = {
                NAME: float("nan"),
                "people": int(known.sum()),
                "events": int(np.nansum(events[:, k])),
            }
            if not np.isfinite(rows[0]).all():
                logging.warning("survival: %s: log hazards that are not finite: no figure", label)
                continue
            told[label][NAME] = concordance(*rows)
            if self.intervals and known.any():
                interval, reason = concordance_interval(person[known], *rows)
                ends = (
                    {"reason": reason} if interval is None else dict(zip(("low", "high"), interval))
                )
                told[label] |= ends
        return told


def _by_person(joined: Mapping[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    """person [P], log hazards (mean over a person's rows), times and events [P, K].

    A row of which nothing was recorded (NaN throughout) says nothing of its person.
    """
    said = ~np.isnan(joined["log_hazards"]).all(axis=1)
    order = np.argsort(joined["index"], kind="stable")  # sums do not depend on batches
    order = order[said[order]]
    person, first, place = np.unique(
        joined["person"][order], return_index=True, return_inverse=True
    )
    hazards = joined["log_hazards"][order].astype(np.float64)
    total = np.zeros((len(person), hazards.shape[1]))
    np.add.at(total, place, hazards)
    mean = total / np.maximum(np.bincount(place, minlength=len(person)), 1)[:, None]
    return person, mean, joined["times"][order][first], joined["events"][order][first]


def make(row: Mapping[str, Any], objective: Any) -> Survival:
    """The evaluator of a row of the configuration.

    Raises:
      ConfigError: the objective follows nobody up.
    """
    asked = getattr(objective.layout, "follow_up", None)
    if asked is None:
        raise ConfigError(
            "an evaluator of kind 'survival' needs an objective with times to events, such as "
            "config.objective.kind='survival'"
        )
    return Survival(asked.labels, row["every"] == 0)
