"""An evaluator of a few lines: how far the guesses of `toy_objective` are spread."""

import dataclasses

import numpy as np

from sleepfm_jax.config import Key

KEYS = {"percent": Key(90.0, "of the guesses that the spread covers", above=0, high=100)}


@dataclasses.dataclass(frozen=True)
class Spread:
    percent: float
    wants = ("guess",)

    def run(self, predict, batches):
        guesses = np.concatenate([predict(batch)[0]["guess"] for batch in batches])
        low, high = np.percentile(guesses, [50 - self.percent / 2, 50 + self.percent / 2])
        yield "spread", float(high - low)
        yield "clips", len(guesses)


def make(row, objective):
    return Spread(row["percent"])
