"""Weights in and out at sizes of our own, and the ways in which they can be wrong."""

from __future__ import annotations

import numpy as np
import pytest

from sleepfm_jax.errors import WeightsError
from sleepfm_jax.interop import KINDS, from_torch, to_torch
from tests.helpers.published_weights import HEADS, options, weights


def changed(kind, **entries):
    """The state dict with entries replaced, or left out where None."""
    sd = weights(kind) | {k.replace("__", "."): v for k, v in entries.items()}
    return {k: v for k, v in sd.items() if v is not None}


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_are_read_off_and_weights_go_back_bit_for_bit(kind):
    sd = weights(kind)
    wrapped = {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in sd.items()}}
    for given in (sd, wrapped):
        model = from_torch(kind, given, **options(kind))
        back = to_torch(kind, model.params, model.batch_stats, model.carried)
        assert sorted(back) == sorted(sd)
        for name, value in sd.items():
            np.testing.assert_array_equal(back[name], value, err_msg=name, strict=True)


def test_every_kind_runs():
    rng = np.random.default_rng(0)
    x, positions = rng.standard_normal((2, 3, 256)), rng.uniform(-1, 1, (3, 3))
    valid = np.array([[True, True, False], [True, True, True]])
    tokens, mask = rng.standard_normal((2, 3, 12, 32)), np.ones((2, 3, 12), bool)
    calls = {
        "set_transformer": ((x, valid), [(2, 32), (2, 4, 32)]),
        "set_transformer_pe": ((x, valid, positions), [(2, 32), (2, 4, 32)]),
        "linear_head": ((x, valid, positions), [(2, 3)]),
        "resblocks_head": ((tokens[:, 0, :, :16],), [(2, 5)]),
        "staging_lstm": ((tokens, mask), [(2, 12, 5)]),
        "cox_lstm": ((tokens, mask, np.ones((2, 2))), [(2, 7)]),
        "wav2sleep": (({"ABD": x[:, 0, :64], "ECG": x[:, 1, :128]},), [(2, 4, 5)]),
    }
    assert calls.keys() == KINDS.keys()
    for kind, (args, shapes) in calls.items():
        out = from_torch(kind, weights(kind), **options(kind))(*args)
        out = out if isinstance(out, tuple) else (out,)
        assert [o.shape for o in out] == shapes, kind
        assert all(np.isfinite(o).all() for o in out), kind


def test_padding_changes_nothing_unless_asked_for():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2, 3, 256)).astype(np.float32)
    valid = np.array([[True, True, False]] * 2)
    noisy = np.where(valid[..., None], x, 1e6)
    corrected = from_torch("set_transformer_pe", weights("set_transformer_pe"), **HEADS)
    np.testing.assert_array_equal(corrected(x, valid)[0], corrected(noisy, valid)[0])
    np.testing.assert_allclose(corrected(x, valid)[0], corrected(x[:, :2])[0], atol=5e-5)
    faithful = from_torch(
        "set_transformer_pe", weights("set_transformer_pe"), faithful=True, **HEADS
    )
    assert np.abs(faithful(x, valid)[0] - faithful(x[:, :2])[0]).max() > 1e-3


def test_a_clip_without_the_modality_gets_zeros_unless_asked_for():
    x = np.random.default_rng(2).standard_normal((2, 3, 256)).astype(np.float32)
    valid = np.array([[False] * 3, [True] * 3])
    sd = weights("set_transformer")
    clip, _ = from_torch("set_transformer", sd, **HEADS)(x, valid)
    assert (clip[0] == 0).all() and (clip[1] != 0).any()
    clip, _ = from_torch("set_transformer", sd, faithful=True, **HEADS)(x, valid)
    assert np.abs(clip[0]).max() > 1e-3


def test_a_given_option_wins_over_faithful():
    sd = weights("staging_lstm")
    model = from_torch("staging_lstm", sd, faithful=True, unpacked_lstm=False, **HEADS)
    assert model.options["additive_temporal_mask"] and not model.options["unpacked_lstm"]


LINEAR1 = "spatial_pooling__transformer_layer__linear1__weight"


@pytest.mark.parametrize(
    ("kind", "entries", "told"),
    [
        (
            "set_transformer",
            {LINEAR1: np.zeros((32, 48))},
            r"spatial_pooling\.transformer_layer\.linear1\.weight has shape \(32, 48\); "
            r"expected \(48, 32\)",
        ),
        (
            "set_transformer",
            {"patch_embedding__tokenizer__4__weight": np.zeros((5, 4, 8))},
            r"tokenizer\.4\.weight has shape \(5, 4, 8\); expected \(8, 4, 5\)",
        ),
        (
            "set_transformer",
            {"transformer_encoder__layers__1__norm2__bias": None},
            r"missing entry transformer_encoder\.layers\.1\.norm2\.bias",
        ),
        (
            "set_transformer",
            {"transformer_encoder__layers__0__norm1__weight": None},
            r"missing entry transformer_encoder\.layers\.0\.norm1\.weight$",
        ),
        ("set_transformer", {"layer_norm__weight": None}, r"missing entry layer_norm\.weight"),
        ("set_transformer", {"positional_encoding__pe": None}, r"missing entry positional_enc"),
        ("set_transformer", {"fc__weight": np.zeros((5, 32))}, r"extra entry fc\.weight \(5, 32\)"),
        (
            "set_transformer",
            {"channel_pe_mlp__0__weight": np.zeros((32, 32))},
            r"extra entry channel_pe_mlp\.0\.weight",
        ),
        (
            "set_transformer",
            {"layer_norm__bias": np.full(32, np.nan)},
            r"layer_norm\.bias holds NaN",
        ),
        (
            "set_transformer",
            {"positional_encoding__pe": np.zeros((1, 40, 32))},
            r"positional_encoding\.pe is not the sinusoidal table",
        ),
        ("cox_lstm", {"lstm__weight_hh_l1_reverse": None}, r"missing entry lstm\.weight_hh_l1_rev"),
        ("resblocks_head", {"blocks__1__bn2__running_var": None}, r"blocks\.1\.bn2\.running_var"),
        ("staging_lstm", {"fc__bias": np.zeros((5, 1))}, r"fc\.bias has shape \(5, 1\)"),
        ("wav2sleep", {"classifier__weight": None}, r"missing entry classifier\.weight"),
        (
            "wav2sleep",
            {"signal_encoders__encoders__ECG__cnn__1__conv2__conv__weight": np.zeros((4, 3, 4))},
            r"conv2\.conv\.weight has shape \(4, 3, 4\); expected \(4, 4, 3\)",
        ),
    ],
)
def test_an_entry_that_does_not_fit_is_named(kind, entries, told):
    with pytest.raises(WeightsError, match=told):
        from_torch(kind, changed(kind, **entries), **options(kind))


@pytest.mark.parametrize(
    ("kind", "given", "told"),
    [
        ("set_transformer", {"heads": 5}, "width 32 is not divisible by 5 heads"),
        ("staging_lstm", {"pooling_head": 3}, "width 32 is not divisible by 3 heads"),
        ("set_transformer", {"colour": 1}, "set_transformer has no option colour; it has patch"),
        ("resblocks_head", {"heads": 1}, "resblocks_head has no option heads; it has none"),
        ("linear_head", {"pool_length": 4}, r"pool_length=4, but .* 192 = 3 x 32 x 2"),
        (
            "set_transformer_pe",
            {"position_encoding": "fourier"},
            r"channel_pe_mlp\.0\.weight has shape \(32, 32\); expected \(32, 128\)",
        ),
        ("set_transformer_pe", {"position_encoding": "wavelet"}, "'wavelet' is not one of"),
        ("wav2sleep", {"heads": 5}, "width 32 is not divisible by 5 heads"),
        ("wav2sleep", {"signal_map": {"ECG": "PPG"}}, r"there are encoders \['ABD', 'ECG'\]"),
        ("wav2sleep", {"cfg": {"layers": 2}}, "cfg: expected sections signal_encoders, epoch_mix"),
    ],
)
def test_an_option_that_does_not_fit_is_named(kind, given, told):
    with pytest.raises(WeightsError, match=told):
        from_torch(kind, weights(kind), **(options(kind) | given))


def test_an_unknown_kind_is_answered_with_the_known_ones():
    with pytest.raises(WeightsError, match="'resnet' is not one of set_transformer, "):
        from_torch("resnet", {})


def test_shapes_of_inputs_are_checked():
    model = from_torch("set_transformer_pe", weights("set_transformer_pe"), **HEADS)
    x = np.zeros((2, 3, 256), np.float32)
    with pytest.raises(
        ValueError, match=r"channel_mask \(3, 2\) does not fit x \[B, C, T\] \(2, 3, 256\)"
    ):
        model(x, np.ones((3, 2), bool))
    with pytest.raises(ValueError, match=r"positions \(4, 3\) do not fit"):
        model(x, None, np.zeros((4, 3)))
    with pytest.raises(ValueError, match="not a whole number of patches of 64"):
        model(x[..., :200])
