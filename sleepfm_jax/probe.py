"""A checkpoint and a labelled dataset → frozen features → linear probes, next to two baselines."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from tqdm import tqdm

from sleepfm_jax import experiment, signals
from sleepfm_jax.data import datasets
from sleepfm_jax.data.people import subject_hash
from sleepfm_jax.data.record import Record
from sleepfm_jax.errors import LeakError
from sleepfm_jax.metrics import plain_features
from sleepfm_jax.metrics.feature_sets import Examples
from sleepfm_jax.metrics.linear_probe import fit_probe, grouped_cv_probe
from sleepfm_jax.training import optim
from sleepfm_jax.training import state as train_state
from sleepfm_jax.training.checkpoint import open_existing

RESULT_NAMES = {"simulated_wake_eeg": "wake_eeg", "simulated_ecg": "ecg"}
"""Name of a probe in results.json where it is not the dataset's; staging is always "staging"."""

BATCH_SIZE = 32

MIN_VALID = 0.5
"""A clip or sleep_epoch with a smaller share of valid patches is no example."""


@dataclasses.dataclass(frozen=True)
class FrozenEncoder:
    """A contrastive task with parameters that nothing changes any more.

    Attributes:
      task, params, batch_stats: as in training; always used in evaluation mode.
      preprocessing: metadata of the records that it was trained on.
      config: of the run.
      subjects: pseudonyms of the people that it was trained on; None when it does not say.
    """

    task: Any
    params: Any
    batch_stats: Any
    preprocessing: Mapping[str, Any]
    config: Mapping[str, Any]
    subjects: frozenset[str] | None = None

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
      ConfigError: the run was made by a version with other keys.
    """
    checkpoints = open_existing(folder)
    step = checkpoints.latest() if step is None else step
    about = checkpoints.about(step)
    config = about["config"]
    experiment.check_config(config)  # of another version of this package, perhaps
    task = experiment.make_task(config)
    tx = optim.optimiser(config["optimiser"], config["steps"])
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    like = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here),
        jax.eval_shape(lambda: train_state.create(task, tx, config["seed"])),
    )
    state, _ = checkpoints.restore(step, like)
    checkpoints.close()
    subjects = frozenset(about["subjects"]) if "subjects" in about else None
    preprocessing = about["preprocessing"]
    return FrozenEncoder(task, state.params, state.batch_stats, preprocessing, config, subjects)


def check_preprocessing(encoder: FrozenEncoder, records: datasets.Records) -> None:
    """Records must have been made the way the encoder's were; clips may be shorter or longer.

    Raises:
      DatasetError: names what differs, with both values.
    """
    for key in ("sfreq", "preprocessing"):
        trained, given = encoder.preprocessing[key], records.metadata[key]
        if trained != given:
            raise datasets.DatasetError(
                f"{records.folders[0]}: {key} is {given!r}, but the checkpoint was trained with "
                f"{trained!r}: build the dataset again to match"
            )


def leaked_subjects(encoder: FrozenEncoder, scored: Iterable[datasets.Records]) -> set[str]:
    """Pseudonyms of the people in `scored` that the encoder was trained on."""
    if encoder.subjects is None:
        logging.warning("the checkpoint does not say whom it was trained on: leaks are not seen")
        return set()
    return encoder.subjects & {s for records in scored for s in records.subjects()}


def embed(
    encoder: FrozenEncoder, records: datasets.Records, *, batch_size: int = 32
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Embeddings of every record, in order.

    Yields:
      index of the record, and clip [M, D], tokens [M, S, D], presence bool [M], token_mask
      bool [M, S].
    """
    spec = experiment.make_spec(encoder.config, records.clip_samples)
    for batch in datasets.evaluation_batches(records, spec, batch_size=batch_size):
        for row, out in enumerate(_embed_batch(encoder, batch)):
            if batch["index"][row] >= 0:
                yield int(batch["index"][row]), out


def _embed_batch(encoder: FrozenEncoder, batch) -> list[dict[str, np.ndarray]]:
    """Embeddings of each row of a batch."""
    out = jax.device_get(_forward(encoder.task)(encoder.params, encoder.batch_stats, batch))
    return [{k: v[:, row] for k, v in out.items()} for row in range(len(batch["mask"]))]


@functools.cache
def _forward(task):
    """Compiled once for all parameters and splits; a task is a hashable description."""
    return jax.jit(task.embed)


class Probe:
    """One labelled dataset, probed with any features.

    Args:
      data_dir, dataset: a built dataset with a task.
      channels: "all" channels of a recording, or as many of each modality as were "trained" with
        at once, spread evenly over the montage. The encoder takes any number.
      exclude_pretrained: leave out people that an encoder was trained on, instead of refusing.

    Raises:
      DatasetError: not built, or without labels.
    """

    def __init__(
        self,
        data_dir: str | Path,
        dataset: str,
        channels: str = "all",
        exclude_pretrained: bool = False,
    ):
        self.channels, self.exclude_pretrained = channels, exclude_pretrained
        folder = datasets.find_dataset(data_dir, dataset)
        self.by_cross_validation = not all(
            datasets.has_split(data_dir, dataset, split) for split in ("validation", "test")
        )
        splits = ("train",) if self.by_cross_validation else ("train", "validation", "test")
        self.records = {split: datasets.Records([folder], split) for split in splits}
        self.scored = splits if self.by_cross_validation else splits[1:]
        self.cohort = datasets.people(folder)["cohort"]
        metadata = self.records["train"].metadata
        self.task, self.classes = metadata["label_kind"], list(metadata["classes"])
        if self.task == "none":
            raise datasets.DatasetError(
                f"{folder}: no stages and no labels to probe: give hypnograms, or a table with a "
                "label column, when building it"
            )
        if self.task == "staging":
            self.classes = list(signals.STAGES)
        self.name = "staging" if self.task == "staging" else RESULT_NAMES.get(dataset, dataset)
        self.clip_seconds = float(metadata["clip_seconds"])

    def gather(self, encoders: Mapping[str, FrozenEncoder]) -> dict[str, dict[str, Examples]]:
        """Features of every labelled example, each record read once.

        An encoder's are, for each modality, the clip's vector and the mean of its tokens (staging:
        of the tokens of the sleep_epoch), side by side; zeros where a recording lacks a modality.
        "features" are what a plain pipeline measures: EEG band powers and heart-rate statistics.
        Examples that are mostly gaps are left out of all alike.

        Returns:
          {name of an encoder, or "features": {split: Examples}}.

        Raises:
          LeakError: an encoder was trained on people of the splits that are scored.
          DatasetError: no labelled example in a split, or another preprocessing.
        """
        for encoder in encoders.values():
            check_preprocessing(encoder, self.records["train"])
        leaked = self._leaked(encoders.values())
        found: dict[str, dict[str, Examples]] = {name: {} for name in (*encoders, "features")}
        for split, records in self.records.items():
            x: dict[str, list[np.ndarray]] = {name: [] for name in found}
            y, subjects, left_out = [], [], 0
            for record, outs in tqdm(
                self._embedded(encoders, records),
                total=len(records),
                desc=f"embed {split}",
                mininterval=1.0,
            ):
                labels = self._labels(record)
                known = split in self.scored and subject_hash(self.cohort, record.subject) in leaked
                if known or not labels:
                    continue
                rows = {name: self._rows(out) for name, out in outs.items()}
                rows["features"] = self._plain_rows(record, records.metadata["sfreq"])
                for place, label in labels:
                    if any(rows[name][place] is None for name in encoders):
                        left_out += 1
                        continue
                    y.append(label)
                    subjects.append(record.subject)
                    for name in found:
                        x[name].append(rows[name][place])
            if not y:
                raise datasets.DatasetError(
                    f"{records.folders[0]}: no labelled example in split {split!r}"
                )
            if left_out:
                logging.info("%s: %d examples are mostly gaps and left out", split, left_out)
            for name in found:
                found[name][split] = Examples(np.stack(x[name]), np.array(y), np.array(subjects))
        return found

    def _leaked(self, encoders: Iterable[FrozenEncoder]) -> set[str]:
        """People to be left out: those of the scored splits that an encoder was trained on."""
        scored = [self.records[split] for split in self.scored]
        leaked = set().union(*(leaked_subjects(encoder, scored) for encoder in encoders))
        if not leaked:
            return leaked
        count = len(set().union(*(records.subjects() for records in scored)))
        some = ", ".join(sorted(leaked)[:5]) + (", …" if len(leaked) > 5 else "")
        message = (
            f"{scored[0].folders[0]}: {len(leaked)} of the {count} subjects to be scored "
            f"({' and '.join(self.scored)}) were in the checkpoint's pretraining: {some}"
        )
        if not self.exclude_pretrained:
            raise LeakError(
                f"{message}; their figures would be optimistic (--exclude_pretrained leaves them "
                "out)"
            )
        logging.warning("%s; they are left out", message)
        return leaked

    def _embedded(self, encoders: Mapping[str, FrozenEncoder], records: datasets.Records):
        """(record, {name: embeddings}) of each record."""
        encoders = {name: self._with_slots(encoder) for name, encoder in encoders.items()}
        task = next(iter(encoders.values())).task
        spec = datasets.BatchSpec(task.slots, task.encoder.patch_samples, records.clip_samples)
        for first in range(0, len(records), BATCH_SIZE):
            chunk = [records[i] for i in range(first, min(first + BATCH_SIZE, len(records)))]
            # One shape for all: the last batch is filled up, and the filling not looked at.
            batch = datasets.collate(chunk + chunk[-1:] * (BATCH_SIZE - len(chunk)), spec)
            outs = {name: _embed_batch(encoder, batch) for name, encoder in encoders.items()}
            for row, record in enumerate(chunk):
                yield record, {name: out[row] for name, out in outs.items()}

    def score(self, examples: Mapping[str, Examples], *, impute: bool, seed: int) -> dict[str, Any]:
        """The probe's figures; see `evaluators.linear_probe`."""
        task = "multilabel" if self.task == "multilabel" else "classification"
        options = {"label_kind": task, "classes": self.classes, "impute": impute, "seed": seed}
        if self.by_cross_validation:
            return grouped_cv_probe(*examples["train"], **options)
        return fit_probe(examples["train"], examples["validation"], examples["test"], **options)

    def _with_slots(self, encoder: FrozenEncoder) -> FrozenEncoder:
        """The encoder with a slot for every channel of the dataset, unless as trained is asked."""
        if self.channels == "trained":
            return encoder
        slots = tuple((name, self._most.get(name, 0) or 1) for name, _ in encoder.task.slots)
        return dataclasses.replace(encoder, task=dataclasses.replace(encoder.task, slots=slots))

    @functools.cached_property
    def _most(self) -> dict[str, int]:
        """The most channels of each modality that a recording has."""
        most: dict[str, int] = collections.Counter()
        for records in self.records.values():
            for modalities in records.modalities():
                for name, count in collections.Counter(modalities).items():
                    most[name] = max(most[name], count)
        return most

    def _labels(self, record: Record) -> list[tuple[int, Any]]:
        """(sleep_epoch, or 0 for the clip; label) of each example in a record."""
        if self.task == "staging":
            scored = np.flatnonzero(record.stages != signals.UNSCORED)
            return [(int(epoch), int(record.stages[epoch])) for epoch in scored]
        if self.task == "multilabel":
            return [(0, record.labels)]
        known = np.isfinite(record.labels).all()
        return [(0, int(np.argmax(record.labels)))] if known else []

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
        bands = plain_features.eeg_band_powers(
            x, valid, record.positions, record.modalities, sfreq, window
        )  # [W, F]
        if staging:
            return list(bands)
        ecg = np.array(record.modalities) == "ecg"
        beats = plain_features.heart_rate_statistics(x[ecg], valid[ecg], sfreq)
        return [np.concatenate([bands[0], beats])]


def probe(
    checkpoint: str | Path,
    data_dir: str | Path,
    dataset: str,
    *,
    channels: str = "all",
    exclude_pretrained: bool = False,
    seed: int = 0,
) -> tuple[str, dict[str, dict[str, Any]]]:
    """Linear probes of a dataset on the pretrained encoder, a random one, and plain features.

    Returns:
      Name of the probe, and {"pretrained" | "random" | "features": figures}.

    Raises:
      LeakError: it would score people that the encoder was trained on.
      CheckpointError, DatasetError: what was asked for cannot be.
    """
    encoder = load_encoder(checkpoint)
    task = Probe(data_dir, dataset, channels, exclude_pretrained)
    examples = task.gather({"pretrained": encoder, "random": encoder.randomised(seed + 1)})
    return task.name, {
        row: task.score(splits, impute=row == "features", seed=seed)
        for row, splits in examples.items()
    }
