"""Sleep stages: their names, and what the annotations of recordings call them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sleepfm_jax.errors import ConfigError

STAGES = ("W", "N1", "N2", "N3", "REM")
UNSCORED = -1
SLEEP_EPOCH_SECONDS = 30

_STAGE_CODES = {
    **dict.fromkeys(["w", "wake", "awake"], 0),
    **dict.fromkeys(["n1", "nrem1"], 1),
    **dict.fromkeys(["n2", "nrem2"], 2),
    **dict.fromkeys(["n3", "n4", "nrem3", "nrem4"], 3),  # AASM has no fourth stage
    **dict.fromkeys(["r", "rem"], 4),
    **dict.fromkeys(["?", "unscored", "unknown", "movementtime", "mt"], UNSCORED),
}
# Understood only where the text says that it is a stage: a bare `1` or `S1` may be any event.
_STAGE_CODES_WHEN_SAID = {
    "0": 0,
    "1": 1,
    "2": 2,
    "3": 3,
    "4": 3,
    "s0": 0,
    "s1": 1,
    "s2": 2,
    "s3": 3,
    "s4": 3,
}


def class_of_stage(classes: Sequence[str]) -> tuple[int, ...]:
    """The class of each of `STAGES`, by its number; UNSCORED of a stage that is in none.

    Args:
      classes: stages, or several as one class: ("W", "N1+N2", "N3", "REM").

    Raises:
      ConfigError: a class that is no stage, or a stage twice.
    """
    numbers = [UNSCORED] * len(STAGES)
    for number, name in enumerate(classes):
        for stage in name.split("+"):
            if stage not in STAGES or numbers[STAGES.index(stage)] != UNSCORED:
                raise ConfigError(
                    f"classes {tuple(classes)}: {stage!r} is no stage, or there twice; stages are "
                    f"{', '.join(STAGES)}, joined by + where several are one class"
                )
            numbers[STAGES.index(stage)] = number
    return tuple(numbers)


def parse_stage(text: str) -> int | None:
    """The stage an annotation names, an index into `STAGES`, or UNSCORED; None where it names none.

    Understands Sleep-EDF and HMC (`Sleep stage W`, `Sleep stage 4`, `Movement time`), the NSRR
    (`Stage 2 sleep|2`, `REM sleep|5`), CAP (`SLEEP-S2`), Noxturnal (`sleep-n1`) and bare AASM
    names (`N2`, `REM`, `R`, `?`). Rechtschaffen and Kales' stages 3 and 4 are both N3.
    """
    words = re.sub(r"\|\d+$", "", text.strip().lower())
    said = re.match(r"(?:sleep[\s_-]*stage|sleep|stage|stade)[\s_:-]+(.+)", words)
    words = said[1] if said else words
    rest = re.sub(r"[\s_-]+sleep$", "", words)
    code = re.sub(r"[\s_-]", "", rest)
    if code in _STAGE_CODES:
        return _STAGE_CODES[code]
    if said is None:
        return None
    if code in _STAGE_CODES_WHEN_SAID:
        return _STAGE_CODES_WHEN_SAID[code]
    # `Sleep stage e`, `Sleep stage N`: somebody scored it, as something that is no stage of ours
    return UNSCORED if "stage" in text.lower() and len(code) == 1 else None
