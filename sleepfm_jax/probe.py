"""A checkpoint and a labelled dataset → frozen features → linear probes, next to two baselines."""

from __future__ import annotations

import collections
import functools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging
from tqdm import tqdm

from sleepfm_jax import experiment, pretrained, signals
from sleepfm_jax.data import datasets, people
from sleepfm_jax.data.record import Record
from sleepfm_jax.errors import DatasetError
from sleepfm_jax.metrics import plain_features
from sleepfm_jax.metrics.feature_sets import FeatureSet
from sleepfm_jax.metrics.linear_probe import fit_probe, grouped_cv_probe
from sleepfm_jax.pretrained import Pretrained

RESULT_NAMES = {"simulated_wake_eeg": "wake_eeg", "simulated_ecg": "ecg"}
"""Name of a probe in results.json where it is not the dataset's; staging is always "staging"."""

BATCH_SIZE = 32

MIN_VALID = 0.5
"""A clip or sleep_epoch with a smaller share of valid patches is no example."""


class Probe:
    """One labelled dataset, probed with any features.

    Args:
      data_dir, dataset: a built dataset with labels or stages.
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
        self.people = people.read(folder)
        metadata = self.records["train"].metadata
        self.label_kind, self.classes = metadata["label_kind"], list(metadata["classes"])
        if self.label_kind == "none":
            raise DatasetError(
                f"{folder}: no stages and no labels to probe: give hypnograms, or a table with a "
                "label column, when building it"
            )
        if self.label_kind == "staging":
            self.classes = list(signals.STAGES)
        staging = self.label_kind == "staging"
        self.name = "staging" if staging else RESULT_NAMES.get(dataset, dataset)
        self.clip_seconds = float(metadata["clip_seconds"])

    def gather(self, encoders: Mapping[str, Pretrained]) -> dict[str, dict[str, FeatureSet]]:
        """Features of every labelled example.

        An encoder's are, for each modality, the clip's vector and the mean of its tokens (staging:
        of the tokens of the sleep_epoch), side by side; zeros where a recording lacks a modality.
        "features" are what a plain pipeline measures: EEG band powers and heart-rate statistics.
        Examples that are mostly gaps are left out of all alike.

        Returns:
          {name of an encoder, or "features": {split: FeatureSet}}.

        Raises:
          LeakError: an encoder was trained on people of the splits that are scored.
          DatasetError: no labelled example in a split, or another preprocessing.
        """
        for encoder in encoders.values():
            encoder.check_made_alike(self.records["train"].metadata, self.records["train"].name)
        leaked = self._leaked(encoders.values())
        found: dict[str, dict[str, FeatureSet]] = {name: {} for name in (*encoders, "features")}
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
                pseudonym = self.people.pseudonym(record.subject)
                known = split in self.scored and pseudonym in leaked
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
                raise DatasetError(f"{records.folders[0]}: no labelled example in split {split!r}")
            if left_out:
                logging.info("%s: %d examples are mostly gaps and left out", split, left_out)
            for name in found:
                found[name][split] = FeatureSet(np.stack(x[name]), np.array(y), np.array(subjects))
        return found

    def _leaked(self, encoders: Iterable[Pretrained]) -> set[str]:
        """People to be left out: those of the scored splits that an encoder was trained on."""
        trained: set[str] = set()
        for encoder in encoders:
            if encoder.people is None:
                logging.warning(people.NOT_TOLD)
            trained |= encoder.people or set()
        scored = {split: self.records[split].subjects() for split in self.scored}
        what = "the checkpoint's pretraining"
        if not self.exclude_pretrained:
            advice = "--exclude_pretrained leaves them out"
            people.refuse_leak(trained, scored, what_trained=what, advice=advice)
        found = people.leaked(trained, scored)
        if found:
            words = people.describe_leak(found, scored, what_trained=what)
            logging.warning("%s; they are left out", words)
        return set(found)

    def _embedded(
        self, encoders: Mapping[str, Pretrained], records: datasets.Records
    ) -> Iterator[tuple[Record, dict[str, Mapping[str, np.ndarray]]]]:
        """(record, {name: embeddings}) of each record."""
        streams = {}
        for name, encoder in encoders.items():
            encoder = self._with_slots(encoder)
            examples = experiment.make_examples(records, encoder.model.layout)
            streams[name] = encoder.embed(examples, batch_size=BATCH_SIZE)
        for i in range(len(records)):
            yield records[i], {name: next(rows)[1] for name, rows in streams.items()}

    def score(
        self, examples: Mapping[str, FeatureSet], *, impute: bool, seed: int
    ) -> dict[str, Any]:
        """The probe's figures; see `metrics.linear_probe`."""
        kind = "multilabel" if self.label_kind == "multilabel" else "classification"
        options = {"label_kind": kind, "classes": self.classes, "impute": impute, "seed": seed}
        if self.by_cross_validation:
            return grouped_cv_probe(*examples["train"], **options)
        people.refuse_shared(
            ((str(s), split) for split, part in examples.items() for s in part.subjects),
            where=self.records["train"].folders[0],
            advice="Build it again",
        )
        return fit_probe(examples["train"], examples["validation"], examples["test"], **options)

    def _with_slots(self, encoder: Pretrained) -> Pretrained:
        """The encoder with a slot for every channel of the dataset, unless as trained is asked."""
        if self.channels == "trained":
            return encoder
        names = encoder.model.layout.modalities
        return encoder.with_slots(tuple((name, self._most.get(name, 0) or 1) for name in names))

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
        if self.label_kind == "staging":
            scored = np.flatnonzero(record.stages != signals.UNSCORED)
            return [(int(epoch), int(record.stages[epoch])) for epoch in scored]
        if self.label_kind == "multilabel":
            return [(0, record.labels)]
        known = np.isfinite(record.labels).all()
        return [(0, int(np.argmax(record.labels)))] if known else []

    def _rows(self, out: Mapping[str, np.ndarray]) -> list[np.ndarray | None]:
        """Features [M * 2D] of each sleep_epoch (staging), or of the clip; None: mostly gaps."""
        tokens, mask = out["tokens"], out["token_mask"]  # [M, S, D], [M, S]
        s = tokens.shape[1]
        epochs = [np.ones(s, bool)]
        if self.label_kind == "staging":
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
        staging = self.label_kind == "staging"
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
    encoder = pretrained.load(checkpoint)
    probed = Probe(data_dir, dataset, channels, exclude_pretrained)
    examples = probed.gather({"pretrained": encoder, "random": encoder.randomised(seed + 1)})
    rows = {
        row: probed.score(splits, impute=row == "features", seed=seed)
        for row, splits in examples.items()
    }
    if encoder.people is None:
        rows["pretrained"]["notes"] = [*rows["pretrained"]["notes"], people.NOT_TOLD]
    return probed.name, rows
