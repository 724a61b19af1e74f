"""How well a contrastive model agrees with itself on clips it was not trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sleepfm_jax.metrics.retrieval import retrieval


def evaluate(
    predict_fn: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]],
    batches: Iterable[Mapping[str, np.ndarray]],
    *,
    modalities: Sequence[str],
    candidates: int,
) -> Iterator[tuple[str, Any]]:
    """Loss over batches, and retrieval among `candidates` clips.

    Args:
      predict_fn: batch → loss (scalar) and unit vectors `clip` [M, B, D], `presence` bool [M, B],
        `index` int [B] (-1: a filler row), all rows of all processes.
      batches: of fixed shape, one pass.
      modalities: names along M.

    Yields:
      ("loss", mean over clips) and ("retrieval", the dictionary of `retrieval`).
    """
    losses, clips, clip_vectors, presences = [], [], [], []
    for batch in batches:
        out = predict_fn(batch)
        real = out["index"] >= 0
        clips.append(real.sum())
        losses.append(out["loss"])
        clip_vectors.append(out["clip"][:, real])
        presences.append(out["presence"][:, real])
    yield "loss", float(np.average(losses, weights=clips))
    yield (
        "retrieval",
        retrieval(
            np.concatenate(clip_vectors, axis=1),
            np.concatenate(presences, axis=1),
            candidates=candidates,
            names=modalities,
        ),
    )
