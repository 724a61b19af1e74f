"""A checkpoint and a labelled dataset → frozen features → linear probes, next to two baselines."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from tqdm import tqdm

from sleepfm_jax import experiment, optim, signals, train_state
from sleepfm_jax.checkpoint import open_existing
from sleepfm_jax.data import pipeline
from sleepfm_jax.data.records import Record
from sleepfm_jax.evaluators import features
from sleepfm_jax.evaluators.examples import Examples
from sleepfm_jax.evaluators.linear_probe import fit_probe, grouped_cv_probe

RESULT_NAMES = {"simulated_wake_eeg": "wake_eeg", "simulated_ecg": "ecg"}
"""Name of a probe in results.json where it is not the dataset's; staging is always "staging"."""

MIN_VALID = 0.5
"""A clip or sleep_epoch with a smaller share of valid patches is no example."""


@dataclasses.dataclass(frozen=True)
class FrozenEncoder:
    """A contrastive task with parameters that nothing changes any more.

    Attributes:
      task, params, batch_stats: as in training; always used in evaluation mode.
      preprocessing: metadata of the records that it was trained on.
      config: of the run.
    """

    task: Any
    params: Any
    batch_stats: Any
    preprocessing: Mapping[str, Any]
    config: Mapping[str, Any]

    def randomised(self, seed: int) -> FrozenEncoder:
        """The same architecture before training: the baseline that says what training added."""
        params, batch_stats = jax.jit(self.task.init)(jax.random.key(seed))
        return dataclasses.replace(self, params=params, batch_stats=batch_stats)


def load_encoder(folder: str | Path, step: int | None = None) -> FrozenEncoder:
    """The encoder of a run of launch.pretrain.

    Args:
      folder: the run's workdir or its checkpoints folder.
      step: which checkpoint; None: the newest.

    Raises:
      CheckpointError: the folder is none, or has no such step.
    """
    checkpoints = open_existing(folder)
    step = checkpoints.latest() if step is None else step
    about = checkpoints.about(step)
    config = about["config"]
    task = experiment.make_task(config)
    tx = optim.optimiser(config["optimiser"], config["steps"])
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    like = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here),
        jax.eval_shape(lambda: train_state.create(task, tx, config["seed"])),
    )
    state, _ = checkpoints.restore(step, like)
    checkpoints.close()
    return FrozenEncoder(task, state.params, state.batch_stats, about["preprocessing"], config)


def check_preprocessing(encoder: FrozenEncoder, records: pipeline.Records) -> None:
    """Records must have been made the way the encoder's were; clips may be shorter or longer.

    Raises:
      DatasetError: names what differs, with both values.
    """
    for key in ("sfreq", "preprocessing"):
        trained, given = encoder.preprocessing[key], records.metadata[key]
        if trained != given:
            raise pipeline.DatasetError(
                f"{records.folders[0]}: {key} is {given!r}, but the checkpoint was trained with "
                f"{trained!r}: build the dataset again to match"
            )


def embed(
    encoder: FrozenEncoder, records: pipeline.Records, *, batch_size: int = 32
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Embeddings of every record, in order.

    Yields:
      index of the record, and clip [M, D], tokens [M, S, D], presence bool [M], token_mask
      bool [M, S].
    """
    spec = experiment.make_spec(encoder.config, records.clip_samples)
    forward = jax.jit(encoder.task.embed)
    for batch in pipeline.evaluation_batches(records, spec, batch_size=batch_size):
        out = jax.device_get(forward(encoder.params, encoder.batch_stats, batch))
        for row, index in enumerate(batch["index"]):
            if index >= 0:
                yield int(index), {key: value[:, row] for key, value in out.items()}


@dataclasses.dataclass
class _Labels:
    """Who and what the examples of a split are; one a sleep_epoch (staging) or a clip."""

    y: np.ndarray
    subjects: list[str]
    where: list[tuple[int, int]]  # record, sleep_epoch (0 unless staging)


class Probe:
    """One labelled dataset, probed with any features.

    Args:
      data_dir, dataset: a built dataset with a task.

    Raises:
      DatasetError: not built, or without labels.
    """

    def __init__(self, data_dir: str | Path, dataset: str):
        folder = pipeline.find_dataset(data_dir, dataset)
        self.by_cross_validation = not all(
            pipeline.has_split(data_dir, dataset, split) for split in ("validation", "test")
        )
        splits = ("train",) if self.by_cross_validation else ("train", "validation", "test")
        self.records = {split: pipeline.Records([folder], split) for split in splits}
        metadata = self.records["train"].metadata
        self.task, self.classes = metadata["task"], list(metadata["classes"])
        if self.task == "none":
            raise pipeline.DatasetError(
                f"{folder}: no stages and no labels to probe: give hypnograms, or a table with a "
                "label column, when building it"
            )
        if self.task == "staging":
            self.classes = list(signals.STAGES)
        self.name = "staging" if self.task == "staging" else RESULT_NAMES.get(dataset, dataset)
        self.clip_seconds = float(metadata["clip_seconds"])

    def encoder_features(self, encoder: FrozenEncoder, title: str) -> dict[str, Examples]:
        """Per modality the clip's vector and the mean of its tokens (staging: of the tokens of the
        sleep_epoch), side by side; zeros where a recording lacks a modality."""
        check_preprocessing(encoder, self.records["train"])

        def of_split(records):
            per_record = {}
            for index, out in tqdm(
                embed(encoder, records), total=len(records), desc=title, mininterval=1.0
            ):
                per_record[index] = self._rows(out)
            return lambda record, epoch: per_record[record][epoch]

        return self._examples(of_split)

    def plain_features(self) -> dict[str, Examples]:
        """What a plain pipeline measures: EEG band powers and heart-rate statistics."""

        def of_split(records):
            per_record = [
                self._plain_rows(records[i], records.metadata["sfreq"])
                for i in tqdm(range(len(records)), desc="features", mininterval=1.0)
            ]
            return lambda record, epoch: per_record[record][epoch]

        return self._examples(of_split)

    def score(self, examples: Mapping[str, Examples], *, impute: bool, seed: int) -> dict[str, Any]:
        """The probe's figures; see `evaluators.linear_probe`."""
        task = "multilabel" if self.task == "multilabel" else "classification"
        options = {"task": task, "classes": self.classes, "impute": impute, "seed": seed}
        if self.by_cross_validation:
            return grouped_cv_probe(*examples["train"], **options)
        return fit_probe(examples["train"], examples["validation"], examples["test"], **options)

    def _examples(self, of_split: Callable) -> dict[str, Examples]:
        found = {}
        for split, records in self.records.items():
            labels, features_of = self._labels(records), of_split(records)
            rows, kept = [], []
            for i, (record, epoch) in enumerate(labels.where):
                row = features_of(record, epoch)
                if row is not None:
                    rows.append(row)
                    kept.append(i)
            if not rows:
                raise pipeline.DatasetError(
                    f"{records.folders[0]}: no labelled example in split {split!r}"
                )
            if len(kept) < len(labels.where):
                logging.info(
                    "%s: %d of %d examples are mostly gaps and left out",
                    split,
                    len(labels.where) - len(kept),
                    len(labels.where),
                )
            subjects = [labels.subjects[i] for i in kept]
            found[split] = Examples(np.stack(rows), labels.y[kept], np.array(subjects))
        return found

    def _labels(self, records: pipeline.Records) -> _Labels:
        y, subjects, where = [], [], []
        for index in range(len(records)):
            record = records[index]
            if self.task == "staging":
                for epoch in np.flatnonzero(record.stages != signals.UNSCORED):
                    y.append(record.stages[epoch])
                    subjects.append(record.subject)
                    where.append((index, int(epoch)))
            elif self.task == "multilabel" or np.isfinite(record.labels).all():
                y.append(record.labels if self.task == "multilabel" else np.argmax(record.labels))
                subjects.append(record.subject)
                where.append((index, 0))
        return _Labels(np.array(y), subjects, where)

    def _rows(self, out: Mapping[str, np.ndarray]) -> list[np.ndarray | None]:
        """Features [M * 2D] of each sleep_epoch (staging), or of the clip; None: mostly gaps."""
        tokens, mask = out["tokens"], out["token_mask"]  # [M, S, D], [M, S]
        s = tokens.shape[1]
        epochs = [np.ones(s, bool)]
        if self.task == "staging":
            patch_seconds = self.clip_seconds / s
            middle = (np.arange(s) + 0.5) * patch_seconds
            of_patch = (middle // signals.SLEEP_EPOCH_SECONDS).astype(int)
            count = int(np.ceil(self.clip_seconds / signals.SLEEP_EPOCH_SECONDS - 1e-9))
            epochs = [of_patch == epoch for epoch in range(count)]
        rows = []
        for mine in epochs:
            if mask[:, mine].any(0).mean() < MIN_VALID:
                rows.append(None)
                continue
            weight = (mask & mine).astype(np.float32)[..., None]  # [M, S, 1]
            mean = (tokens * weight).sum(1) / np.maximum(weight.sum(1), 1)  # [M, D]
            rows.append(np.concatenate([mean, out["clip"]], axis=1).ravel())
        return rows

    def _plain_rows(self, record: Record, sfreq: float) -> list[np.ndarray]:
        """Plain features of each sleep_epoch (staging), or of the clip."""
        x, valid = record.physical(), record.valid()
        staging = self.task == "staging"
        window = signals.SLEEP_EPOCH_SECONDS if staging else self.clip_seconds
        bands = features.eeg_band_powers(
            x, valid, record.positions, record.modalities, sfreq, window
        )  # [W, F]
        if staging:
            return list(bands)
        ecg = np.array(record.modalities) == "ecg"
        beats = features.heart_rate_statistics(x[ecg], valid[ecg], sfreq)
        return [np.concatenate([bands[0], beats])]


def probe(
    checkpoint: str | Path, data_dir: str | Path, dataset: str, *, seed: int = 0
) -> tuple[str, dict[str, dict[str, Any]]]:
    """Linear probes of a dataset on the pretrained encoder, a random one, and plain features.

    Returns:
      Name of the probe, and {"pretrained" | "random" | "features": figures}.
    """
    encoder = load_encoder(checkpoint)
    task = Probe(data_dir, dataset)
    rows = {
        "pretrained": (task.encoder_features(encoder, "pretrained"), False),
        "random": (task.encoder_features(encoder.randomised(seed + 1), "random"), False),
        "features": (task.plain_features(), True),
    }
    return task.name, {
        row: task.score(examples, impute=impute, seed=seed)
        for row, (examples, impute) in rows.items()
    }
