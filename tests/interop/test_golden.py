"""Every published model with its weights, layer by layer where fixtures have layers.

`pytest tests/interop/test_golden.py -rP -k table` prints kind, error and tolerance.
"""

from __future__ import annotations

import jax
import numpy as np
import pytest

from sleepfm_jax.interop import from_torch, to_torch
from sleepfm_jax.models.positions import truncated_fourier_code

pytestmark = pytest.mark.real

POOLED, TOKENS, HEAD = 2e-5, 5e-5, 2e-5  # docs/golden.md, against float64
ECG_HEAD, RECURRENT = 1e-6, 5e-6
TABLE = []


class Fixture:
    """A file of reference numbers."""

    def __init__(self, path):
        self.file = np.load(path)

    def __getitem__(self, name):
        return self.file[name]

    def weights(self, prefix="sd/", to=""):
        """Its state dict."""
        names = [n for n in self.file.files if n.startswith(prefix)]
        return {to + n.removeprefix(prefix): self.file[n] for n in names}


@pytest.fixture(scope="module")
def golden(shared):
    return lambda name: Fixture(shared / "golden" / f"{name}.npz")


@pytest.fixture(autouse=True)
def exact():
    with jax.default_matmul_precision("highest"):
        yield


def close(what, ours, theirs, tolerance):
    error = float(np.abs(np.asarray(ours, np.float64) - theirs).max())
    TABLE.append((what, error, tolerance))
    assert error <= tolerance, (what, error)


def close_encoder(what, out, fixture, key):
    clip, tokens = out
    close(f"{what}: clip", clip, fixture[f"{key}/pooled"], POOLED)
    close(f"{what}: tokens", tokens, fixture[f"{key}/embedding"], TOKENS)


def test_the_released_encoder_layer_by_layer(golden):
    fixture = golden("a_zou_settransformer")
    model = from_torch("set_transformer", fixture.weights())
    x, valid = fixture["in/x"], fixture["in/mask"] == 0
    close_encoder("set_transformer", model(x, valid), fixture, "out64")

    encoder = model.module()
    mask = encoder.full_mask(valid, (3, 5, 6))
    tokens = encoder.tokenize(x, np.ones_like(mask))
    close("set_transformer: tokenizer", tokens, fixture["mid/patch_embedding"], TOKENS)
    pooled, token_mask = encoder.pool_channels(tokens, mask)
    theirs = fixture["mid/spatial_pooling"].reshape(3, 6, 128)
    close("set_transformer: channel pooling", pooled[:, 0], theirs, TOKENS)
    h = encoder.norm(pooled[:, 0] + fixture["sd/positional_encoding.pe"][:, :6])
    close("set_transformer: norm", h, fixture["mid/layer_norm"], TOKENS)
    for i, layer in enumerate(encoder.layers):
        h = layer(h, token_mask[:, 0])
        theirs = fixture[f"mid/transformer_encoder.layers.{i}"]
        close(f"set_transformer: layer {i}", h, theirs, TOKENS)

    # Each member of each tokenizer stage, for the first patch of the first channel.
    rows = x[0, 0, :640].reshape(1, 640, 1)
    for i, stage in enumerate(encoder.tokenizer.stages):
        rows = stage(rows, np.ones(1, bool), False)
        theirs = fixture[f"tok/{4 * i + 3}"].reshape(rows.shape[2], rows.shape[1]).T
        close(f"set_transformer: tokenizer stage {i}", rows[0], theirs, TOKENS)


def test_a_single_channel_of_the_released_encoder(golden):
    fixture = golden("a_zou_settransformer")
    x, sd = fixture["c1/x"], fixture.weights()
    valid = np.ones((len(x), 1), bool)
    faithful = from_torch("set_transformer", sd, faithful=True)
    close_encoder("set_transformer, one channel, faithful", faithful(x, valid), fixture, "c1")
    model = from_torch("set_transformer", sd)
    close_encoder("set_transformer, one channel", model(x, valid), fixture, "c1_padded_to_2")
    two = np.concatenate([x, np.full_like(x, 7.0)], 1)
    alone, padded = model(x, valid)[0], model(two, np.array([[True, False]] * len(x)))[0]
    np.testing.assert_allclose(alone, padded, atol=POOLED)


def test_the_transfer_encoder_with_and_without_positions(golden):
    fixture = golden("b_paper_encoder")
    sd = fixture.weights()
    model, faithful = (from_torch("set_transformer_pe", sd, faithful=f) for f in (False, True))
    for montage in ("mono", "bip"):
        x, positions = fixture[f"in/x_{montage}"], fixture[f"chpe/{montage}/positions"]
        what = f"set_transformer_pe, {montage}"
        close_encoder(what, model(x, None, positions), fixture, f"out64_pe/{montage}")
        many = np.broadcast_to(positions, (len(x), *positions.shape))
        close_encoder(what, faithful(x, None, many), fixture, f"out64_pe/{montage}")
        close_encoder(
            f"{what}, none given", model(x, None, None), fixture, f"out64_plain/{montage}"
        )
    plain = {k: v for k, v in sd.items() if not k.startswith("channel_pe_mlp")}
    plain = from_torch("set_transformer", plain)
    close_encoder(
        "set_transformer, patch 128", plain(fixture["in/x_bip"], None), fixture, "out64_plain/bip"
    )
    x, valid = fixture["masked/x"], fixture["masked/mask"] == 0
    close_encoder("set_transformer_pe, masked, faithful", faithful(x, valid), fixture, "masked")
    alone = fixture["in/x_mono"][:, :1]
    close_encoder(
        "set_transformer_pe, one channel, faithful",
        faithful(alone, np.ones((2, 1), bool)),
        fixture,
        "c1_mask",
    )
    for either in (model, faithful):
        close_encoder("set_transformer_pe, one channel", either(alone), fixture, "c1_nomask")


def test_the_published_position_code(golden):
    fixture = golden("b_paper_encoder")
    for width, frequencies in ((128, 8), (32, 8), (128, 4), (128, 2), (1024, 8)):
        code = truncated_fourier_code(fixture["chpe_raw/coords"], width, frequencies)
        theirs = fixture[f"chpe_raw64/E{width}_f{frequencies}"][0]
        close(f"position code, width {width}, {frequencies} frequencies", code, theirs, 1e-5)
    electrodes = from_torch("set_transformer_pe", fixture.weights()).module().electrodes
    for montage in ("mono", "bip"):
        code = electrodes(fixture[f"chpe/{montage}/positions"])
        close(f"position MLP, {montage}", code, fixture[f"chpe/{montage}/after_mlp"][0], POOLED)


@pytest.mark.parametrize(("case", "with_positions"), [("out2", False), ("out6", True)])
def test_the_fine_tuned_model(golden, case, with_positions):
    fixture, encoder = golden("d_linearhead"), golden("b_paper_encoder")
    sd = fixture.weights(f"{case}/sd/") | {
        name: value
        for name, value in encoder.weights(to="encoder.").items()
        if with_positions or "channel_pe_mlp" not in name
    }
    model = from_torch("linear_head", sd)
    assert model.options["pool_length"] == {"out2": 2, "out6": 4}[case]
    positions = encoder["chpe/mono/positions"] if with_positions else None
    x = fixture["in/x_short"]
    logits = model(x, positions=positions)
    close(f"linear_head, {case}", logits, fixture[f"{case}/short/logits64"], HEAD)
    module = model.module()
    tokens = fixture[f"{case}/short/mid/encoder_tokens"]
    close(f"linear_head, {case}: tokens", module.encoder(x, None, positions)[1], tokens, TOKENS)
    h = module.position(tokens) - tokens
    theirs = fixture[f"{case}/short/mid/relative_position"].swapaxes(1, 2)
    close(f"linear_head, {case}: relative position", h, theirs, HEAD)
    close(
        f"linear_head, {case}: head alone",
        module.from_tokens(fixture[f"{case}/long/mid/encoder_tokens"]),
        fixture[f"{case}/long/logits64"],
        HEAD,
    )
    if not with_positions:
        long = model(fixture["in/x_long"])
        close("linear_head, 19 channels", long, fixture["out2/long/logits64"], HEAD)


def test_the_ecg_head(golden):
    fixture = golden("e_ecg_resblocks_head")
    model = from_torch("resblocks_head", fixture.weights())
    tokens = fixture["in/z"].swapaxes(1, 2)
    close("resblocks_head", model(tokens), fixture["out64/logits"], ECG_HEAD)


def test_the_staging_model(golden):
    fixture = golden("g_staging_lstm")
    sd, x, valid = fixture.weights(), fixture["in/x"], fixture["in/mask"] == 0
    faithful = from_torch("staging_lstm", sd, faithful=True)
    theirs = fixture["out64_floatmask/logits"]
    close("staging_lstm, faithful", faithful(x, valid), theirs, RECURRENT)
    boolean = from_torch("staging_lstm", sd, faithful=True, additive_temporal_mask=False)
    theirs = fixture["out64_boolmask/logits"]
    close("staging_lstm, faithful but for the mask", boolean(x, valid), theirs, RECURRENT)
    one = boolean(x[:, :1], valid[:, :1])
    close("staging_lstm, one sequence, faithful", one, fixture["c1/logits"], RECURRENT)
    # Ours: a night's logits are what they are without any padding.
    model = from_torch("staging_lstm", sd)
    night = int(fixture["cropped/b"])
    steps = fixture["cropped/logits"].shape[1]
    ours = model(x, valid)[night : night + 1, :steps]
    close("staging_lstm, padded = cropped", ours, fixture["cropped/logits"], RECURRENT)


@pytest.mark.parametrize("faithful", [False, True])
def test_the_survival_model(golden, faithful):
    fixture = golden("g_cox_lstm_demo")
    model = from_torch("cox_lstm", fixture.weights(), faithful=faithful)
    hazards = model(fixture["in/x"], fixture["in/mask"] == 0, fixture["in/demo"])
    close("cox_lstm", hazards, fixture["out64/hazards"], RECURRENT)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("set_transformer", "a_zou_settransformer"),
        ("set_transformer_pe", "b_paper_encoder"),
        ("resblocks_head", "e_ecg_resblocks_head"),
        ("staging_lstm", "g_staging_lstm"),
        ("cox_lstm", "g_cox_lstm_demo"),
    ],
)
def test_weights_go_back_as_they_came(golden, kind, name):
    sd = golden(name).weights()
    model = from_torch(kind, sd)
    back = to_torch(kind, model.params, model.batch_stats, model.carried)
    assert sorted(back) == sorted(sd)
    for name, value in sd.items():
        assert back[name].dtype == value.dtype and back[name].shape == value.shape, name
        np.testing.assert_array_equal(back[name], value, err_msg=name)


def test_table_of_all(golden):
    if not TABLE:
        pytest.skip("run with the other tests of this file")
    for what, error, tolerance in TABLE:
        print(f"{what:45s} {error:.1e}  tolerance {tolerance:.0e}")
