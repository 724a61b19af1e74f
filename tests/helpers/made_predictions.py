"""Predictions as probes leave them, of people and examples that nobody recorded."""

from __future__ import annotations

import numpy as np

from sleepfm_jax.metrics.predictions import Predictions


def made_predictions(
    kind="classification",
    *,
    people=12,
    each=4,
    classes=2,
    repeats=3,
    strength=1.5,
    seed=0,
    folds=False,
    **about,
) -> Predictions:
    """Predictions that know something, more with more strength; people and labels depend on the
    number of people, examples and classes alone, so that rows of another seed are comparable."""
    n = people * each
    rng = np.random.default_rng(7)
    if kind == "multilabel":
        label = (rng.random((n, classes)) < 0.4).astype(float)
        label[0] = np.nan
    else:
        label = rng.permutation(np.arange(n) % classes)
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(repeats, n, classes))
    if kind == "multilabel":
        probabilities = 1 / (1 + np.exp(-logits - strength * (np.nan_to_num(label) - 0.5)))
        thresholds = np.full((repeats, n, classes), 0.5, np.float32)
    else:
        logits[:, np.arange(n), label] += strength
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
        thresholds = np.full((repeats, n, 1), 0.5, np.float32) if classes == 2 else None
    member = np.repeat(np.arange(people), each)
    return Predictions(
        person=np.array([f"p{i:02d}" for i in member]),
        recording=np.array([f"r{i:02d}" for i in member]),
        clip=np.tile(np.arange(each), people),
        sleep_epoch=np.full(n, 0 if kind == "staging" else -1),
        label=label,
        probabilities=probabilities.astype(np.float32),
        seeds=np.arange(repeats),
        fold=np.tile(member % 3 if folds else -1, (repeats, 1)) + np.zeros((repeats, n), int),
        unweighted=None if kind == "multilabel" else probabilities.astype(np.float32),
        thresholds=thresholds,
        about={
            "row": "pretrained",
            "dataset": "made",
            "label_kind": kind,
            "classes": [f"class {k}" for k in range(classes)],
            "notes": ["as made"],
            "command": "python -m launch.probe",
            **about,
        },
    )
