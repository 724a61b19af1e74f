"""A record made by hand, for tests of how records are stored."""

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
