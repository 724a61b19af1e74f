"""An independent way from (start, stop, stage) to stages: every tenth of a second is painted."""

from __future__ import annotations

import numpy as np

NAMES = ("W", "N1", "N2", "N3", "REM")


def painted(pieces: list[tuple[float, float, int]], duration: float) -> list[int]:
    """Stage of most of each 30 s, the earliest of equals; -1 where nothing was painted."""
    canvas = np.full(round(duration * 10), -1)
    for start, stop, stage in pieces:
        canvas[max(0, round(start * 10)) : max(0, round(stop * 10))] = stage
    stages = []
    for i in range(0, len(canvas), 300):
        epoch = canvas[i : i + 300].tolist()
        stages.append(max(dict.fromkeys(epoch), key=epoch.count))  # max takes the first of equals
    return stages


def night(epochs: int, seed: int, unscored: bool = True) -> list[int]:
    """Stages of a night in bouts, with some unscored and all five stages."""
    rng = np.random.default_rng(seed)
    choices = [0, 1, 2, 3, 4] + [-1] * unscored
    stages: list[int] = list(choices)
    while len(stages) < epochs:
        stages += [int(rng.choice(choices))] * int(rng.integers(1, 12))
    return stages[:epochs]


def bouts(stages: list[int]) -> list[tuple[int, int, int]]:
    """(first sleep_epoch, number of them, stage) of every run of equal stages."""
    found = []
    for i, stage in enumerate(stages):
        if found and found[-1][2] == stage:
            found[-1] = (found[-1][0], found[-1][1] + 1, stage)
        else:
            found.append((i, 1, stage))
    return found
