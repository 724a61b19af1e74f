"""Cross-entropy under a mask: class numbers, of clips or of the steps of a night, and labels of
which any number may hold.

What a mask leaves out may hold anything, NaN included: it gets a gradient of exactly zero. A batch
with nothing left gives a loss of zero. Losses are float32, or float64 where the arrays are.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

NORMALISE = ("examples", "weights")


def cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    mask: jax.Array | None = None,
    class_weights: jax.Array | None = None,
    label_smoothing: float = 0.0,
    normalise: str = "examples",
) -> jax.Array:
    """Cross-entropy under a mask, with class weights.

    Args:
      logits: [..., K].
      labels: class numbers [...]; below 0 = unscored, left out. K or more gives NaN.
      mask: bool [...], True = counts.
      class_weights: [K]; None = 1 each.
      label_smoothing: the part of each target that is spread evenly over all K classes.
      normalise: "examples" divides the weighted sum by the number of valid examples (the published
        staging loss), "weights" by the sum of their labels' weights (torch.nn.CrossEntropyLoss).

    Returns:
      A scalar; 0, with zero gradients, when no example is valid.

    Raises:
      ValueError: the shapes do not fit, or `normalise` is none of the above.
    """
    if normalise not in NORMALISE:
        raise ValueError(f"normalise must be one of {', '.join(NORMALISE)}, not {normalise!r}")
    logits, labels = jnp.asarray(logits), jnp.asarray(labels).astype(jnp.int32)
    k = logits.shape[-1]
    weights = jnp.ones(k) if class_weights is None else jnp.asarray(class_weights)
    masks = () if mask is None else (jnp.asarray(mask).astype(bool),)
    if any(x.shape != logits.shape[:-1] for x in (labels, *masks)) or weights.shape != (k,):
        raise ValueError(
            f"logits {logits.shape}, labels {labels.shape}, mask {[m.shape for m in masks]} and "
            f"class weights {weights.shape} do not fit: [..., K], [...], [...] and [K]"
        )
    valid = (labels >= 0) if mask is None else (labels >= 0) & masks[0]
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    weights = weights.astype(logits.dtype)
    labels = jnp.where(valid, labels, 0)
    surprise = -jax.nn.log_softmax(jnp.where(valid[..., None], logits, 0))  # [..., K]
    weighted = surprise * weights
    term = jnp.take_along_axis(weighted, labels[..., None], axis=-1)[..., 0]
    if label_smoothing:  # 0 * inf is NaN, where a class has a logit of -inf
        term = (1 - label_smoothing) * term + label_smoothing * weighted.mean(-1)
    counts = valid if normalise == "examples" else valid * weights[labels]
    total = counts.sum()
    return jnp.where(valid, term, 0).sum() / jnp.where(total > 0, total, 1)


def binary_cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    mask: jax.Array | None = None,
    label_smoothing: float = 0.0,
) -> jax.Array:
    """Mean binary cross-entropy over the labels that are known.

    Args:
      logits: [...].
      labels: 0 or 1 (or between) [...]; NaN = unknown, left out.
      mask: bool [...], True = counts.
      label_smoothing: the part of each target that is 1/2 instead.

    Returns:
      A scalar; 0, with zero gradients, when nothing is known.

    Raises:
      ValueError: the shapes do not fit.
    """
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    masks = () if mask is None else (jnp.asarray(mask).astype(bool),)
    if any(x.shape != logits.shape for x in (labels, *masks)):
        raise ValueError(
            f"logits {logits.shape}, labels {labels.shape} and mask {[m.shape for m in masks]} do "
            "not fit: all alike"
        )
    valid = jnp.isfinite(labels) if mask is None else jnp.isfinite(labels) & masks[0]
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    logits = jnp.where(valid, logits, 0)
    targets = jnp.where(valid, labels, 0).astype(logits.dtype)
    targets = (1 - label_smoothing) * targets + label_smoothing / 2
    term = jax.nn.softplus(logits) - targets * logits
    return jnp.where(valid, term, 0).sum() / jnp.maximum(valid.sum(), 1)
