"""Losses: contrastive over modalities, Cox's for times to events, cross-entropy; all under masks.

Contrastive terms: (modality, direction, clip). A clip takes part in every term for which it has the
modality and at least one other; the candidates of a term are the clips that take part in it. The
loss is the mean over all valid terms, so a batch without absences gives the published loss.

What a mask leaves out may hold anything, NaN included: it gets a gradient of exactly zero. A batch
with nothing left gives a loss of zero. Losses are float32, or float64 where the arrays are.
"""

from __future__ import annotations

import typing

import jax
import jax.numpy as jnp


class ContrastiveLoss(typing.NamedTuple):
    """loss: scalar. Per direction (leave-one-out [M, 2]: modality → others, others → modality;
    pairwise [M, M, 2]: i → j and back): mean loss, accuracy, and the clips that took part. `loss`
    is `total`, the sum over all terms, over their number."""

    loss: jax.Array
    total: jax.Array
    direction_loss: jax.Array
    accuracy: jax.Array
    count: jax.Array


def unit_vectors(x: jax.Array, epsilon: float = 1e-12) -> jax.Array:
    """x [..., D] / ‖x‖; a vector no longer than epsilon becomes zero, with a zero gradient.

    NaN stays NaN, so that a loss shows it.
    """
    square = jnp.sum(x * x, axis=-1, keepdims=True)
    unit = x * jax.lax.rsqrt(jnp.maximum(square, epsilon**2))
    return jnp.where(square <= epsilon**2, 0, unit)  # x / epsilon would have a gradient of 1e12


def leave_one_out(
    embeddings: jax.Array,
    log_scale: jax.Array | float,
    presence: jax.Array | None = None,
    renormalise_target: bool = False,
) -> ContrastiveLoss:
    """Each modality finds the mean of the others, and is found by it.

    Args:
      embeddings: [M, B, D] unit vectors.
      log_scale: log of the logit scale.
      presence: bool [M, B], True = the clip has the modality; None = all have all.
      renormalise_target: scale the mean of the others back to a unit vector.

    Source: SleepFM (arXiv 2405.17766), whose target is not renormalised; gradients flow through it.
    """
    m, b, _ = embeddings.shape
    present = jnp.ones((m, b), bool) if presence is None else jnp.asarray(presence, bool)
    weight = present.astype(embeddings.dtype)[..., None]  # [M, B, 1]
    # An absent vector may hold anything; it must not reach a product.
    embeddings = jnp.where(present[..., None], embeddings, 0)
    others = (embeddings.sum(0) - embeddings) / jnp.maximum(weight.sum(0) - weight, 1)
    if renormalise_target:
        others = unit_vectors(others)
    valid = present & (present.sum(0) - present > 0)  # [M, B]
    logits = jnp.exp(log_scale) * jnp.einsum("mid,mjd->mij", embeddings, others)
    return _mean_over_terms(logits, valid)


def pairwise(
    embeddings: jax.Array,
    log_scale: jax.Array | float,
    presence: jax.Array | None = None,
) -> ContrastiveLoss:
    """Every modality finds every other (CLIP over all pairs), both directions.

    Arguments as in `leave_one_out`; a pair's candidates are the clips that have both modalities.
    """
    m, b, _ = embeddings.shape
    present = jnp.ones((m, b), bool) if presence is None else jnp.asarray(presence, bool)
    embeddings = jnp.where(present[..., None], embeddings, 0)
    first, second = jnp.triu_indices(m, k=1)  # each pair once; both directions below
    valid = present[first] & present[second]  # [pairs, B]
    logits = jnp.exp(log_scale) * jnp.einsum("pid,pjd->pij", embeddings[first], embeddings[second])
    flat = _mean_over_terms(logits, valid)

    def square(values):  # [pairs, 2] → [M, M, 2], both triangles, direction 0 = row modality asks
        grid = jnp.zeros((m, m, 2), values.dtype).at[first, second].set(values)
        return grid.at[second, first].set(values[:, ::-1])

    return ContrastiveLoss(
        flat.loss,
        flat.total,
        square(flat.direction_loss),
        square(flat.accuracy),
        square(flat.count),
    )


def _mean_over_terms(logits: jax.Array, valid: jax.Array) -> ContrastiveLoss:
    """logits [N, B, B] (asking clip, candidate), valid [N, B] → losses of both directions."""
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    both = jnp.stack([logits, logits.swapaxes(1, 2)], axis=1)  # [N, 2, B, B]
    masked = jnp.where(valid[:, None, None, :], both, -1e30)
    own = jnp.diagonal(both, axis1=2, axis2=3)  # [N, 2, B]
    term = jax.nn.logsumexp(masked, axis=-1) - own
    # Strictly above every other candidate: an embedding that has collapsed finds nothing.
    b = logits.shape[-1]
    rival = jnp.where(jnp.eye(b, dtype=bool), -1e30, masked).max(-1)
    hit = own > rival
    asked = jnp.broadcast_to(valid[:, None, :], term.shape)
    count = asked.sum(-1)  # [N, 2]
    total = jnp.where(asked, term, 0).sum(-1)
    hits = (asked & hit).sum(-1)
    return ContrastiveLoss(
        loss=total.sum() / jnp.maximum(count.sum(), 1),
        total=total.sum(),
        direction_loss=total / jnp.maximum(count, 1),
        accuracy=hits / jnp.maximum(count, 1),
        count=count,
    )


TIES = ("breslow", "efron", "reference")


def cox_ph(
    hazards: jax.Array,
    times: jax.Array,
    events: jax.Array,
    ties: str = "breslow",
    valid: jax.Array | None = None,
) -> jax.Array:
    """Cox's negative log partial likelihood an event, averaged over the labels that have an event.

    The risk set of an event is every valid row of the batch with the same or a later time.

    Args:
      hazards: log hazards [B, K].
      times: of the event or of censoring, [B, K], or [B] for all labels.
      events: [B, K], nonzero = the event was seen at its time, 0 = censored there.
      ties: how events at one time share their risk set. "breslow": each has all of it. "efron": the
        events leave it one after the other, in equal parts. "reference": each has what a descending
        stable sort of the times puts before it, as published; depends on the batch's order.
      valid: bool [B] or [B, K], False = a row of padding, or a label unknown in that row.

    Returns:
      A scalar; 0, with zero gradients, when no label has an event.

    Raises:
      ValueError: the shapes do not fit, or `ties` is none of the above.

    Sources: Breslow (Biometrics 1974); Efron (JASA 1977); "reference": zou-group/sleepfm-clinical,
    which however averages over all K labels, those without an event included, and whose order of
    tied times is that of torch's unstable sort, which depends on the processor.
    """
    if ties not in TIES:
        raise ValueError(f"ties must be one of {', '.join(TIES)}, not {ties!r}")
    hazards, times, events = (jnp.asarray(x) for x in (hazards, times, events))
    if hazards.ndim != 2 or events.shape != hazards.shape:
        raise ValueError(f"hazards and events must be [B, K], got {hazards.shape}, {events.shape}")
    valid = jnp.ones(len(hazards), bool) if valid is None else jnp.asarray(valid).astype(bool)
    for name, x in (("times", times), ("valid", valid)):
        if x.shape not in (hazards.shape, hazards.shape[:1]):
            raise ValueError(f"{name} must be [B, K] or [B] of {hazards.shape}, got {x.shape}")
    times, valid = (
        jnp.broadcast_to(x.reshape(len(x), -1), hazards.shape) for x in (times, valid)
    )  # [B, K]
    hazards = hazards.astype(jnp.promote_types(hazards.dtype, jnp.float32))
    hazards = jnp.where(valid, hazards, 0)
    seen = valid & (events > 0)
    # ~x turns the order of integers round, unsigned ones and the smallest included.
    latest_first = -times if jnp.issubdtype(times.dtype, jnp.floating) else ~times
    # Rows that do not count come last, where they are in nobody's risk set.
    order = jnp.lexsort((latest_first, ~valid), axis=0)  # stable
    hazards, times, seen, valid = (
        jnp.take_along_axis(x, order, axis=0) for x in (hazards, times, seen, valid)
    )
    log_risk = jax.lax.cumlogsumexp(hazards, axis=0)  # of a row and all before it
    if ties != "reference":
        log_risk, used = _risk_under_ties(hazards, log_risk, times, seen, valid)
        if ties == "efron":
            log_risk += jnp.log1p(-used)
    count = seen.sum(0)  # [K]
    label_loss = jnp.where(seen, log_risk - hazards, 0).sum(0) / jnp.maximum(count, 1)
    return label_loss.sum() / jnp.maximum((count > 0).sum(), 1)


def _risk_under_ties(
    hazards: jax.Array, log_risk: jax.Array, times: jax.Array, seen: jax.Array, valid: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Breslow's log risk of each sorted row, and the part of it that Efron takes off; all [B, K].

    The i-th of d tied events (i = 0 … d - 1) is left with the risk less i/d of what the d have.
    """
    b, k = hazards.shape
    labels = jnp.arange(k)
    new = (times[1:] != times[:-1]) | (valid[1:] != valid[:-1])
    edge = jnp.ones((1, k), bool)
    first, last = jnp.concatenate([edge, new]), jnp.concatenate([new, edge])
    row = jnp.arange(b)[:, None]
    start = jax.lax.cummax(jnp.where(first, row, 0), axis=0)  # [B, K] of a row's tied group
    end = jax.lax.cummin(jnp.where(last, row, b), axis=0, reverse=True)
    log_risk = jnp.take_along_axis(log_risk, end, axis=0)

    def of_group(x):  # sum over the tied rows, at each of them
        total = jnp.zeros_like(x).at[start, labels].add(x)
        return jnp.take_along_axis(total, start, axis=0)

    tied = of_group(seen.astype(hazards.dtype))
    before = jnp.cumsum(seen, axis=0) - seen
    before -= jnp.take_along_axis(before, start, axis=0)  # events of the group in earlier rows
    part = jnp.where(seen, before, 0) / jnp.maximum(tied, 1)  # below 1: its logarithm is finite
    # Every exponent is at most 0, an event being in its own risk set.
    share = of_group(jnp.where(seen, jnp.exp(hazards - log_risk), 0))
    return log_risk, part * share


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
