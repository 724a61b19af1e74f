"""Subjects of a simulation, one after the other or on several processes."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def each_subject(work: Callable[[int], T], subjects: int, workers: int) -> list[T]:
    """`work(index)` of every subject, in their order, whoever does it.

    Args:
      work: pickles, where there is more than one worker.
      subjects: how many.
      workers: processes; 1: this one.
    """
    if workers == 1:
        return [work(index) for index in range(subjects)]
    # spawn: a fork of a process that already runs threads (jax, BLAS) may hang
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(min(workers, subjects), context) as pool:
        return list(pool.map(work, range(subjects)))
