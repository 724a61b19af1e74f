"""Stage nights: recordings in, hypnograms, sleep statistics and a page over all nights out.

  python -m launch.stage --input=FOLDER --checkpoint=RUN --output=STAGED

stages every recording under FOLDER (EDF, BDF, GDF, BrainVision, EEGLAB, WFDB), or one file, with
the model of a run of launch.pretrain whose objective is staging. The signals that the model knows
are found by their channels' names, whatever the montage; a night is staged from those it has.
--signals=ECG,THX lets it use no others.

For FOLDER/a/night.edf it writes

  STAGED/a/night.hypnogram.csv   onset, duration, stage, and the probability of each class
  STAGED/a/night.hypnogram.edf   the same as EDF+ annotations
  STAGED/a/night_events.tsv      the same in BIDS, with night_events.json
  STAGED/a/night.hypnogram.png   a plot of both, beside what was scored where a hypnogram is found
  STAGED/a/night.stats.json      sleep statistics by AASM definitions, signals used, agreement

and over all nights STAGED/summary.csv and STAGED/index.html. A recording that cannot be staged is
listed with its reason and stops nothing; the same command goes on where it was stopped, and leaves
what it has staged. Exit code 0 means that at least one night was staged, and that the page says
what became of each.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from absl import app, flags, logging

from launch import programs

_INPUT = flags.DEFINE_string("input", None, "Folder of recordings, or one file.")
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "Workdir of a run of launch.pretrain, or its checkpoints or best folder."
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder of the results; made if it does not exist.")
_SIGNALS = flags.DEFINE_list(
    "signals", [], "Of those that the model knows, which may be used. [default: all]"
)
_STEP = flags.DEFINE_integer(
    "step", None, "Which checkpoint. [default: the best, where the run chose it; else the newest]"
)
_PLOTS = flags.DEFINE_bool("plots", True, "Draw each night.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Stage again what is staged.")


def main(argv: Sequence[str]) -> int:
    """See the module's docstring."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: flags begin with --")
    from sleepfm_jax import folders, stage

    source = folders.local(_INPUT.value, "--input")
    output = folders.local(_OUTPUT.value, "--output")
    stager = stage.load(_CHECKPOINT.value, _STEP.value)
    begun = time.perf_counter()
    done = stage.stage(
        stager,
        source,
        output,
        signals=_SIGNALS.value,
        plots=_PLOTS.value,
        overwrite=_OVERWRITE.value,
        command=programs.command("launch.stage"),
    )
    seconds = time.perf_counter() - begun
    fresh = len(done.nights) - done.kept
    logging.info(
        "%d nights staged in %.1f s, %d had been before, %d failed",
        fresh,
        seconds,
        done.kept,
        len(done.failed),
    )
    for file, reason in done.failed.items():
        logging.warning("not staged: %s: %s", file, reason)
    print(done.page)
    return 0


if __name__ == "__main__":
    flags.mark_flags_as_required(["input", "checkpoint", "output"])
    programs.run(main)
