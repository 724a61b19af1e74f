"""Runs of wav2sleep become published weights, and published weights runs that stage nights."""

from __future__ import annotations

import dataclasses
import json

import jax
import numpy as np
import pytest
from absl.testing import flagsaver

from configs.staging import wav2sleep as recipe
from launch import convert
from sleepfm_jax import pretrained, stage
from sleepfm_jax.errors import WeightsError
from sleepfm_jax.interop import files, from_torch, wav2sleep
from tests.helpers import published_weights
from tests.helpers.untrained_runs import save_run

E = 8


def run(**flags):
    with flagsaver.flagsaver(**flags):
        return convert.main(["convert"])


def smoke(**model):
    """A run of a small network of two signals that share an encoder."""
    config = recipe.get_config("smoke").to_dict()
    signals = {"signals": ("ABD", "THX"), "shared": ("ABD", "THX")}
    config["evaluators"]["test"]["subsets"] = ("all",)
    config["model"] |= signals | {"signal_embedding": True, "registers": 1, "norm": "auto"} | model
    return json.loads(json.dumps(config))


def made(tmp_path, **model):
    config = smoke(**model)
    config["objective"]["average_decay"] = 0.9
    about = {"preprocessing": {"sfreq": 128.0}}
    save_run(tmp_path / "run", config, (4,), about)
    return tmp_path / "run"


def night(layout, seed=0):
    rng = np.random.default_rng(seed)
    x = {
        name: rng.standard_normal((1, E * count)).astype(np.float32)
        for name, count in layout.signals
    }
    return x, np.array([[True, False]])


def probabilities(folder):
    """Of a night, as launch.stage takes the weights."""
    stager = stage.load(folder)
    x, present = night(stager.layout)
    batch = {f"signal/{name}": value for name, value in x.items()}
    batch |= {"present": present, "epoch_mask": np.ones((1, E), bool)}
    batch |= {"stages": np.full((1, E), -1, np.int32), "index": np.zeros(1, np.int32)}
    return np.asarray(stage._forward(stager.objective)(stager.params, stager.stats, batch))


def of_file(path):
    """Of the same night, from the file alone."""
    named, about = files.read_weights(path)
    model = from_torch("wav2sleep", named, **about["options"])
    x, present = night(model.module().sizes)
    return np.asarray(jax.nn.softmax(model(x, present)))


def same(one, other):
    """What two files say beside their weights, which are the same."""
    (theirs, about), (ours, said) = (files.read_weights(path) for path in (one, other))
    assert sorted(theirs) == sorted(ours)
    for name, value in theirs.items():
        np.testing.assert_array_equal(ours[name], value, err_msg=name, strict=True)
    return about, said


def test_a_run_becomes_a_file_of_the_same_logits_and_a_run_again(tmp_path):
    source, there, again = made(tmp_path), tmp_path / "a.safetensors", tmp_path / "again"
    assert run(**{"from": str(source), "to": str(there)}) == 0
    expected = probabilities(source)
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(of_file(there), expected, atol=1e-6)
    assert run(**{"from": str(there), "to": str(again)}) == 0
    np.testing.assert_allclose(probabilities(again), expected, atol=1e-6)
    assert pretrained.read(again).config["model"]["shared"] == ["ABD", "THX"]
    back = tmp_path / "b.safetensors"
    assert run(**{"from": str(again), "to": str(back)}) == 0
    about, said = same(there, back)
    assert about == said


def test_a_run_becomes_the_two_published_files(tmp_path):
    torch = pytest.importorskip("torch", reason="SKIPPED FOR WANT OF PYTORCH")
    source, folder = made(tmp_path, shared=(), activation="silu"), tmp_path / "published"
    there = folder / "state_dict.pth"
    assert run(**{"from": str(source), "to": str(there)}) == 0
    bare = torch.load(there, weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in bare.values())
    cfg = files.read_config(folder / "config.yaml")
    assert cfg["signal_encoders"]["activation"] == "silu" and cfg["num_classes"] == 4
    assert cfg["signal_encoders"]["signal_map"] == {name: name for name in ("ABD", "THX")}
    assert run(**{"from": str(source), "to": str(tmp_path / "a.safetensors")}) == 0
    same(there, tmp_path / "a.safetensors")
    assert run(**{"from": str(there), "to": str(tmp_path / "again")}) == 0
    assert pretrained.read(tmp_path / "again").config["model"]["activation"] == "silu"
    assert run(**{"from": str(tmp_path / "again"), "to": str(tmp_path / "b.safetensors")}) == 0
    about, said = same(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert about == said
    with pytest.raises(WeightsError, match=r"config\.yaml is there already"):
        run(**{"from": str(source), "to": str(there)})


def test_encoders_keep_the_names_of_their_file(tmp_path):
    """Published: one encoder called RESP, which is ours of ABD."""
    source, there, renamed = made(tmp_path), tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    run(**{"from": str(source), "to": str(there)})
    named, about = files.read_weights(there)
    named = {name.replace("encoders.ABD.", "encoders.RESP."): x for name, x in named.items()}
    about["options"]["signal_map"] = {"ABD": "RESP", "THX": "RESP"}
    files.write_weights(renamed, named, about)
    run(**{"from": str(renamed), "to": str(tmp_path / "again")})
    assert list(pretrained.read(tmp_path / "again").params["encoder"]["encoders"]) == ["ABD"]
    run(**{"from": str(tmp_path / "again"), "to": str(tmp_path / "c.safetensors")})
    about, said = same(renamed, tmp_path / "c.safetensors")
    assert about["options"] == said["options"]


def test_what_no_run_can_be_stays_named_arrays(tmp_path, caplog):
    """Of other samples a sleep_epoch than nights have."""
    sd, there = published_weights.weights("wav2sleep"), tmp_path / "a.safetensors"
    files.write_weights(there, sd, {})
    run(**{"from": str(there), "to": str(tmp_path / "run"), "heads": 4})
    assert "samples a sleep_epoch are {'ABD': 16, 'ECG': 32}" in caplog.text
    run(**{"from": str(tmp_path / "run"), "to": str(tmp_path / "b.safetensors")})
    back, _ = files.read_weights(tmp_path / "b.safetensors")
    for name, value in sd.items():  # checkpoints hold no int64: a counter comes back as int32
        assert back[name].shape == value.shape, name
        np.testing.assert_array_equal(back[name], value, err_msg=name)


def test_what_the_release_does_not_have_is_refused():
    network = published_weights.NIGHTS
    with pytest.raises(WeightsError, match="paper2024' has no published configuration"):
        wav2sleep.published_cfg(dataclasses.replace(network, variant="paper2024"))
    with pytest.raises(WeightsError, match="not both causal"):
        samples = (("ABD", 256), ("ECG", 1024))
        wav2sleep.section(dataclasses.replace(network, signals=samples, sequence_causal=True))


@pytest.mark.real
def test_the_published_configurations_are_said_as_they_are(shared):
    for name, keys in {
        "f_wav2sleep_cardio4": [""],
        "f_wav2sleep_variants_tiny": [
            *("causal_chunk_layer/", "causal_conv_layer/", "auto_registers_embed/"),
            *("rms_outnorm_nores/", "batchnorm_leaky/"),
        ],
    }.items():
        file = np.load(shared / "golden" / f"{name}.npz")
        for key in keys:
            cfg, start = json.loads(str(file[f"{key}cfg"])), f"{key}sd/"
            sd = {n.removeprefix(start): file[n] for n in file.files if n.startswith(start)}
            network = from_torch("wav2sleep", sd, cfg=cfg).module().sizes
            said = wav2sleep.published_cfg(network)
            for part, values in cfg.items():
                if isinstance(values, dict):
                    assert {k: v for k, v in said[part].items() if k != "_target_"} == values
                else:
                    assert said[part] == values
            if network.signals[0][1] == 256:
                assert wav2sleep.section(network)["causal"] == network.causal
