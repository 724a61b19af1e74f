"""Contrastive losses over modalities, some of which a clip may lack.

Their terms are (modality, direction, clip). A clip takes part in every term for which it has the
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
    pairwise [M, M, 2]: i → j and back, so that a pair stands in it twice): mean loss, accuracy, and
    the clips that took part. `loss` is `total`, the sum over all terms, over `terms`, their
    number."""

    loss: jax.Array
    total: jax.Array
    terms: jax.Array
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
    logits = jnp.exp(log_scale) * _products("mid,mjd->mij", embeddings, others)
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
    logits = jnp.exp(log_scale) * _products("pid,pjd->pij", embeddings[first], embeddings[second])
    flat = _mean_over_terms(logits, valid)

    def square(values):  # [pairs, 2] → [M, M, 2], both triangles, direction 0 = row modality asks
        grid = jnp.zeros((m, m, 2), values.dtype).at[first, second].set(values)
        return grid.at[second, first].set(values[:, ::-1])

    return ContrastiveLoss(
        flat.loss,
        flat.total,
        flat.terms,
        square(flat.direction_loss),
        square(flat.accuracy),
        square(flat.count),
    )


def _products(axes: str, x: jax.Array, y: jax.Array) -> jax.Array:
    """Cosines in full float32: accelerators round the factors to 8 or 11 bits by default, which a
    logit scale of 100 makes differences of whole numbers."""
    return jnp.einsum(axes, x, y, precision=jax.lax.Precision.HIGHEST)


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
        terms=count.sum(),
        direction_loss=total / jnp.maximum(count, 1),
        accuracy=hits / jnp.maximum(count, 1),
        count=count,
    )
