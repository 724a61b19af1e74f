"""Records made by hand, for tests of how they are stored and become batches."""

from __future__ import annotations

import numpy as np

from sleepfm_jax.data.record import Record


def small_record() -> Record:
    """Two channels, five samples, every field with something that is easily lost."""
    return Record(
        signals=np.array([[0, -1, 300, -32768, 32767], [1, 2, 3, 0, 0]], np.int16),
        scale=np.array([0.001, 0.1], np.float32),
        mean=np.array([-3.5, 1e-7], np.float32),
        sd=np.array([20, 0], np.float32),
        channel_labels=["EEG é0", "EEG é1"],
        channel_names=["C3", "é1"],
        units=["uV", ""],
        modalities=["bas", "other"],
        native_sfreq=np.array([256, 1 / 3], np.float32),
        positions=np.array([[0.5, 0.5, 0.7], [np.nan] * 3], np.float32),
        gaps=np.array([[1, 3, 5]], np.int32),
        num_samples=4,
        stages=np.array([2, -1], np.int32),
        labels=np.array([1, 0, np.nan], np.float32),
        subject="s1",
        recording="night/1",
        clip=1,
        start=300.1,
    )


def numbered_record(
    number=0, modalities=("bas", "emg", "ecg", "bas"), gaps=(), sd=None, samples=40
) -> Record:
    """A clip in which every channel's samples are 100 * its place + the record's number."""
    c = len(modalities)
    values = 100 * np.arange(c)[:, None] + number + np.zeros((c, samples))
    return Record(
        signals=values.astype(np.int16),
        scale=0.5 + np.arange(c, dtype=np.float32),
        mean=np.zeros(c, np.float32),
        sd=np.ones(c, np.float32) if sd is None else np.array(sd, np.float32),
        channel_labels=[f"label {i}" for i in range(c)],
        channel_names=[f"C{i}" for i in range(c)],
        units=["uV"] * c,
        modalities=list(modalities),
        native_sfreq=np.full(c, 128, np.float32),
        positions=np.arange(3 * c, dtype=np.float32).reshape(c, 3) / 100,
        gaps=np.array(gaps, np.int32).reshape(-1, 3),
        num_samples=samples,
        stages=np.array([number % 5], np.int32),
        labels=np.zeros(0, np.float32),
        subject=f"s{number}",
        recording="night",
        clip=number,
        start=0.0,
    )


class NumberedRecords:
    """`datasets.Records` of numbered records, in memory, of 4 Hz; each person has two of them."""

    name, metadata, clip_samples = "numbered", {"sfreq": 4.0}, 40

    def __init__(self, count, **options):
        self.items = [numbered_record(i, **options) for i in range(count)]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        assert 0 <= index < len(self.items)
        return self.items[index]

    def person_of(self, index):
        return f"p{index // 2}"

    def recording_of(self, index):
        return "night"

    def subjects(self):
        return {self.person_of(i) for i in range(len(self))}
