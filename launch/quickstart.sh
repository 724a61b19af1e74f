#!/usr/bin/env bash
# The whole main job on a simulated cohort, on a bare machine:
#   bash launch/quickstart.sh [workdir]      (default workdir: runs/quickstart)
# environment → simulated recordings (real EDF+ files) → records → contrastive pretraining (and its
# control) → linear probes (sleep staging, wake EEG, ECG) → workdir/report/index.html. The same command goes on where
# an interrupted one stopped.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p "${1:-runs/quickstart}"
workdir=$(cd "${1:-runs/quickstart}" && pwd)
source=$workdir/recordings data=$workdir/data
. launch/environment.sh

build() { # dataset, flags …; its log is shown only in part, unless it fails
  local log=$workdir/build_$1.log
  python -m launch.build --dataset="$1" --source="$source/$1" --data_dir="$data" "${@:2}" >"$log" ||
    { cat "$log"; return 1; }
  tail -n 3 "$log"
}
probe() { # dataset, flags …
  python -m launch.probe --checkpoint="$workdir" --mispaired="$workdir/mispaired" --dataset="$1" --data_dir="$data" --workdir="$workdir" "${@:2}"
}

timed install use_environment
export JAX_PLATFORMS=${JAX_PLATFORMS:-cpu}
export JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-$workdir/compiled}
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0.5  # all but the smallest programs
simulate() { python -m launch.simulate --dataset="$1" --subjects="$2" --out="$source/$1" --workers=2 "${@:3}"; }
timed "simulate PSG" simulate simulated_psg 72 --hours=0.5
timed "simulate wake EEG" simulate simulated_wake_eeg 40
timed "simulate ECG" simulate simulated_ecg 300
timed "build PSG" build simulated_psg --clip_seconds=30
timed "build wake EEG" build simulated_wake_eeg --num_workers=0 # too little to share
timed "build ECG" build simulated_ecg --num_workers=0
timed pretrain python -m launch.pretrain --config=configs/pretrain_simulated.py --data_dir="$data" --workdir="$workdir"
# The control: the same, but for the pairing of the modalities.
timed "pretrain mispaired" python -m launch.pretrain --config=configs/pretrain_simulated.py:mispaired --data_dir="$data" --workdir="$workdir/mispaired"
timed "probe PSG" probe simulated_psg --channels=trained # all of them would take a minute more
timed "probe wake EEG" probe simulated_wake_eeg
timed "probe ECG" probe simulated_ecg
all=$(IFS=,; echo "${seconds[*]}")
python -m launch.report --workdir="$workdir" --seconds="$all,all=$SECONDS"
