"""The ceiling: how well a second person who scores the same nights agrees with the first."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from sleepfm_jax.errors import DatasetError
from sleepfm_jax.metrics.predictions import Predictions
from sleepfm_jax.metrics.sleep_statistics import classes_of
from sleepfm_jax.report.staging.stored import SCORER


def second_opinion(
    first: Predictions, second: Mapping[tuple[str, str], np.ndarray], said_by: str
) -> Predictions:
    """What a second person scored, in place of what a model said of the same sleep_epochs: the row
    stands in the table beside the model's, paired.

    Args:
      first: predictions of whole nights (`clip` 0); its labels are the first person's.
      second: (person, recording) → int [E], indices into `signals.STAGES` in the night's time, -1
        unscored; these sleep_epochs are left out.
      said_by: who that is, in words; "simulated" where nobody is.

    Raises:
      DatasetError: a night without a second scoring, or with a shorter one.
    """
    classes = first.classes
    told = np.full(len(first.label), -1)
    whose = np.char.add(np.char.add(first.person, "\t"), first.recording)
    for name in np.unique(whose):
        mine = np.flatnonzero(whose == name)
        person, _, recording = name.partition("\t")
        stages = second.get((person, recording))
        at = first.sleep_epoch[mine]
        if stages is None or at.max() >= len(stages):
            raise DatasetError(f"{person}, {recording}: no second scoring of the whole night")
        told[mine] = classes_of(np.asarray(stages)[at], classes)
    kept = told >= 0
    certain = np.eye(len(classes), dtype=np.float32)[told[kept]]
    names = ("person", "recording", "clip", "sleep_epoch", "label")
    about = {k: first.about[k] for k in ("dataset", "dataset_fingerprint") if k in first.about}
    return dataclasses.replace(
        first,
        **{name: getattr(first, name)[kept] for name in names},
        probabilities=certain[None],
        seeds=np.zeros(1, int),
        fold=np.full((1, int(kept.sum())), -1),
        about=about
        | {
            "row": SCORER,
            "label_kind": "staging",
            "classes": classes,
            "split": first.about.get("split"),
            "signals": first.about.get("signals"),
            "features": f"a second person's stages: {said_by}",
        },
    )
