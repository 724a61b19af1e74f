"""Write a simulated cohort or archive, to try the whole pipeline on.

  python -m launch.simulate --dataset=simulated_psg --subjects=20 --out=simulated/psg
  python -m launch.simulate --dataset=simulated_wake_eeg --subjects=60 --out=simulated/wake_eeg
  python -m launch.simulate --dataset=simulated_ecg --subjects=400 --out=simulated/ecg

write EDF+ files and a table of labels. With --pathology, the sleepers of simulated_psg have
diseases, unlabelled, at natural prevalence; --coupling says how much of what the EEG or the ECG
shows of one the other modalities show too: at 0 nothing but what age explains and what the rate of
the heart says, each by itself staying as it is. The table then has a column apnoea, and
follow_up.csv says what became of the sleepers (docs/survival.md). --signals=ECG,THX gives the
sleepers of simulated_psg these channels and no others, for cohorts that do not share their signals.
--second_scorer=FOLDER writes there what a second person would score of each of its nights, for
launch.subsets. A folder that was begun with the same settings is continued, and may be given more
subjects; any other non-empty folder is refused.

  python -m launch.simulate --dataset=shhs --subjects=20 --faults=0.2 --out=simulated/shhs
  python -m launch.build --dataset=shhs --source=simulated/shhs --data_dir=records

write a sleep archive with the layout, names, labels, rates, units and annotation files of the real
one under OUT/NAME, a share of the nights damaged. Beside that folder, where no builder looks, lie
hypnograms.csv (what was simulated) and faults.csv (what was damaged and what a builder should make
of it). OUT has to be new or empty. Archives of labelled EEG and ECG (tuab, tuev, tusl, chb_mit,
eegmat, braincapture, ptbxl, cpsc2018, g12ec, code15) are written likewise, with truth.csv in place
of hypnograms.csv. --seconds sets the length of recordings of EEG; --rare makes rare classes so many
times more frequent than they are published to be, for archives too small to have them otherwise.

The same seed gives the same files, byte for byte, whatever the number of subjects or workers. The
last line on stdout is the command that builds the dataset.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Sequence

# One thread a process: the arrays are small, and processes, not threads, use the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from absl import app, flags, logging

from launch import programs
from sleepfm_jax.simulation import cohorts, sleepers
from sleepfm_jax.simulation.archives import sleep, wake
from sleepfm_jax.simulation.archives.layouts import ARCHIVES

_COHORTS = {
    "simulated_psg": cohorts.write_psg_cohort,
    "simulated_wake_eeg": cohorts.write_wake_eeg,
    "simulated_ecg": cohorts.write_ecg,
}
_WAKE = wake.ARCHIVES
_DATASET = flags.DEFINE_enum("dataset", None, [*_COHORTS, *ARCHIVES, *_WAKE], "What to simulate.")
_SUBJECTS = flags.DEFINE_integer("subjects", None, "Number of subjects.", lower_bound=1)
_OUT = flags.DEFINE_string(
    "out", None, "Folder to write: new, empty, or begun with the same settings."
)
_HOURS = flags.DEFINE_float(
    "hours", None, "simulated_psg and sleep archives: length of each recording (default 8)."
)
_FAULTS = flags.DEFINE_float(
    "faults", None, "Archives: share of the recordings that are damaged (default 0).", 0.0, 1.0
)
_PATHOLOGY = flags.DEFINE_bool(
    "pathology", False, "simulated_psg: sleepers have diseases, at natural prevalence."
)
_COUPLING = flags.DEFINE_float(
    "coupling",
    None,
    "With --pathology: how much of them the modalities show together (default 1).",
    0.0,
    1.0,
)
_SIGNALS = flags.DEFINE_list(
    "signals", [], "simulated_psg: of ABD, ECG, EOG-L, EOG-R, PPG, THX; all others are left out."
)
_SECOND_SCORER = flags.DEFINE_string(
    "second_scorer",
    None,
    "simulated_psg: folder, not in --out, of a second person's scoring of every night.",
)
_SECONDS = flags.DEFINE_integer(
    "seconds", None, "Archives of labelled EEG: length of a recording (default: each its own)."
)
_RARE = flags.DEFINE_float(
    "rare",
    None,
    "tuev, tusl, chb_mit, and archives of 12-lead ECG: times the published share of their rare "
    "classes (ECG: of every label).",
)
_SEED = flags.DEFINE_integer("seed", 0, "Names the cohort.", lower_bound=0)
_WORKERS = flags.DEFINE_integer(
    "workers", 1, "Processes; the files do not depend on it.", lower_bound=1
)


def main(argv: Sequence[str]) -> int:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    name, out = _DATASET.value, _OUT.value
    settings = {"subjects": _SUBJECTS.value, "seed": _SEED.value, "workers": _WORKERS.value}
    if name in ARCHIVES or name == "simulated_psg":
        settings["hours"] = sleepers.NIGHT_HOURS if _HOURS.value is None else _HOURS.value
    elif _HOURS.value is not None:
        raise app.UsageError(f"--hours is for simulated_psg and sleep archives, not for {name}")
    if _PATHOLOGY.value and name != "simulated_psg":
        raise app.UsageError(f"--pathology is for simulated_psg, not for {name}")
    if _COUPLING.value is not None and not _PATHOLOGY.value:
        raise app.UsageError("--coupling needs --pathology")
    if _PATHOLOGY.value:
        settings["coupling"] = 1.0 if _COUPLING.value is None else _COUPLING.value
    if _SIGNALS.value:
        if name != "simulated_psg":
            raise app.UsageError(f"--signals is for simulated_psg, not for {name}")
        settings["signals"] = tuple(_SIGNALS.value)
    if _SECOND_SCORER.value and name != "simulated_psg":
        raise app.UsageError(f"--second_scorer is for simulated_psg, not for {name}")
    if name in _COHORTS and _FAULTS.value is not None:
        raise app.UsageError(f"--faults is for archives, not for {name}")
    for flag in (_SECONDS, _RARE):
        if flag.value is not None and name not in _WAKE:
            raise app.UsageError(f"--{flag.name} is for archives with labels, not for {name}")
        if flag.value is not None:
            settings[flag.name] = flag.value
    begun = time.perf_counter()
    if name in ARCHIVES:
        nights = sleep.write_archive(name, out, faults=_FAULTS.value or 0.0, **settings)
        written = f"{len(nights)} nights in {os.path.join(out, name)}"
    elif name in _WAKE:
        recordings = wake.write_archive(name, out, faults=_FAULTS.value or 0.0, **settings)
        written = f"{len(recordings)} recordings in {os.path.join(out, name)}"
    else:
        written = _COHORTS[name](out, **settings)
        if _SECOND_SCORER.value:
            cohorts.write_second_scorer(out, _SECOND_SCORER.value)
    logging.info("%s written in %.1f s", written, time.perf_counter() - begun)
    print(build_command(name, out))
    return 0


def build_command(dataset: str, folder: str) -> str:
    """What builds the dataset that was simulated into `folder`."""
    flags_of_build = [f"--dataset={dataset}", f"--source={folder}", "--data_dir=records"]
    return shlex.join(["python", "-m", "launch.build", *flags_of_build])


def run() -> None:
    flags.mark_flags_as_required(["dataset", "subjects", "out"])
    programs.run(main)


if __name__ == "__main__":
    run()
