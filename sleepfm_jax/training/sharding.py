"""Where arrays live: a mesh, and a table of path patterns. Models know nothing of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from sleepfm_jax.training.paths import path_string

DATA = "data"
"""The mesh axis along which the global batch is cut."""

REPLICATED: tuple[tuple[str, tuple], ...] = ((".*", ()),)
"""Rules that put every parameter on every device."""


def make_mesh(axes: Mapping[str, int] | None = None) -> Mesh:
    """A mesh over all devices of all processes.

    Args:
      axes: axis → size, one of them -1 (what is left). Default {"data": -1}.

    Raises:
      ValueError: no axis "data", or sizes that do not multiply to the number of devices.
    """
    axes = dict(axes or {DATA: -1})
    if DATA not in axes:
        raise ValueError(f"mesh {axes} has no axis {DATA!r}, along which batches are cut")
    count = jax.device_count()
    known = int(np.prod([n for n in axes.values() if n != -1]))
    shape = tuple(count // known if n == -1 else n for n in axes.values())
    if int(np.prod(shape)) != count:
        raise ValueError(f"mesh {axes} does not fit {count} devices")
    return jax.make_mesh(shape, tuple(axes), axis_types=(AxisType.Auto,) * len(shape))


def tree_shardings(tree: Any, mesh: Mesh, rules: Sequence[tuple[str, Sequence]]) -> Any:
    """A sharding for each leaf: that of the first rule whose pattern is found in its path.

    A rule is (regular expression, axes): one mesh axis name or None for each dimension of the leaf;
    () replicates. A dimension that its axis does not divide is an error, not a surprise.

    Raises:
      ValueError: no rule fits a path, or a rule does not fit the leaf's shape.
    """

    def place(path, leaf):
        name = path_string(path)
        for pattern, axes in rules:
            if re.search(pattern, name):
                _check(name, np.shape(leaf), axes, mesh)
                return NamedSharding(mesh, PartitionSpec(*axes))
        raise ValueError(f"no sharding rule fits {name}: end the table with ('.*', ())")

    return jax.tree_util.tree_map_with_path(place, tree)


def _check(name: str, shape: tuple[int, ...], axes: Sequence, mesh: Mesh) -> None:
    if len(axes) > len(shape):
        raise ValueError(f"{name} has shape {shape}, but its sharding rule names axes {axes}")
    for size, axis in zip(shape, axes):
        if axis is not None and axis not in mesh.shape:
            known = ", ".join(mesh.shape)
            raise ValueError(f"{name}: its sharding rule names {axis!r}; the mesh has {known}")
        if axis is not None and size % mesh.shape[axis]:
            raise ValueError(
                f"{name}: {size} does not divide over mesh axis {axis!r} ({mesh.shape[axis]})"
            )


def replicated(mesh: Mesh) -> NamedSharding:
    """Whole on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The leading axis cut along the data axis."""
    return NamedSharding(mesh, PartitionSpec(DATA))


def check_batch(size: int, mesh: Mesh) -> None:
    """ValueError where a global batch cannot be cut evenly along the data axis."""
    if size % mesh.shape[DATA]:
        count = mesh.shape[DATA]
        raise ValueError(f"batch_size {size} is not a multiple of mesh axis {DATA!r}={count}")


def local_rows(size: int, mesh: Mesh) -> np.ndarray:
    """Places in a global batch that this process's devices hold, int [b], ascending: those that it
    has to load. Processes share rows where a mesh axis other than "data" spans them."""
    cuts = batch_sharding(mesh).addressable_devices_indices_map((size,)).values()
    return np.unique(np.concatenate([np.arange(size)[rows] for (rows,) in cuts]))


def global_batch(
    batch: Mapping[str, np.ndarray], mesh: Mesh, size: int, rows: np.ndarray
) -> dict[str, jax.Array]:
    """This process's rows → global arrays over the mesh.

    Args:
      batch: arrays [b, …], the places `rows` (`local_rows`) of the global batch.
      size: B.
    """
    sharding = batch_sharding(mesh)

    def place(local: np.ndarray) -> jax.Array:
        def on_device(index):
            wanted = np.arange(size)[index[0]]
            first = np.searchsorted(rows, wanted[0])  # a device's rows follow one another
            return local[first : first + len(wanted)]

        return jax.make_array_from_callback((size, *local.shape[1:]), sharding, on_device)

    return {name: place(np.asarray(local)) for name, local in batch.items()}
