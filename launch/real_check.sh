#!/usr/bin/env bash
# The spine on real recordings; see configs/real_check.py.
#   bash launch/real_check.sh SHARED_DATA RUN
set -euo pipefail
if [ "$#" -ne 2 ]; then sed -n '2,3s/^# \{0,1\}//p' "$0" >&2; exit 2; fi
[ -d "$1/psg_dreams" ] || { echo "$1: no psg_dreams in it" >&2; exit 1; }
mkdir -p "$2"
shared=$(cd "$1" && pwd) workdir=$(cd "$2" && pwd)
cd "$(dirname "$0")/.."
. launch/environment.sh
use_environment
export JAX_PLATFORMS=${JAX_PLATFORMS:-cpu} JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-$workdir/compiled}
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0.5  # all but the smallest programs
data=$workdir/data
mkdir -p "$workdir/recordings/psg"
ln -sf "$shared/psg_dreams/excerpt3.edf" "$shared/psg_dreams/Hypnogram_excerpt3.txt" \
  "$shared/psg_nox_2min/subject1.edf" "$workdir/recordings/psg/"

python -m launch.build --dataset=edf_folder --source="$workdir/recordings/psg" --clip_seconds=30 --data_dir="$data"
python -m launch.simulate --dataset=simulated_psg --subjects=72 --hours=0.5 --workers=2 --out="$workdir/recordings/simulated_psg"
python -m launch.build --dataset=simulated_psg --source="$workdir/recordings/simulated_psg" --clip_seconds=30 --data_dir="$data" | tail -n 3
python -m launch.build --dataset=eegmat --source="$shared/wake_eeg_eegmat" --data_dir="$data" | tail -n 3
python -m launch.build --dataset=ptbxl --source="$shared/ecg_ptbxl" --data_dir="$data" | tail -n 3
python -m launch.pretrain --config=configs/real_check.py --data_dir="$data" --workdir="$workdir"
python -m launch.pretrain --config=configs/real_check.py:mispaired --data_dir="$data" --workdir="$workdir/mispaired"
for name in eegmat ptbxl; do
  python -m launch.probe --checkpoint="$workdir" --mispaired="$workdir/mispaired" --dataset="$name" --data_dir="$data" --workdir="$workdir"
done
python -m launch.report --workdir="$workdir"
