"""What figures of weighted examples are made of (numpy, no jax).

A figure is a function of one weight an example, computed for many weightings at once: all ones are
the figure itself, a person's examples at 0 are the figure without that person. Nothing ever
rebuilds an array of examples, so a thousand weightings are a few matrix products.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

# {metric: value a weighting} from the weights of the examples, [R, N] -> {name: [R]}
Statistic = Callable[[np.ndarray], Mapping[str, np.ndarray]]


class Ranked:
    """Examples sorted by score once, so the ranking figures of any weighting are cumulative sums.

    AUROC = P(score of a positive > that of a negative) + P(equal) / 2, the Mann-Whitney form; with
    weights, the share of (positive, negative) pairs, each counted weight times weight.

    AUPRC = average precision: the mean, over positives, of the precision at a positive's score;
    equal scores share one threshold, as in scikit-learn, and nothing is interpolated.
    """

    def __init__(self, scores: np.ndarray, positive: np.ndarray):
        self.order = np.argsort(scores, kind="stable")
        ordered = scores[self.order]
        self.positive = np.asarray(positive, bool)[self.order]
        new = np.concatenate([[True], ordered[1:] != ordered[:-1]])
        self.first = np.flatnonzero(new)  # where each run of equal scores begins
        self.tied = self.first.size < ordered.size

    def areas(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """float [R, N] -> AUROC [R], AUPRC [R]; NaN where no positive or no negative has weight."""
        everyone = weights[:, self.order]  # [R, N], then [R, distinct scores], ascending
        positive = np.where(self.positive, everyone, 0.0)
        if self.tied:
            everyone = np.add.reduceat(everyone, self.first, axis=1)
            positive = np.add.reduceat(positive, self.first, axis=1)
        positives, total = positive.sum(axis=1), everyone.sum(axis=1)
        negative = everyone - positive
        below = np.cumsum(negative, axis=1)
        below -= negative / 2  # half of the equal ones
        negatives = total - positives
        auroc = ratio(np.einsum("rg,rg->r", positive, below), positives * negatives)
        reached = np.cumsum(positive[:, ::-1], axis=1)  # positives at this score or above
        called = np.cumsum(everyone[:, ::-1], axis=1)
        precision = np.divide(reached, called, out=reached, where=called > 0)
        auprc = ratio(np.einsum("rg,rg->r", positive[:, ::-1], precision), positives)
        return auroc, np.where(negatives > 0, auprc, np.nan)


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """above / below, NaN where below is 0 (a 0/0 is not a 0)."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below != 0)


def check_scores(p: np.ndarray) -> None:
    """Raises ValueError without examples, or where a probability is not finite."""
    if not len(p):
        raise ValueError("no examples to score")
    bad = ~np.isfinite(p).all(axis=1)
    if bad.any():
        raise ValueError(f"{int(bad.sum())} of {len(p)} examples have a probability not finite")
