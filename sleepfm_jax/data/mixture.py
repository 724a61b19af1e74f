"""Cohorts mixed by weights: rows of each repeated until their shares are those asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sleepfm_jax.data.examples import Examples, View
from sleepfm_jax.errors import ConfigError

_MOST = 1_000_000  # rows of a pass; a share below one in so many is no mixture


def mixed(examples: Examples, weights: Sequence[float], seed: int) -> View:
    """Every row at least once a pass, and those of each dataset as often as its weight asks for.

    A pass is as long as it must be for that: the dataset with most rows for its weight gives each
    of them once. Rows of the others are repeated equally often, up to one, drawn by the seed.

    Args:
      weights: of the datasets in use, in their order; only their proportions matter.

    Raises:
      ConfigError: not one weight a dataset, one that is not above 0, or shares so small that a pass
        would have over a million rows.
    """
    cohort = np.array([examples.dataset_of(i) for i in range(len(examples))], int)
    weights = np.asarray(weights, float)
    if len(weights) <= cohort.max(initial=-1) or not (weights > 0).all():
        raise ConfigError(
            f"config.data.weights is {tuple(weights.tolist())}; expected a number above 0 for each "
            "of config.data.datasets"
        )
    rows = [np.flatnonzero(cohort == number) for number in range(len(weights))]
    unit = max(len(mine) / weight for mine, weight in zip(rows, weights))
    if unit * weights.sum() > _MOST:
        raise ConfigError(
            f"config.data.weights is {tuple(weights.tolist())}; expected shares for which a pass "
            f"needs no more than {_MOST:,} rows: the datasets have {[len(mine) for mine in rows]}"
        )
    rng, chosen = np.random.default_rng(seed), []
    for mine, weight in zip(rows, weights):
        if len(mine):
            often, more = divmod(max(len(mine), round(unit * weight)), len(mine))
            chosen += [np.tile(mine, often), rng.permutation(mine)[:more]]
    return View(examples, np.sort(np.concatenate(chosen)), f"mixed {examples.name}")
