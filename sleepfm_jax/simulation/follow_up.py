"""What becomes of simulated sleepers: times to events that depend on what is wrong with them.

An exponential time to each event; its hazard is the exponential of a sum over age, sex and latents
that the recording shows (`LOG_HAZARDS`). Follow-up ends for everybody at a time of their own, and
with death. The table is what `data.follow_up` reads.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from sleepfm_jax.simulation.body.noise import generator
from sleepfm_jax.simulation.body.pathology import Pathology
from sleepfm_jax.simulation.body.traits import draw_subject
from sleepfm_jax.simulation.sleepers import KEY, draw_latents

FILENAME = "follow_up.csv"
EVENTS = ("death", "stroke", "heart_failure")
_A_YEAR = {"death": 0.06, "stroke": 0.05, "heart_failure": 0.05}  # hazard at 50, in health
_SHORTEST, _LONGEST = 2.0, 15.0  # years of follow-up

LOG_HAZARDS: Mapping[str, Callable[[float, float, Pathology, float], float]] = {
    "death": lambda age, male, ill, breath: (
        0.04 * age + 0.3 * male + 1.2 * ill.slowing + 0.5 * ill.autonomic + 0.3 * breath
    ),
    "stroke": lambda age, male, ill, breath: (
        0.03 * age + 1.8 * (ill.fibrillation > 0) + 0.5 * ill.autonomic + 0.5 * breath
    ),
    "heart_failure": lambda age, male, ill, breath: (
        0.03 * age + 30.0 * (ill.qrs - 0.094) + 0.8 * ill.autonomic + 0.6 * breath
    ),
}
"""Event → log of the factor of its hazard. Arguments: years above 50; 1 male, 0 female; the
person's latents; log of the apnoea index over its median."""


def follow_up(seed: int, index: int, coupling: float) -> dict[str, str]:
    """The line of one sleeper: age, sex, and for each event its time in years and whether it was
    seen; a function of its arguments."""
    traits = draw_subject(generator(KEY, seed, index, 0))
    ill = draw_latents(seed, index, coupling).own
    rng = generator(KEY, seed, index, 11)
    male = bool(rng.random() < 0.5)
    end = rng.uniform(_SHORTEST, _LONGEST)
    breath = float(np.log(traits.apnoea_index / 14.0))
    times = {}
    for event in EVENTS:
        factor = np.exp(LOG_HAZARDS[event](traits.age - 50.0, float(male), ill, breath))
        times[event] = rng.exponential(1.0 / (_A_YEAR[event] * factor))
    line = {"age": f"{traits.age:.1f}", "sex": "M" if male else "F"}
    for event, time in times.items():
        until = end if event == "death" else min(end, times["death"])
        line[f"{event}_time"] = f"{min(time, until):.2f}"
        line[f"{event}_event"] = str(int(time <= until))
    return line


def write(out: Path, lines: Mapping[str, Mapping[str, str]]) -> None:
    """Writes the table of {subject: `follow_up`} into a folder, in one step."""
    part = out / f"{FILENAME}.part"
    with part.open("w", newline="", encoding="utf-8") as file:
        columns = [f"{event}_{what}" for event in EVENTS for what in ("time", "event")]
        writer = csv.DictWriter(file, ["subject", "age", "sex", *columns], lineterminator="\n")
        writer.writeheader()
        writer.writerows({"subject": subject} | dict(line) for subject, line in lines.items())
    os.replace(part, out / FILENAME)
