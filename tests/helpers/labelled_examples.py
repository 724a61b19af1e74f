"""Labels with scores, and labelled features by split, to measure metrics and probes with."""

from __future__ import annotations

import numpy as np


def labels_and_probabilities(rng, n=200, k=4, decimals=2):
    """Labels and probabilities that know something; rounded, so that scores tie."""
    y = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k))
    logits[np.arange(n), y] += rng.uniform(0, 2)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return y, p.round(decimals)


def class_split(rng, name, n=150, classes=3, features=10, strength=1.0, subjects=12):
    """(features [N, F], class [N], subject [N]) of one split."""
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    x = rng.normal(size=(n, features))
    x[np.arange(n), y] += strength
    x = 5.0 + x * np.linspace(0.1, 50, features)  # neither centred nor of one scale
    return x, y, np.array([f"{name}{i % subjects}" for i in range(n)])


def class_splits(seed=0, **options):
    """Training, validation and test examples of other subjects each."""
    rng = np.random.default_rng(seed)
    return [class_split(rng, name, **options) for name in ("train", "val", "test")]


def multilabel_split(rng, name, n=200):
    """(features [N, 6], labels [N, 3], subject [N]) of one split."""
    x = rng.normal(size=(n, 6))
    y = (x[:, :3] + rng.normal(size=(n, 3)) > 0.5).astype(float)
    return x, y, np.array([f"{name}{i % 20}" for i in range(n)])
