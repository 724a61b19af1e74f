"""A checkpoint and a labelled dataset → linear probes on frozen features, beside fair baselines.

What is left behind are predictions (`metrics.predictions`), a file a row; figures come from them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from sleepfm_jax import config as configuration
from sleepfm_jax import pretrained
from sleepfm_jax.data import people
from sleepfm_jax.errors import CheckpointError, DatasetError
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
    "random": "of untrained encoders, their batch statistics calibrated on the training split's "
    "signals (in cross-validation everybody's; no label is looked at)",
    "tokens": "mean of the pretrained tokenizer's tokens, by modality: no attention",
    FEATURES: "plain ones of EEG, eyes, muscles and heart; staging: with the night around them",
    scoring.CONTROL: "as the pretrained row; labels permuted over people, refitted each time",
}


@dataclasses.dataclass(frozen=True)
class Row:
    """What is fitted: names of its features in `Gathered`, one an encoder; what they are of, and
    with what seed each encoder was trained or drawn."""

    name: str
    features: tuple[str, ...]
    encoders: tuple[Pretrained, ...] = ()
    seeds: tuple[int, ...] = ()


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
      checkpoints: runs of one configuration that differ by their seed.
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
      CheckpointError, DatasetError: what was asked for cannot be, or is not what it is called.
    """
    trained = [pretrained.load(folder) for folder in checkpoints]
    controls = [pretrained.load(folder) for folder in mispaired]
    _check_encoders(trained, controls)
    data = Labelled(data_dir, dataset, channels, exclude_pretrained)
    rows = [_encoder_row("pretrained", trained)]
    if controls:
        rows.append(_encoder_row("mispaired", controls))
    drawn = [seed + 1 + i for i in range(seeds)]  # 0 may be that of the pretraining
    untrained = [data.calibrated(trained[0].randomised(each)) for each in drawn]
    rows.append(_encoder_row("random", untrained, drawn))
    encoders = {name: e for row in rows for name, e in zip(row.features, row.encoders)}
    first = rows[0].features[0]
    gathered = data.gather(encoders, raw_tokens_of=first)
    rows.append(Row("tokens", (RAW + first,), (trained[0],), rows[0].seeds[:1]))
    rows.append(Row(FEATURES, (FEATURES,), (), (seed,)))
    _check_people(data, gathered)

    made = made_by(command)
    times = math.lcm(*(len(row.features) for row in rows))
    times *= -(-seeds // times)  # the same draws for all rows, each encoder as often as the others
    found: dict[str, Predictions] = {}
    for row in rows:
        fits, numbers = _repeats(data, gathered, row, times, seed)
        about = _about(data, gathered, row, fits, channels) | made
        found[row.name] = _predictions(data, gathered, fits, numbers, about)
        logging.info("%s: %s: fitted", dataset, row.name)
    map_ = _principal_axes(gathered.features[first][_scored_split(data)])
    found["pretrained"] = dataclasses.replace(found["pretrained"], map=map_)
    if permutations:
        chosen = [l2 for each in found["pretrained"].about["l2"] for l2 in each]
        about, l2 = found["pretrained"].about, float(np.median(chosen))
        control = _permuted(data, gathered, about, first, permutations, seed, l2)
        if control is not None:
            found[scoring.CONTROL] = control
    folder = files.path_of(workdir, dataset, "pretrained").parent
    files.save_rows(folder, found, gone=(*scoring.ROWS, scoring.CONTROL))
    return list(found)


def _encoder_row(
    name: str, encoders: Sequence[Pretrained], seeds: Sequence[int] | None = None
) -> Row:
    names = tuple(f"{name} {i + 1}" for i in range(len(encoders)))
    seeds = [encoder.config["seed"] for encoder in encoders] if seeds is None else seeds
    return Row(name, names, tuple(encoders), tuple(seeds))


def _check_encoders(trained: Sequence[Pretrained], controls: Sequence[Pretrained]) -> None:
    """What is called mispaired is, what is not is not, and seeds are of one configuration.

    Raises:
      CheckpointError: says which is not.
    """
    for encoders, mispaired in ((trained, False), (controls, True)):
        for encoder in encoders:
            if bool(encoder.config["data"]["mispaired"]) is not mispaired:
                flag = "--mispaired" if mispaired else "--checkpoint"
                raise CheckpointError(
                    f"{flag}={encoder.source}: its config.data.mispaired is {not mispaired}"
                )
        if len({encoder.fingerprint for encoder in encoders}) < len(encoders):
            sources = ", ".join(encoder.source for encoder in encoders)
            raise CheckpointError(f"{sources}: the same weights twice are no two seeds")
    first = trained[0]
    for encoder in (*trained[1:], *controls):
        # Both are called seeds or controls of the first: all else must be alike.
        here = {**encoder.config, "seed": first.config["seed"]}
        here["data"] = {**here["data"], "mispaired": first.config["data"]["mispaired"]}
        if other := configuration.same_run(first.config, here):
            raise CheckpointError(
                f"{encoder.source} was trained otherwise than {first.source} "
                f"({'; '.join(other)}): probe it in a workdir of its own"
            )


def _scored_split(data: Labelled) -> str:
    return "train" if data.protocol == "cross-validation" else "test"


def _check_people(data: Labelled, gathered: Gathered) -> None:
    people.refuse_shared(
        ((str(p), split) for split, part in gathered.examples.items() for p in part.person),
        where=data.records["train"].folders[0],
        advice="Build it again",
    )


def _repeats(
    data: Labelled, gathered: Gathered, row: Row, times: int, seed: int
) -> tuple[list[Fit], np.ndarray]:
    """The fits of a row and the seed of each: of its encoder where the splits are given, otherwise
    of the draw of folds or validation people, `times` of them."""
    drawn = len(row.features)
    impute = row.name == FEATURES
    given = data.protocol == "splits"
    numbers = range(seed, seed + (drawn if given else times))
    fits = [
        fit(data, gathered, row.features[i % drawn], seed=number, impute=impute)
        for i, number in enumerate(numbers)
    ]
    return fits, np.array(row.seeds if given else numbers)


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
            whole = parts["train"]
            train, validation = hold_out_validation(whole, seed=seed)
            parts["train"] = tuple(column[train] for column in whole)
            parts["validation"] = tuple(column[validation] for column in whole)
            options["splits"] = "official test split, validation subjects drawn from training"
        return fit_probe(parts["train"], parts["validation"], parts["test"], **options)
    except ValueError as error:
        raise DatasetError(f"{data.name} cannot be probed: {error}") from error


def _permuted(
    data: Labelled,
    gathered: Gathered,
    about: Mapping[str, Any],
    features: str,
    count: int,
    seed: int,
    l2: float,
) -> Predictions | None:
    """The control: fits on labels permuted over people, with the one L2 that the true labels chose.

    A round in which training people are left with a single class cannot be fitted: it is drawn
    again, and noted; None where no round can.
    """

    def labels(number: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(number)
        return {
            name: permute_over_people(part.label, part.person, rng)
            for name, part in gathered.examples.items()
        }

    fits: dict[int, Fit] = {}
    failed = 0
    for number in range(seed, seed + 10 * count):
        if len(fits) == count:
            break
        options = {"l2_grid": (l2,), "unweighted": False}
        try:
            fits[number] = fit(
                data, gathered, features, seed=number, labels=labels(number), **options
            )
        except DatasetError as caught:
            failed, error = failed + 1, caught
    if not fits:
        logging.warning("%s: no permutation could be fitted, so no control: %s", data.name, error)
        return None
    drawn = np.stack([labels(number)[_scored_split(data)] for number in fits])
    notes = [f"{failed} permutations could not be fitted and were drawn again"] if failed else []
    protocol = f"as of the true labels, with the median of the L2s that these chose ({l2:g})"
    return _predictions(
        data,
        gathered,
        list(fits.values()),
        np.array(list(fits)),
        {
            **about,
            "row": scoring.CONTROL,
            "features": _WORDS[scoring.CONTROL],
            "protocol": protocol,
            "l2": [fit.l2 for fit in fits.values()],
            "notes": notes,
        },
        drawn,
    )


def _predictions(data, gathered, fits: list[Fit], seeds, about, permuted=None) -> Predictions:
    examples = gathered.examples[_scored_split(data)]

    def stacked(name: str) -> np.ndarray | None:
        values = [getattr(fit, name) for fit in fits]
        return None if values[0] is None else np.stack(values).astype(np.float32)

    return Predictions(
        **examples._asdict(),
        probabilities=stacked("probabilities"),
        unweighted=stacked("unweighted") if permuted is None else None,
        thresholds=stacked("thresholds"),
        fold=np.stack([fit.fold for fit in fits]).astype(np.int16),
        seeds=np.asarray(seeds),
        permuted=permuted,
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
        "dataset_fingerprint": data.fingerprint,
        "label_kind": data.label_kind,
        "classes": data.classes,
        "split": "cross-validation" if data.protocol == "cross-validation" else "test",
        "features": _WORDS[row.name],
        "checkpoints": [encoder.source for encoder in stored],
        "steps": [encoder.step for encoder in stored],
        "weights": [encoder.fingerprint for encoder in row.encoders],
        "encoder_seeds": list(row.seeds) if row.encoders else [],
        "channels": channels if row.encoders else "all",
        "input_scaling": ", ".join(sorted(scalings)) or "physical units",
        "left_out": gathered.left_out,
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
