"""Contrastive losses against a float64 loop written from the words, gradients included."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepfm_jax.losses import contrastive

LOSSES = {"leave_one_out": contrastive.leave_one_out, "pairwise": contrastive.pairwise}


@functools.cache
def with_gradient(mode, renormalise=False):
    """jitted (embeddings [M, B, D], log_scale, presence) → (result, gradients of the first two)."""
    options = {"renormalise_target": True} if renormalise else {}

    def loss(embeddings, log_scale, presence):
        result = LOSSES[mode](embeddings, log_scale, presence, **options)
        return result.loss, result

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))

    def both(embeddings, log_scale, presence):
        grads, result = gradient(embeddings, log_scale, presence)
        return jax.device_get(result), jax.device_get(grads)

    return both


def unit(rng, *shape):
    x = rng.standard_normal(shape)
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def by_definition(mode, e, log_scale, presence, renormalise=False):
    """By loops in float64: the mean of all terms; {direction: (mean, accuracy, count)}; the
    gradient of the mean with respect to e [M, B, D]; and that with respect to log_scale."""
    e, scale = e.astype(np.float64), np.exp(np.float64(log_scale))
    m, b = presence.shape
    directions, every, gradient, slopes = {}, [], np.zeros_like(e), []

    def ask(key, queries, answers, clips):
        """queries, answers: {clip: (vector, function that takes the gradient of it)}."""
        terms, hits = [], []
        for i in clips:
            row = np.array([scale * (queries[i][0] @ answers[j][0]) for j in clips])
            own = clips.index(i)
            chance = np.exp(row - row.max())
            terms.append(np.log(chance.sum()) + row.max() - row[own])
            hits.append(all(row[own] > r for k, r in enumerate(row) if k != own))
            slope = chance / chance.sum() - (np.arange(len(clips)) == own)
            slopes.append(slope @ row)
            for j, s in zip(clips, slope):
                queries[i][1](s * scale * answers[j][0])
                answers[j][1](s * scale * queries[i][0])
        directions[key] = (terms, hits)
        every.extend(terms)

    def vector(a, i):
        def take(g):
            gradient[a, i] += g

        return e[a, i], take

    def mean_of(others, i):
        mean = sum(e[o, i] for o in others) / len(others)
        length = np.linalg.norm(mean) if renormalise else 1.0

        def take(g):
            if renormalise:
                g = (g - mean * (mean @ g) / length**2) / length
            for o in others:
                gradient[o, i] += g / len(others)

        return mean / length, take

    if mode == "leave_one_out":
        for a in range(m):
            target = {}
            for i in range(b):
                others = [o for o in range(m) if o != a and presence[o, i]]
                if presence[a, i] and others:
                    target[i] = mean_of(others, i)
            clips = sorted(target)
            own = {i: vector(a, i) for i in clips}
            ask((a, 0), own, target, clips)
            ask((a, 1), target, own, clips)
    else:
        for a, o in itertools.combinations(range(m), 2):
            clips = [i for i in range(b) if presence[a, i] and presence[o, i]]
            one, other = ({i: vector(x, i) for i in clips} for x in (a, o))
            ask((a, o, 0), one, other, clips)
            ask((a, o, 1), other, one, clips)
            for direction in (0, 1):
                directions[o, a, direction] = directions[a, o, 1 - direction]
    count = max(len(every), 1)
    table = {
        key: (np.mean(terms) if terms else 0, np.mean(hits) if hits else 0, len(terms))
        for key, (terms, hits) in directions.items()
    }
    return sum(every) / count, table, gradient / count, sum(slopes) / count


def compare(found, expected, presence):
    """1e-5 relative; of a gradient, relative to its largest entry."""
    result, (gradient, log_scale_gradient) = found
    loss, table, wanted, wanted_log_scale = expected
    np.testing.assert_allclose(result.loss, loss, rtol=1e-5, atol=1e-6)
    # What batches are added up by.
    np.testing.assert_allclose(result.total, loss * result.terms, rtol=1e-5, atol=1e-6)
    for key, (mean, accuracy, count) in table.items():
        assert result.count[key] == count, key
        np.testing.assert_allclose(result.direction_loss[key], mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(result.accuracy[key], accuracy, rtol=1e-6)
    largest = np.abs(wanted).max()
    np.testing.assert_allclose(gradient, wanted, rtol=1e-5, atol=1e-5 * largest)
    np.testing.assert_allclose(log_scale_gradient, wanted_log_scale, rtol=1e-5, atol=1e-6)
    alone = presence & (presence.sum(0) == 1)
    np.testing.assert_array_equal(gradient[~presence | alone], 0)


PRESENCES = {
    "all": np.ones((3, 6), bool),
    "some": np.array([[1, 1, 0, 1, 1, 0], [1, 0, 0, 1, 1, 1], [0, 1, 1, 1, 1, 0]], bool),
    "one clip with two": np.array(
        [[1, 0, 0, 1, 0, 0], [1, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0]], bool
    ),
    "only single modalities": np.array(
        [[1, 0, 0, 1, 0, 0], [0, 1, 0, 0, 1, 0], [0, 0, 1, 0, 0, 0]], bool
    ),
    "none": np.zeros((3, 6), bool),
}


WAYS = [("leave_one_out", False), ("leave_one_out", True), ("pairwise", False)]


@pytest.mark.parametrize("presence", PRESENCES.values(), ids=PRESENCES)
@pytest.mark.parametrize(("mode", "renormalise"), WAYS)
def test_absent_modalities_leave_exactly_their_own_terms(mode, renormalise, presence):
    e = unit(np.random.default_rng(1), 3, 6, 8)
    filled = np.where(presence[..., None], e, np.nan)  # what stands there must not matter
    found = with_gradient(mode, renormalise)(filled, 1.3, presence)
    compare(found, by_definition(mode, e, 1.3, presence, renormalise), presence)
    takes_part = presence & (presence.sum(0) > 1)
    if takes_part.sum() > 2:
        assert found[1][0][takes_part].any(-1).all()


@pytest.mark.parametrize(("mode", "renormalise"), WAYS)
def test_any_pattern_of_absences_is_the_definition(mode, renormalise):
    """Loss, directions and gradients, at random; some modalities are absent from all clips."""
    rng = np.random.default_rng(12)
    function = with_gradient(mode, renormalise)
    for density in (0.95, 0.8, 0.6, 0.4, 0.2, 0.1) * 4:
        presence = rng.random((4, 7)) < density
        presence[rng.random(4) < 0.15] = False
        e = unit(rng, 4, 7, 8)
        filled = np.where(presence[..., None], e, rng.choice([np.nan, np.inf, 1e30]))
        log_scale = rng.uniform(0, 2.5)
        found = function(filled.astype(np.float32), np.float32(log_scale), presence)
        wanted = by_definition(mode, e, np.float32(log_scale), presence, renormalise)
        compare(found, wanted, presence)


@pytest.mark.parametrize(("mode", "renormalise"), WAYS)
def test_the_gradient_of_the_definition_is_its_slope(mode, renormalise):
    """What the tests compare with, against central differences in float64."""
    rng = np.random.default_rng(3)
    e, presence = unit(rng, 3, 6, 8).astype(np.float64), PRESENCES["some"]
    _, _, gradient, log_scale_gradient = by_definition(mode, e, 1.3, presence, renormalise)

    def slope(way, log_scale_way, step=1e-5):
        up, down = (
            by_definition(mode, e + s * way, 1.3 + s * log_scale_way, presence, renormalise)[0]
            for s in (step, -step)
        )
        return (up - down) / (2 * step)

    for _ in range(3):
        way = rng.standard_normal(e.shape)
        np.testing.assert_allclose((gradient * way).sum(), slope(way, 0), rtol=1e-7)
    np.testing.assert_allclose(log_scale_gradient, slope(0, 1), rtol=1e-7)


@pytest.mark.parametrize("mode", LOSSES)
def test_a_clip_with_one_modality_takes_no_part(mode):
    e = unit(np.random.default_rng(2), 3, 6, 8)
    presence = np.ones((3, 6), bool)
    presence[1:, 2] = False
    with_it, _ = with_gradient(mode)(e, 0.7, presence)
    rest = np.delete(np.arange(6), 2)
    without = by_definition(mode, e[:, rest], 0.7, presence[:, rest])[0]
    np.testing.assert_allclose(with_it.loss, without, rtol=1e-5)


def test_absent_modalities_reach_no_raw_embedding():
    """Through the unit vectors as well, whatever an encoder makes of a modality of zeros."""
    rng = np.random.default_rng(13)
    raw = rng.standard_normal((4, 7, 8)).astype(np.float32)
    presence = rng.random((4, 7)) < 0.6
    rubbish = np.array([0.0, 1e-15, 1.0, 1e15], np.float32)
    raw[~presence] = np.resize(rubbish, np.sum(~presence))[:, None]

    @functools.partial(jax.jit, static_argnums=1)
    def gradient(raw, mode):
        return jax.grad(lambda x: LOSSES[mode](contrastive.unit_vectors(x), 1.0, presence).loss)(
            raw
        )

    for mode in LOSSES:
        found = jax.device_get(gradient(raw, mode))
        np.testing.assert_array_equal(found[~presence], 0)
        assert found[presence & (presence.sum(0) > 1)].any(-1).all()


@pytest.mark.parametrize("mode", LOSSES)
def test_the_order_of_clips_and_modalities_does_not_matter(mode):
    rng = np.random.default_rng(4)
    e, presence = unit(rng, 3, 6, 8), PRESENCES["some"]
    result, (gradient, _) = with_gradient(mode)(e, 2.0, presence)
    for _ in range(3):
        clips, modalities = rng.permutation(6), rng.permutation(3)
        moved, (moved_gradient, _) = with_gradient(mode)(
            e[modalities][:, clips], 2.0, presence[modalities][:, clips]
        )
        np.testing.assert_allclose(moved.loss, result.loss, rtol=1e-6)
        np.testing.assert_allclose(
            moved_gradient, gradient[modalities][:, clips], rtol=1e-4, atol=1e-7
        )
        swapped = result.count[modalities]
        if mode == "pairwise":
            swapped = swapped[:, modalities]
        np.testing.assert_array_equal(moved.count, swapped)


@pytest.mark.parametrize("mode", LOSSES)
def test_a_batch_of_one_clip_is_always_right_and_teaches_nothing(mode):
    e = unit(np.random.default_rng(6), 3, 1, 8)
    result, (gradient, log_scale_gradient) = with_gradient(mode)(e, 1.3, np.ones((3, 1), bool))
    assert result.loss == 0 and log_scale_gradient == 0
    assert not gradient.any()
    # Nothing can be told apart among one: that counts as found.
    assert result.accuracy[0].max() == 1


@pytest.mark.parametrize("mode", LOSSES)
def test_a_collapsed_embedding_finds_nothing(mode):
    e = np.broadcast_to(unit(np.random.default_rng(7), 8), (3, 6, 8))
    result, _ = with_gradient(mode)(e, 1.3, np.ones((3, 6), bool))
    assert result.accuracy.max() == 0
    np.testing.assert_allclose(result.loss, np.log(6), rtol=1e-5)


def test_bfloat16_embeddings_give_a_float32_loss_near_the_true_one():
    e = unit(np.random.default_rng(8), 3, 6, 8)
    presence = np.ones((3, 6), bool)
    wanted = by_definition("leave_one_out", e, 1.3, presence)[0]
    found = jax.jit(contrastive.leave_one_out)(jnp.asarray(e, jnp.bfloat16), 1.3, presence).loss
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, wanted, rtol=2e-2)


@pytest.mark.parametrize("mode", LOSSES)
def test_float64_embeddings_give_a_float64_loss(mode):
    loss = functools.partial(LOSSES[mode], log_scale=1.0)
    with jax.enable_x64(True):
        assert jax.eval_shape(loss, np.zeros((2, 2, 13))).loss.dtype == jnp.float64


def test_unit_vectors():
    x = np.array([[3.0, 4.0], [0.0, 0.0], [1e-20, 0.0], [1e15, 1e15]], np.float32)
    y = np.asarray(contrastive.unit_vectors(jnp.asarray(x)))
    np.testing.assert_allclose(y[0], [0.6, 0.8], rtol=1e-6)
    np.testing.assert_array_equal(y[1], [0, 0])
    np.testing.assert_array_equal(y[2], [0, 0])
    np.testing.assert_allclose(y[3], [0.5**0.5] * 2, rtol=1e-6)
    assert np.isnan(contrastive.unit_vectors(jnp.array([np.nan, 1.0]))).all()  # a loss must show it
    gradient = jax.grad(lambda v: contrastive.unit_vectors(v).sum())(jnp.zeros(2))
    np.testing.assert_array_equal(gradient, [0, 0])
