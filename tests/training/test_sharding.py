"""Where arrays live: meshes, rules, the rows that a process loads, the batch that they make."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from sleepfm_jax import experiment
from sleepfm_jax.training import optim, sharding, step
from sleepfm_jax.training import state as train_state
from tests.helpers.arrays import random_tree
from tests.helpers.runs import smoke

RULES = (
    (r"(qkv|up)/kernel$", (None, "model")),
    (r"(qkv|up)/bias$", ("model",)),
    (r"(out|down)/kernel$", ("model", None)),
    (".*", ()),
)


def first_step(mesh_axes, rules):
    """Loss and gradient norm of one step, and how one kernel is laid out afterwards."""
    config = smoke(**{"optimiser.warmup_steps": 0})
    objective = experiment.make_objective(config)
    tx = optim.optimiser(config["optimiser"], 4)
    shapes = jax.eval_shape(lambda: train_state.create(objective, tx, 0))
    state = shapes.replace(
        step=np.int32(0),
        params=random_tree(shapes.params),
        batch_stats=random_tree(shapes.batch_stats),
        opt_state=jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes.opt_state),
        seed=np.uint32(5),
        skipped=np.int32(0),
        skipped_in_a_row=np.int32(0),
    )
    mesh = sharding.make_mesh(mesh_axes)
    shardings = sharding.tree_shardings(state, mesh, rules)
    rng = np.random.default_rng(0)
    batch = {
        "signals": rng.integers(-3000, 3000, (8, 6, 2 * 640), dtype=np.int16),
        "scale": np.full((8, 6), 1e-3, np.float32),
        "mask": rng.random((8, 6, 2)) < 0.9,
        "positions": rng.uniform(-1, 1, (8, 6, 3)).astype(np.float32),
        "index": np.arange(8, dtype=np.int32),
    }
    run = jax.jit(
        step.step_function(objective, tx), out_shardings=(shardings, sharding.replicated(mesh))
    )
    rows = sharding.local_rows(8, mesh)
    state, told = run(jax.device_put(state, shardings), sharding.global_batch(batch, mesh, 8, rows))
    kernel = state.params["encoder"]["layers"][0]["up"]["kernel"]
    return step.means(told), [shard.data.shape for shard in kernel.addressable_shards]


@pytest.mark.slow
def test_sharded_parameters_give_the_numbers_of_replicated_ones():
    assert jax.device_count() == 4, "tests/conftest.py asks for four virtual devices"
    replicated, whole = first_step({"data": -1}, sharding.REPLICATED)
    sharded, parts = first_step({"data": 1, "model": 4}, RULES)
    assert whole == [(32, 64)] * 4 and parts == [(32, 16)] * 4
    for name in ("loss", "grad_norm"):
        np.testing.assert_allclose(sharded[name], replicated[name], rtol=1e-5)
    assert sharded["example_order"] == replicated["example_order"]


@pytest.mark.parametrize(
    ("axes", "shards"),
    [
        ({"data": 4}, [0, 1, 2, 3]),
        ({"data": 2, "model": 2}, [0, 0, 1, 1]),
        ({"model": 2, "data": 2}, [0, 1, 0, 1]),
        ({"data": 1, "model": 4}, [0, 0, 0, 0]),
    ],
)
def test_a_batch_is_the_same_global_array_on_any_mesh(axes, shards):
    """Along the data axis it is cut, along any other repeated."""
    rng = np.random.default_rng(0)
    batch = {
        "signals": rng.integers(-9, 9, (8, 3, 5)).astype(np.int16),
        "mask": rng.random((8, 2)) < 0.5,
        "index": np.arange(8, dtype=np.int32),
    }
    mesh = sharding.make_mesh(axes)
    rows = sharding.local_rows(8, mesh)
    np.testing.assert_array_equal(rows, np.arange(8))  # one process loads every row, once
    found = sharding.global_batch(batch, mesh, 8, rows)
    count = mesh.shape["data"]
    for name, array in found.items():
        assert array.dtype == batch[name].dtype and array.shape == batch[name].shape
        np.testing.assert_array_equal(array, batch[name])
        assert array.sharding == sharding.batch_sharding(mesh)
    cuts = np.split(batch["index"], count)
    by_device = {
        shard.device: np.asarray(shard.data) for shard in found["index"].addressable_shards
    }
    for device, which in zip(mesh.devices.flat, shards, strict=True):
        np.testing.assert_array_equal(by_device[device], cuts[which])


class Cut:
    """A sharding of a batch of 8 of which this process holds some devices' rows."""

    def __init__(self, *slices):
        self.slices = slices

    def addressable_devices_indices_map(self, shape):
        assert shape == (8,)
        return {device: (rows,) for device, rows in enumerate(self.slices)}


@pytest.mark.parametrize(
    ("slices", "rows"),
    [
        ((slice(4, 6), slice(6, 8)), [4, 5, 6, 7]),
        ((slice(0, 2), slice(0, 2), slice(4, 6)), [0, 1, 4, 5]),  # two devices share rows
        ((slice(6, 8), slice(2, 4)), [2, 3, 6, 7]),  # ascending, whatever the devices' order
        ((slice(None),), list(range(8))),  # an axis of size one is not cut
    ],
)
def test_a_process_loads_the_rows_of_its_devices_once(monkeypatch, slices, rows):
    monkeypatch.setattr(sharding, "batch_sharding", lambda mesh: Cut(*slices))
    np.testing.assert_array_equal(sharding.local_rows(8, None), rows)


def test_rows_that_have_a_gap_go_to_the_devices_that_hold_them(monkeypatch):
    """A process that holds the first and the third quarter, as two of four devices would ask."""
    asked = {}

    def callback(shape, placed, on_device):
        for name, rows in (("first", slice(0, 2)), ("third", slice(4, 6))):
            asked[name] = on_device((rows, slice(None)))
        return shape

    monkeypatch.setattr(jax, "make_array_from_callback", callback)
    rows = np.array([0, 1, 4, 5])
    local = {"x": np.arange(8)[rows][:, None] * 10}
    assert sharding.global_batch(local, sharding.make_mesh(), 8, rows) == {"x": (8, 1)}
    assert asked["first"].ravel().tolist() == [0, 10]
    assert asked["third"].ravel().tolist() == [40, 50]


def test_meshes_and_rules_that_do_not_fit_say_so():
    assert dict(sharding.make_mesh().shape) == {"data": 4}
    assert dict(sharding.make_mesh({"data": -1, "model": 2}).shape) == {"data": 2, "model": 2}
    for axes in ({"data": 3}, {"data": 8}, {"data": -1, "model": 3}, {"data": -1, "model": 8}):
        with pytest.raises(ValueError, match="does not fit 4 devices"):
            sharding.make_mesh(axes)
    with pytest.raises(ValueError, match="has no axis 'data'"):
        sharding.make_mesh({"model": 4})
    with pytest.raises(ValueError, match="batch_size 6 is not a multiple of mesh axis 'data'=4"):
        sharding.check_batch(6, sharding.make_mesh())
    mesh = sharding.make_mesh({"data": 1, "model": 4})
    sharding.check_batch(6, mesh)
    tree = {"up": {"kernel": np.zeros((8, 6)), "bias": np.zeros(8)}}
    with pytest.raises(ValueError, match="up/kernel: 6 does not divide over mesh axis 'model'"):
        sharding.tree_shardings(tree, mesh, [("kernel", (None, "model")), (".*", ())])
    with pytest.raises(ValueError, match=r"up/bias has shape \(8,\), but its sharding rule"):
        sharding.tree_shardings(tree, mesh, [("up", ("model", None))])
    with pytest.raises(ValueError, match="no sharding rule fits up/bias"):
        sharding.tree_shardings(tree, mesh, [("kernel", ())])
    with pytest.raises(ValueError, match="'expert'"):
        sharding.tree_shardings(tree, mesh, [(".*", ("expert",))])
