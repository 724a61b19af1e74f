"""The encoder: the reference's numbers, and what must not change its output."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sleepfm_jax.models.dropout import DropoutStream
from sleepfm_jax.models.encoder import Encoder, EncoderConfig
from sleepfm_jax.models.tokenizer import ConvStage

TINY = EncoderConfig(
    patch_samples=64, width=32, layers=1, heads=4, pooling_heads=4, mlp_dim=48, dropout=0.0
)
B, S, P = 3, 4, 64


def skeleton(config):
    """The encoder with shapes in place of arrays: nothing is compiled or computed."""
    return nnx.eval_shape(lambda: Encoder(config, rngs=nnx.Rngs(0)))


@functools.cache
def random_model(config):
    """merge(params, batch_stats) → Encoder, and both as plain dictionaries; biases random too."""
    graph, *states = nnx.split(skeleton(config), nnx.Param, nnx.BatchStat)
    rng = np.random.default_rng(0)

    def draw(x):
        if len(x.shape) == 1:
            return jnp.asarray(0.8 + 0.5 * rng.standard_normal(x.shape), x.dtype)
        fan_in = int(np.prod(x.shape[:-1]))
        return jnp.asarray(1.5 * rng.standard_normal(x.shape) / np.sqrt(fan_in), x.dtype)

    params, stats = (jax.tree.map(draw, nnx.to_pure_dict(state)) for state in states)
    stats = jax.tree.map(lambda x: jnp.abs(x) + 0.5, stats)

    def merge(params, stats):
        return nnx.merge(graph, nnx.State(params), nnx.State(stats))

    return merge, params, stats


@functools.cache
def evaluation(config=TINY):
    """jitted (x, mask [B, C, S], positions) → (clip, tokens) in evaluation mode, as numpy."""
    merge, params, stats = random_model(config)
    forward = jax.jit(lambda params, stats, *batch: merge(params, stats)(*batch))
    return lambda *batch: jax.device_get(forward(params, stats, *batch))


@functools.cache
def training(dropout, gradients):
    """jitted (x, mask, positions, key) → (clip, tokens, statistics), and gradients if asked for."""
    merge, params, stats = random_model(dataclasses.replace(TINY, dropout=dropout))

    def forward(params, stats, x, mask, positions, key):
        model = merge(params, stats)
        clip, tokens = model(x, mask, positions, dropout=DropoutStream(key))
        return clip, tokens, nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))

    def loss(*args):
        clip, tokens, moved = forward(*args)
        return (clip**2).sum() + (tokens**3).mean(), (clip, tokens, moved)

    compiled = jax.jit(jax.grad(loss, has_aux=True) if gradients else forward)

    def run(*args):
        out = jax.device_get(compiled(params, stats, *args))
        return (*out[1], out[0]) if gradients else out

    return run


@pytest.fixture
def clip():
    """x [B, 3, T], mask all valid [B, 3, S], positions [B, 3, 3] of C3, C4 and a belt."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((B, 3, S * P)).astype(np.float32)
    positions = np.array([[-0.7, 0.0, 0.7], [0.7, 0.0, 0.7], [np.nan] * 3], np.float32)
    return x, np.ones((B, 3, S), bool), np.broadcast_to(positions, (B, 3, 3)).copy()


def spread(clip, slots, channels, garbage):
    """The clip's channels put into some of `channels` slots; garbage and False in the others."""
    x, mask, positions = clip
    out = np.full((B, channels, x.shape[2]), garbage, np.float32)
    out_mask = np.zeros((B, channels, mask.shape[2]), bool)
    out_positions = np.full((B, channels, 3), garbage, np.float32)
    for channel, slot in enumerate(slots):
        out[:, slot], out_mask[:, slot] = x[:, channel], mask[:, channel]
        out_positions[:, slot] = positions[:, channel]
    return out, out_mask, out_positions


def close(found, wanted, atol=2e-5):
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=atol), found, wanted)


def same(found, wanted):
    jax.tree.map(np.testing.assert_array_equal, found, wanted)


# --- parity ------------------------------------------------------------------------------------


def reference_weights(model, file):
    """A PyTorch state_dict of the reference (keys sd/…) into the skeleton of an encoder."""
    used = set()

    def put(variable, key, axes=None):
        value = file["sd/" + key]
        used.add(key)
        value = value if axes is None else value.transpose(axes)
        assert value.shape == variable.shape, key
        variable.set_value(jnp.asarray(value))

    def linear(module, key, weight=".weight", bias=".bias"):
        put(module.kernel, key + weight, (1, 0))
        put(module.bias, key + bias)

    def norm(module, key):
        put(module.scale, key + ".weight")
        put(module.bias, key + ".bias")

    def layer(module, key):
        linear(module.attention.qkv, key, ".self_attn.in_proj_weight", ".self_attn.in_proj_bias")
        linear(module.attention.out, key + ".self_attn.out_proj")
        linear(module.up, key + ".linear1")
        linear(module.down, key + ".linear2")
        norm(module.norm1, key + ".norm1")
        norm(module.norm2, key + ".norm2")

    for i, stage in enumerate(model.tokenizer.stages):
        conv, bn, ln = (f"patch_embedding.tokenizer.{4 * i + k}." for k in (0, 1, 3))
        put(stage.kernel, conv + "weight", (2, 1, 0))
        put(stage.bias, conv + "bias")
        put(stage.bn_scale, bn + "weight")
        put(stage.bn_bias, bn + "bias")
        put(stage.mean, bn + "running_mean")
        put(stage.var, bn + "running_var")
        put(stage.ln_scale, ln + "weight", (1, 0))
        put(stage.ln_bias, ln + "bias", (1, 0))
    linear(model.tokenizer.project, "patch_embedding.tokenizer.26")
    layer(model.channel_pooling.layer, "spatial_pooling.transformer_layer")
    layer(model.time_pooling.layer, "temporal_pooling.transformer_layer")
    norm(model.norm, "layer_norm")
    for i, module in enumerate(model.layers):
        layer(module, f"transformer_encoder.layers.{i}")
    left = {k[3:] for k in file.files if k.startswith("sd/")} - used
    known = ("num_batches_tracked", "positional_encoding.pe")
    assert all(k.startswith("channel_pe_mlp") or k.endswith(known) for k in left), left


def golden_encoder(file, **sizes):
    """jitted (x, mask [B, C]) → (clip, tokens) with the weights of a golden file."""
    model = skeleton(EncoderConfig(position_encoding="none", **sizes))
    reference_weights(model, file)
    graph, state = nnx.split(model)

    @jax.jit
    def forward(state, x, mask):
        with jax.default_matmul_precision("highest"):
            return nnx.merge(graph, state)(x, mask)

    return lambda x, mask: jax.device_get(forward(state, x, mask))


@pytest.mark.real
def test_the_released_encoder_gives_the_same_numbers(shared):
    file = np.load(shared / "golden" / "a_zou_settransformer.npz")
    forward = golden_encoder(file)
    pooled, tokens = forward(file["in/x"], file["in/mask"] == 0)
    np.testing.assert_allclose(pooled, file["out64/pooled"], atol=2e-5)
    np.testing.assert_allclose(tokens, file["out64/embedding"], atol=5e-5)
    # One channel goes through the pooling layer like any number of them (docs/golden.md §4, Z1), so
    # the reference must be asked with a second, padded channel.
    one = np.full(file["in/x"].shape, 7.0, np.float32)
    one[:, :1] = file["c1/x"]
    pooled, tokens = forward(one, np.arange(5) < np.ones((3, 1)))
    np.testing.assert_allclose(pooled, file["c1_padded_to_2/pooled"], atol=2e-5)
    np.testing.assert_allclose(tokens, file["c1_padded_to_2/embedding"], atol=5e-5)


@pytest.mark.real
def test_the_transfer_papers_encoder_gives_the_same_numbers(shared):
    file = np.load(shared / "golden" / "b_paper_encoder.npz")
    forward = golden_encoder(file, patch_samples=128, layers=3)
    for montage in ("mono", "bip"):
        x = file[f"in/x_{montage}"]
        valid = np.arange(6) < np.full((len(x), 1), x.shape[1])
        x = np.pad(x, ((0, 0), (0, 6 - x.shape[1]), (0, 0)))
        pooled, tokens = forward(x, valid)
        np.testing.assert_allclose(pooled, file[f"out64_plain/{montage}/pooled"], atol=2e-5)
        np.testing.assert_allclose(tokens, file[f"out64_plain/{montage}/embedding"], atol=5e-5)


# --- channels ----------------------------------------------------------------------------------


def test_padded_channels_change_nothing_in_evaluation(clip):
    wanted = evaluation()(*clip)
    for slots in ((0, 1, 2), (0, 2, 4)):
        noise = evaluation()(*spread(clip, slots, 5, garbage=1e4))
        close(noise, wanted)
        same(evaluation()(*spread(clip, slots, 5, garbage=np.nan)), noise)


def test_padded_channels_change_nothing_in_training(clip):
    """Outputs, batch statistics and gradients; what lies in a padded slot is not even read."""
    key = jax.random.key(0)
    run = training(0.0, gradients=True)
    *wanted, grads = run(*clip, key)
    found = run(*spread(clip, (0, 2, 4), 5, garbage=1e4), key)
    close(found[:3], tuple(wanted))
    largest = max(np.abs(g).max() for g in jax.tree.leaves(grads))
    assert np.isfinite(largest) and largest > 0
    close(found[3], grads, atol=1e-5 * largest)
    same(run(*spread(clip, (0, 2, 4), 5, garbage=np.nan), key), found)


def test_gaps_enter_no_batch_statistics(clip):
    """A masked patch, whatever it holds, leaves outputs, statistics and gradients alone."""
    x, mask, positions = spread(clip, (0, 1, 2), 5, garbage=0.0)
    mask[0, 1, 2] = mask[2, 0, :3] = False
    outcomes = []
    for garbage in (0.0, 1e4, np.nan):
        x[0, 1, 2 * P : 3 * P] = x[2, 0, : 3 * P] = garbage
        outcomes.append(training(0.0, gradients=True)(x, mask, positions, jax.random.key(0)))
    same(outcomes[1], outcomes[0])
    same(outcomes[2], outcomes[0])


def test_the_order_of_channels_does_not_matter_if_their_positions_go_with_them(clip):
    wanted = evaluation()(*clip)
    order = [2, 0, 1]
    moved = [a[:, order] for a in clip]
    close(evaluation()(*moved), wanted)
    left_behind = evaluation()(moved[0], moved[1], clip[2])
    assert np.abs(left_behind[0] - wanted[0]).max() > 1e-3


def test_left_and_right_electrodes_differ(clip):
    x, mask, positions = clip
    wanted, _ = evaluation()(x, mask, positions)
    mirrored, _ = evaluation()(x, mask, positions * np.float32([-1, 1, 1]))
    assert np.abs(mirrored - wanted).max() > 1e-3


def test_any_number_of_channels(clip):
    rng = np.random.default_rng(2)
    x = rng.standard_normal((B, 5, S * P)).astype(np.float32)
    mask, positions = np.ones((B, 5, S), bool), rng.uniform(-1, 1, (B, 5, 3)).astype(np.float32)
    for channels in (1, 5):
        vector, tokens = evaluation()(x[:, :channels], mask[:, :channels], positions[:, :channels])
        assert vector.shape == (B, TINY.width) and tokens.shape == (B, S, TINY.width)
        assert np.isfinite(vector).all() and np.isfinite(tokens).all()
    # One channel of one is one channel of five.
    one = tuple(a[:, :1] for a in (x, mask, positions))
    close(evaluation()(*spread(one, (3,), 5, garbage=1e4)), evaluation()(*one))


# --- time and batch ----------------------------------------------------------------------------


def test_a_clip_with_a_masked_tail_is_the_shorter_clip(clip):
    x, mask, positions = clip
    short, short_tokens = evaluation()(x[..., : 2 * P], mask[..., :2], positions)
    mask = mask.copy()
    mask[..., 2:] = False
    vector, tokens = evaluation()(x, mask, positions)
    close((vector, tokens[:, :2]), (short, short_tokens))


def test_a_gap_of_one_channel_is_not_a_stretch_of_zeros(clip):
    x, mask, positions = (a.copy() for a in clip)
    x[:, 0, :P] = 0
    as_signal, _ = evaluation()(x, mask, positions)
    mask[:, 0, 0] = False
    as_gap, _ = evaluation()(x, mask, positions)
    assert np.abs(as_gap - as_signal).max() > 1e-3


def test_neighbours_in_the_batch_do_not_matter_in_evaluation(clip):
    x, mask, positions = (a.copy() for a in clip)
    vector, tokens = evaluation()(x, mask, positions)
    x[1:] = np.random.default_rng(3).standard_normal(x[1:].shape) * 50
    mask[2] = False  # a filler row
    found, found_tokens = evaluation()(x, mask, positions)
    close((found[0], found_tokens[0]), (vector[0], tokens[0]), atol=1e-6)
    assert np.isfinite(found).all()
    assert not np.array_equal(found[1], vector[1])


def test_masks_of_every_rank_mean_the_same():
    shape = (2, 3, 4)
    by_channel = np.array([[1, 0, 1], [1, 1, 1]], bool)
    full = np.asarray(Encoder.full_mask(jnp.asarray(by_channel), shape))
    assert full.dtype == bool and full.shape == shape
    same(full, np.repeat(by_channel[:, :, None], 4, axis=2))
    same(np.asarray(Encoder.full_mask(jnp.asarray(full), shape)), full)
    assert np.asarray(Encoder.full_mask(None, shape)).all()


# --- training mode -----------------------------------------------------------------------------


def test_dropout_is_on_in_training_only_and_a_function_of_the_key(clip):
    run = training(0.5, gradients=False)
    first, again, other = (run(*clip, jax.random.key(k)) for k in (1, 1, 2))
    same(again, first)
    assert np.abs(other[0] - first[0]).max() > 1e-3
    close(other[2], first[2])  # there is no dropout before the batch statistics
    without = training(0.0, gradients=True)(*clip, jax.random.key(1))
    assert np.abs(without[0] - first[0]).max() > 1e-3
    close(without[2], first[2])


def test_running_statistics_follow_torchs_rule():
    """Momentum 0.1, unbiased variance, over valid patches and time, the conv's bias included."""
    stage = ConvStage(1, 4, 32, dtype=jnp.float32, rngs=nnx.Rngs(0))
    rng = np.random.default_rng(4)
    x = rng.standard_normal((6, 64, 1)).astype(np.float32)
    valid = np.array([1, 1, 0, 1, 1, 0], bool)
    padded = np.pad(x[valid, :, 0].astype(np.float64), ((0, 0), (2, 2)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 5, axis=1)[:, ::2]  # [N, L, 5]
    y = windows @ np.asarray(stage.kernel[...])[:, 0] + np.asarray(stage.bias[...])  # [N, L, C]
    y = y.reshape(-1, 4)
    stage(jnp.asarray(x), jnp.asarray(valid), True)
    np.testing.assert_allclose(stage.mean[...], 0.1 * y.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(stage.var[...], 0.9 + 0.1 * y.var(0, ddof=1), rtol=1e-5)
    before = np.asarray(stage.mean[...]), np.asarray(stage.var[...])
    stage(jnp.asarray(x), jnp.zeros(6, bool), True)  # nothing valid: nothing learnt
    same((np.asarray(stage.mean[...]), np.asarray(stage.var[...])), before)


# --- arithmetic and errors ---------------------------------------------------------------------


def test_bfloat16_is_close_to_float32(clip):
    config = dataclasses.replace(TINY, dtype="bfloat16")
    assert {x.dtype for x in jax.tree.leaves(random_model(config)[1])} == {jnp.dtype("float32")}
    for found, wanted in zip(evaluation(config)(*clip), evaluation()(*clip)):
        found = found.astype(np.float32)
        assert np.abs(found - wanted).max() < 0.1 * wanted.std()
        assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.999


def shapes_of(config, shape):
    graph, state = nnx.split(skeleton(config))
    return jax.eval_shape(lambda state, x: nnx.merge(graph, state)(x), state, jnp.zeros(shape))


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match=r"100 samples is not a whole number of patches of 64"):
        shapes_of(TINY, (1, 1, 100))
    with pytest.raises(ValueError, match="whole number of patches"):
        shapes_of(TINY, (1, 1, 0))
    with pytest.raises(ValueError, match="129 patches exceed max_tokens=128"):
        shapes_of(TINY, (1, 1, 129 * P))
    assert shapes_of(TINY, (2, 1, 128 * P))[1].shape == (2, 128, TINY.width)
    with pytest.raises(ValueError, match="position_encoding 'learned'"):
        EncoderConfig(position_encoding="learned")
    with pytest.raises(ValueError, match="width 32 is not divisible by 5 heads"):
        skeleton(dataclasses.replace(TINY, heads=5))


def test_the_released_sizes_have_the_released_number_of_parameters():
    model = skeleton(EncoderConfig())
    count = sum(x.size for x in jax.tree.leaves(nnx.state(model, nnx.Param)))
    positions = sum(x.size for x in jax.tree.leaves(nnx.state(model.electrodes, nnx.Param)))
    assert count - positions == 4_831_656
    assert positions == 128 * 128 + 2 * 128
