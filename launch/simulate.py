"""Write a simulated cohort, to try the whole pipeline on: EDF+ files and a table of labels.

  python -m launch.simulate --dataset=simulated_psg --subjects=20 --out=simulated/psg
  python -m launch.simulate --dataset=simulated_wake_eeg --subjects=60 --out=simulated/wake_eeg
  python -m launch.simulate --dataset=simulated_ecg --subjects=400 --out=simulated/ecg

The same seed gives the same files, byte for byte, whatever the number of subjects or workers. A
folder that was begun with the same settings is continued, and may be given more subjects; any other
non-empty folder is refused.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

# One thread a process: the arrays are small, and processes, not threads, use the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from absl import app, flags, logging

from launch import programs
from sleepfm_jax.data import synthetic

_DATASET = flags.DEFINE_enum(
    "dataset", None, ["simulated_psg", "simulated_wake_eeg", "simulated_ecg"], "What to simulate."
)
_SUBJECTS = flags.DEFINE_integer("subjects", None, "Number of subjects.", lower_bound=1)
_OUT = flags.DEFINE_string(
    "out", None, "Folder to write: new, empty, or begun with the same settings."
)
_HOURS = flags.DEFINE_float(
    "hours", None, "simulated_psg only: length of each recording (default 8)."
)
_SEED = flags.DEFINE_integer("seed", 0, "Names the cohort.", lower_bound=0)
_WORKERS = flags.DEFINE_integer(
    "workers", 1, "Processes; the files do not depend on it.", lower_bound=1
)


def main(argv: Sequence[str]) -> int:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    settings = {"subjects": _SUBJECTS.value, "seed": _SEED.value, "workers": _WORKERS.value}
    if _DATASET.value == "simulated_psg":
        write = synthetic.write_psg_cohort
        settings["hours"] = synthetic.NIGHT_HOURS if _HOURS.value is None else _HOURS.value
    else:
        if _HOURS.value is not None:
            raise app.UsageError(f"--hours is for simulated_psg only, not for {_DATASET.value}")
        write = {
            "simulated_wake_eeg": synthetic.write_wake_eeg,
            "simulated_ecg": synthetic.write_ecg,
        }[_DATASET.value]
    begun = time.perf_counter()
    try:
        table = write(_OUT.value, **settings)
    except (synthetic.SimulationError, OSError) as error:
        logging.error("%s", error)
        return 1
    logging.info("%s written in %.1f s", table, time.perf_counter() - begun)
    return 0


def run() -> None:
    flags.mark_flags_as_required(["dataset", "subjects", "out"])
    app.run(main, flags_parser=programs.parse)


if __name__ == "__main__":
    run()
