"""Contrastive losses against the reference's numbers and against a loop written from the words."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepfm_jax import losses

LOSSES = {"leave_one_out": losses.leave_one_out, "pairwise": losses.pairwise}


@pytest.fixture(scope="module")
def golden(shared):
    return np.load(shared / "golden" / "c_contrastive_losses.npz")


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


@functools.cache
def from_raw():
    """jitted gradient of the leave-one-out and pairwise loss of normalised raw embeddings."""

    @functools.partial(jax.jit, static_argnums=2)
    def gradient(raw, log_scale, mode):
        return jax.grad(lambda x: LOSSES[mode](losses.unit_vectors(x), log_scale).loss)(raw)

    return gradient


def unit(rng, *shape):
    x = rng.standard_normal(shape)
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def cross_entropy(row, answer):
    """float64 −log softmax(row)[answer]."""
    row = np.array(row, np.float64)
    return np.log(np.exp(row - row.max()).sum()) + row.max() - row[answer]


def by_definition(mode, e, log_scale, presence):
    """Mean of all terms, and {direction: (mean loss, accuracy, count)}, by loops in float64."""
    e, scale = e.astype(np.float64), np.exp(np.float64(log_scale))
    m, b = presence.shape
    directions = {}

    def ask(key, queries, answers, clips):
        terms, hits = [], []
        for place, i in enumerate(clips):
            row = [scale * queries[i] @ answers[j] for j in clips]
            terms.append(cross_entropy(row, place))
            hits.append(all(row[place] > r for k, r in enumerate(row) if k != place))
        directions[key] = (terms, hits)

    if mode == "leave_one_out":
        for a in range(m):
            target = {}
            for i in range(b):
                others = [e[o, i] for o in range(m) if o != a and presence[o, i]]
                if presence[a, i] and others:
                    target[i] = np.mean(others, axis=0)
            clips = sorted(target)
            ask((a, 0), e[a], target, clips)
            ask((a, 1), target, e[a], clips)
    else:
        for a, o in itertools.permutations(range(m), 2):
            clips = [i for i in range(b) if presence[a, i] and presence[o, i]]
            ask((a, o, 0), e[a], e[o], clips)
            ask((a, o, 1), e[o], e[a], clips)
    every = [t for terms, _ in directions.values() for t in terms]
    table = {
        key: (np.mean(terms) if terms else 0, np.mean(hits) if hits else 0, len(terms))
        for key, (terms, hits) in directions.items()
    }
    return (np.mean(every) if every else 0.0), table


def compare(result, expected):
    loss, table = expected
    np.testing.assert_allclose(result.loss, loss, rtol=1e-5, atol=1e-6)
    for key, (mean, accuracy, count) in table.items():
        assert result.count[key] == count, key
        np.testing.assert_allclose(result.direction_loss[key], mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(result.accuracy[key], accuracy, rtol=1e-6)


@pytest.mark.real
@pytest.mark.parametrize("mode", LOSSES)
@pytest.mark.parametrize("log_scale", [0.0, 2.3])
def test_the_reference_gives_the_same_numbers(golden, mode, log_scale):
    where = f"{mode}/T{log_scale}"
    e = np.stack([golden[f"in/normalised{i}"] for i in range(4)])
    b = e.shape[1]
    result, (gradient, log_scale_gradient) = with_gradient(mode)(
        e, log_scale, np.ones((4, b), bool)
    )
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5)
    close(result.loss, golden[f"fp64/{where}/loss_over_B"])
    close(log_scale_gradient, golden[f"fp64/{where}/grad_over_B/temperature"])
    # The reference sums over the batch and, of accuracies, has the axes swapped (INDEX.md, Z4).
    per_direction = golden[f"fp64/{where}/pairwise_loss"]
    correct = golden[f"{where}/correct_matching_loss_direction"]
    if mode == "leave_one_out":
        close(result.direction_loss * b, per_direction)
        np.testing.assert_array_equal(np.round(result.accuracy * b), correct)
    else:
        off_diagonal = ~np.eye(4, dtype=bool)
        close((result.direction_loss[..., 0] * b)[off_diagonal], per_direction[off_diagonal])
        close((result.direction_loss[..., 1] * b).T[off_diagonal], per_direction[off_diagonal])
        hits = np.round(result.accuracy[..., 0] * b)
        np.testing.assert_array_equal(hits[off_diagonal], correct[off_diagonal])
    raw = from_raw()(np.stack([golden[f"in/raw{i}"] for i in range(4)]), log_scale, mode)
    for i in range(4):
        for found, name in ((gradient[i], "normalised"), (raw[i], "raw")):
            wanted = golden[f"{where}/grad_over_B/{name}{i}"]
            close(found, wanted, atol=1e-5 * np.abs(wanted).max())


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


@pytest.mark.parametrize("presence", PRESENCES.values(), ids=PRESENCES)
@pytest.mark.parametrize("mode", LOSSES)
def test_absent_modalities_leave_exactly_their_own_terms(mode, presence):
    e = unit(np.random.default_rng(1), 3, 6, 8)
    filled = np.where(presence[..., None], e, np.nan)  # what stands there must not matter
    result, (gradient, log_scale_gradient) = with_gradient(mode)(filled, 1.3, presence)
    compare(result, by_definition(mode, e, 1.3, presence))
    assert np.isfinite(gradient).all() and np.isfinite(log_scale_gradient)
    partners = presence.sum(0) > 1
    takes_part = presence & partners
    assert not gradient[~takes_part].any()
    if takes_part.sum() > 2:
        assert gradient[takes_part].any(-1).all()


@pytest.mark.parametrize("mode", LOSSES)
def test_a_clip_with_one_modality_takes_no_part(mode):
    e = unit(np.random.default_rng(2), 3, 6, 8)
    presence = np.ones((3, 6), bool)
    presence[1:, 2] = False
    with_it, _ = with_gradient(mode)(e, 0.7, presence)
    rest = np.delete(np.arange(6), 2)
    without, _ = by_definition(mode, e[:, rest], 0.7, presence[:, rest])
    np.testing.assert_allclose(with_it.loss, without, rtol=1e-5)


@pytest.mark.parametrize("mode", LOSSES)
def test_gradients_are_those_of_the_definition(mode):
    """Central differences of the loop, in float64, in three random directions."""
    rng = np.random.default_rng(3)
    e, presence = unit(rng, 3, 6, 8), PRESENCES["some"]
    _, (gradient, log_scale_gradient) = with_gradient(mode)(e, 1.3, presence)
    e = e.astype(np.float64)
    step = 1e-5
    for _ in range(3):
        way = rng.standard_normal(e.shape)
        up, down = (by_definition(mode, e + s * way, 1.3, presence)[0] for s in (step, -step))
        np.testing.assert_allclose((gradient * way).sum(), (up - down) / (2 * step), rtol=1e-4)
    up, down = (by_definition(mode, e, 1.3 + s, presence)[0] for s in (step, -step))
    np.testing.assert_allclose(log_scale_gradient, (up - down) / (2 * step), rtol=1e-4)


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


def test_a_renormalised_target_is_a_unit_vector():
    e = unit(np.random.default_rng(5), 3, 6, 8)
    result, _ = with_gradient("leave_one_out", True)(e, 1.3, np.ones((3, 6), bool))
    terms = []
    for a in range(3):
        target = e.astype(np.float64).sum(0) - e[a]
        target /= np.linalg.norm(target, axis=-1, keepdims=True)
        logits = np.exp(1.3) * e[a] @ target.T
        terms += [cross_entropy(x[i], i) for x in (logits, logits.T) for i in range(6)]
    np.testing.assert_allclose(result.loss, np.mean(terms), rtol=1e-5)


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
    wanted, _ = by_definition("leave_one_out", e, 1.3, presence)
    found = losses.leave_one_out(jnp.asarray(e, jnp.bfloat16), 1.3, presence).loss
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, wanted, rtol=2e-2)


def test_unit_vectors():
    x = np.array([[3.0, 4.0], [0.0, 0.0], [1e-20, 0.0], [1e15, 1e15]], np.float32)
    y = np.asarray(losses.unit_vectors(jnp.asarray(x)))
    np.testing.assert_allclose(y[0], [0.6, 0.8], rtol=1e-6)
    np.testing.assert_array_equal(y[1], [0, 0])
    assert np.isfinite(y).all()
    np.testing.assert_allclose(y[3], [0.5**0.5] * 2, rtol=1e-6)
    gradient = jax.grad(lambda v: losses.unit_vectors(v).sum())(jnp.zeros(2))
    np.testing.assert_array_equal(gradient, [0, 0])
