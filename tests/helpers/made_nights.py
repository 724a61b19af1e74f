"""Predictions of whole nights' stages, of people whom nobody recorded."""

from __future__ import annotations

import numpy as np

from sleepfm_jax.metrics.predictions import Predictions
from sleepfm_jax.metrics.sleep_statistics import classes_of

FOUR = ("W", "N1+N2", "N3", "REM")
_NEXT = np.array(  # of STAGES, a sleep_epoch later
    [
        [0.92, 0.07, 0.01, 0.0, 0.0],
        [0.06, 0.74, 0.18, 0.0, 0.02],
        [0.02, 0.02, 0.90, 0.04, 0.02],
        [0.01, 0.0, 0.05, 0.94, 0.0],
        [0.02, 0.03, 0.01, 0.0, 0.94],
    ]
)


def hypnogram(rng: np.random.Generator, length: int) -> np.ndarray:
    """int8 [length], stages of a night that begins awake."""
    stages = [0]
    while len(stages) < length:
        stages.append(int(rng.choice(5, p=_NEXT[stages[-1]])))
    return np.array(stages, np.int8)


def made_nights(
    *,
    people=12,
    nights=1,
    length=240,
    repeats=1,
    strength=2.0,
    seed=0,
    signals="ECG",
    dataset="made",
    classes=FOUR,
    unscored=5,
    **about,
) -> Predictions:
    """Predictions that know something, more with more strength. People, their nights and stages
    depend on the number of people, nights and sleep_epochs alone: rows of another seed are
    comparable."""
    rng = np.random.default_rng(people * 7919 + length)
    parts = {name: [] for name in ("person", "recording", "sleep_epoch", "label", "bias")}
    for who in range(people):
        for night in range(nights):
            label = classes_of(hypnogram(rng, length), classes)
            label[rng.integers(0, length, unscored)] = -1
            kept = np.flatnonzero(label >= 0)
            parts["person"] += [f"p{who:02d}"] * len(kept)
            parts["recording"] += [f"p{who:02d}-n{night}"] * len(kept)
            parts["sleep_epoch"].append(kept)
            parts["label"].append(label[kept].astype(int))
            parts["bias"].append(np.full(len(kept), rng.normal()))
    label = np.concatenate(parts["label"])
    hard = np.concatenate(parts["bias"])  # some people's nights are harder
    rng = np.random.default_rng(seed)
    n, k = len(label), len(classes)
    logits = rng.normal(size=(repeats, n, k))
    logits[:, np.arange(n), label] += strength + 0.5 * hard
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    return Predictions(
        person=np.array(parts["person"]),
        recording=np.array(parts["recording"]),
        clip=np.zeros(n, int),
        sleep_epoch=np.concatenate(parts["sleep_epoch"]),
        label=label,
        probabilities=probabilities.astype(np.float32),
        seeds=np.arange(seed, seed + repeats),
        fold=np.full((repeats, n), -1),
        about={
            "row": "made",
            "dataset": dataset,
            "dataset_fingerprint": "as made",
            "trained_on": [dataset],
            "split": "test",
            "label_kind": "staging",
            "classes": list(classes),
            "signals": signals,
            "metric": "kappa",
            "against": [],
            "steps": [100],
            **about,
        },
    )
