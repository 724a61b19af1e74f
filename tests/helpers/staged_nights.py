"""Nights as a model might have staged them."""

from __future__ import annotations

import datetime

import numpy as np

from sleepfm_jax.hypnogram.night import StagedNight

FOUR, FIVE = ("W", "N1+N2", "N3", "REM"), ("W", "N1", "N2", "N3", "REM")


def staged_night(classes=FOUR, *, sleep_epochs=40, gap=(), scored=True, seed=0, **more):
    """A night in runs of five sleep_epochs a class; `gap`: sleep_epochs without any signal."""
    rng = np.random.default_rng(seed)
    truth = np.arange(sleep_epochs) // 5 % len(classes)
    p = rng.dirichlet(np.ones(len(classes)), sleep_epochs)
    p[np.arange(sleep_epochs), truth] += 1.0
    staged = np.ones(sleep_epochs, bool)
    staged[list(gap)] = False
    of_class = [FIVE.index(name.split("+")[-1]) for name in classes]
    stages = np.array(of_class)[truth]
    stages[:2] = -1
    options = {
        "name": "night",
        "file": "somewhere/night.edf",
        "start": datetime.datetime(2001, 3, 4, 22, 30, 15),
        "signals": {"ECG": "EKG", "THX": "THOR RES"},
        "absent": ("ABD", "PPG"),
        "notes": ("PPG (Pleth) is flat: not used",),
    }
    return StagedNight(
        classes=classes,
        probabilities=(p / 2).astype(np.float32),
        staged=staged,
        scored=stages if scored else None,
        **options | more,
    )
