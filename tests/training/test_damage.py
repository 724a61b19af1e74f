"""What a disk did to a checkpoint is found when it is read, and the one before is taken."""

from __future__ import annotations

import json
import logging
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepfm_jax.errors import CheckpointError, DamagedCheckpoint
from sleepfm_jax.training import checksums, sharding
from sleepfm_jax.training.checkpoint import Checkpoints, open_existing
from sleepfm_jax.training.paths import path_string
from sleepfm_jax.training.start import start

KEYS = jax.random.split(jax.random.key(0), 3)
STATE = {
    "params": {"w": jax.random.normal(KEYS[0], (64, 48)), "b": jnp.zeros(5, jnp.bfloat16)},
    "batch_stats": {"mean": jax.random.normal(KEYS[1], (7,))},
    "step": jnp.int32(3),
}


def placed(tree):
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), tree)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Checkpoints of steps 2 and 4 of a run without a configuration."""
    folder = tmp_path_factory.mktemp("saved") / "checkpoints"
    checkpoints = Checkpoints(folder)
    for step in (2, 4):
        state = jax.tree.map(lambda x, step=step: x + jnp.asarray(step, x.dtype), STATE)
        checkpoints.save(step, state, {"config": {}, "rate": 0.1, "shape": (1, 2), "at": step})
    checkpoints.close()
    return folder


@pytest.fixture
def run(saved, tmp_path):
    """A copy of them, to be damaged."""
    return shutil.copytree(saved, tmp_path / "checkpoints")


def array_file(run, step=4):
    """The file with the arrays of a step."""
    files = [p for p in (run / str(step) / "state").rglob("*") if p.parent.name == "d"]
    return max(files, key=lambda p: p.stat().st_size)


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= 16
    path.write_bytes(bytes(data))


def truncate(run):
    path = array_file(run)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def wrong_about(run):
    path = run / "4" / "about" / "metadata"
    path.write_text(path.read_text().replace("0.1", "0.2"))


def empty_newer(run):
    (run / "4").rename(run.parent / "elsewhere")
    (run / "4").mkdir()


DAMAGES = {
    "a flipped bit in the middle of the arrays": lambda run: flip(
        array_file(run), array_file(run).stat().st_size // 2
    ),
    "a truncated array": truncate,
    "an array file that is gone": lambda run: array_file(run).unlink(),
    "no arrays": lambda run: shutil.rmtree(run / "4" / "state"),
    "no about": lambda run: shutil.rmtree(run / "4" / "about"),
    "an empty about": lambda run: (run / "4" / "about" / "metadata").write_text(""),
    "a broken about": lambda run: (run / "4" / "about" / "metadata").write_text('{"config": '),
    "an about that is no object": lambda run: (run / "4" / "about" / "metadata").write_text("[]"),
    "one digit of about": wrong_about,
    "a broken description": lambda run: (run / "4" / "state" / "_METADATA").write_text("{"),
    "an empty newest step": empty_newer,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_training_goes_on_from_the_one_before_and_sets_the_damaged_one_aside(run, damage, caplog):
    DAMAGES[damage](run)
    checkpoints = Checkpoints(run)
    with caplog.at_level(logging.WARNING):
        step, (state, about) = checkpoints.newest(lambda s: checkpoints.restore(s, placed(STATE)))
    (told,) = [r.getMessage() for r in caplog.records if "damaged" in r.getMessage()]
    assert "checkpoint of step 4 is damaged" in told and "that of step 2 is taken instead" in told
    assert step == 2 and about == {"config": {}, "rate": 0.1, "shape": [1, 2], "at": 2}
    np.testing.assert_array_equal(state["params"]["w"], STATE["params"]["w"] + 2)
    assert (run / "4.damaged").is_dir() and not (run / "4").exists()
    # Its step can be saved again, and is then read.
    checkpoints.save(4, STATE, {"config": {}})
    checkpoints.close()
    again = open_existing(run)
    assert again.newest(again.about) == (4, {"config": {}})
    again.close()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_reader_takes_the_one_before_and_changes_nothing(run, damage, caplog):
    DAMAGES[damage](run)
    before = sorted(run.rglob("*"))
    checkpoints = open_existing(run)
    like = placed({"params": STATE["params"]})

    def read(step):
        return checkpoints.about(step), checkpoints.restore_parts(step, like)

    with caplog.at_level(logging.WARNING):
        step, (about, found) = checkpoints.newest(read)
    assert step == about["at"] == 2 and "step 4 is damaged" in caplog.text
    np.testing.assert_array_equal(found["params"]["w"], STATE["params"]["w"] + 2)
    with pytest.raises(DamagedCheckpoint, match="step 4 is damaged"):
        read(4)
    checkpoints.close()
    assert sorted(run.rglob("*")) == before


def test_no_flipped_bit_of_an_array_file_is_read_as_if_nothing_were(run):
    """Either it is found, or it is where nothing is read: the numbers are those that were saved."""
    path, kept = array_file(run), array_file(run).read_bytes()
    found = 0
    for at in np.random.default_rng(0).integers(0, len(kept), 40):
        flip(path, int(at))
        checkpoints = open_existing(run)
        try:
            state, _ = checkpoints.restore(4, placed(STATE))
            np.testing.assert_array_equal(state["params"]["w"], STATE["params"]["w"] + 4)
        except DamagedCheckpoint:
            found += 1
        checkpoints.close()
        path.write_bytes(kept)
    assert found > 20


def test_nothing_left_is_an_error_and_never_a_fresh_start(run):
    for step in (2, 4):
        (run / str(step) / "about" / "metadata").unlink()
    checkpoints = Checkpoints(run)
    told = "step 2 is damaged .*, and all newer ones are damaged too: nothing is left to go on from"

    def create():
        return STATE

    shardings = jax.tree.map(lambda x: x.sharding, STATE)
    with pytest.raises(DamagedCheckpoint, match=told):
        start(checkpoints, {"steps": 9, "initialise_from": ""}, create, shardings, {})
    checkpoints.close()
    assert (run / "2").is_dir() and (run / "4.damaged").is_dir()


def test_another_model_is_no_damage(run):
    """It would be set aside, and the older ones after it."""
    other = {**STATE, "params": {**STATE["params"], "w": jnp.zeros((3, 48))}}
    less = {name: STATE[name] for name in ("params", "step")}
    checkpoints = Checkpoints(run)
    told = r"step 4 does not fit this model: params/w has shape \(64, 48\) there, \(3, 48\) here"
    for like, said in ((other, told), (less, "there is no batch_stats/mean here")):
        with pytest.raises(CheckpointError, match=said) as error:
            checkpoints.newest(lambda s, like=like: checkpoints.restore(s, placed(like)))
        assert not isinstance(error.value, DamagedCheckpoint)
    checkpoints.close()
    assert sorted(p.name for p in run.iterdir() if p.is_dir()) == ["2", "4"]


def test_a_checkpoint_without_checksums_is_taken_at_its_word(run):
    path = run / "4" / "about" / "metadata"
    about = json.loads(path.read_text())
    assert set(about.pop("checksums")) == {"state", "about"}
    path.write_text(json.dumps(about))
    checkpoints = open_existing(run)
    state, said = checkpoints.restore(4, placed(STATE))
    assert said["at"] == 4 and state["step"] == 7
    with pytest.raises(CheckpointError, match="does not fit this model: it has no params/v"):
        checkpoints.restore_parts(4, placed({"params": {"v": STATE["step"]}}))
    checkpoints.close()


# --- checksums ---------------------------------------------------------------------------------


def by_hand(leaf):
    """The definition, in whole numbers of Python."""
    leaf, total = np.ascontiguousarray(leaf), 0
    for place, word in enumerate(leaf.view(f"uint{8 * leaf.itemsize}").ravel().tolist()):
        x = (place * 0x9E3779B97F4A7C15 + word) % 2**64
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
        total += x ^ (x >> 31)
    return f"{total % 2**64:016x}"


def test_checksums_are_what_they_say():
    many = jax.random.normal(KEYS[2], (11, 2**13 + 1, 1))  # more than one block
    tree = {**STATE, "flags": jnp.array([True, False]), "small": many.astype(jnp.int8), "x": many}
    found = checksums.of_tree(tree)
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    assert len(found) == len(leaves) == 7
    for path, leaf in leaves:
        shape = ",".join(map(str, leaf.shape))
        wanted = f"{leaf.dtype}[{shape}]:{by_hand(leaf)}"
        assert found[path_string(path)] == wanted
        assert checksums.shape_of(wanted) == leaf.shape
    assert checksums.of_tree({"x": np.arange(3)})["x"].startswith("int32[3]:")  # as jax reads it


def test_checksums_see_places_and_single_bits():
    base = np.arange(12, dtype=np.float32).reshape(3, 4)
    flipped = base.copy()
    flipped.view(np.uint32)[1, 2] ^= 1
    swapped = base.copy()
    swapped[[0, 2]] = swapped[[2, 0]]
    others = [base, flipped, swapped, base.T, -0.0 * base, 0.0 * base, base.astype(jnp.bfloat16)]
    found = [checksums.of_tree([jnp.asarray(x)])["0"] for x in others]
    assert len({value[-16:] for value in found}) == len(others)


def test_checksums_do_not_depend_on_the_mesh():
    whole = np.random.default_rng(0).standard_normal((8, 12)).astype(np.float32)
    wanted = checksums.of_tree({"w": jnp.asarray(whole)})
    for axes, spec in (
        ({"data": 4}, ("data",)),
        ({"data": 4}, (None, "data")),
        ({"data": 2, "fsdp": 2}, ("fsdp", "data")),
        ({"data": 2, "fsdp": 2}, (None, ("fsdp", "data"))),
        ({"data": 2, "fsdp": 2}, ()),
    ):
        mesh = sharding.make_mesh(axes)
        place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*spec))
        assert checksums.of_tree({"w": jax.device_put(whole, place)}) == wanted
