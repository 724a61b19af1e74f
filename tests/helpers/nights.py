"""Nights made by hand: recordings with signals that say where they are, and records of them."""

from __future__ import annotations

import numpy as np

from sleepfm_jax.data import clips
from sleepfm_jax.data.clips import ClipSpec
from sleepfm_jax.recordings.recording import Channel, Recording
from sleepfm_jax.signals import identify
from sleepfm_jax.signals.night_layout import NightLayout

SFREQ = 32.0
"""Hz of the clips: as few samples as do."""


def layout(*names: str, **options) -> NightLayout:
    """A layout of few samples: 64 a sleep_epoch of the belts, 256 of all else."""
    names = names or ("ABD", "ECG", "PPG", "THX")
    samples = tuple((name, 64 if name in ("ABD", "THX") else 256) for name in sorted(names))
    options = {"sleep_epochs": 20, "longest": 28} | options
    return NightLayout(samples, **options)


def recording(
    epochs: float = 8,
    labels=("ECG", "Pleth", "ABD", "THX"),
    sfreqs=(64.0, 32.0, 16.0, 16.0),
    seed=0,
    stages=None,
) -> Recording:
    """A night of band-limited noise with an offset; its stages are 0, 1, 2, 3, 4, 0, …"""
    rng, channels = np.random.default_rng(seed), []
    for label, sfreq in zip(labels, sfreqs):
        count = round(epochs * 30 * sfreq)
        slow = np.cumsum(rng.normal(size=count))
        slow -= np.linspace(0, slow[-1], count)
        samples = (50 + 3 * rng.normal(size=count) + 0.1 * slow).astype(np.float32)
        name = identify(label)
        channels.append(Channel(label, name.name, name.modality, sfreq, "uV", samples))
    whole = int(epochs)
    scored = np.arange(whole) % 5 if stages is None else np.asarray(stages)
    return Recording(
        path=f"night{seed}.edf",
        subject=f"s{seed}",
        recording=f"night{seed}",
        start=None,
        duration=epochs * 30.0,
        channels=channels,
        annotations=[],
        stages=None if stages is False else scored.astype(np.int8),
    )


class RecordsInMemory:
    """`datasets.Records` of recordings that are cut into clips here; no build report."""

    name, told_of_recordings = "in memory", None

    def __init__(self, recordings, clip_seconds=60.0, sfreq=SFREQ):
        spec = ClipSpec(sfreq=sfreq, clip_seconds=clip_seconds, label_kind="staging")
        self.metadata = {"sfreq": sfreq, "clip_seconds": clip_seconds, "preprocessing": ""}
        self.items = [record for r in recordings for record in clips.clips(r, spec)]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]

    def person_of(self, index):
        return self.items[index].subject

    def recording_of(self, index):
        return f"0/{self.items[index].recording}"

    def dataset_of(self, index):
        return int(self.items[index].subject[1:]) % 2
