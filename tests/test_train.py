"""The loop: resuming, refusing, stopping; and what it is made of."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import common, pretrain_simulated
from sleepfm_jax import experiment, train
from sleepfm_jax import probe as probing
from sleepfm_jax.data import datasets
from sleepfm_jax.errors import CheckpointError, ConfigError, TrainingStopped
from sleepfm_jax.training import checkpoint, optim, sharding
from sleepfm_jax.training import state as train_state
from sleepfm_jax.training.metric_writer import MetricWriter

OPTIMISER = common.pretraining().optimiser.to_dict()

# Reports are drawn by their own tests; here nobody looks at them.
no_report = pytest.fixture(autouse=True)(
    lambda monkeypatch: monkeypatch.setattr(train.page, "write_report", lambda workdir: None)
)


def smoke(**changes):
    """The smoke variant as a dictionary, with some keys changed ("encoder.width": 16, …)."""
    config = pretrain_simulated.get_config("smoke").to_dict()
    for name, value in changes.items():
        *sections, key = name.split(".")
        part = functools.reduce(dict.__getitem__, sections, config)
        assert key in part
        part[key] = value
    return config


def saved_state(workdir, step, config=None):
    """Every leaf of a checkpoint, as numpy, by path; and what was said about it."""
    config = config or smoke()
    task, tx = experiment.make_task(config), optim.optimiser(config["optimiser"], config["steps"])
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    like = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here),
        jax.eval_shape(lambda: train_state.create(task, tx, config["seed"])),
    )
    checkpoints = checkpoint.open_existing(workdir)
    state, about = checkpoints.restore(step, like)
    checkpoints.close()
    leaves = jax.tree_util.tree_leaves_with_path(jax.device_get(state))
    return {sharding.path_string(path): leaf for path, leaf in leaves}, about


def metrics(workdir, prefix="train/"):
    """{step: {name: value}} of the lines of metrics.jsonl; a step may be written only once."""
    found = {}
    for line in (workdir / "metrics.jsonl").read_text().splitlines():
        line = json.loads(line)
        step = line.pop("step")
        mine = {k: v for k, v in line.items() if k.startswith(prefix) and "per_second" not in k}
        if mine:
            assert step not in found, f"step {step} twice"
            found[step] = mine
    return found


def fingerprint(folder: Path):
    """Every path under a folder with the hash of its content."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        if p.is_file()
        else ""
        for p in sorted(folder.rglob("*"))
    }


@pytest.fixture(scope="module")
def uninterrupted(tiny_data_dir, tmp_path_factory):
    """A run of four steps; its workdir and what `train` returned."""
    workdir = tmp_path_factory.mktemp("uninterrupted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train.page, "write_report", lambda workdir: None)
        return workdir, train.train(smoke(), tiny_data_dir, workdir)


# --- the loop ----------------------------------------------------------------------------------


def test_a_run_leaves_what_it_promises(uninterrupted):
    workdir, results = uninterrupted
    assert 0 <= results["retrieval"]["top1"] <= 1
    assert results["retrieval"]["candidates"] <= 12
    assert {"config.json", "metrics.jsonl", "example_clip.npz", "results.json"} <= {
        p.name for p in workdir.iterdir()
    }
    assert (workdir / "build_reports" / "simulated_psg.json").is_file()
    assert {p.name for p in (workdir / "checkpoints").iterdir() if p.name.isdigit()} == {"2", "4"}
    steps = metrics(workdir)
    assert sorted(steps) == [1, 2, 3, 4]
    assert sorted(metrics(workdir, "validation/")) == [0, 2, 4]
    for line in steps.values():
        assert np.isfinite(list(line.values())).all() and line["train/skipped"] == 0
    assert len({line["train/example_order"] for line in steps.values()}) == 4
    assert saved_state(workdir, 4)[1]["config"] == json.loads((workdir / "config.json").read_text())


def test_a_checkpoint_carries_the_pseudonyms_of_its_training_split(uninterrupted, tiny_data_dir):
    records = datasets.open_records(tiny_data_dir, ["simulated_psg"], "train")
    assert len(records.subjects()) == 3
    assert saved_state(uninterrupted[0], 4)[1]["subjects"] == sorted(records.subjects())
    assert probing.load_encoder(uninterrupted[0]).subjects == records.subjects()


def test_sigterm_saves_and_interrupted_equals_uninterrupted(
    uninterrupted, tiny_data_dir, tmp_path, monkeypatch
):
    """Stopped at step 3, between two saves, then started again: every bit is the same."""
    write = MetricWriter.write

    def write_and_terminate(self, step, values):
        write(self, step, values)
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(MetricWriter, "write", write_and_terminate)
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(TrainingStopped, match="SIGTERM: saved at step 3; run again"):
        train.train(smoke(), tiny_data_dir, tmp_path)
    assert signal.getsignal(signal.SIGTERM) is handler
    assert checkpoint.open_existing(tmp_path).latest() == 3
    assert sorted(metrics(tmp_path)) == [1, 2, 3]
    monkeypatch.setattr(MetricWriter, "write", write)
    train.train(smoke(), tiny_data_dir, tmp_path)

    state, about = saved_state(tmp_path, 4)
    wanted, about_wanted = saved_state(uninterrupted[0], 4)
    assert about == about_wanted and state.keys() == wanted.keys() and len(state) > 100
    for path, leaf in state.items():
        np.testing.assert_array_equal(leaf, wanted[path], err_msg=path)
        assert leaf.dtype == wanted[path].dtype
    assert state["step"] == 4
    assert metrics(tmp_path) == metrics(uninterrupted[0])
    assert metrics(tmp_path, "validation/") == metrics(uninterrupted[0], "validation/")


def test_a_finished_run_started_again_changes_nothing(uninterrupted, tiny_data_dir):
    workdir, results = uninterrupted
    before, lines = fingerprint(workdir / "checkpoints"), (workdir / "metrics.jsonl").read_text()
    again = train.train(smoke(), tiny_data_dir, workdir)
    assert again["retrieval"] == results["retrieval"]
    assert (workdir / "metrics.jsonl").read_text() == lines
    after = fingerprint(workdir / "checkpoints")
    assert {k: v for k, v in after.items() if not k.startswith("descriptor")} == {
        k: v for k, v in before.items() if not k.startswith("descriptor")
    }


def test_a_checkpoint_goes_on_only_with_its_configuration(uninterrupted, tiny_data_dir):
    workdir, _ = uninterrupted
    config_before = (workdir / "config.json").read_text()
    other = smoke(**{"optimiser.learning_rate": 0.5, "encoder.dropout": 0.2})
    with pytest.raises(CheckpointError) as error:
        train.train(other, tiny_data_dir, workdir)
    message = str(error.value)
    assert "config.optimiser.learning_rate: 0.002 in the checkpoint, 0.5 now" in message
    assert "config.encoder.dropout: 0.1 in the checkpoint, 0.2 now" in message
    assert (workdir / "config.json").read_text() == config_before


def test_a_checkpoint_of_another_model_does_not_fit(uninterrupted, monkeypatch):
    """What Orbax says of other shapes is passed on. (Said for it here: a read that fails leaves
    reads behind that complain in later tests.)"""

    def refuse(*args, **kwargs):
        raise ValueError("Requested shape: (16,) is not compatible with the stored shape: (32,)")

    monkeypatch.setattr(checkpoint.ocp.CheckpointManager, "restore", refuse)
    told = r"checkpoint of step 2 does not fit this model: Requested shape: \(16,\)"
    with pytest.raises(CheckpointError, match=told):
        saved_state(uninterrupted[0], 2)


def test_what_changes_no_number_may_change():
    saved = json.loads(json.dumps(smoke()))
    free = {"mesh": {"data": 2, "model": -1}, "save_every": 7, "data.num_threads": 9, "keep": 5}
    train.check_same_run(saved, json.loads(json.dumps(smoke(**free))), Path("run"))
    for name, value in {"seed": 1, "steps": 5, "batch_size": 16, "data.slots": {"bas": 1}}.items():
        with pytest.raises(CheckpointError, match=f"config.{name}"):
            train.check_same_run(saved, smoke(**{name: value}), Path("run"))


def test_updates_that_are_not_finite_end_the_run(
    uninterrupted, tiny_data_dir, tmp_path, monkeypatch
):
    original = datasets.train_batches

    class Spoilt:
        """The stream, with a NaN in every batch from the second on."""

        def __init__(self, *args, **kwargs):
            self.inner, self.count = original(*args, **kwargs), 0

        def __getattr__(self, name):
            return getattr(self.inner, name)

        def __next__(self):
            batch = dict(next(self.inner))
            self.count += 1
            if self.count >= 2:
                batch["scale"] = batch["scale"].copy()
                batch["scale"][3, 0] = np.nan
            return batch

    monkeypatch.setattr(train.pipeline, "train_batches", Spoilt)
    config = smoke(max_skipped_in_a_row=2)
    with pytest.raises(TrainingStopped, match="step 3: 2 updates in a row were not finite"):
        train.train(config, tiny_data_dir, tmp_path)
    steps = metrics(tmp_path)
    assert [steps[s]["train/skipped"] for s in (1, 2, 3)] == [0, 1, 2]
    # The second step was refused: what was saved after it is what the first one made.
    state, _ = saved_state(tmp_path, 2)
    assert state["step"] == 2 and state["skipped"] == 1
    assert all(np.isfinite(leaf).all() for leaf in state.values())
    counts = [v for k, v in state.items() if k.endswith("count")]
    assert counts and all(c == 1 for c in counts)


# --- one step, with a task of one number -------------------------------------------------------


class Line:
    """loss = mean of (w * x); the batch statistic counts calls."""

    def init(self, key):
        return {"w": jnp.float32(2.0)}, {"calls": jnp.float32(0)}

    def loss_fn(self, params, batch_stats, batch, key):
        assert key is not None
        loss = (params["w"] * batch["x"]).mean()
        return loss, ({"calls": batch_stats["calls"] + 1}, {"loss": loss})

    def project(self, params):
        return {"w": jnp.minimum(params["w"], 5.0)}


@pytest.fixture
def line():
    tx = optax.sgd(1.0, momentum=0.9)
    state = train_state.create(Line(), tx, seed=0)
    step = jax.jit(train_state.step_function(Line(), tx))

    def run(state, *values):
        x = jnp.array(values, jnp.float32)
        return step(state, {"x": x, "index": jnp.arange(len(values), dtype=jnp.int32)})

    return state, run


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_refused_update_leaves_everything_but_the_count(line, bad):
    state, run = line
    state, told = run(state, 1.0, 1.0)
    assert state.params["w"] == 1 and told["skipped"] == 0 and told["grad_norm"] == 1
    for n in (1, 2):
        after, told = run(state, 1.0, bad)
        for part in ("params", "batch_stats", "opt_state"):
            jax.tree.map(np.testing.assert_array_equal, getattr(after, part), getattr(state, part))
        assert after.step == state.step + 1
        assert after.skipped == after.skipped_in_a_row == told["skipped_in_a_row"] == n
        state = after
    state, told = run(state, 1.0, 1.0)
    assert (state.skipped, state.skipped_in_a_row, state.step) == (2, 0, 4)
    assert np.float32(state.params["w"]) == np.float32(1 - 1.9)
    assert state.batch_stats["calls"] == 2


def test_parameters_are_projected_after_each_update(line):
    state, run = line
    state, _ = run(state, -100.0)
    assert state.params["w"] == 5


def test_a_fresh_state_has_the_types_of_a_restored_one():
    """Weak types would make a resumed run another program, compiled anew."""
    task, tx = experiment.make_task(smoke()), optim.optimiser(OPTIMISER, 4)
    state = jax.eval_shape(lambda: train_state.create(task, tx, 0))
    weak = [
        sharding.path_string(p)
        for p, x in jax.tree_util.tree_leaves_with_path(state)
        if x.weak_type
    ]
    assert not weak
    assert {str(x.dtype) for x in jax.tree.leaves(state.params)} == {"float32"}


def test_the_order_checksum_sees_rows_places_and_one_changed_row():
    checksum = lambda *rows: int(train_state.order_checksum(jnp.array(rows, jnp.int32)))  # noqa: E731
    base = checksum(3, 1, 4, 15)
    assert base == checksum(3, 1, 4, 15)
    others = [checksum(*r) for r in ((1, 3, 4, 15), (3, 1, 15, 4), (3, 1, 4, 16), (0, 1, 4, 15))]
    assert len({base, *others}) == 5
    assert checksum(0, 0) != checksum(0) and checksum(0) != 0
    many = [checksum(*np.random.default_rng(seed).permutation(8)) for seed in range(50)]
    assert len(set(many)) > 45
    assert train_state.order_checksum(jnp.arange(3)).dtype == jnp.uint32


# --- optimiser ---------------------------------------------------------------------------------


def test_learning_rates():
    rate = optim.schedule(OPTIMISER | {"learning_rate": 2.0, "warmup_steps": 10}, 110)
    np.testing.assert_allclose(
        [rate(s) for s in (0, 5, 10, 60, 110, 200)], [0, 1, 2, 1, 0, 0], atol=1e-6
    )
    constant = OPTIMISER | {"schedule": "constant", "learning_rate": 2.0, "warmup_steps": 4}
    np.testing.assert_allclose(
        [optim.schedule(constant, 9)(s) for s in (0, 1, 4, 900)], [0, 0.5, 2, 2]
    )
    step = OPTIMISER | {
        "schedule": "step",
        "learning_rate": 2.0,
        "warmup_steps": 0,
        "decay_every": 10,
        "decay_factor": 0.5,
    }
    np.testing.assert_allclose([optim.schedule(step, 9)(s) for s in (0, 9, 10, 25)], [2, 2, 1, 0.5])
    with pytest.raises(ValueError, match="schedule 'linear' is not one of cosine, constant, step"):
        optim.schedule(OPTIMISER | {"schedule": "linear"}, 9)
    with pytest.raises(ValueError, match="optimiser 'lion' is not one of adamw, adam, sgd"):
        optim.optimiser(OPTIMISER | {"name": "lion"}, 9)


def random_tree(tree):
    """Random arrays of a tree's shapes: nothing zero, nothing alike."""
    rng = np.random.default_rng(0)

    def draw(x):
        if len(x.shape) < 2:
            return (1 + 0.3 * rng.standard_normal(x.shape)).astype(x.dtype)
        return (1.5 * rng.standard_normal(x.shape) / np.prod(x.shape[:-1]) ** 0.5).astype(x.dtype)

    return jax.tree.map(draw, tree)


def test_only_weights_decay():
    """Without a gradient AdamW moves what is decayed, and nothing else."""
    config = OPTIMISER | {"schedule": "constant", "warmup_steps": 0, "weight_decay": 0.1}
    tx = optim.optimiser(config, 10)
    shapes, _ = jax.eval_shape(experiment.make_task(smoke()).init, jax.random.key(0))
    params = random_tree(shapes)

    @jax.jit
    def update(params):
        updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
        return updates

    decayed, kept = {}, {}
    for path, moved in jax.tree_util.tree_leaves_with_path(jax.device_get(update(params))):
        (decayed if np.any(moved) else kept)[sharding.path_string(path)] = moved
    assert all(name.endswith("kernel") for name in decayed)
    assert {name.rsplit("/", 1)[-1] for name in kept} == {
        "bias", "scale", "bn_bias", "bn_scale", "ln_bias", "ln_scale", "log_scale",
    }  # fmt: skip
    some = "encoder/layers/0/up/kernel"
    weight = params["encoder"]["layers"][0]["up"]["kernel"]
    np.testing.assert_allclose(decayed[some], -config["learning_rate"] * 0.1 * weight, rtol=1e-5)


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_optimisers_go_downhill_and_clip(name):
    config = OPTIMISER | {"name": name, "schedule": "constant", "warmup_steps": 0}
    for clip in (0, 1e-3):
        tx = optim.optimiser(config | {"clip_norm": clip}, 10)
        params = {"kernel": jnp.array([3.0, -4.0])}
        updates, _ = tx.update({"kernel": jnp.array([3.0, -4.0])}, tx.init(params), params)
        assert (np.sign(updates["kernel"]) == [-1, 1]).all()
        if name == "sgd":
            length = config["learning_rate"] * (5 if not clip else 1e-3)
            np.testing.assert_allclose(np.linalg.norm(updates["kernel"]), length, rtol=1e-5)


# --- sharding ----------------------------------------------------------------------------------

RULES = (
    (r"(qkv|up)/kernel$", (None, "model")),
    (r"(qkv|up)/bias$", ("model",)),
    (r"(out|down)/kernel$", ("model", None)),
    (".*", ()),
)


def first_step(mesh_axes, rules):
    """Loss and gradient norm of one step, and how one kernel is laid out afterwards."""
    config = smoke(**{"optimiser.warmup_steps": 0})
    task, tx = experiment.make_task(config), optim.optimiser(config["optimiser"], 4)
    shapes = jax.eval_shape(lambda: train_state.create(task, tx, 0))
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
    step = jax.jit(
        train_state.step_function(task, tx), out_shardings=(shardings, sharding.replicated(mesh))
    )
    state, told = step(jax.device_put(state, shardings), sharding.global_batch(batch, mesh))
    kernel = state.params["encoder"]["layers"][0]["up"]["kernel"]
    return jax.device_get(told), [shard.data.shape for shard in kernel.addressable_shards]


@pytest.mark.slow
def test_sharded_parameters_give_the_numbers_of_replicated_ones():
    assert jax.device_count() == 4, "tests/conftest.py asks for four virtual devices"
    replicated, whole = first_step({"data": -1}, sharding.REPLICATED)
    sharded, parts = first_step({"data": 1, "model": 4}, RULES)
    assert whole == [(32, 64)] * 4 and parts == [(32, 16)] * 4
    for name in ("loss", "grad_norm"):
        np.testing.assert_allclose(sharded[name], replicated[name], rtol=1e-5)
    assert sharded["example_order"] == replicated["example_order"]


def test_meshes_and_rules_that_do_not_fit_say_so():
    assert dict(sharding.make_mesh().shape) == {"data": 4}
    assert dict(sharding.make_mesh({"data": -1, "model": 2}).shape) == {"data": 2, "model": 2}
    for axes in ({"data": 3}, {"data": 8}, {"data": -1, "model": 3}, {"data": -1, "model": 8}):
        with pytest.raises(ValueError, match="does not fit 4 devices"):
            sharding.make_mesh(axes)
    mesh = sharding.make_mesh({"data": 1, "model": 4})
    tree = {"up": {"kernel": np.zeros((8, 6)), "bias": np.zeros(8)}}
    with pytest.raises(ValueError, match="up/kernel: 6 does not divide over mesh axis 'model'"):
        sharding.tree_shardings(tree, mesh, [("kernel", (None, "model")), (".*", ())])
    with pytest.raises(ValueError, match=r"up/bias has shape \(8,\), but its sharding rule"):
        sharding.tree_shardings(tree, mesh, [("up", ("model", None))])
    with pytest.raises(ValueError, match="no sharding rule fits up/bias"):
        sharding.tree_shardings(tree, mesh, [("kernel", ())])
    with pytest.raises(ValueError, match="'expert'"):
        sharding.tree_shardings(tree, mesh, [(".*", ("expert",))])


# --- configuration -----------------------------------------------------------------------------


def test_keys_must_be_known_and_there(tmp_path):
    for change, message in (
        (lambda c: c.update(stpes=5), r"config: unknown key stpes; known: .*\bsteps\b"),
        (lambda c: c.pop("seed"), "config: missing key seed"),
        (lambda c: c["encoder"].update(depth=2), "config.encoder: unknown key depth"),
        (lambda c: c["data"]["slots"].update(eeg=2), "config.data.slots: unknown key eeg"),
        (lambda c: c["optimiser"].pop("clip_norm"), "config.optimiser: missing key clip_norm"),
        (lambda c: c.update(batch_size=0), "config.batch_size is 0; expected 1 or more"),
        (lambda c: c.update(eval_clips=0), "config.eval_clips is 0; expected 1 or more"),
        (lambda c: c.update(test_clips=0), "config.test_clips is 0; expected 1 or more"),
    ):
        config = smoke()
        change(config)
        with pytest.raises(ConfigError, match=message):
            train.train(config, tmp_path / "data", tmp_path / "run")
    assert not (tmp_path / "run").exists()
    without_ecg = smoke()
    del without_ecg["data"]["slots"]["ecg"]
    experiment.check_config(without_ecg)
    assert experiment.make_slots(without_ecg) == (("bas", 2), ("resp", 2), ("emg", 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": "triplet"}, "loss 'triplet' is not one of"),
        ({"data.slots": {"bas": 2}}, "two modalities or more"),
        ({"encoder.position_encoding": "learned"}, "position_encoding 'learned' is not one of"),
        ({"optimiser.name": "lion"}, "optimiser 'lion' is not one of"),
        ({"optimiser.schedule": "linear"}, "schedule 'linear' is not one of"),
        ({"mesh": {"data": 3}}, "does not fit 4 devices"),
        ({"batch_size": 6}, "batch_size 6 is not a multiple of mesh axis .data.=4"),
        ({"mesh": {"model": 4}}, "has no axis .data."),
        ({"candidates": 1}, "candidates is 1; expected 2 or more"),
        ({"sharding_rules": (("nothing", ()),)}, "no sharding rule fits"),
        ({"encoder.heads": 5}, "width 32 is not divisible by 5 heads"),
        ({"encoder.max_tokens": 3}, "6 patches of 640, more than config.encoder.max_tokens=3"),
        ({"encoder.dtype": "float31"}, "dtype .float31. is not one of"),
    ],
)
def test_values_that_cannot_be_are_config_errors(tiny_data_dir, tmp_path, change, message):
    """One line on the command line, not a traceback: launch.programs prints ConfigErrors so."""
    with pytest.raises(ConfigError, match=message):
        train.train(smoke(**change), tiny_data_dir, tmp_path / "run")


# --- metrics and checkpoints on disk -----------------------------------------------------------


def test_lines_after_the_resume_point_are_dropped(tmp_path):
    writer = MetricWriter(tmp_path, resume_at=0, active=True)
    for step in (1, 2, 3):
        writer.write(step, {"loss": jnp.float32(step / 2), "count": np.int64(step)})
    writer.close()
    path = tmp_path / "metrics.jsonl"
    with path.open("a") as file:
        file.write('{"step": 4, "lo')  # killed here
    writer = MetricWriter(tmp_path, resume_at=2, active=True)
    writer.write(3, {"loss": 9.0})
    writer.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == [
        {"step": 1, "loss": 0.5, "count": 1},
        {"step": 2, "loss": 1.0, "count": 2},
        {"step": 3, "loss": 9.0},
    ]


def test_only_the_first_process_writes(tmp_path):
    writer = MetricWriter(tmp_path, resume_at=0, active=False)
    writer.write(1, {"loss": 1.0})
    writer.close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_no_checkpoint_is_named_and_left_alone(tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint folder"):
        probing.load_encoder(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    empty, files, numbers = tmp_path / "empty", tmp_path / "files", tmp_path / "numbers"
    for folder in (empty, files, numbers / "100", numbers / "checkpoints"):
        folder.mkdir(parents=True)
    (files / "notes.txt").write_text("hello")
    (files / "7").write_text("a file named as a step")
    before = fingerprint(tmp_path)
    for folder, holds in ((empty, "nothing"), (files, "7, notes.txt"), (numbers, "nothing")):
        with pytest.raises(CheckpointError, match=f"not a checkpoint folder: it holds {holds}"):
            probing.load_encoder(folder)
    with pytest.raises(CheckpointError, match="no such checkpoint folder"):
        probing.load_encoder(files / "notes.txt")
    assert fingerprint(tmp_path) == before


# --- what a frozen encoder gives ---------------------------------------------------------------


def test_a_frozen_encoder_is_deterministic_and_stays_frozen(uninterrupted, tiny_data_dir):
    workdir, _ = uninterrupted
    before = fingerprint(workdir / "checkpoints")
    encoder = probing.load_encoder(workdir)
    frozen = jax.device_get((encoder.params, encoder.batch_stats))
    records = datasets.open_records(tiny_data_dir, ["simulated_psg"], "test")
    first, again = (dict(probing.embed(encoder, records, batch_size=8)) for _ in range(2))
    assert sorted(first) == list(range(12))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    task = probing.Probe(tiny_data_dir, "simulated_psg", "trained")
    examples = task.gather({"pretrained": encoder})
    assert set(examples) == {"pretrained", "features"}
    for split, rows in examples["pretrained"].items():
        assert len(rows.x) == len(examples["features"][split].x) > 0
        # The mean of a sleep_epoch's tokens and the clip's vector, by hand, of the first example.
        if split == "test":
            tokens, mask, clip = (first[0][k] for k in ("tokens", "token_mask", "clip"))
            mean = [t[m].mean(0) if m.any() else 0 * t[0] for t, m in zip(tokens, mask)]
            by_hand = np.concatenate([np.stack(mean), clip], axis=1).ravel()
            np.testing.assert_allclose(rows.x[0], by_hand, atol=1e-5)
    jax.tree.map(
        np.testing.assert_array_equal, jax.device_get((encoder.params, encoder.batch_stats)), frozen
    )
    wanted, _ = saved_state(workdir, 4)
    for tree, part in ((encoder.params, "params"), (encoder.batch_stats, "batch_stats")):
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            np.testing.assert_array_equal(leaf, wanted[f"{part}/{sharding.path_string(path)}"])
    assert fingerprint(workdir / "checkpoints") == before, "looking must not write"


def test_a_probe_sees_every_channel_unless_asked_for_as_trained(uninterrupted, tiny_data_dir):
    encoder = probing.load_encoder(uninterrupted[0])
    records = datasets.open_records(tiny_data_dir, ["simulated_psg"], "train")
    every = [records[i].modalities for i in range(len(records))]
    slots = {}
    for channels in ("all", "trained"):
        probe = probing.Probe(tiny_data_dir, "simulated_psg", channels)
        slots[channels] = dict(probe._with_slots(encoder).task.slots)
    assert slots["trained"] == dict(encoder.task.slots)
    for modality, count in slots["all"].items():
        assert count >= max(modalities.count(modality) for modalities in every)
    assert slots["all"]["bas"] > slots["trained"]["bas"]


def test_an_older_checkpoint_can_be_asked_for(uninterrupted):
    workdir, _ = uninterrupted
    old, new = (probing.load_encoder(workdir, step) for step in (2, 4))
    pairs = zip(jax.tree.leaves(old.params), jax.tree.leaves(new.params))
    assert any(not np.array_equal(a, b) for a, b in pairs)
    with pytest.raises(CheckpointError, match=r"no checkpoint of step 3; there are 2, 4"):
        probing.load_encoder(workdir, 3)


def test_an_embedding_does_not_depend_on_its_batch(uninterrupted, tiny_data_dir):
    """Evaluation mode: running statistics, no dropout, so neighbours do not matter."""
    encoder = probing.load_encoder(uninterrupted[0])
    records = datasets.open_records(tiny_data_dir, ["simulated_psg"], "test")

    class Turned:
        """The same records from the fifth on: other neighbours, other places."""

        clip_samples = records.clip_samples

        def __len__(self):
            return 12

        def __getitem__(self, index):
            return records[(int(index) + 5) % 12]

    straight, turned = (dict(probing.embed(encoder, r, batch_size=8)) for r in (records, Turned()))
    for index, out in turned.items():
        for key, value in out.items():
            np.testing.assert_allclose(value, straight[(index + 5) % 12][key], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("key", "value"), [("sfreq", 64.0), ("preprocessing", "filtered by somebody else")]
)
def test_records_made_another_way_are_refused(uninterrupted, tiny_data_dir, key, value):
    encoder = probing.load_encoder(uninterrupted[0])
    records = datasets.open_records(tiny_data_dir, ["simulated_psg"], "test")
    probing.check_preprocessing(encoder, records)
    records.metadata = records.metadata | {key: value}
    with pytest.raises(datasets.DatasetError, match=f"{key} is {value!r}, but the checkpoint"):
        probing.check_preprocessing(encoder, records)
