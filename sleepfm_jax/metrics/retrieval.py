"""Retrieval: does a clip's vector in one modality find the same clip in the others?

The question the leave-one-out objective trains, asked of clips never trained on. The query is one
modality of a clip; its partner is the mean of the clip's other modalities that are present. Among
`candidates` clips the partner should rank first. Both directions are asked, the query looking for
its partner and the partner looking for the query, and averaged.

Partners are brought back to unit length here (the loss leaves them as they are): otherwise clips
whose modalities agree have longer partners, and draw every query to themselves.

Ties count as a draw by lot: a constant embedding scores exactly chance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from threadpoolctl import threadpool_limits

# Similarities closer than this are equal: far above rounding, far below any real difference.
_TIE = 1e-6


@threadpool_limits.wrap(limits=1)  # small products: threads that wait cost more than they bring
def retrieval(
    embeddings: np.ndarray,
    presence: np.ndarray,
    *,
    candidates: int = 128,
    seed: int = 0,
    repeats: int = 10,
    names: Sequence[str] | None = None,
) -> dict:
    """Leave-one-out retrieval among random groups of clips.

    Args:
      embeddings: float [M, N, D], one unit vector a modality and clip. What stands where a modality
        is absent is never read.
      presence: bool [M, N], True where the clip has the modality.
      candidates: clips a query is compared with, its own included. Clips are dealt into disjoint
        random groups of this many; the rest of a deal sits out. With fewer valid clips (modality
        and at least one other present), all of them form the one group.
      seed: of the deals. repeats: deals, averaged.
      names: of the M modalities.

    Returns:
      `top1`, `top5`, `median_rank`, `chance` (expected top-1 by lot): means over the modalities;
      `candidates`: the group size used (the smallest, where modalities differ);
      `clips_left_out`: with a vector of a present modality that is zero or not finite, and so has
      no direction;
      `per_modality` {name: {"top1", "top5", "median_rank", "chance", "candidates", "clips",
      "query_to_partner", "partner_to_query"}}; `excluded` {name: reason} for modalities with fewer
      than two valid clips. All figures are NaN when every modality is excluded.

    Raises:
      ValueError: on shapes that disagree, or fewer than two candidates.
    """
    e = np.asarray(embeddings, np.float64)
    here = np.asarray(presence, bool)
    if e.ndim != 3 or here.shape != e.shape[:2]:
        raise ValueError(
            f"expected embeddings [M, N, D] and presence [M, N], got {e.shape} and {here.shape}"
        )
    if candidates < 2 or repeats < 1:
        raise ValueError(f"candidates={candidates} must be >= 2 and repeats={repeats} >= 1")
    names = [str(m) for m in range(len(e))] if names is None else list(names)
    if len(names) != len(e):
        raise ValueError(f"{len(names)} names for {len(e)} modalities")
    norms = np.linalg.norm(np.where(here[..., None], e, 1.0), axis=-1)  # [M, N]
    bad = ~(np.isfinite(norms) & (norms > 0)).all(axis=0)  # [N]
    here = here & ~bad
    norms = np.where(here, norms, 1.0)
    e = np.where(here[..., None], e, 0.0) / norms[..., None]  # [M, N, D], absent = 0

    rng = np.random.default_rng(seed)
    per_modality: dict[str, dict] = {}
    excluded: dict[str, str] = {}
    total, others = e.sum(axis=0), here.sum(axis=0)  # [N, D], [N]
    for m, name in enumerate(names):
        valid = np.flatnonzero(here[m] & (others - here[m] >= 1))
        if valid.size < 2:
            excluded[name] = f"{valid.size} clips have it together with another modality"
            continue
        partner = _unit(total[valid] - e[m, valid])  # [V, D]; the mean's length does not matter
        per_modality[name] = _score(e[m, valid], partner, candidates, repeats, rng)

    def mean(key: str) -> float:
        values = [figures[key] for figures in per_modality.values()]
        return float(np.mean(values)) if values else float("nan")

    return {
        **{key: mean(key) for key in ("top1", "top5", "median_rank", "chance")},
        "candidates": min((f["candidates"] for f in per_modality.values()), default=0),
        "clips_left_out": int(bad.sum()),
        "per_modality": per_modality,
        "excluded": excluded,
    }


def _score(query, partner, candidates: int, repeats: int, rng) -> dict:
    """Figures of one modality from its queries and partners, both [V, D] of unit length."""
    clips = len(query)
    size = min(candidates, clips)
    groups = clips // size
    # With a single full group every deal is the same comparison.
    deals = 1 if size == clips else repeats
    greater: list[np.ndarray] = []  # each [groups, 2 directions, size]
    equal: list[np.ndarray] = []
    for _ in range(deals):
        dealt = rng.permutation(clips)[: groups * size].reshape(groups, size)
        for group in dealt:
            similarity = query[group] @ partner[group].T  # [size, size]
            own = np.diagonal(similarity)
            for rows in (similarity, similarity.T):
                ahead = rows - own[:, None]  # [size, size], 0 on the diagonal
                greater.append((ahead > _TIE).sum(axis=1))
                equal.append((np.abs(ahead) <= _TIE).sum(axis=1))  # itself included
    above = np.stack(greater).reshape(-1, 2, size)
    tied = np.stack(equal).reshape(-1, 2, size)
    top1 = np.clip((1 - above) / tied, 0.0, 1.0)
    forward, backward = top1.mean(axis=(0, 2))
    return {
        "top1": float(top1.mean()),
        "top5": float(np.clip((5 - above) / tied, 0.0, 1.0).mean()),
        "median_rank": float(np.median(above + (tied + 1) / 2)),  # mean rank within a tie
        "chance": 1.0 / size,
        "candidates": size,
        "clips": clips,
        "query_to_partner": float(forward),
        "partner_to_query": float(backward),
    }


def _unit(x: np.ndarray) -> np.ndarray:
    """Rows of unit length; a row whose modalities cancel out stays zero."""
    norm = np.linalg.norm(x, axis=-1, keepdims=True)
    return np.divide(x, norm, out=np.zeros_like(x), where=norm > 1e-12)
