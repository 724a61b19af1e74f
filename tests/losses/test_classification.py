"""Cross-entropy against a float64 loop written from its definition."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepfm_jax.losses import classification

WEIGHTS = np.array([1.0, 4.0, 2.0, 0.5, 3.0], np.float32)


def cross_entropy_by_definition(logits, labels, mask, weights, smoothing, normalise):
    """(loss, gradient) in float64, one example after the other."""
    k = logits.shape[-1]
    weights = np.ones(k) if weights is None else weights.astype(np.float64)
    total, size, gradient = 0.0, 0.0, np.zeros(logits.shape)
    for place in np.ndindex(labels.shape):
        if not mask[place] or labels[place] < 0:
            continue
        row = logits[place].astype(np.float64)
        log_p = row - row.max() - np.log(np.exp(row - row.max()).sum())
        target = np.full(k, smoothing / k)
        target[labels[place]] += 1 - smoothing
        total -= (target * weights * log_p).sum()
        gradient[place] = (target * weights).sum() * np.exp(log_p) - target * weights
        size += 1 if normalise == "examples" else weights[labels[place]]
    return (total / size, gradient / size) if size else (0.0, gradient)


@functools.cache
def entropy(smoothing, normalise):
    def loss(logits, labels, mask, weights):
        return classification.cross_entropy(logits, labels, mask, weights, smoothing, normalise)

    both = jax.jit(jax.value_and_grad(loss))
    return lambda *args: jax.device_get(both(*args))


@pytest.mark.parametrize("normalise", classification.NORMALISE)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["equal", "weighted"])
def test_cross_entropy_is_its_definition(weights, smoothing, normalise):
    rng = np.random.default_rng(0)
    logits = (3 * rng.standard_normal((3, 6, 5))).astype(np.float32)
    labels = rng.integers(-1, 5, (3, 6))
    for mask in (rng.random((3, 6)) < 0.7, np.ones((3, 6), bool), np.zeros((3, 6), bool)):
        wanted, slope = cross_entropy_by_definition(
            logits, labels, mask, weights, smoothing, normalise
        )
        spoiled = np.where((mask & (labels >= 0))[..., None], logits, np.nan)
        loss, gradient = entropy(smoothing, normalise)(spoiled, labels, mask, weights)
        np.testing.assert_allclose(loss, wanted, rtol=1e-5)
        atol = 1e-5 * np.abs(slope).max()  # small entries are differences of large ones
        np.testing.assert_allclose(gradient, slope, rtol=1e-5, atol=atol)
        np.testing.assert_array_equal(gradient[~mask | (labels < 0)], 0)
        if not mask.any():
            assert loss == 0


def test_unscored_labels_need_no_mask():
    logits = np.random.default_rng(1).standard_normal((8, 5)).astype(np.float32)
    labels = np.array([0, -1, 3, 4, -1, 2, 2, 1])
    scored = labels >= 0
    wanted, _ = cross_entropy_by_definition(logits, labels, scored, None, 0.0, "examples")
    for same in (labels, labels.astype(np.float32)):  # reference code stores floating numbers
        loss, _ = entropy(0.0, "examples")(logits, same, None, None)
        np.testing.assert_allclose(loss, wanted, rtol=1e-6)


def test_a_weight_of_nothing_and_an_impossible_class():
    logits = np.array([[1.0, -np.inf, 2.0], [0.5, -np.inf, 0.0]], np.float32)
    labels = np.array([2, 0])
    loss, gradient = entropy(0.0, "examples")(logits, labels, None, None)
    np.testing.assert_allclose(loss, (np.log1p(np.exp(-1)) + np.log1p(np.exp(-0.5))) / 2, rtol=1e-6)
    assert np.isfinite(gradient).all()
    weights = np.array([0.0, 1.0, 0.0])
    nothing, gradient = entropy(0.0, "weights")(np.zeros((2, 3)), labels, None, weights)
    assert nothing == 0 and not gradient.any()


def test_a_label_beyond_the_classes_is_not_taken_for_one():
    assert np.isnan(classification.cross_entropy(np.zeros((2, 5), np.float32), np.array([1, 5])))


def test_cross_entropy_says_what_is_wrong():
    logits, labels = np.zeros((2, 5), np.float32), np.zeros(2, int)
    with pytest.raises(ValueError, match="normalise must be one of examples, weights, not 'mean'"):
        classification.cross_entropy(logits, labels, normalise="mean")
    for wrong in (
        {"labels": np.zeros((2, 5), int)},
        {"mask": np.ones(5, bool)},
        {"class_weights": np.ones(4)},
    ):
        with pytest.raises(ValueError, match="do not fit"):
            classification.cross_entropy(**({"logits": logits, "labels": labels} | wrong))


def test_float32_unless_the_arrays_are_float64():
    labels, logits = np.zeros(13, int), np.zeros((13, 4), np.float32)

    def dtype(logits):
        return jax.eval_shape(classification.cross_entropy, logits, labels).dtype

    assert dtype(jnp.asarray(logits, jnp.bfloat16)) == jnp.float32
    with jax.enable_x64(True):
        assert dtype(logits) == jnp.float32
        assert dtype(logits.astype(np.float64)) == jnp.float64


# --- any number of labels ---------------------------------------------------------------------


def binary_by_definition(logits, labels, mask, smoothing):
    """(loss, gradient) in float64, one label after the other."""
    total, size, gradient = 0.0, 0, np.zeros(logits.shape)
    for place in np.ndindex(labels.shape):
        if not mask[place] or np.isnan(labels[place]):
            continue
        p = 1 / (1 + np.exp(-np.float64(logits[place])))
        target = np.float64(labels[place]) * (1 - smoothing) + smoothing / 2
        total -= target * np.log(p) + (1 - target) * np.log1p(-p)
        gradient[place] = p - target
        size += 1
    return (total / size, gradient / size) if size else (0.0, gradient)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_binary_cross_entropy_is_its_definition(smoothing):
    rng = np.random.default_rng(2)
    logits = (3 * rng.standard_normal((6, 4))).astype(np.float32)
    labels = rng.integers(0, 2, (6, 4)).astype(np.float32)
    labels[rng.random((6, 4)) < 0.2] = np.nan
    loss_of = functools.partial(classification.binary_cross_entropy, label_smoothing=smoothing)
    both = jax.jit(jax.value_and_grad(loss_of))
    for mask in (rng.random((6, 4)) < 0.7, np.ones((6, 4), bool), np.zeros((6, 4), bool)):
        wanted, slope = binary_by_definition(logits, labels, mask, smoothing)
        spoiled = np.where(mask & np.isfinite(labels), logits, np.nan)
        loss, gradient = both(spoiled, labels, mask)
        np.testing.assert_allclose(loss, wanted, rtol=1e-5)
        np.testing.assert_allclose(gradient, slope, rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(gradient[~mask | np.isnan(labels)], 0)
    far = np.array([[200.0, -200.0]], np.float32)
    loss, gradient = both(far, np.array([[0.0, 1.0]], np.float32), np.ones((1, 2), bool))
    np.testing.assert_allclose(loss, 200 * (1 - smoothing / 2), rtol=1e-6)
    assert np.isfinite(gradient).all()
    with pytest.raises(ValueError, match="do not fit"):
        classification.binary_cross_entropy(logits, labels[:, :2])
