"""A workdir with predictions and the results computed from them, for tests of the report.

Three datasets: stages of nights (given splits), two classes of short records (cross-validation)
and several labels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sleepfm_jax.metrics import predictions, scoring
from sleepfm_jax.metrics.predictions import Predictions
from sleepfm_jax.report.results import merge_results
from sleepfm_jax.signals import STAGES

HOSTILE = "<script>alert('x')</script>"
ROWS = {  # row: (how much it knows, repeats)
    "pretrained": (1.0, 1),
    "features": (0.8, 1),
    "random": (0.55, 5),
    "tokens": (0.45, 1),
    "mispaired": (0.7, 3),
    "permuted": (0.0, 20),
}


def fill(
    workdir: Path, *, people: int = 12, epochs: int = 240, datasets: tuple[str, ...] | None = None
) -> dict:
    """Writes predictions/ and results.json of up to three datasets; returns the results."""
    rng = np.random.default_rng(7)
    makers = {"demo_nights": _nights, "short_ecg": _binary, "diagnoses": _labels}
    results: dict = {"probes": {}, "differences": {}}
    for name, make in makers.items():
        if datasets is not None and name not in datasets:
            continue
        base = make(rng, people, epochs)
        rows = {row: _row(rng, name, row, base) for row in ROWS}
        for row, found in rows.items():
            predictions.save(predictions.path_of(workdir, name, row), found)
        results["probes"][name], results["differences"][name] = scoring.tables(rows)
    return merge_results(workdir, results)


def _nights(rng, people, epochs):
    """Staging: one night a person, runs of a stage; the first person lacks REM."""
    label, person, clip, epoch = [], [], [], []
    for p in range(people):
        stages, now = [], 0
        while len(stages) < epochs:
            now = int(rng.choice([0, 1, 2, 2, 3, 4 if p else 2]))
            stages += [now] * int(rng.integers(4, 25))
        label += stages[:epochs]
        person += [f"P{p:02d}"] * epochs
        clip += [e // 10 for e in range(epochs)]
        epoch += [e % 10 for e in range(epochs)]
    person = np.array(person)
    return {
        "label_kind": "staging",
        "classes": list(STAGES),
        "label": np.array(label),
        "person": person,
        "recording": np.char.add(person, "-night1"),
        "clip": np.array(clip),
        "sleep_epoch": np.array(epoch),
        "split": "test",
    }


def _binary(rng, people, epochs):
    """Two classes, one a person, one to three records each."""
    person = np.repeat([f"E{p:03d}" for p in range(3 * people)], rng.integers(1, 4, 3 * people))
    sick = dict(zip(np.unique(person), rng.random(3 * people) < 0.35, strict=True))
    return {
        "label_kind": "classification",
        "classes": ["healthy", "arrhythmia"],
        "label": np.array([int(sick[p]) for p in person]),
        "person": person,
        "recording": np.array([f"r{i}" for i in range(len(person))]),
        "clip": np.zeros(len(person), int),
        "sleep_epoch": np.full(len(person), -1),
        "split": "cross-validation",
    }


def _labels(rng, people, epochs):
    """Four yes/no labels, some unknown; one is held by nobody."""
    person = np.array([f"D{i // 2:03d}" for i in range(8 * people)])
    label = (rng.random((len(person), 4)) < [0.4, 0.2, 0.1, 0.0]).astype(np.float64)
    label[rng.random(label.shape) < 0.05] = np.nan
    return {
        "label_kind": "multilabel",
        "classes": ["hypertension", "diabetes", "stroke", HOSTILE],
        "label": label,
        "person": person,
        "recording": np.array([f"r{i}" for i in range(len(person))]),
        "clip": np.zeros(len(person), int),
        "sleep_epoch": np.full(len(person), -1),
        "split": "test",
    }


def _row(rng, dataset, row, base) -> Predictions:
    knows, repeats = ROWS[row]
    label, people = base["label"], np.unique(base["person"])
    n, k = len(label), len(base["classes"])
    several = label.ndim == 2
    permuted = None
    if row == "permuted":
        permuted = np.stack([label[rng.permutation(n)] for _ in range(repeats)])
    truth = np.nan_to_num(label) if several else np.eye(k)[label]
    same = np.random.default_rng(n)  # what is hard is hard for every row, as it is in life
    ease = dict(zip(people, same.normal(1.0, 0.35, len(people)), strict=True))
    ease = np.array([ease[p] for p in base["person"]])[:, None]
    common = same.normal(size=(n, k))
    drawn = []
    for _ in range(repeats):
        logits = 3.2 * knows * ease * truth + common + 0.5 * rng.normal(size=(n, k))
        if several:
            drawn.append(1 / (1 + np.exp(-(logits - 2.0))))
        else:
            p = np.exp(logits)
            drawn.append(p / p.sum(axis=1, keepdims=True))
    probabilities = np.array(drawn, np.float32)
    fold = np.full((repeats, n), -1)
    if base["split"] == "cross-validation":
        of_person = dict(zip(people, rng.integers(0, 5, len(people)), strict=True))
        fold[:] = [of_person[p] for p in base["person"]]
    one = 1 if k == 2 and not several else k
    thresholds = np.full((repeats, n, one), 0.5, np.float32) if several or k == 2 else None
    centre = rng.normal(size=(k, 2)) * 2
    where = truth @ centre + np.array([hash_of(p) for p in base["person"]])
    encoder = row not in ("features", "tokens")
    about = {
        "row": row,
        "dataset": dataset,
        "dataset_fingerprint": "3f2a9c0d71e4",
        "label_kind": base["label_kind"],
        "classes": base["classes"],
        "split": base["split"],
        "features": "embeddings" if encoder else "plain",
        "checkpoints": ["runs/demo/checkpoints"] if row == "pretrained" else [],
        "steps": [4000] if row == "pretrained" else [],
        "weights": ["9be1d0aa42c7"] * (repeats if encoder else 0),
        "channels": {"bas": ["C3-M2", "C4-M1"], "ecg": ["ECG"]},
        "input_scaling": "robust z-score of each channel and recording",
        "left_out": {"no label": 3},
        "command": f"python -m launch.probe --workdir=RUN --dataset={dataset}",
        "commit": "0f12830",
        "version": "0.9.0",
        "protocol": "given splits" if base["split"] == "test" else "5-fold by person",
        "l2": [0.01] * repeats,
        "notes": ["L2 at the edge of its grid"] if row == "features" else [],
    }
    return Predictions(
        person=base["person"],
        recording=base["recording"],
        clip=base["clip"],
        sleep_epoch=base["sleep_epoch"],
        label=label,
        probabilities=probabilities,
        seeds=np.arange(repeats),
        fold=fold,
        about=about,
        unweighted=None if several else probabilities,
        thresholds=thresholds,
        permuted=permuted,
        map=(where + rng.normal(size=(n, 2))).astype(np.float32) if encoder else None,
    )


def hash_of(person: str) -> np.ndarray:
    return np.random.default_rng([ord(c) for c in person]).normal(size=2)
