"""Published weights become checkpoints that programs take, and go back bit-identically."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from absl.testing import flagsaver

from launch import convert
from sleepfm_jax import probe
from sleepfm_jax.errors import CheckpointError, WeightsError
from sleepfm_jax.interop import KINDS, checkpoints, files, from_torch
from tests.helpers.published_weights import HEADS, options, weights


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
    encoder = probe.load_encoder(tmp_path / "run")
    assert float(encoder.params["log_scale"]) == 1.25
    assert encoder.config["encoder"]["mean_over_padding"]
    assert (
        encoder.preprocessing["sfreq"] == 128 and "linear" in encoder.preprocessing["preprocessing"]
    )

    rng = np.random.default_rng(0)
    slots = sum(count for _, count in encoder.task.slots)
    batch = {
        "signals": rng.standard_normal((2, slots, 128)).astype(np.float32),
        "scale": np.ones((2, slots), np.float32),
        "mask": np.ones((2, slots, 2), bool),
        "positions": rng.uniform(-1, 1, (2, slots, 3)).astype(np.float32),
    }
    embed = jax.jit(encoder.task.embed)(encoder.params, encoder.batch_stats, batch)
    bas = slice(0, encoder.task.slots[0][1])
    published = from_torch("set_transformer_pe", sd, faithful=True, **HEADS)
    clip, _ = published(
        batch["signals"][:, bas], np.ones((2, bas.stop), bool), batch["positions"][:, bas]
    )
    np.testing.assert_allclose(embed["clip"][0], clip, atol=2e-5)


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
