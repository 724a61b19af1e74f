"""Heads: what padding may not change, what the masks of training do, and which parts freeze."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepfm_jax.models import heads
from sleepfm_jax.models.dropout import DropoutStream
from sleepfm_jax.models.heads import eeg, layers
from sleepfm_jax.models.pure import Pure, statistics

B, N, S, D, K = 3, 2, 5, 16, 3


def configured(kind, **changes):
    return heads.HeadConfig(kind, D, K, dropout=0.2, pool_length=4, **changes)


@functools.cache
def made(kind):
    """The head's module and random arrays for it."""
    pure = Pure(lambda rngs: heads.make(configured(kind), rngs))
    params, stats = pure.shapes()
    rng = np.random.default_rng(len(kind))
    params = jax.tree.map(lambda x: rng.normal(0.5, 0.3, x.shape).astype(np.float32), params)
    stats = jax.tree.map(lambda x: rng.uniform(0.5, 2, x.shape).astype(np.float32), stats)
    return pure, params, stats


@functools.partial(jax.jit, static_argnums=0)
def run(kind, tokens, mask, key):
    """Logits in evaluation, without dropout in training; statistics after training."""
    pure, *arrays = made(kind)
    params, stats = jax.tree.map(jnp.asarray, arrays)
    head = pure.module(params, stats)
    evaluated = heads.logits(configured(kind), head, tokens, mask)
    head = pure.module(params, stats, lambda path: False)
    for module in (head, *getattr(head, "blocks", ())):  # dropout alone differs with the shape
        for name in ("dropout", "token_dropout"):
            if hasattr(module, name):
                getattr(module, name).rate = 0.0
    trained = heads.logits(configured(kind), head, tokens, mask, DropoutStream(key))
    return evaluated, trained, statistics(head)


@pytest.mark.parametrize("kind", heads.KINDS)
def test_padding_changes_neither_logits_nor_statistics(kind):
    """In time, in sequences and in rows: an exam of 5 s in a clip of 10 is an exam of 5 s."""
    rng = np.random.default_rng(0)
    tokens = rng.normal(size=(B, N, S, D)).astype(np.float32)
    mask = np.ones((B, N, S), bool)
    mask[1, 1] = False  # a lead that the second exam lacks
    mask[2, 0, 2] = False  # a gap
    tokens[~mask] = np.nan
    key = jax.random.key(0)
    short = run(kind, tokens, mask, key)
    pads = ((0, 2), (0, 1), (0, S), (0, 0))
    long = run(kind, np.pad(tokens, pads, constant_values=np.nan), np.pad(mask, pads[:3]), key)
    for before, after in zip(short[:2], long[:2]):
        assert before.shape == (B, K) and np.isfinite(before).all()
        np.testing.assert_allclose(after[:B], before, rtol=1e-4, atol=1e-4)
        assert np.isfinite(after[B:]).all()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *(
        (long[2], short[2])))  # fmt: skip
    # What is valid does count.
    other = tokens.copy()
    other[0] += rng.normal(size=other[0].shape)
    assert np.abs(run(kind, other, mask, key)[0][0] - short[0][0]).max() > 1e-3


def test_a_lead_more_is_a_mean_with_one_more():
    rng = np.random.default_rng(1)
    tokens = rng.normal(size=(B, N, S, D)).astype(np.float32)
    mask = np.ones((B, N, S), bool)
    key = jax.random.key(0)
    each = [run("resblocks_per_lead", tokens[:, i : i + 1], mask[:, :1], key)[0] for i in range(N)]
    both = run("resblocks_per_lead", tokens, mask, key)[0]
    np.testing.assert_allclose(both, np.mean(each, 0), rtol=1e-4, atol=1e-5)
    mean = run("resblocks", tokens, mask, key)[0]
    alone = run("resblocks", tokens.mean(1, keepdims=True), mask[:, :1], key)[0]
    np.testing.assert_allclose(mean, alone, rtol=1e-4, atol=1e-5)
    assert np.abs(mean - both).max() > 1e-3


def test_a_fresh_attention_head_is_the_mean():
    pure = Pure(lambda rngs: heads.make(configured("attention"), rngs))
    params, stats = pure.init(jax.random.key(0))
    rng = np.random.default_rng(2)
    tokens, mask = rng.normal(size=(B, N, S, D)), rng.random((B, N, S)) < 0.7
    ours = heads.logits(configured("attention"), pure.module(params, stats), tokens, mask)
    plain = Pure(lambda rngs: heads.make(configured("linear"), rngs))
    head = plain.module({"classify": params["classify"]}, {})
    theirs = heads.logits(configured("linear"), head, tokens, mask)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_stretches_of_time_are_those_of_what_is_valid():
    x = np.arange(10, dtype=np.float32)[None, :, None]
    np.testing.assert_allclose(
        layers.adaptive_mean(x, 4)[0, :, 0], [1.0, 3.0, 6.0, 8.0]
    )  # [0, 3), [2, 5), [5, 8), [7, 10)
    valid = np.array([[True, False, True, True, False, True, False, False, False, False]])
    x = np.where(valid[..., None], x, np.nan)  # 0, 2, 3, 5
    np.testing.assert_allclose(layers.adaptive_mean(x, 2, valid)[0, :, 0], [1.0, 4.0])
    np.testing.assert_allclose(layers.adaptive_mean(x, 3, valid)[0, :, 0], [1.0, 2.5, 4.0])
    np.testing.assert_array_equal(layers.adaptive_mean(x, 3, valid & False)[0, :, 0], 0)


# --- masks of training ----------------------------------------------------------------------------


def redrawn_spans(rng, length, probability, span):
    """As published: drawn anew until there is one, row by row."""
    while not (starts := rng.random(length) < probability).any():
        pass
    hidden = np.zeros(length, bool)
    for start in np.flatnonzero(starts):
        hidden[start : start + span] = True
    return hidden


@pytest.mark.parametrize(
    ("length", "probability", "span", "share"),
    [(60, 0.1, 6, 0.45), (10, 0.1, 6, 0.57), (128, 0.01, 64, 0.51)],
)
def test_spans_are_as_frequent_as_published(length, probability, span, share):
    rows = 4000
    valid = jnp.ones((rows, length), bool)
    draw = jax.jit(lambda key: eeg.draw_spans(DropoutStream(key), valid, probability, span))
    ours = np.asarray(draw(jax.random.key(3)))
    assert ours.any(1).all(), "one at least in every row"
    np.testing.assert_allclose(ours.mean(), share, atol=0.01)  # docs/field.md §1.A
    rng = np.random.default_rng(4)
    theirs = np.stack([redrawn_spans(rng, length, probability, span) for _ in range(rows)])
    # By place and by how many: a standard error of each is at most .008.
    np.testing.assert_allclose(ours.mean(0), theirs.mean(0), atol=0.04)
    counts = [np.bincount(x.sum(1), minlength=length + 1) / rows for x in (ours, theirs)]
    assert np.abs(np.cumsum(counts[0]) - np.cumsum(counts[1])).max() < 0.05
    assert (draw(jax.random.key(5)) != ours).any()


def test_spans_start_where_something_is_valid():
    valid = np.zeros((500, 12), bool)
    valid[:, 4:7] = True
    valid[0] = False
    hidden = np.asarray(eeg.draw_spans(DropoutStream(jax.random.key(0)), valid, 0.1, 2))
    assert not hidden[0].any() and hidden[1:].any(1).all()
    assert not hidden[:, :4].any() and not hidden[:, 8:].any()


def test_masks_are_drawn_in_training_alone_and_not_in_a_frozen_head():
    config = dataclasses.replace(
        configured("eeg"), dropout=0.0, time_mask=0.3, feature_mask=0.1, feature_mask_span=4
    )
    params, stats = jax.tree.map(jnp.asarray, made("eeg")[1:])
    tokens = np.random.default_rng(5).normal(size=(B, 1, S, D)).astype(np.float32)
    mask = np.ones((B, 1, S), bool)

    @jax.jit
    def losses(params, key):
        masked = Pure(lambda rngs: heads.make(config, rngs))

        def logits(frozen=None, train=True, config=config, pure=masked):
            head = pure.module(params, stats, frozen)
            coins = DropoutStream(key) if train else None
            return heads.logits(config, head, tokens, mask, coins)

        plain = dataclasses.replace(config, time_mask=0.0, feature_mask=0.0)
        unmasked = Pure(lambda rngs: heads.make(plain, rngs))
        return (
            logits(),
            logits(config=plain, pure=unmasked),
            logits(train=False),
            logits(frozen=lambda path: True),
        )

    training, unmasked, evaluation, frozen = losses(params, jax.random.key(0))
    again = losses(params, jax.random.key(1))
    assert np.abs(training - unmasked).max() > 1e-3
    assert np.abs(training - again[0]).max() > 1e-3
    np.testing.assert_array_equal(frozen, evaluation)
    np.testing.assert_array_equal(again[2], evaluation)
    slope = jax.jit(jax.grad(lambda p: losses(p, jax.random.key(0))[0].var()))(params)
    assert np.abs(slope["mask_vector"]).max() > 0, "the vector is learned"


def test_a_width_without_groups_is_refused():
    with pytest.raises(ValueError, match="width 20 is not divisible by the head's 8"):
        Pure(lambda rngs: heads.make(heads.HeadConfig("eeg", 20, 2), rngs))
    with pytest.raises(ValueError, match="head 'eegs' is not one of linear, attention"):
        heads.HeadConfig("eegs", 16, 2)
