"""The one stream that training, evaluation and probes take their batches from, with Grain.

What is in a batch is a pure function of (seed, step): each pass over the data is one global
permutation, cut into global batches; a process loads the rows of each that its devices hold.
Resuming at a step, on any number of processes, therefore continues the same stream, and a row keeps
its place in the global batch whoever loads it.
"""

from __future__ import annotations

from collections.abc import Iterator

import grain
import numpy as np

from sleepfm_jax import config as configuration
from sleepfm_jax.data.examples import Batch, Examples
from sleepfm_jax.errors import DatasetError

THREADS = configuration.KEYS["data"]["num_threads"].default
"""That read, and batches that are read ahead, where no configuration says otherwise."""


def training(
    examples: Examples,
    *,
    batch_size: int,
    seed: int,
    rows: np.ndarray | None = None,
    distinct_rows: bool = True,
    num_threads: int = THREADS,
    prefetch: int = THREADS,
) -> grain.DatasetIterator:
    """An endless, seekable iterator over this process's rows of each global batch.

    Its state (`get_state`, `set_state`) is {"next_index": step}, the same on every process.

    Args:
      rows: places in the global batch that this process loads; None: all.
      distinct_rows: no example stands in a batch twice; what is left of a pass is left out. False:
        passes follow one another, so that a batch may be larger than a pass.

    Raises:
      DatasetError: no examples, or fewer than a batch of distinct rows.
    """
    if len(examples) < (batch_size if distinct_rows else 1):
        raise DatasetError(
            f"{examples.name} has {len(examples)} clips, fewer than one batch of {batch_size}: "
            "lower batch_size or build more"
        )
    mine = np.arange(batch_size) if rows is None else np.asarray(rows)

    def load(step: int, indices: np.ndarray) -> Batch:
        # One stream of choices a row, so that a row is the same whoever loads it.
        return examples.batch(indices[mine], [(seed, step, int(row)) for row in mine])

    order = grain.MapDataset.range(len(examples)).shuffle(seed=seed)
    if distinct_rows:
        order = order.batch(batch_size, drop_remainder=True).repeat()
    else:
        order = order.repeat().batch(batch_size)
    return iter(_read(order.map_with_index(load), num_threads, prefetch))


def one_pass(
    examples: Examples,
    *,
    batch_size: int,
    rows: np.ndarray | None = None,
    num_threads: int = THREADS,
    prefetch: int = THREADS,
) -> Iterator[Batch]:
    """One pass in order, the last batch filled up with masked rows (index -1)."""
    mine = np.arange(batch_size) if rows is None else np.asarray(rows)

    def load(number: int) -> Batch:
        indices = number * batch_size + mine
        return examples.batch(np.where(indices < len(examples), indices, -1))

    batches = grain.MapDataset.range(-(-len(examples) // batch_size)).map(load)
    return iter(_read(batches, num_threads, prefetch))


def _read(dataset: grain.MapDataset, num_threads: int, prefetch: int) -> grain.IterDataset:
    # Grain warns of threads that no batch is there for.
    threads = min(num_threads, prefetch)
    return dataset.to_iter_dataset(grain.ReadOptions(threads, prefetch))
