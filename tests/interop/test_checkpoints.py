"""Published weights become checkpoints that programs take, and go back bit-identically."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from absl.testing import flagsaver

from launch import convert
from sleepfm_jax import pretrained
from sleepfm_jax.errors import CheckpointError, WeightsError
from sleepfm_jax.interop import KINDS, checkpoints, files, from_torch
from tests.helpers.published_weights import HEADS, options, weights
from tests.helpers.untrained_runs import save_run, smoke


def run(**flags):
    with flagsaver.flagsaver(**flags):
        return convert.main(["convert"])


def same(one, other):
    assert sorted(one) == sorted(other)
    for name, value in one.items():
        np.testing.assert_array_equal(other[name], value, err_msg=name, strict=True)


@pytest.mark.parametrize("kind", ["set_transformer", "set_transformer_pe", "cox_lstm"])
def test_a_file_becomes_a_checkpoint_and_a_file_again(tmp_path, kind):
    there, folder, back = (tmp_path / n for n in ("a.safetensors", "run", "b.safetensors"))
    files.write_weights(there, weights(kind), {})
    heads = options(kind)
    given = {name: heads[name] for name in ("heads", "pooling_heads") if name in heads}
    assert run(**{"from": str(there), "to": str(folder), **given}) == 0
    assert run(**{"from": str(folder), "to": str(back)}) == 0
    read, about = files.read_weights(back)
    same(weights(kind), read)
    assert about["kind"] == kind and {k: about["options"][k] for k in heads} == heads


def test_a_converted_encoder_is_a_run_that_programs_take(tmp_path):
    sd = weights("set_transformer_pe")
    files.write_weights(tmp_path / "a.safetensors", sd, {"log_scale": 1.25})
    flags = {"from": str(tmp_path / "a.safetensors"), "to": str(tmp_path / "run"), **HEADS}
    assert run(faithful=True, **flags) == 0
    encoder = pretrained.load(tmp_path / "run")
    assert float(encoder.others["log_scale"]) == 1.25 and encoder.people is None
    sizes = encoder.config["model"]
    assert sizes["kind"] == "sleepfm" and sizes["mean_over_padding"]
    assert {name: sizes[name] for name in HEADS} == HEADS
    assert sizes["position_encoding"] == "fourier_truncated" and sizes["patch_samples"] == 64
    assert sizes["batch_statistics"] == "per_modality"  # of the recipe, no size of the weights
    assert (
        encoder.preprocessing["sfreq"] == 128 and "linear" in encoder.preprocessing["preprocessing"]
    )

    rng = np.random.default_rng(0)
    layout = encoder.model.layout
    slots = layout.channels
    batch = {
        "signals": rng.standard_normal((2, slots, 128)).astype(np.float32),
        "scale": np.ones((2, slots), np.float32),
        "mask": np.ones((2, slots, 2), bool),
        "positions": rng.uniform(-1, 1, (2, slots, 3)).astype(np.float32),
    }
    out, _ = jax.jit(encoder.model.apply)(encoder.params, encoder.stats, batch)
    bas = slice(0, layout.slots[0][1])
    published = from_torch("set_transformer_pe", sd, faithful=True, **HEADS)
    clip, _ = published(
        batch["signals"][:, bas], np.ones((2, bas.stop), bool), batch["positions"][:, bas]
    )
    np.testing.assert_allclose(out["clip"][:, 0], clip, atol=2e-5)


def test_a_run_becomes_a_file_and_a_run_again(tmp_path):
    """Of an encoder that was trained here: the file knows its kind, its heads and its scale."""
    config = smoke(**{"model.position_encoding": "fourier_truncated", "objective.log_scale": 2.5})
    saved = save_run(tmp_path / "run", config, (2, 4), {"preprocessing": {}, "subjects": []})
    there = tmp_path / "new" / "a.safetensors"
    assert run(**{"from": str(tmp_path / "run"), "to": str(there)}) == 0
    assert run(**{"from": str(there), "to": str(tmp_path / "again")}) == 0
    one, again = (pretrained.load(tmp_path / name) for name in ("run", "again"))
    assert again.fingerprint == one.fingerprint
    assert float(again.others["log_scale"]) == saved[4]["params/log_scale"]
    assert [again.config["model"][k] for k in ("heads", "pooling_heads")] == [4, 4]
    older = tmp_path / "older.safetensors"
    assert run(**{"from": str(tmp_path / "run"), "to": str(older), "step": 2}) == 0
    assert files.read_weights(older)[1]["log_scale"] == saved[2]["params/log_scale"]


def test_a_model_with_a_head_is_no_encoder_to_probe(tmp_path):
    files.write_weights(tmp_path / "a.safetensors", weights("linear_head"), {})
    run(**{"from": str(tmp_path / "a.safetensors"), "to": str(tmp_path / "run"), **HEADS})
    with pytest.raises(CheckpointError, match="holds linear_head, converted"):
        pretrained.load(tmp_path / "run")


def test_a_folder_is_not_overwritten_and_strange_weights_are_told(tmp_path):
    files.write_weights(tmp_path / "a.safetensors", weights("set_transformer"), {})
    flags = {"from": str(tmp_path / "a.safetensors"), "to": str(tmp_path / "run"), **HEADS}
    run(**flags)
    with pytest.raises(CheckpointError, match="holds checkpoints already"):
        run(**flags)
    files.write_weights(tmp_path / "b.safetensors", {"conv.weight": np.zeros(3)}, {})
    with pytest.raises(WeightsError, match=r"no known model has entries like conv\.weight"):
        run(**(flags | {"from": str(tmp_path / "b.safetensors"), "to": str(tmp_path / "c")}))
    assert not (tmp_path / "c").exists()


def test_the_kind_is_told_by_the_names():
    for kind in KINDS:
        assert checkpoints.guess_kind({f"module.{name}": 0 for name in weights(kind)}) == kind
