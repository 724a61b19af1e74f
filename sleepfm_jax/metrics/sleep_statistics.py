"""Sleep statistics of a hypnogram, by the definitions of the AASM manual (numpy, no jax).

The manual's terms, of a night from lights out to lights on (its numbers 4 to 11): time in bed
("total recording time"), total sleep time, sleep latency, stage R latency, wake after sleep onset,
sleep efficiency, time in each stage and its share of the total sleep time. Where YASA (0.7) differs
and is what most know:

* wake after sleep onset runs until lights on; YASA's ends with the last sleep.
* REM latency runs from sleep onset; YASA's `Lat_REM` from the hypnogram's begin.

A sleep_epoch that nobody scored is neither sleep nor wake. Before the first scored one and after
the last the lights are taken to be on: these are cut off. In between they stay in the time in bed
(and so in the efficiency, as the manual's recording time does) and are said (`unscored`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sleepfm_jax.signals import SLEEP_EPOCH_SECONDS, STAGES, UNSCORED
from sleepfm_jax.signals.stages import class_of_stage

MINUTES = SLEEP_EPOCH_SECONDS / 60
STATISTICS = {
    "TIB": "time in bed",
    "TST": "total sleep time",
    "SE": "sleep efficiency",
    "SOL": "sleep onset latency",
    "WASO": "wake after sleep onset",
    "REM_latency": "REM latency",
}
"""Names, and in words. Besides: minutes of each class under its own name, and its percentage of the
total sleep time under "%N2"."""


def sleep_statistics(stages: np.ndarray, classes: Sequence[str] = STAGES) -> dict[str, float]:
    """Statistics of one night.

    Args:
      stages: int [E], one a sleep_epoch in time, an index into `classes`; negative: unscored.
      classes: names of the K classes; "W" is wake, "REM" is REM, all but "W" are sleep. Stages that
        were put together are one class ("N1+N2").

    Returns:
      Minutes of `TIB`, `TST`, `SOL`, `WASO`, `REM_latency`, `unscored` and of each class by its
      name; percent: `SE` (of TIB), "%NAME" of each class of sleep (of TST). NaN where there is
      none: no sleep has no latency, no share and no wake after it; no REM has no REM latency;
      without any scored sleep_epoch all is NaN but `unscored`.

    Raises:
      ValueError: stages that are not [E] or name no class, or no class "W".
    """
    stages = np.asarray(stages)
    if stages.ndim != 1 or (stages.size and stages.max() >= len(classes)):
        raise ValueError(f"expected stages [E] of {len(classes)} classes, got {stages.shape}")
    if "W" not in classes:
        raise ValueError(f"the classes {', '.join(classes)} have no wake, 'W'")
    wake, asleep = classes.index("W"), [name for name in classes if name != "W"]
    scored = np.flatnonzero(stages >= 0)
    nan = float("nan")
    found = dict.fromkeys((*STATISTICS, "unscored", *classes, *(f"%{n}" for n in asleep)), nan)
    if not scored.size:
        return found | {"unscored": 0.0}
    stages = stages[scored[0] : scored[-1] + 1]
    sleep = np.flatnonzero((stages >= 0) & (stages != wake))
    minutes = {name: MINUTES * np.sum(stages == k) for k, name in enumerate(classes)}
    total = MINUTES * len(sleep)
    found |= minutes | {
        "TIB": MINUTES * len(stages),
        "TST": total,
        "SE": 100 * len(sleep) / len(stages),
        "unscored": MINUTES * np.sum(stages < 0),
    }
    if sleep.size:
        onset = sleep[0]
        found |= {f"%{name}": 100 * minutes[name] / total for name in asleep}
        found["SOL"] = MINUTES * onset
        found["WASO"] = MINUTES * np.sum(stages[onset:] == wake)
        if "REM" in classes and (rem := np.flatnonzero(stages == classes.index("REM"))).size:
            found["REM_latency"] = MINUTES * (rem[0] - onset)
    return {name: float(value) for name, value in found.items()}


def classes_of(stages: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Stages as scored → classes: "N1+N2" are both.

    Args:
      stages: int [...], indices into `signals.STAGES`; negative: unscored.

    Returns:
      int8 [...], indices into `classes`, -1: unscored, or of a stage that no class has.

    Raises:
      ConfigError: a class that is no stage, or a stage twice.
    """
    table = np.array([*class_of_stage(classes), UNSCORED], np.int8)  # its last: what -1 reads
    return table[np.maximum(np.asarray(stages), -1)]
