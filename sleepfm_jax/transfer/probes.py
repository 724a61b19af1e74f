"""Linear probes of a task's frozen encoders and of the baselines, over the same people as training.

A cell is all the probes of a task: plain features are measured, and clips embedded, once.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sleepfm_jax import experiment
from sleepfm_jax.data.division import Division
from sleepfm_jax.errors import ConfigError, DatasetError, SleepFMError
from sleepfm_jax.labelled import FEATURES, RAW, Labelled
from sleepfm_jax.metrics.linear_probe import fit_probe, hold_out_validation
from sleepfm_jax.metrics.predictions import Predictions
from sleepfm_jax.pretrained import Pretrained
from sleepfm_jax.transfer.cells import digest
from sleepfm_jax.transfer.conditions import CONDITIONS, Encoders, Task

WORDS = {
    "random": "of untrained encoders, calibrated on the training people's signals",
    "tokens": "mean of the pretrained tokenizer's tokens, by modality: no attention",
    FEATURES: "plain ones of EEG, eyes, muscles and heart",
}


def of_condition(condition: str) -> str:
    """The row of the probes that a condition is, where nothing is fine-tuned.

    Raises:
      ConfigError: its positions would be fresh, and never trained.
    """
    if condition == "scratch":
        return "random"
    if condition == "pretrained_pe":
        raise ConfigError(
            "--mode=probe with condition pretrained_pe: its positions start fresh, and a frozen "
            "encoder never trains them; ask for pretrained or pe_from_pretraining"
        )
    return condition


@dataclasses.dataclass(frozen=True)
class Probing:
    """All probes of one task.

    Attributes:
      data: fingerprint of the builds of its data.
      asked: rows: conditions but scratch and pretrained_pe, and `BASELINES`.
      folds: 0: the splits of the dataset. fractions: of the training people.
      seeds: how many repeats.
    """

    data_dir: Path
    data: str
    task: Task
    encoders: Encoders
    asked: tuple[str, ...]
    folds: int
    fractions: tuple[float, ...]
    seeds: int
    asked_of_others = False

    @functools.cached_property
    def rows(self) -> dict[str, str]:
        """See `Cell`."""
        return {row_of(name, f): self.data for name in self.asked for f in self.fractions}

    @functools.cached_property
    def key(self) -> str:
        """Of the task's people and labels, the encoders, and how it is divided."""
        config = self.task.config
        facts = {
            "probe": sorted(self.asked),
            "data": self.data,
            "labels": config["objective"]["labels"],
            "fold_seed": config["data"]["fold_seed"],
            "seed": config["seed"],
            "folds": self.folds,
            "fractions": self.fractions,
            "seeds": self.seeds,
            "encoders": [(name, e.fingerprint) for name, e in self.encoders.each()],
        }
        return digest(facts)

    def make(self, folder: Path) -> tuple[dict[str, Predictions], dict[str, Any]]:
        """Embeds, fits and predicts; nothing of it is resumed."""
        found = _Gathered(self)
        rows, l2 = {}, {}
        for name in self.asked:
            for fraction in self.fractions:
                one = found.predictions(name, fraction)
                rows[row_of(name, fraction)] = one
                l2[row_of(name, fraction)] = one.about["l2"]
        return rows, {"l2": l2}


def row_of(name: str, fraction: float) -> str:
    """The row of a cell's predictions."""
    return name if fraction == 1 else f"{name}.f{fraction:g}"


class _Part:
    """Examples of one place: features by name, labels in the task's order, whose they are."""

    def __init__(self, labels, features: Mapping[str, np.ndarray], label: np.ndarray):
        self.examples, self.features, self.label = labels, features, label


class _Gathered:
    """A task's examples by split, with the features of every row."""

    def __init__(self, cell: Probing):
        self.cell, task = cell, cell.task
        self.multilabel = task.config["objective"]["label_kind"] == "multilabel"
        self.labels = list(task.config["objective"]["labels"])
        if len(task.trained_on) != 1:
            raise ConfigError(f"{task.name}: probes are of one training dataset")
        trained = Labelled(cell.data_dir, task.trained_on[0])
        own = task.trained_on == (task.dataset,)
        tested = trained if own else Labelled(cell.data_dir, task.dataset)
        self.encoders = self._named(trained)
        self.left_out: dict[str, Any] = {}
        self.parts = self._gather(trained)
        if not own:
            others = self._gather(tested)
            self.parts = {k: v for k, v in self.parts.items() if k != "test"}
            if "validation" not in self.parts:
                raise DatasetError(f"{task.trained_on[0]}: has no validation split")
            self.parts["test"] = _joined(list(others.values()))
        self._fits: dict[tuple, Any] = {}

    def _named(self, trained: Labelled) -> dict[str, Pretrained]:
        """Feature name → encoder: "pretrained 0", "random 1", …"""
        cell, found = self.cell, {}
        for name in cell.asked:
            for seed in range(cell.seeds):
                if name in CONDITIONS:
                    encoders = cell.encoders.of.get(CONDITIONS[name].source, ())
                    number = seed % len(encoders) if encoders else 0
                    found[f"{name} {number}"] = cell.encoders.for_seed(
                        CONDITIONS[name].source, seed
                    )
                elif name == "random":
                    first = cell.encoders.first()
                    if first is None:
                        raise ConfigError("--checkpoint is not given: probes need its sizes")
                    drawn = 1 + seed  # 0 may be that of the pretraining
                    found[f"random {seed}"] = trained.calibrated(first.randomised(drawn))
        if "tokens" in cell.asked:
            found["pretrained 0"] = cell.encoders.for_seed("checkpoint", 0)
        return found

    def _gather(self, data: Labelled) -> dict[str, _Part]:
        raw = "pretrained 0" if "tokens" in self.cell.asked else None
        gathered = data.gather(self.encoders, raw_tokens_of=raw)
        self.left_out[data.name] = gathered.left_out
        places = [data.classes.index(n) if n in data.classes else -1 for n in self.labels]
        parts = {}
        for split, examples in gathered.examples.items():
            features = {name: x[split] for name, x in gathered.features.items()}
            parts[split] = _Part(examples, features, _in_order(examples.label, places))
        return parts

    def predictions(self, name: str, fraction: float) -> Predictions:
        """Of one row: a repeat a seed."""
        cell = self.cell
        fits, weights, sources, notes = [], [], [], []
        for seed in range(cell.seeds):
            features, encoder = self._features(name, seed)
            fits.append(self._fit(features, fraction, seed, impute=name == FEATURES))
            weights.append(encoder.fingerprint if encoder else "")
            sources.append(encoder)
            notes += fits[-1][2]
        test, _, _ = fits[0]
        stored = [e for e in sources if e is not None and e.source]

        def stacked(which: str):
            values = [getattr(found, which) for _, found, _ in fits]
            return None if values[0] is None else np.stack(values).astype(np.float32)

        about = {
            "dataset": cell.task.dataset,
            "label_kind": "multilabel" if self.multilabel else "classification",
            "classes": self.labels,
            "split": "cross-validation" if cell.folds else "test",
            "features": WORDS.get(name, f"of the encoder {name}: mean tokens and clip's vector"),
            "checkpoints": [e.source for e in stored],
            "steps": [e.step for e in stored],
            "weights": [w for w in weights if w],
            "channels": "all",
            "left_out": self.left_out,
            "protocol": fits[0][1].protocol,
            "l2": [found.l2 for _, found, _ in fits],
            "notes": list(dict.fromkeys(notes)),
        }
        return Predictions(
            **test.examples._asdict() | {"label": test.label},
            probabilities=stacked("probabilities"),
            unweighted=stacked("unweighted"),
            thresholds=stacked("thresholds"),
            fold=np.stack([found.fold for _, found, _ in fits]).astype(np.int16),
            seeds=np.arange(cell.seeds) + cell.task.config["seed"],
            about=about,
        )

    def _features(self, name: str, seed: int) -> tuple[str, Pretrained | None]:
        if name == FEATURES:
            return FEATURES, None
        if name == "tokens":
            return f"{RAW}pretrained 0", self.encoders["pretrained 0"]
        if name == "random":
            return f"random {seed}", self.encoders[f"random {seed}"]
        encoders = self.cell.encoders.of[CONDITIONS[name].source]
        return (key := f"{name} {seed % len(encoders)}"), self.encoders[key]

    def _fit(self, features: str, fraction: float, seed: int, *, impute: bool):
        """(examples that were scored, `Fit`, notes); what is drawn alike is fitted once."""
        cell = self.cell
        number = cell.task.config["seed"] + seed
        drawn = fraction < 1 or (not cell.folds and "validation" not in self.parts)
        key = (features, fraction, number if drawn else 0)
        if key not in self._fits:
            self._fits[key] = self._fit_anew(features, fraction, number, impute)
        return self._fits[key]

    def _fit_anew(self, features: str, fraction: float, seed: int, impute: bool):
        options = {
            "label_kind": "multilabel" if self.multilabel else "classification",
            "classes": self.labels,
            "impute": impute,
        }
        try:
            if self.cell.folds:
                return self._cross_validated(features, fraction, seed, options)
            parts = {split: _three(part, features) for split, part in self.parts.items()}
            if "test" not in parts:
                name = self.cell.task.name
                raise ConfigError(f"{name}: no test split, and no folds: give --folds")
            mine = self._people(fraction, seed, 0)
            kept = np.isin(parts["train"][2], list(mine["train"]))
            parts["train"] = tuple(column[kept] for column in parts["train"])
            if "validation" not in parts:
                whole = parts["train"]
                train, validation = hold_out_validation(whole, seed=seed)
                parts["train"] = tuple(column[train] for column in whole)
                parts["validation"] = tuple(column[validation] for column in whole)
            found = fit_probe(parts["train"], parts["validation"], parts["test"], **options)
            return self.parts["test"], found, found.notes
        except ValueError as error:
            if isinstance(error, SleepFMError):
                raise
            raise DatasetError(f"{self.cell.task.name} cannot be probed: {error}") from error

    def _cross_validated(self, features: str, fraction: float, seed: int, options):
        everyone, n = _joined(list(self.parts.values())), self.cell.folds
        whole, person = _three(everyone, features), everyone.examples.person
        fold, fits = np.full(len(person), -1), []
        for number in range(n):
            mine = self._people(fraction, seed, number)
            of_part = {split: np.isin(person, list(names)) for split, names in mine.items()}
            fold[of_part["test"]] = number
            parts = [
                tuple(column[of_part[split]] for column in whole)
                for split in ("train", "validation", "test")
            ]
            fits.append((of_part["test"], fit_probe(*parts, **options)))
        if (fold < 0).any():
            raise DatasetError(f"{self.cell.task.name}: {(fold < 0).sum()} clips are in no fold")
        first, merged = fits[0][1], {}
        for which in ("probabilities", "unweighted", "thresholds"):
            if getattr(first, which) is not None:
                shape = (len(fold), *getattr(first, which).shape[1:])
                merged[which] = np.full(shape, np.nan)
                for test, found in fits:
                    merged[which][test] = getattr(found, which)
        merged["l2"] = [l2 for _, found in fits for l2 in found.l2]
        merged["protocol"] = f"{n} folds by person, the next one's validate; {first.protocol}"
        notes = [note for _, found in fits for note in found.notes]
        return everyone, first._replace(fold=fold, **merged), notes

    def _people(self, fraction: float, seed: int, fold: int) -> dict[str, set[str]]:
        """Whom a training would train, validate and test on: pseudonyms by part."""
        config = dict(self.cell.task.config)
        config["seed"] = seed
        divided = {"folds": self.cell.folds, "fold": fold, "label_fraction": fraction}
        config["data"] = {**config["data"], **divided, "balanced": False}
        layout = experiment.make_objective(config).layout
        division = Division(self.cell.data_dir, config, layout, experiment.make_examples)
        found = {"train": division.training().people()}
        for split in ("validation", "test"):
            rows = division.rows(split) if self.cell.folds else None
            found[split] = rows.people() if rows is not None else set()
        return found


def _in_order(label: np.ndarray, places: Sequence[int]) -> np.ndarray:
    """Labels in the task's order; NaN, or a class that no example has, where there is none.

    Raises:
      DatasetError: one class an example, of a class that the task does not have.
    """
    places = np.asarray(places)
    if label.ndim == 2:
        known = np.where(places < 0, np.nan, label[:, np.maximum(places, 0)])
        return known.astype(np.float64)
    of_class = {place: k for k, place in enumerate(places.tolist()) if place >= 0}
    if missing := sorted(set(np.unique(label).tolist()) - set(of_class)):
        raise DatasetError(f"classes number {missing} of the dataset are none of the task's")
    return np.array([of_class[int(y)] for y in label])


def _three(part: _Part, features: str):
    return part.features[features], part.label, part.examples.person


def _joined(parts: Sequence[_Part]) -> _Part:
    if len(parts) == 1:
        return parts[0]
    columns = zip(*(p.examples for p in parts))
    examples = type(parts[0].examples)(*(np.concatenate(column) for column in columns))
    features = {k: np.concatenate([p.features[k] for p in parts]) for k in parts[0].features}
    return _Part(examples, features, np.concatenate([p.label for p in parts]))
