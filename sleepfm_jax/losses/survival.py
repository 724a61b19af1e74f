"""Cox's loss for times to events, under a mask.

What a mask leaves out may hold anything, NaN included: it gets a gradient of exactly zero. A batch
with nothing left gives a loss of zero. Losses are float32, or float64 where the arrays are.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

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
