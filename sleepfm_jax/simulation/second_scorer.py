"""A second person who scores a simulated night: agrees as people do, and errs where people do.

How often each stage is scored alike is that of 2,500 scorers (Rosenberg and Van Hout, J Clin Sleep
Med 9:81, 2013): W 84 %, N1 63 %, N2 85 %, N3 67 %, REM 91 %, 83 % over all. What it is called
otherwise, and that two people differ for a minute or two on end, is made up.
"""

from __future__ import annotations

import numpy as np

from sleepfm_jax.signals import STAGES

AGREE = (0.841, 0.630, 0.852, 0.674, 0.905)
"""Of each of `STAGES`: share of sleep_epochs that are scored alike."""

INSTEAD = (  # of each stage: what it is called where it is called otherwise
    (0.0, 0.8, 0.1, 0.0, 0.1),
    (0.35, 0.0, 0.5, 0.0, 0.15),
    (0.05, 0.35, 0.0, 0.45, 0.15),
    (0.0, 0.0, 1.0, 0.0, 0.0),
    (0.2, 0.35, 0.45, 0.0, 0.0),
)
RUN = 3.0  # sleep_epochs that a disagreement lasts, on average


def second_scorer(stages: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Stages as a second person scores them.

    Args:
      stages: int [E], indices into `STAGES`; -1 unscored, which the second leaves too.

    Returns:
      int8 [E].
    """
    said = np.array(stages, np.int8)
    other = -1  # what is said in the disagreement that goes on; -1: none does
    before = -1
    for i, stage in enumerate(said.tolist()):
        if stage < 0:
            other = before = -1
            continue
        if other >= 0 and rng.random() < 1 / RUN:
            other = -1
        elif other < 0:
            # So often that the share of time in disagreements is 1 - AGREE.
            begins = (1 - AGREE[stage]) / (AGREE[stage] * RUN)
            if rng.random() < begins:
                other = int(rng.choice(len(STAGES), p=INSTEAD[stage]))
        if other >= 0 and stage != before:  # the first person went on to another stage
            other = int(rng.choice(len(STAGES), p=INSTEAD[stage]))
        if other >= 0:
            said[i] = other
        before = stage
    return said
