"""The PyTorch replica against the reference's numbers, then our models against the replica.

Two rungs: `golden/` has one set of weights a model and the published sizes only; the replica, once
it agrees there, gives fresh weights at any size.
"""

from __future__ import annotations

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip(
    "torch",
    reason="SKIPPED FOR WANT OF PYTORCH: pip install 'sleepfm-jax[torch]' for the second "
    "implementation",
)

from tests import torch_replica as replica  # noqa: E402
from tests import torch_replica_heads as heads  # noqa: E402

torch.set_num_threads(1)  # tiny networks, and the other cores are busy with other tests

ATOL, ATOL_TOKENS, ATOL_LSTM, ATOL_RESBLOCKS = 2e-5, 5e-5, 5e-6, 1e-6  # of golden/INDEX.md
MODALITIES = ("BAS", "RESP", "EKG", "EMG")
FAITHFUL = pytest.mark.parametrize("faithful", [True, False], ids=["faithful", "corrected"])


def tensors(values, dtype=torch.float32):
    """One array, None or a tuple of them → tensors; floats in `dtype`."""
    if values is None or isinstance(values, tuple):
        return None if values is None else tuple(tensors(v, dtype) for v in values)
    x = torch.as_tensor(values)
    return x.to(dtype) if x.is_floating_point() else x


def run(model, *inputs, dtype=torch.float32):
    """Evaluation of a replica in `dtype` → one numpy array, or a tuple."""
    model = model.eval().to(dtype)
    with torch.no_grad():
        out = model(*(tensors(x, dtype) for x in inputs))
    return tuple(x.numpy() for x in out) if isinstance(out, tuple) else out.numpy()


# --- the replica against golden/ ----------------------------------------------------------------


@pytest.fixture(scope="module")
def golden(shared):
    """name → the fixture's arrays, each file read once."""
    return functools.cache(lambda name: np.load(shared / "golden" / f"{name}.npz"))


def weights(file, prefix="sd/"):
    names = (name for name in file.files if name.startswith(prefix))
    return {name.removeprefix(prefix): torch.as_tensor(file[name]) for name in names}


def loaded(model, state):
    model.load_state_dict(state, strict=True)
    return model


def released(golden):
    return loaded(
        replica.SetTransformer(640, 128, 8, 6, 8, 0.3), weights(golden("a_zou_settransformer"))
    )


def paper(golden, **switches):
    model = replica.SetTransformer(
        128, 128, 8, 3, 8, 0.3, channel_positions=True, **{"mean_over_padding": True} | switches
    )
    return loaded(model, weights(golden("b_paper_encoder")))


def close(got, want, atol):
    np.testing.assert_allclose(got, want, rtol=0, atol=atol)


def check_encoder(model, inputs, file, prefix, prefix64=None):
    """Within INDEX.md's tolerance in float32, and the same function in float64."""
    prefix64 = prefix64 or prefix
    clip, tokens = run(model, *inputs)
    close(clip, file[f"{prefix64}/pooled"], ATOL)
    close(tokens, file[f"{prefix64}/embedding"], ATOL_TOKENS)
    if prefix64 != prefix:  # no rounding to hide behind: any slip in the formula is above 1e-12
        clip, tokens = run(model, *inputs, dtype=torch.float64)
        close(clip, file[f"{prefix64}/pooled"], 1e-12)
        close(tokens, file[f"{prefix64}/embedding"], 1e-12)


@pytest.mark.real
def test_released_encoder(golden):
    file = golden("a_zou_settransformer")
    model = released(golden)
    check_encoder(model, (file["in/x"], file["in/mask"]), file, "out", "out64")
    padding = np.zeros((3, 1), bool)
    check_encoder(model, (file["c1/x"], padding), file, "c1")
    beside_noise = np.concatenate([file["c1/x"], file["in/x"][:, :1]], axis=1)
    check_encoder(model, (beside_noise, np.array([[False, True]] * 3)), file, "c1_padded_to_2")


@pytest.mark.real
def test_layers_of_the_released_encoder(golden):
    """Each member's output, so that two errors cannot cancel."""
    file = golden("a_zou_settransformer")
    model = released(golden)
    seen = {}
    names = {"patch_embedding", "spatial_pooling", "positional_encoding", "layer_norm"}
    names |= {f"transformer_encoder.layers.{i}" for i in range(6)}
    names |= {f"patch_embedding.tokenizer.{i}" for i in range(27)}

    def keep(name):
        def hook(_module, _inputs, out):  # returns nothing: what a hook returns replaces the output
            seen[name] = out.numpy().copy()

        return hook

    for name, module in model.named_modules():
        if name in names:
            module.register_forward_hook(keep(name))
    run(model, file["in/x"], file["in/mask"])
    assert set(seen) == names
    for name, out in seen.items():
        if member := re.fullmatch(r"patch_embedding\.tokenizer\.(\d+)", name):
            close(out[0], file[f"tok/{member[1]}"], ATOL_TOKENS)
        else:
            close(out, file[f"mid/{name}"], ATOL_TOKENS)


@pytest.mark.real
@pytest.mark.parametrize("montage", ["mono", "bip"])
def test_paper_encoder(golden, montage):
    file = golden("b_paper_encoder")
    model, x = paper(golden), file[f"in/x_{montage}"]
    check_encoder(model, (x,), file, f"out_plain/{montage}", f"out64_plain/{montage}")
    positions = file[f"chpe/{montage}/positions"]
    check_encoder(model, (x, None, positions), file, f"out_pe/{montage}", f"out64_pe/{montage}")
    for each in (positions, np.stack([positions] * len(x))):  # [C, 3] and [B, C, 3] are one
        clip, _ = run(model, x, None, each)
        close(clip, file[f"out64_pe/{montage}/pooled"], ATOL)


@pytest.mark.real
def test_paper_encoder_with_padding_and_with_one_channel(golden):
    file = golden("b_paper_encoder")
    masked = (file["masked/x"], file["masked/mask"])
    check_encoder(paper(golden), masked, file, "masked")
    corrected, _ = run(paper(golden, mean_over_padding=False), *masked)
    change = np.abs(corrected - file["masked/pooled"]).max(-1)
    assert change[0] > 0.1 and change[1] < ATOL  # P3; the second clip has no padding
    one = file["in/x_mono"][:, :1]
    check_encoder(paper(golden), (one,), file, "c1_nomask")
    no_padding = np.zeros((2, 1))
    check_encoder(paper(golden), (one, no_padding), file, "c1_mask")
    check_encoder(paper(golden, early_return=False), (one, no_padding), file, "c1_nomask")


@pytest.mark.real
@pytest.mark.parametrize("width, frequencies", [(128, 8), (32, 8), (128, 4), (128, 2), (1024, 8)])
def test_position_codes_have_the_published_bits(golden, width, frequencies):
    file = golden("b_paper_encoder")
    code = replica.fourier_code(
        torch.as_tensor(file["chpe_raw/coords"]), width, frequencies
    ).numpy()
    np.testing.assert_array_equal(code, file[f"chpe_raw/E{width}_f{frequencies}"][0])


@pytest.mark.real
@pytest.mark.parametrize("log_scale", [0.0, 2.3])
@pytest.mark.parametrize("mode", replica.MODES)
def test_contrastive_losses(golden, mode, log_scale):
    file = golden("c_contrastive_losses")
    raw = [torch.as_tensor(file[f"in/raw{i}"]).double().requires_grad_() for i in range(4)]
    scale = torch.tensor(log_scale, dtype=torch.float64, requires_grad=True)
    loss, directions = replica.contrastive_loss(raw, scale, mode)
    (loss / 16).backward()
    key = f"{mode}/T{log_scale}"
    np.testing.assert_allclose(loss.item(), file[f"fp64/{key}/loss_sum"], rtol=1e-12)
    close(directions.detach().numpy(), file[f"fp64/{key}/pairwise_loss"], 1e-5)
    want = file[f"fp64/{key}/grad_over_B/temperature"]
    np.testing.assert_allclose(scale.grad.item(), want, rtol=1e-10)
    for i, x in enumerate(raw):
        close(x.grad.numpy(), file[f"{key}/grad_over_B/raw{i}"], 1e-7)


def tiny_step(golden, mode, dtype, steps):
    """Yields loss, directions, model and log scale after each of `steps` updates."""
    file = golden("h_pretrain_steps_tiny")
    model = loaded(replica.SetTransformer(128, 32, 4, 2, 4, 0.0), weights(file)).train().to(dtype)
    log_scale = torch.nn.Parameter(torch.zeros((), dtype=dtype))
    optimiser = torch.optim.SGD([*model.parameters(), log_scale], lr=0.05, momentum=0.9)
    batch = {name: tensors(file[f"in/{name}"], dtype) for name in MODALITIES}
    padding = {name: tensors(file[f"in/mask_{name}"]) for name in MODALITIES}
    for _ in range(steps):
        loss, directions = replica.pretrain_step(model, log_scale, optimiser, batch, padding, mode)
        yield loss.item(), directions.numpy(), model, log_scale


@pytest.mark.real
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("mode", replica.MODES)
def test_three_training_steps(golden, mode, dtype):
    file = golden("h_pretrain_steps_tiny")
    # Losses: INDEX.md asks for four digits; float32 has more, float64 all.
    tolerance = 1e-5 if dtype == torch.float32 else 1e-13
    compared = 0
    for step, (loss, directions, model, log_scale) in enumerate(tiny_step(golden, mode, dtype, 3)):
        want = file[f"{mode}/loss_sum_steps64"][step]
        np.testing.assert_allclose(loss, want, rtol=tolerance)
        want = file[f"{mode}/temperature_after_steps64"][step]
        close(log_scale.item(), want, tolerance)
        if step:
            continue
        close(directions, file[f"{mode}/pairwise_loss_step0"], 1e-5)
        close(log_scale.grad.item(), file[f"{mode}/grad0_64/temperature"], tolerance)
        largest = max(p.grad.abs().max().item() for p in model.parameters())
        for name, parameter in model.named_parameters():
            norm = parameter.grad.double().norm().item()
            close(norm, file[f"{mode}/grad0_norm64/{name}"], max(tolerance, 1e-12))
            for key, part in stored(file, f"{mode}/grad0_64/{name}", parameter.grad):
                close(part, file[key], 1e-5 * largest)
                compared += 1
        for name, buffer in model.named_buffers():
            if f"{mode}/bn_after_step0/{name}" in file.files:
                want = file[f"{mode}/bn_after_step0/{name}"]
                np.testing.assert_allclose(buffer.numpy(), want, rtol=2e-6, atol=1e-6)
                compared += 1
    for name, parameter in model.named_parameters():
        for key, part in stored(file, f"{mode}/param_after3_64/{name}", parameter.detach()):
            close(part, file[key], 1e-6)
            compared += 1
    parameters, buffers = len(list(model.parameters())), 3 * len(replica.CONV_CHANNELS)
    assert compared == (2 * parameters + buffers if mode == "leave_one_out" else 0)


def stored(file, key, value):
    """(key, array) of a value of which the fixture keeps all, the first 32 x 32, or nothing."""
    if key in file.files:
        yield key, value.numpy()
    elif f"{key}[:32,:32]" in file.files:
        yield f"{key}[:32,:32]", value.numpy()[:32, :32]


@pytest.mark.real
def test_a_single_ecg_channel_in_training(golden):
    file = golden("h_pretrain_steps_tiny")
    model = loaded(replica.SetTransformer(128, 32, 4, 2, 4, 0.0), weights(file)).train()
    clips = []
    for name in MODALITIES:
        x, padding = tensors(file[f"in/{name}"]), tensors(file[f"in/mask_{name}"])
        one = slice(0, 1 if name == "EKG" else None)
        clips.append(model(x[:, one], padding[:, one])[0])
    loss, _ = replica.contrastive_loss(clips, torch.zeros(()), "leave_one_out")
    np.testing.assert_allclose(loss.item(), file["ekg_single_channel/loss_sum"], rtol=1e-6)


@pytest.mark.real
def test_staging(golden):
    file = golden("g_staging_lstm")
    x, padding = file["in/x"], file["in/mask"]
    model = loaded(replica.SleepEventLSTM(128, 4, 1, 5, 4, max_tokens=64), weights(file))
    for kind, model.float_mask in (("floatmask", True), ("boolmask", False)):
        want = file[f"out64_{kind}/logits"]
        close(run(model, x, padding), want, ATOL_LSTM)
        close(run(model, x, padding, dtype=torch.float64), want, 1e-13)
    model.float_mask = False  # the fixture with one channel was made with the intended mask
    close(run(model, x[:, :1], padding[:, :1]), file["c1/logits"], ATOL_LSTM)
    # With both faults off, padding a night changes nothing: a night cropped to its own length.
    model.unpacked = False
    night = int(file["cropped/b"])
    steps = file["cropped/logits"].shape[1]
    close(run(model, x, padding)[night, :steps], file["cropped/logits"][0], ATOL_LSTM)


@pytest.mark.real
def test_cox(golden):
    file = golden("g_cox_lstm_demo")
    model = loaded(replica.CoxLSTM(128, 2, 12, 8, max_tokens=64), weights(file))
    inputs = (file["in/x"], file["in/mask"], file["in/demo"])
    close(run(model, *inputs), file["out64/hazards"], ATOL_LSTM)
    close(run(model, *inputs, dtype=torch.float64), file["out64/hazards"], 1e-13)


@pytest.mark.real
@pytest.mark.parametrize("case, classes, pool_length", [("out2", 2, 2), ("out6", 6, 4)])
def test_linear_head(golden, case, classes, pool_length):
    file, encoder = golden("d_linearhead"), paper(golden)
    plain = case == "out2"
    model = heads.LinearHead(encoder, classes, pool_length)
    state = {f"encoder.{k}": v for k, v in weights(golden("b_paper_encoder")).items()}
    loaded(model, state | weights(file, f"{case}/sd/"))
    positions = None if plain else golden("b_paper_encoder")["chpe/mono/positions"]
    inputs = (file["in/x_short"], None, positions)  # the same six electrodes as `mono`
    close(run(model, *inputs), file[f"{case}/short/logits64"], ATOL)
    close(run(model, *inputs, dtype=torch.float64), file[f"{case}/short/logits64"], 1e-12)
    if plain:
        close(run(model, file["in/x_long"]), file["out2/long/logits64"], ATOL)
    tokens = torch.as_tensor(file[f"{case}/long/mid/encoder_tokens"])
    with torch.no_grad():
        logits = model.float().classify(tokens)
    close(logits.numpy(), file[f"{case}/long/logits64"], ATOL)


@pytest.mark.real
def test_resblocks_head(golden):
    file = golden("e_ecg_resblocks_head")
    model = loaded(heads.ResBlocksHead(128, 6), weights(file))
    tokens = file["in/z"].swapaxes(1, 2)
    close(run(model, tokens), file["out64/logits"], ATOL_RESBLOCKS)
    close(run(model, tokens, dtype=torch.float64), file["out64/logits"], 1e-13)


# --- ours against the replica, with weights that no fixture has -----------------------------------


def random_weights(model, seed):
    """Every parameter and running statistic drawn afresh; nothing stays at 0, 1 or its twin."""
    rng = np.random.default_rng(seed)

    def draw(shape, scale, centre=0.0):
        return torch.as_tensor(
            centre + scale * rng.standard_normal(tuple(shape)), dtype=torch.float32
        )

    norms = (torch.nn.LayerNorm, torch.nn.BatchNorm1d)
    with torch.no_grad():
        for module in model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                if isinstance(module, norms):
                    parameter.copy_(draw(parameter.shape, 0.3, float(name == "weight")))
                elif parameter.ndim > 1:
                    parameter.copy_(draw(parameter.shape, parameter[0].numel() ** -0.5))
                else:
                    parameter.copy_(draw(parameter.shape, 0.3))
            if isinstance(module, torch.nn.BatchNorm1d):
                module.running_mean.copy_(draw(module.running_mean.shape, 0.3))
                module.running_var.copy_(draw(module.running_var.shape, 0.5).abs() + 0.5)
    return model.eval()


def ours(kind, model, faithful, **options):
    """Our model with a replica's weights: numpy in, numpy out."""
    from sleepfm_jax.interop import from_torch

    state = {name: value.numpy() for name, value in model.state_dict().items()}
    mine = from_torch(kind, state, faithful=faithful, **options)
    return lambda *inputs: jax.device_get(mine(*inputs))


def agree(got, want, atol=ATOL):
    """Two functions' outputs, arrays or tuples of them."""
    assert type(got) is type(want) or not isinstance(want, tuple)
    for mine, theirs in zip(got, want) if isinstance(want, tuple) else [(got, want)]:
        close(mine, theirs, atol)


def clips(rng, b, c, t):
    return rng.standard_normal((b, c, t)).astype(np.float32)


@FAITHFUL
@pytest.mark.parametrize("patch, channels", [(64, 5), (128, 1)])
def test_ours_is_the_released_encoder(patch, channels, faithful):
    theirs = random_weights(
        replica.SetTransformer(patch, 32, 4, 2, 2, 0.3, early_return=faithful), seed=patch
    )
    mine = ours("set_transformer", theirs, faithful, heads=4, pooling_heads=2)
    rng = np.random.default_rng(channels)
    x = clips(rng, 3, channels, 4 * patch)
    padding = rng.random((3, channels)) < 0.4
    padding[:, 0] = False
    want = run(theirs, x, padding)
    agree(mine(x, ~padding), want)
    if channels == 1:  # the switch that the weights were compared under is the one that matters
        theirs.spatial_pooling.early_return = not faithful
        assert np.abs(run(theirs, x, padding)[0] - want[0]).max() > 0.01


def test_ours_encodes_an_absent_modality_as_the_released_code_does():
    theirs = random_weights(replica.SetTransformer(64, 32, 4, 1, 4, 0.3), seed=3)
    x = clips(np.random.default_rng(3), 2, 3, 192)
    padding = np.array([[True] * 3, [False, False, True]])
    want = run(theirs, x, padding)
    mine = ours("set_transformer", theirs, True, heads=4, pooling_heads=4)
    agree(mine(x, ~padding), want)
    clip, _ = ours("set_transformer", theirs, False, heads=4, pooling_heads=4)(x, ~padding)
    assert not clip[0].any()  # corrected: nothing seen, nothing said
    close(clip[1], want[0][1], ATOL)


@FAITHFUL
def test_ours_is_the_paper_encoder(faithful):
    switches = {"early_return": faithful, "mean_over_padding": faithful}
    theirs = random_weights(
        replica.SetTransformer(64, 32, 4, 2, 4, 0.3, channel_positions=True, **switches), seed=5
    )
    options = {"heads": 4, "pooling_heads": 4, "position_encoding": "fourier_truncated"}
    mine = ours("set_transformer_pe", theirs, faithful, **options)
    rng = np.random.default_rng(6)
    x, padding = clips(rng, 3, 5, 256), np.zeros((3, 5), bool)
    padding[0, 3:] = padding[1, 1:] = True
    positions = rng.uniform(-1, 1, (3, 5, 3)).astype(np.float32)
    want = run(theirs, x, padding, positions)
    agree(mine(x, ~padding, positions), want)
    agree(mine(x, None, positions[0]), run(theirs, x, None, positions[0]))
    unplaced = mine(x, ~padding, np.full_like(positions, np.nan))
    agree(unplaced, run(theirs, x, padding, None))
    theirs.spatial_pooling.mean_over_padding = not faithful
    assert np.abs(run(theirs, x, padding, positions)[0] - want[0]).max() > 0.01


def nights(rng, b, c, s, width, lengths):
    """Tokens [B, C, S, D] and padding [B, C, S] with these lengths [B, C]."""
    tokens = rng.standard_normal((b, c, s, width)).astype(np.float32)
    return tokens, (np.arange(s) >= np.array(lengths)[..., None]).astype(np.float32)


# Lengths of each channel: whole; one channel short; two absent, the night short.
LENGTHS = [[9, 9, 9], [9, 4, 9], [6, 0, 0]]


@FAITHFUL
def test_ours_is_the_staging_model(faithful):
    switches = ("early_return", "float_mask", "unpacked", "corner_masks")
    theirs = random_weights(
        replica.SleepEventLSTM(32, 4, 2, 3, 2, max_tokens=16, **dict.fromkeys(switches, faithful)),
        seed=7,
    )
    mine = ours("staging_lstm", theirs, faithful, heads=4, pooling_heads=2)
    tokens, padding = nights(np.random.default_rng(8), 3, 3, 9, 32, LENGTHS)
    want = run(theirs, tokens, padding)
    got = mine(tokens, padding == 0)
    valid = (padding == 0).any(1)  # [B, S]
    agree(got[valid], want[valid], ATOL_LSTM)
    if faithful:
        agree(got, want, ATOL_LSTM)  # what it says of the padding, too
        one = tokens[:, :1], padding[:, :1]
        agree(mine(one[0], one[1] == 0), run(theirs, *one), ATOL_LSTM)
    for switch in switches[1:]:
        other = dict.fromkeys(switches, faithful) | {switch: not faithful}
        changed = replica.SleepEventLSTM(32, 4, 2, 3, 2, max_tokens=16, **other)
        changed = run(loaded(changed, theirs.state_dict()), tokens, padding)
        assert np.abs(changed - want)[valid].max() > 1e-3, switch


@FAITHFUL
def test_ours_is_the_cox_model(faithful):
    switches = dict.fromkeys(("early_return", "corner_masks"), faithful)
    theirs = random_weights(replica.CoxLSTM(32, 2, 5, 2, max_tokens=16, **switches), seed=9)
    mine = ours("cox_lstm", theirs, faithful, pooling_heads=2)
    rng = np.random.default_rng(10)
    # Only the fixtures' kind of channel 0 is the longest; here it ends before the others.
    tokens, padding = nights(rng, 3, 3, 9, 32, [[9, 9, 9], [5, 9, 7], [6, 0, 0]])
    people = rng.standard_normal((3, 2)).astype(np.float32)
    agree(mine(tokens, padding == 0, people), run(theirs, tokens, padding, people), ATOL_LSTM)


@FAITHFUL
@pytest.mark.parametrize("positions", [False, True], ids=["plain", "positions"])
def test_ours_is_the_linear_head(positions, faithful):
    encoder = replica.SetTransformer(
        64, 32, 4, 1, 4, 0.3, positions, early_return=faithful, mean_over_padding=faithful
    )
    theirs = random_weights(heads.LinearHead(encoder, 3, pool_length=3), seed=11)
    options = {"position_encoding": "fourier_truncated"} if positions else {}
    mine = ours("linear_head", theirs, faithful, heads=4, pooling_heads=4, **options)
    rng = np.random.default_rng(12)
    x = clips(rng, 2, 3, 64 * 7)  # seven tokens into three stretches: they overlap
    padding = np.array([[False, False, True], [False] * 3])
    where = rng.uniform(-1, 1, (3, 3)).astype(np.float32) if positions else None
    agree(mine(x, ~padding, where), run(theirs, x, padding, where))


def test_ours_is_the_resblocks_head():
    theirs = random_weights(heads.ResBlocksHead(24, 4, blocks=3, kernel=5), seed=13)
    tokens = np.random.default_rng(14).standard_normal((2, 11, 24)).astype(np.float32)
    agree(ours("resblocks_head", theirs, True)(tokens), run(theirs, tokens), ATOL_LSTM)


@pytest.mark.slow
@pytest.mark.parametrize("mode", replica.MODES)
def test_our_training_step_is_the_published_one(mode):
    """Three steps of the loop's own step function under the reference configuration, on weights,
    channel counts and padding of its own."""
    import optax

    from configs import sleepfm
    from sleepfm_jax import experiment, train_state
    from sleepfm_jax.interop import from_torch, to_torch

    slots, b, t, patch = {"bas": 3, "resp": 2, "ecg": 1, "emg": 2}, 5, 256, 64
    config = sleepfm.get_config("reference")
    config.loss, config.data.slots = mode, slots
    config.encoder.update(
        patch_samples=patch, width=32, layers=1, heads=4, pooling_heads=4, dropout=0.0
    )
    theirs = random_weights(replica.SetTransformer(patch, 32, 4, 1, 4, 0.0), seed=15)
    start = {name: value.numpy().copy() for name, value in theirs.state_dict().items()}
    log_scale = torch.nn.Parameter(torch.tensor(0.5))
    sgd = torch.optim.SGD([*theirs.parameters(), log_scale], lr=0.05, momentum=0.9)

    rng = np.random.default_rng(16)
    x = {name: clips(rng, b, c, t) for name, c in slots.items()}
    padding = {name: rng.random((b, c)) < 0.4 for name, c in slots.items()}
    for mask in padding.values():
        mask[:, 0] = False  # nothing absent: the published code has no notion of it
    batch = {
        "signals": np.concatenate(list(x.values()), axis=1),
        "scale": np.ones((b, sum(slots.values())), np.float32),
        "mask": np.repeat(
            ~np.concatenate(list(padding.values()), axis=1)[..., None], t // patch, 2
        ),
        "positions": np.full((b, sum(slots.values()), 3), np.nan, np.float32),
        "index": np.arange(b),
    }
    task, tx = experiment.make_task(config), optax.sgd(0.05, momentum=0.9)
    encoder = from_torch("set_transformer", start, heads=4, pooling_heads=4)
    params = {"encoder": encoder.params, "log_scale": jnp.float32(0.5)}
    zero = jnp.int32(0)
    state = train_state.TrainState(
        step=zero,
        params=params,
        batch_stats={"encoder": encoder.batch_stats},
        opt_state=tx.init(params),
        seed=jnp.uint32(0),
        skipped=zero,
        skipped_in_a_row=zero,
    )
    step = jax.jit(train_state.step_function(task, tx))
    theirs.train()
    for _ in range(3):
        state, metrics = step(state, batch)
        loss, _ = replica.pretrain_step(
            theirs,
            log_scale,
            sgd,
            {name: tensors(value) for name, value in x.items()},
            {name: tensors(value) for name, value in padding.items()},
            mode,
        )
        np.testing.assert_allclose(float(metrics["loss"]), loss.item() / b, rtol=1e-4)
        close(float(state.params["log_scale"]), log_scale.item(), 1e-5)
    mine = to_torch("set_transformer", state.params["encoder"], state.batch_stats["encoder"])
    for name, value in theirs.state_dict().items():
        if value.is_floating_point():
            np.testing.assert_allclose(
                mine[name], value.numpy(), rtol=1e-4, atol=5e-5, err_msg=name
            )
