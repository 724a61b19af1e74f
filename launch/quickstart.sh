#!/usr/bin/env bash
# The whole main job on a simulated cohort, on a bare machine:
#   bash launch/quickstart.sh [workdir]      (default workdir: runs/quickstart)
# environment → simulated recordings (real EDF+ files) → records → contrastive pretraining → linear
# probes (sleep staging, wake EEG, ECG) → workdir/report/index.html. The same command goes on where
# an interrupted one stopped.
set -euo pipefail
cd "$(dirname "$0")/.."
workdir=${1:-runs/quickstart}
mkdir -p "$workdir"
workdir=$(cd "$workdir" && pwd)
begun=$SECONDS
. launch/environment.sh
use_environment
installed=$((SECONDS - begun))
export JAX_PLATFORMS=${JAX_PLATFORMS:-cpu} JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-$workdir/compiled}
source=$workdir/recordings data=$workdir/data

make_dataset() { # name, subjects, further flags of launch.simulate, then -- and flags of launch.build
  local name=$1 subjects=$2; shift 2
  local simulate=() build=()
  while [ "$#" -gt 0 ] && [ "$1" != "--" ]; do simulate+=("$1"); shift; done
  [ "$#" -gt 0 ] && shift
  build=("$@")
  python -m launch.simulate --dataset="$name" --subjects="$subjects" --out="$source/$name" --workers=2 "${simulate[@]}"
  python -m launch.build --dataset="$name" --source="$source/$name" --data_dir="$data" "${build[@]}" >"$workdir/build_$name.log" ||
    { cat "$workdir/build_$name.log"; return 1; }
  tail -n 3 "$workdir/build_$name.log"
}
make_dataset simulated_psg 72 --hours=0.5 -- --clip_seconds=30
make_dataset simulated_wake_eeg 40
make_dataset simulated_ecg 300
python -m launch.pretrain --config=configs/pretrain_simulated.py --data_dir="$data" --workdir="$workdir"
for name in simulated_psg simulated_wake_eeg simulated_ecg; do
  python -m launch.probe --checkpoint="$workdir" --dataset="$name" --data_dir="$data" --workdir="$workdir" >"$workdir/probe_$name.log"
done
python -m launch.report --workdir="$workdir"
echo "Took $((SECONDS - begun)) s, $installed s of it installing."
echo "Report: $workdir/report/index.html"
