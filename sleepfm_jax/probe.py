"""A checkpoint and a labelled dataset → linear probes on frozen features, beside fair baselines.

What is left behind are predictions (`metrics.predictions`), a file a row; figures come from them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from sleepfm_jax import pretrained
from sleepfm_jax.data import people
from sleepfm_jax.errors import DatasetError
from sleepfm_jax.labelled import FEATURES, RAW, Gathered, Labelled
from sleepfm_jax.metrics import predictions as files
from sleepfm_jax.metrics import scoring
from sleepfm_jax.metrics.linear_probe import Fit, fit_probe, grouped_cv_probe, hold_out_validation
from sleepfm_jax.metrics.permutation import permute_over_people
from sleepfm_jax.metrics.predictions import Predictions
from sleepfm_jax.pretrained import Pretrained
from sleepfm_jax.report.made_by import made_by

FOLDS = 5

_WORDS = {
    "pretrained": "of the pretrained encoder: mean tokens and the clip's vector, by modality",
    "mispaired": "of an encoder pretrained on modalities of different people, otherwise alike",
    "random": "of untrained encoders, their batch statistics calibrated on training data",
    "tokens": "mean of the pretrained tokenizer's tokens, by modality: no attention",
    FEATURES: "plain ones of EEG, eyes, muscles and heart; staging: with the night around them",
    scoring.CONTROL: "as the pretrained row; labels permuted over people, refitted each time",
}


@dataclasses.dataclass(frozen=True)
class Row:
    """What is fitted: names of its features in `Gathered`, one an encoder, and what they are of."""

    name: str
    features: tuple[str, ...]
    encoders: tuple[Pretrained, ...] = ()


def probe(
    checkpoints: Sequence[str | Path],
    data_dir: str | Path,
    dataset: str,
    workdir: str | Path,
    *,
    mispaired: Sequence[str | Path] = (),
    channels: str = "all",
    exclude_pretrained: bool = False,
    seeds: int = 5,
    permutations: int = 20,
    seed: int = 0,
    command: str = "",
) -> list[str]:
    """Probes a dataset with the pretrained encoder and its baselines, and writes the predictions of
    each row under workdir/predictions/dataset.

    Args:
      checkpoints: runs of one configuration that differ by their seed: repeats of one row.
      mispaired: runs with `config.data.mispaired`, else as the first.
      seeds: how many untrained encoders; and how many draws of folds, or of validation people,
        where the dataset leaves these open.
      permutations: fits on labels permuted over people; 0: none.
      seed: the first of the seeds.
      command: what the user typed, for the record.

    Returns:
      The rows that were written, in order.

    Raises:
      LeakError: it would score people that an encoder was trained on.
      CheckpointError, DatasetError: what was asked for cannot be.
    """
    data = Labelled(data_dir, dataset, channels, exclude_pretrained)
    trained = [pretrained.load(folder) for folder in checkpoints]
    controls = [pretrained.load(folder) for folder in mispaired]
    rows = [_encoder_row("pretrained", trained)]
    if controls:
        rows.append(_encoder_row("mispaired", controls))
    untrained = [data.calibrated(trained[0].randomised(seed + 1 + i)) for i in range(seeds)]
    rows.append(_encoder_row("random", untrained))
    encoders = {name: e for row in rows for name, e in zip(row.features, row.encoders)}
    first = rows[0].features[0]
    gathered = data.gather(encoders, raw_tokens_of=first)
    rows.append(Row("tokens", (RAW + first,), (trained[0],)))
    rows.append(Row(FEATURES, (FEATURES,)))
    _check_people(data, gathered)

    made = made_by(command)
    map_ = _principal_axes(gathered.features[first][_scored_split(data)])
    written = []
    chosen: list[float] = []
    for row in rows:
        fits, drawn = _repeats(data, gathered, row, seeds, seed)
        about = _about(data, gathered, row, fits, channels) | made
        if row.name == "pretrained":
            chosen = [l2 for fit in fits for l2 in fit.l2]
        found = _predictions(data, gathered, fits, drawn, about, map_)
        files.save(files.path_of(workdir, dataset, row.name), found)
        written.append(row.name)
        logging.info("%s: %s: predictions written", dataset, row.name)
    control = files.path_of(workdir, dataset, scoring.CONTROL)
    control.unlink(missing_ok=True)  # of another probe
    if permutations:
        l2 = float(np.median(chosen))
        found = _permuted(data, gathered, rows[0], permutations, seed, l2)
        about = _about(data, gathered, rows[0], found[0], channels) | made
        about |= {"row": scoring.CONTROL, "features": _WORDS[scoring.CONTROL]}
        drawn = np.arange(seed, seed + permutations)
        files.save(control, _predictions(data, gathered, found[0], drawn, about, None, found[1]))
        written.append(scoring.CONTROL)
    return written


def _encoder_row(name: str, encoders: Sequence[Pretrained]) -> Row:
    names = tuple(f"{name} {i + 1}" for i in range(len(encoders)))
    return Row(name, names, tuple(encoders))


def _scored_split(data: Labelled) -> str:
    return "train" if data.protocol == "cross-validation" else "test"


def _check_people(data: Labelled, gathered: Gathered) -> None:
    people.refuse_shared(
        ((str(p), split) for split, part in gathered.examples.items() for p in part.person),
        where=data.records["train"].folders[0],
        advice="Build it again",
    )


def _repeats(
    data: Labelled, gathered: Gathered, row: Row, seeds: int, seed: int
) -> tuple[list[Fit], np.ndarray]:
    """The fits of a row and what each was drawn with. A seed matters to encoders that were drawn,
    and where folds or validation people are."""
    drawn = len(row.features)
    count = drawn if data.protocol == "splits" else max(seeds, drawn)
    fits = [
        fit(data, gathered, row.features[r % drawn], seed=seed + r, impute=row.name == FEATURES)
        for r in range(count)
    ]
    return fits, np.arange(seed, seed + count)


def fit(
    data: Labelled,
    gathered: Gathered,
    features: str,
    *,
    seed: int,
    impute: bool = False,
    labels: Mapping[str, np.ndarray] | None = None,
    **options: Any,
) -> Fit:
    """One linear probe of the dataset, by its protocol; see `metrics.linear_probe`.

    Args:
      labels: others than the dataset's, by split.

    Raises:
      DatasetError: too few people, or training examples of a single class.
    """
    labels = labels or {split: part.label for split, part in gathered.examples.items()}
    parts = {
        split: (gathered.features[features][split], labels[split], part.person)
        for split, part in gathered.examples.items()
    }
    kind = "multilabel" if data.label_kind == "multilabel" else "classification"
    options |= {"label_kind": kind, "classes": data.classes, "impute": impute}
    try:
        if data.protocol == "cross-validation":
            folds = min(FOLDS, max(3, len(np.unique(parts["train"][2]))))
            return grouped_cv_probe(*parts["train"], folds=folds, seed=seed, **options)
        if data.protocol == "test":
            train, validation = hold_out_validation(parts["train"], seed=seed)
            whole = parts["train"]
            parts["train"] = tuple(column[train] for column in whole)
            parts["validation"] = tuple(column[validation] for column in whole)
        return fit_probe(parts["train"], parts["validation"], parts["test"], **options)
    except ValueError as error:
        raise DatasetError(f"{data.name} cannot be probed: {error}") from error


def _permuted(
    data: Labelled, gathered: Gathered, row: Row, count: int, seed: int, l2: float
) -> tuple[list[Fit], np.ndarray]:
    """Fits on permuted labels, with the one L2 that the true labels chose, and those labels of the
    scored split, [R, N] or [R, N, K]."""
    fits, drawn = [], []
    for r in range(count):
        rng = np.random.default_rng([seed, r])
        labels = {
            split: permute_over_people(part.label, part.person, rng)
            for split, part in gathered.examples.items()
        }
        fits.append(
            fit(data, gathered, row.features[0], seed=seed + r, labels=labels, l2_grid=(l2,))
        )
        drawn.append(labels[_scored_split(data)])
    return fits, np.stack(drawn)


def _predictions(data, gathered, fits: list[Fit], drawn, about, map_, permuted=None) -> Predictions:
    examples = gathered.examples[_scored_split(data)]

    def stacked(name: str) -> np.ndarray | None:
        values = [getattr(fit, name) for fit in fits]
        return None if values[0] is None else np.stack(values).astype(np.float32)

    return Predictions(
        **examples._asdict(),
        probabilities=stacked("probabilities"),
        unweighted=stacked("unweighted"),
        thresholds=stacked("thresholds"),
        fold=np.stack([fit.fold for fit in fits]).astype(np.int16),
        seeds=np.asarray(drawn),
        permuted=permuted,
        map=map_,
        about=about,
    )


def _about(
    data: Labelled, gathered: Gathered, row: Row, fits: list[Fit], channels: str
) -> dict[str, Any]:
    """How a row was made; see `metrics.predictions`."""
    notes = list(dict.fromkeys(note for fit in fits for note in fit.notes))
    if any(encoder.people is None for encoder in row.encoders if row.name != "random"):
        notes.append(people.NOT_TOLD)
    stored = [encoder for encoder in row.encoders if encoder.source]
    scalings = {encoder.model.layout.input_scaling for encoder in row.encoders}
    return {
        "row": row.name,
        "dataset": data.name,
        "dataset_fingerprint": hashlib.sha256(
            json.dumps(data.identity, sort_keys=True).encode()
        ).hexdigest()[:16],
        "label_kind": data.label_kind,
        "classes": data.classes,
        "split": "cross-validation" if data.protocol == "cross-validation" else "test",
        "features": _WORDS[row.name],
        "checkpoints": [encoder.source for encoder in stored],
        "steps": [encoder.step for encoder in stored],
        "weights": [encoder.fingerprint for encoder in row.encoders],
        "channels": channels if row.encoders else "all",
        "input_scaling": ", ".join(sorted(scalings)) or "physical units",
        "left_out": dict(gathered.left_out),
        "protocol": fits[0].protocol,
        "l2": [fit.l2 for fit in fits],
        "notes": notes,
    }


def _principal_axes(x: np.ndarray) -> np.ndarray:
    """Standardised features [N, F] on their two principal axes, float32 [N, 2]."""
    x = x - x.mean(axis=0)
    sd = x.std(axis=0)
    x = x / np.where(sd > 0, sd, 1.0)
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    found = np.zeros((len(x), 2), np.float32)
    found[:, : min(2, len(s))] = u[:, :2] * s[:2]
    return found
