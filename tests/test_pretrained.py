"""A trained model without what trained it: loaded, told apart, embedding one record or many."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

from sleepfm_jax import experiment, pretrained
from sleepfm_jax.data import datasets
from sleepfm_jax.data.examples import View
from sleepfm_jax.errors import CheckpointError, ConfigError, DatasetError
from sleepfm_jax.training.paths import path_string
from tests.helpers.untrained_runs import save_run, smoke

# As a run wrote it before sections had kinds: the smoke variant.
FLAT = json.loads("""
{"batch_size": 8, "batch_statistics": "joint", "candidates": 128,
 "data": {"datasets": ["simulated_psg"], "num_threads": 2, "prefetch": 4,
          "slots": {"bas": 2, "ecg": 1, "emg": 1, "resp": 2}},
 "encoder": {"dropout": 0.1, "dtype": "float32", "encode_absent": false, "heads": 4, "layers": 1,
             "max_tokens": 128, "mean_over_padding": false, "mlp_dim": 64,
             "padding_in_statistics": false, "patch_samples": 640, "pooling_heads": 4,
             "position_encoding": "fourier", "single_channel_shortcut": false, "width": 32},
 "eval_clips": 16, "eval_every": 2, "keep": 2, "log_every": 1, "log_scale": 2.5,
 "loss": "leave_one_out", "max_log_scale": 4.6052, "max_skipped_in_a_row": 10,
 "mesh": {"data": -1},
 "optimiser": {"clip_norm": 1.0, "decay_every": 1000, "decay_factor": 0.1, "learning_rate": 0.002,
               "momentum": 0.9, "name": "adamw", "schedule": "cosine", "warmup_steps": 2,
               "weight_decay": 0.05},
 "save_every": 2, "seed": 0, "sharding_rules": [[".*", []]], "steps": 4, "test_clips": 16}
""")


def on_disk(folder):
    """Every path under a folder with the hash of its content."""
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        if p.is_file()
        else ""
        for p in sorted(folder.rglob("*"))
    }


def by_path(tree):
    return {path_string(p): x for p, x in jax.tree_util.tree_leaves_with_path(tree)}


def assert_holds(encoder, saved):
    """The encoder's parameters and statistics are, bit by bit, all that was saved."""
    found = {f"params/encoder/{k}": v for k, v in by_path(encoder.params).items()}
    found |= {f"batch_stats/encoder/{k}": v for k, v in by_path(encoder.stats).items()}
    found |= {f"params/{k}": v for k, v in by_path(encoder.others).items()}
    wanted = {k: v for k, v in saved.items() if k.startswith(("params/", "batch_stats/"))}
    assert found.keys() == wanted.keys() and len(found) > 50
    for name, value in found.items():
        np.testing.assert_array_equal(value, wanted[name], err_msg=name, strict=True)


@pytest.fixture(scope="module")
def test_split(tiny_data_dir):
    """Twelve records."""
    return datasets.open_records(tiny_data_dir, ["simulated_psg"], "test")


@pytest.fixture(scope="module")
def run(test_split, tmp_path_factory):
    """(workdir, {step: {path: array}}) of a run with checkpoints of steps 2 and 4."""
    workdir = tmp_path_factory.mktemp("run")
    about = {"preprocessing": test_split.metadata, "subjects": ["b" * 16, "a" * 16]}
    return workdir, save_run(workdir, smoke(), (2, 4), about)


@pytest.fixture(scope="module")
def encoder(run):
    return pretrained.load(run[0])


@pytest.fixture(scope="module")
def examples(encoder, test_split):
    return experiment.make_examples(test_split, encoder.model.layout)


@pytest.fixture(scope="module")
def embedded(encoder, examples):
    """{row: outputs}, on four devices."""
    return dict(encoder.embed(examples, batch_size=8))


# --- loaded ---------------------------------------------------------------------------------------


def test_a_checkpoint_is_loaded_without_its_optimiser(run, encoder, test_split):
    _, saved = run
    assert any(name.startswith("opt_state/") for name in saved[4])
    assert_holds(encoder, saved[4])
    assert encoder.others.keys() == {"log_scale"}
    assert encoder.config == smoke()
    assert encoder.preprocessing == json.loads(json.dumps(test_split.metadata))
    assert encoder.people == {"a" * 16, "b" * 16}
    slots = (("bas", 2), ("resp", 2), ("ecg", 1), ("emg", 1))
    assert encoder.model == experiment.make_model(smoke()) and encoder.model.layout.slots == slots


def test_a_checkpoint_may_not_say_whom_it_was_trained_on(tmp_path):
    save_run(tmp_path, smoke(), about={"preprocessing": {}})
    assert pretrained.load(tmp_path).people is None


def test_an_older_step_can_be_asked_for(run, encoder):
    workdir, saved = run
    assert_holds(pretrained.load(workdir, 2), saved[2])
    assert pretrained.load(workdir, 2).fingerprint != encoder.fingerprint
    assert pretrained.load(workdir / "checkpoints", 4).fingerprint == encoder.fingerprint
    with pytest.raises(CheckpointError, match=r"no checkpoint of step 3; there are 2, 4"):
        pretrained.load(workdir, 3)


def test_a_checkpoint_of_a_flat_configuration_loads(run, encoder, tmp_path):
    """Of a run that was made before sections had kinds."""
    about = {"config": FLAT, "preprocessing": encoder.preprocessing, "subjects": []}
    saved = save_run(tmp_path, smoke(), about=about)
    older = pretrained.load(tmp_path)
    assert_holds(older, saved[4])
    assert older.config["model"] == smoke()["model"]
    assert older.config["objective"] == smoke()["objective"]
    assert json.loads(json.dumps(older.config["evaluators"])) == smoke()["evaluators"]
    assert older.model == encoder.model and older.fingerprint == encoder.fingerprint
    assert older.people == frozenset()


def test_keys_of_another_version_are_named(tmp_path):
    config = smoke()
    config["model"]["novelty"] = 3
    save_run(tmp_path, smoke(), about={"config": config, "preprocessing": {}})
    with pytest.raises(ConfigError, match=r"config\.model: unknown key novelty"):
        pretrained.load(tmp_path)


def test_looking_does_not_write(run):
    workdir, _ = run
    before = on_disk(workdir)
    pretrained.load(workdir)
    assert on_disk(workdir) == before


def test_a_folder_that_holds_no_checkpoint_is_named_and_left_alone(tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint folder"):
        pretrained.load(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    empty, files, numbers = tmp_path / "empty", tmp_path / "files", tmp_path / "numbers"
    for folder in (empty, files, numbers / "100", numbers / "checkpoints"):
        folder.mkdir(parents=True)
    (files / "notes.txt").write_text("hello")
    (files / "7").write_text("a file named as a step")
    before = on_disk(tmp_path)
    for folder, holds in ((empty, "nothing"), (files, "7, notes.txt"), (numbers, "nothing")):
        with pytest.raises(CheckpointError, match=f"not a checkpoint folder: it holds {holds}"):
            pretrained.load(folder)
    with pytest.raises(CheckpointError, match="no such checkpoint folder"):
        pretrained.load(files / "notes.txt")
    assert on_disk(tmp_path) == before


# --- which weights --------------------------------------------------------------------------------


def test_the_fingerprint_is_that_of_the_weights(run, encoder):
    mark = encoder.fingerprint
    assert len(mark) == 16 and int(mark, 16) >= 0
    assert pretrained.load(run[0]).fingerprint == mark
    on_host = jax.device_get((encoder.params, encoder.stats))
    same = dataclasses.replace(encoder, params=on_host[0], stats=on_host[1], config={}, people=None)
    assert same.fingerprint == mark, "wherever they are, whatever is said of them"
    assert encoder.with_slots((("bas", 9),)).fingerprint == mark

    def with_one_changed(tree, number):
        leaves, structure = jax.tree.flatten(jax.tree.map(np.array, tree))
        leaves[number].flat[-1] = np.nextafter(leaves[number].flat[-1], np.float32(9))
        return jax.tree.unflatten(structure, leaves)

    others = [dataclasses.replace(encoder, stats=with_one_changed(encoder.stats, 0))]
    for number in (0, 7, -1):
        others.append(dataclasses.replace(encoder, params=with_one_changed(encoder.params, number)))
    assert len({mark, *(other.fingerprint for other in others)}) == 5, "one bit makes another"


def test_randomised_is_the_same_architecture_before_training(encoder):
    before = jax.device_get((encoder.params, encoder.stats))
    one, again, other = (encoder.randomised(seed) for seed in (1, 1, 2))
    assert one.model == encoder.model and one.people == encoder.people
    shapes = [jax.tree.map(np.shape, (e.params, e.stats)) for e in (encoder, one)]
    assert shapes[0] == shapes[1]
    assert one.fingerprint == again.fingerprint
    assert len({e.fingerprint for e in (encoder, one, other)}) == 3
    fresh, _ = jax.jit(encoder.model.init)(jax.random.key(1))
    jax.tree.map(np.testing.assert_array_equal, one.params, fresh)
    kernels = {k: v for k, v in by_path(one.params).items() if k.endswith("kernel")}
    trained = by_path(encoder.params)
    assert kernels and all(not np.allclose(trained[k], v) for k, v in kernels.items())
    jax.tree.map(np.testing.assert_array_equal, (encoder.params, encoder.stats), before)


# --- calibrated -----------------------------------------------------------------------------------


def _normalised(encoder, examples):
    """What each stage's normalisation makes of the valid patches, [values, F] a stage: torch-like
    loops in numpy, float64."""
    batch = examples.batch(np.arange(len(examples)))
    tokenizer = jax.device_get(encoder.params["tokenizer"])
    statistics = jax.device_get(encoder.stats["tokenizer"]["stages"])
    x = batch["signals"] * batch["scale"][..., None].astype(np.float64)
    h = x.reshape(-1, encoder.model.encoder.patch_samples)[batch["mask"].ravel()][..., None]
    found = []
    for number, stage in tokenizer["stages"].items():
        padded = np.pad(h, ((0, 0), (2, 2), (0, 0)))
        starts = range(0, padded.shape[1] - 4, 2)
        h = np.stack(
            [np.einsum("nkc,kcf->nf", padded[:, i : i + 5], stage["kernel"]) for i in starts], 1
        )
        h = h + stage["bias"] - statistics[number]["mean"]
        h = h / np.sqrt(statistics[number]["var"] + 1e-5)
        found.append(h.reshape(-1, h.shape[-1]))
        h = h * stage["bn_scale"] + stage["bn_bias"]
        h = np.where(h > 0, h, np.expm1(np.minimum(h, 0)))
        h = h - h.mean((1, 2), keepdims=True)
        h = h / np.sqrt((h * h).mean((1, 2), keepdims=True) + 1e-5)
        h = h * stage["ln_scale"] + stage["ln_bias"]
    return found


def test_a_calibrated_encoder_normalises_every_stage(encoder, examples):
    fresh = encoder.randomised(3)
    calibrated = fresh.calibrated(examples, batch_size=8)
    assert calibrated.params is fresh.params and calibrated.people == fresh.people
    assert jax.tree.map(np.shape, calibrated.stats) == jax.tree.map(np.shape, fresh.stats)
    before, after = _normalised(fresh, examples), _normalised(calibrated, examples)
    assert len(after) == 6 == encoder.model.normalisers
    assert max(abs(values.var(0) - 1).max() for values in before) > 0.5, "or it shows nothing"
    for number, values in enumerate(after):
        np.testing.assert_allclose(values.mean(0), 0, atol=1e-3, err_msg=f"stage {number}")
        # epsilon (1e-5) beside the variance is seen where a filter passes little
        var = np.asarray(calibrated.stats["tokenizer"]["stages"][number]["var"], np.float64)
        np.testing.assert_allclose(values.var(0), var / (var + 1e-5), rtol=2e-3)


def test_calibration_depends_on_the_clips_alone(encoder, examples):
    fresh = encoder.randomised(3)
    one = fresh.calibrated(examples, batch_size=4)
    assert fresh.calibrated(examples, batch_size=4).fingerprint == one.fingerprint
    turned = View(examples, [(5 * i + 3) % 12 for i in range(12)])
    for other, size in ((examples, 8), (examples, 12), (turned, 8)):  # 8 does not divide 12 clips
        again = fresh.calibrated(other, batch_size=size)
        for a, b in zip(jax.tree.leaves(one.stats), jax.tree.leaves(again.stats), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    repeated = one.calibrated(examples, batch_size=4)
    for a, b in zip(jax.tree.leaves(one.stats), jax.tree.leaves(repeated.stats), strict=True):
        np.testing.assert_array_equal(a, b, err_msg="whatever the statistics were before")
    few = fresh.calibrated(examples, batches=1, batch_size=4)
    some = fresh.calibrated(View(examples, [0, 3, 7, 11]), batch_size=4)
    assert few.fingerprint == some.fingerprint != one.fingerprint


def test_without_statistics_there_is_nothing_to_calibrate(encoder, examples):
    bare = dataclasses.replace(encoder, stats={})
    assert bare.calibrated(examples) is bare


# --- embeddings -----------------------------------------------------------------------------------


def test_every_row_is_embedded_in_order_and_again_the_same(encoder, examples, embedded):
    assert list(embedded) == list(range(12))
    first = embedded[0]
    d, m, s = 32, 4, 6
    assert {k: (v.shape, v.dtype) for k, v in first.items()} == {
        "clip": ((m, d), np.float32),
        "tokens": ((m, s, d), np.float32),
        "presence": ((m,), bool),
        "token_mask": ((m, s), bool),
    }
    frozen = jax.device_get((encoder.params, encoder.stats))
    again = dict(encoder.embed(examples, batch_size=8))
    jax.tree.map(np.testing.assert_array_equal, again, embedded)
    jax.tree.map(np.testing.assert_array_equal, (encoder.params, encoder.stats), frozen)


def test_raw_tokens_are_the_means_of_the_tokenizers(encoder, examples, embedded):
    asked = ("clip", "tokens", "raw_tokens")
    found = dict(encoder.embed(examples, batch_size=8, outputs=asked))
    batch = examples.batch(np.arange(12))
    module = encoder.model._pure.module(encoder.params, encoder.stats)
    x = (batch["signals"] * batch["scale"][..., None]).astype(np.float32)
    whole = np.ones_like(batch["mask"])
    of_channel = jax.device_get(jax.jit(lambda x: module.tokenizer(x, whole))(x))  # [B, C, S, D]
    ends = np.cumsum([count for _, count in encoder.model.slots])
    for index, out in found.items():
        assert out.keys() == {*asked, "presence", "token_mask"}
        for name in embedded[index]:
            np.testing.assert_allclose(out[name], embedded[index][name], rtol=1e-4, atol=1e-5)
        assert out["raw_tokens"].shape == out["tokens"].shape
        for m, (_, count) in enumerate(encoder.model.slots):
            channels = range(ends[m] - count, ends[m])
            for s in range(out["raw_tokens"].shape[1]):
                valid = [of_channel[index, c, s] for c in channels if batch["mask"][index, c, s]]
                wanted = np.mean(valid, axis=0) if valid else np.zeros(32)
                np.testing.assert_allclose(out["raw_tokens"][m, s], wanted, rtol=1e-3, atol=1e-4)
                assert bool(valid) == out["token_mask"][m, s]


def test_only_what_is_asked_for_is_given(encoder, examples):
    _, out = next(encoder.embed(examples, batch_size=8, outputs=("raw_tokens",)))
    assert out.keys() == {"raw_tokens", "presence", "token_mask"}
    with pytest.raises(ValueError, match="no such output: \\['layers'\\]"):
        next(encoder.embed(examples, outputs=("clip", "layers")))


def test_embeddings_of_these_weights_differ(embedded):
    """Or else the tests below would compare constants."""
    for name in ("clip", "tokens"):
        values = np.stack([out[name].ravel() for out in embedded.values()])
        apart = np.abs(values[:, None] - values[None]).max(-1) + np.eye(12)
        assert np.isfinite(values).all() and apart.min() > 1e-3


def test_an_embedding_does_not_depend_on_its_batch(encoder, examples, embedded):
    """Evaluation mode: running statistics, no dropout, so neighbours do not matter."""
    turned = View(examples, [(i + 5) % 12 for i in range(12)])
    for size, order in ((8, turned), (4, turned), (12, View(examples, [3] * 12))):
        found = list(encoder.embed(order, batch_size=size))
        assert len(found) == 12
        for index, out in found:  # the row of the base
            for key, value in out.items():
                np.testing.assert_allclose(value, embedded[index][key], rtol=1e-4, atol=1e-5)


def test_one_device_and_four_give_the_same(encoder, examples, embedded, monkeypatch):
    assert jax.device_count() == 4, "tests/conftest.py asks for four virtual devices"
    one = jax.make_mesh((1,), ("data",), (AxisType.Auto,), devices=jax.devices()[:1])
    monkeypatch.setattr(pretrained.sharding, "make_mesh", lambda: one)
    found = dict(encoder.embed(examples, batch_size=5))  # no multiple of four either
    assert found.keys() == embedded.keys()
    for index, out in found.items():
        for key, value in out.items():
            np.testing.assert_allclose(value, embedded[index][key], rtol=1e-4, atol=1e-5)


def test_a_batch_is_rounded_up_to_the_devices(encoder, examples, embedded):
    found = dict(encoder.embed(examples, batch_size=7))
    jax.tree.map(np.testing.assert_array_equal, found, embedded)


def test_more_slots_take_more_channels(encoder, test_split):
    wider = encoder.with_slots((("bas", 4), ("resp", 2), ("ecg", 1), ("emg", 1)))
    assert wider.model.layout.channels == 8 and encoder.model.layout.channels == 6
    assert experiment.make_examples(test_split, wider.model.layout).batch(np.array([0]))[
        "signals"
    ].shape == (1, 8, 3840)
    assert wider.params is encoder.params


def test_records_made_another_way_are_refused(encoder, test_split):
    encoder.check_made_alike(test_split.metadata, "mine")
    encoder.check_made_alike(test_split.metadata | {"clip_seconds": 300.0}, "mine")
    for key, value in (("sfreq", 64.0), ("preprocessing", "filtered by somebody else")):
        with pytest.raises(DatasetError, match=f"mine: {key} is {value!r}, but the checkpoint has"):
            encoder.check_made_alike(test_split.metadata | {key: value}, "mine")
