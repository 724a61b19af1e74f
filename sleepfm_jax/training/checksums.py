"""A checksum of each array of a state, the same on any mesh and any number of processes.

Each element is hashed with its place in the global array, and the hashes are added up: a sum does
not ask in which order, or who holds what. Processes exchange nothing but the sums. A changed
element always changes its hash, and so the sum; other damage goes unseen once in 2**64.

It is done on the host, where a checkpoint is on its way to the disk anyway: the same under jit took
the compiler longer than all saves of a short run.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from sleepfm_jax.training.paths import path_string

_BLOCK = 2**15  # elements, as uint64: they stay in a core's cache from the first step to the last
_THREADS = min(8, os.cpu_count() or 1)


def of_tree(tree: Any) -> dict[str, str]:
    """Path of each leaf → "float32[3,4]:0123456789abcdef".

    Args:
      tree: of arrays, global ones too; every process of a run has to ask. Numbers of 64 bits count
        as the 32 that jax makes of them, unless it is told to keep them.
    """
    leaves = {path_string(p): leaf for p, leaf in jax.tree_util.tree_leaves_with_path(tree)}
    with ThreadPoolExecutor(_THREADS) as pool:
        waiting = [
            [pool.submit(_sum, *piece) for piece in _pieces(leaf)] for leaf in leaves.values()
        ]
        with np.errstate(over="ignore"):
            sums = np.array([_added(f.result() for f in futures) for futures in waiting], np.uint64)
    shared = np.array([not getattr(x, "is_fully_addressable", True) for x in leaves.values()], bool)
    if shared.any():  # as uint32: jax has no uint64
        all_of_them = multihost_utils.process_allgather(sums.view(np.uint32))
        total = np.ascontiguousarray(all_of_them).view(np.uint64).sum(0, dtype=np.uint64)
        sums = np.where(shared, total, sums)
    return {path: f"{described(leaves[path])}:{total:016x}" for path, total in zip(leaves, sums)}


def of_json(value: Any) -> str:
    """A digest of something that JSON can say."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def described(leaf: Any) -> str:
    """Type and shape: "float32[3,4]"."""
    return f"{_dtype(leaf)}[{','.join(map(str, leaf.shape))}]"


def shape_of(stored: str) -> tuple[int, ...]:
    """The shape in an entry of `of_tree`."""
    inside = stored.partition("[")[2].partition("]")[0]
    return tuple(int(size) for size in inside.split(",") if size)


def _dtype(leaf: Any) -> np.dtype:
    return jax.dtypes.canonicalize_dtype(leaf.dtype)


def _pieces(leaf: Any) -> Iterator[tuple[np.ndarray, tuple[slice, ...], tuple[int, ...]]]:
    """What this process holds of an array, each element of the array once among all processes:
    values, where they are in the array, and its shape."""
    if not isinstance(leaf, jax.Array):
        leaf = np.asarray(leaf).astype(_dtype(leaf))
        yield leaf, (slice(None),) * leaf.ndim, leaf.shape
        return
    for shard in leaf.addressable_shards:
        if shard.replica_id == 0:
            yield np.asarray(shard.data), shard.index, leaf.shape


def _sum(values: np.ndarray, index: tuple[slice, ...], shape: tuple[int, ...]) -> int:
    """The sum of the hashes of a piece, modulo 2**64."""
    words = np.ascontiguousarray(values).reshape(values.shape)
    words = words.view(f"uint{8 * values.itemsize}")
    if not words.size:
        return 0
    rest = math.prod(words.shape[1:])
    rows = max(1, _BLOCK // rest)
    inner = _places(index[1:], shape[1:])
    first = (index[0].start or 0) if shape else 0
    words = words.reshape(-1, *words.shape[1:])
    total = 0
    for row in range(0, len(words), rows):
        block = words[row : row + rows]
        outer = np.arange(first + row, first + row + len(block), dtype=np.uint64)
        outer *= np.uint64(math.prod(shape[1:]))
        x = outer.reshape(-1, *[1] * inner.ndim) + inner
        x *= np.uint64(0x9E3779B97F4A7C15)
        x += block
        # splitmix64 (S. Vigna, public domain): a bijection, so that no change of a word is lost.
        x ^= x >> np.uint64(30)
        x *= np.uint64(0xBF58476D1CE4E5B9)
        x ^= x >> np.uint64(27)
        x *= np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
        total += int(x.sum(dtype=np.uint64))
    return total % 2**64


def _places(index: tuple[slice, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of the elements of a part of an array, row by row, uint64."""
    places = np.zeros((), np.uint64)
    for axis, (part, size) in enumerate(zip(index, shape)):
        steps = np.arange(*part.indices(size), dtype=np.uint64)
        places = places[..., None] + steps * np.uint64(math.prod(shape[axis + 1 :]))
    return places


def _added(sums: Iterator[int]) -> int:
    return sum(sums) % 2**64
