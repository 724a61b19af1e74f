"""Our models and training steps are the replica's, at sizes and weights that no fixture has.

`golden/` has one set of weights a model, at the published sizes.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers.torch import (
    ATOL,
    ATOL_LSTM,
    close,
    heads,
    loaded,
    replica,
    run,
    tensors,
    torch,
)

FAITHFUL = pytest.mark.parametrize("faithful", [True, False], ids=["faithful", "corrected"])


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
    from sleepfm_jax import experiment
    from sleepfm_jax.interop import from_torch, to_torch
    from sleepfm_jax.training import state as train_state
    from sleepfm_jax.training.step import means, step_function

    slots, b, t, patch = {"bas": 3, "resp": 2, "ecg": 1, "emg": 2}, 5, 256, 64
    config = sleepfm.get_config("reference")
    config.objective.loss, config.data.slots = mode, slots
    config.model.update(
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
    objective, tx = experiment.make_objective(config.to_dict()), optax.sgd(0.05, momentum=0.9)
    encoder = from_torch("set_transformer", start, heads=4, pooling_heads=4)
    params = {"encoder": encoder.params, "log_scale": jnp.float32(0.5)}
    state = train_state.of_parameters(params, {"encoder": encoder.batch_stats}, tx, seed=0)
    step = jax.jit(step_function(objective, tx))
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
        np.testing.assert_allclose(means(metrics)["loss"], loss.item() / b, rtol=1e-4)
        close(float(state.params["log_scale"]), log_scale.item(), 1e-5)
    mine = to_torch("set_transformer", state.params["encoder"], state.batch_stats["encoder"])
    for name, value in theirs.state_dict().items():
        if value.is_floating_point():
            np.testing.assert_allclose(
                mine[name], value.numpy(), rtol=1e-4, atol=5e-5, err_msg=name
            )
