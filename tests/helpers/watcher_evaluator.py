"""An evaluator that says which rows it was given, and figures planted for each step."""

import dataclasses

import numpy as np

from sleepfm_jax.config import Key
from sleepfm_jax.evaluators.evaluator import Means

KEYS = {"figures": Key((), "by step: (step, figure)", form="factors")}


@dataclasses.dataclass(frozen=True)
class Watcher:
    figures: dict
    wants = ("x", "calls")

    def run(self, predict, batches):
        means, index, x, calls = Means(), [], [], set()
        for batch in batches:
            predictions, metrics = predict(batch)
            assert set(predictions) == {"x", "calls", "index"}
            means.add(metrics)
            index += predictions["index"].tolist()
            x += predictions["x"].tolist()
            calls |= set(predictions["calls"].tolist())
        (step,) = calls  # the statistic counts updates
        yield "loss", means["loss"]
        yield "seen", {"rows": len(index), "last": max(index), "distinct": len(set(index))}
        yield "x", float(np.mean(x))
        yield "trained", step
        if self.figures:
            yield "planted", self.figures[str(int(step))]


def make(row, objective):
    return Watcher(dict(row["figures"]))
