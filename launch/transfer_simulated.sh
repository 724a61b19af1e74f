#!/usr/bin/env bash
# The transfer paper's eight tasks on simulated twins, on a bare machine:
#   bash launch/transfer_simulated.sh [workdir]      (default workdir: runs/transfer_simulated)
# environment → simulated sleepers with pathology and labelled archives → records → pretraining →
# every task under the paper's three conditions → workdir/transfer.csv and workdir/report/index.html.
# The same command goes on where an interrupted one stopped.
#   SEEDS=3 FOLDS=5 bash launch/transfer_simulated.sh RUN
# is the whole table: three pretrainings and three trainings of each cell, and cross-validation of
# the tasks that have no test set. PE=1 adds the condition of positions in pretraining too,
# MISPAIRED=1 the control; CONDITIONS=scratch,pretrained leaves one out; COUPLING=0 has sleepers
# of whose EEG's and ECG's pathology other modalities show a stranger's.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p "${1:-runs/transfer_simulated}"
workdir=$(cd "${1:-runs/transfer_simulated}" && pwd)
source=$workdir/recordings data=$workdir/data
SEEDS=${SEEDS:-1} FOLDS=${FOLDS:-0} COUPLING=${COUPLING:-1} PE=${PE:-} MISPAIRED=${MISPAIRED:-}
conditions=${CONDITIONS:-scratch,pretrained,pretrained_pe}
. launch/environment.sh

simulate() { # dataset, people, flags …; an archive that was made so is left as it is
  local made="$* (version $version)" mark=$source/$1.done
  [ -e "$mark" ] && { [ ! -s "$mark" ] || [ "$(cat "$mark")" = "$made" ]; } && return
  rm -rf "${source:?}/$1" "$mark"
  python -m launch.simulate --dataset="$1" --subjects="$2" --out="$source/$1" --workers=2 "${@:3}" &&
    echo "$made" >"$mark"
}
build() { # dataset, archive, flags …; its log is shown only in part, unless it fails
  local log=$workdir/build_$1.log
  python -m launch.build --dataset="$1" --source="$source/$2" --data_dir="$data" "${@:3}" >"$log" ||
    { cat "$log"; return 1; }
  tail -n 3 "$log"
}
pretrain() { # variant, seed
  python -m launch.pretrain --config="configs/transfer/pretraining.py:$1" --config.seed="$2" --data_dir="$data" --workdir="$workdir/$1_$2"
}
runs() { # variant → its workdirs, with commas between them
  local found=""
  for ((seed = 0; seed < SEEDS; seed++)); do found+="${found:+,}$workdir/$1_$seed"; done
  echo "$found"
}
archives() { # the eight, and CODE-15, which the ECG tasks train on
  mkdir -p "$source"
  # At least 150 people are tested in each. Rare classes are more frequent than published, so that
  # some are seen among so few people.
  simulate tuab 400 --seconds=20
  simulate tuev 460 --seconds=40 --rare=5
  simulate tusl 420 --seconds=30 --rare=4
  simulate braincapture 400 --seconds=60
  simulate chb_mit 400 --seconds=60 --rare=40
  simulate code15 1500 --rare=3
  simulate ptbxl 300 --rare=3
  simulate g12ec 300 --rare=3
  simulate cpsc2018 300 --rare=3
}
records() {
  build tuab tuab --clip_seconds=10
  build tuev tuev --clip_seconds=5
  # These three leave it open who is tested.
  build tusl tusl --clip_seconds=10 --split_fractions=.5,.1,.4
  build braincapture braincapture --clip_seconds=30 --split_fractions=.5,.1,.4
  build chb_mit chb_mit --clip_seconds=10 --split_fractions=.5,.1,.4
  build code15 code15 --sfreq=128 --clip_seconds=10
  build ptbxl_rhythm ptbxl --sfreq=128 --clip_seconds=10
  build g12ec g12ec --sfreq=128 --clip_seconds=10
  build cpsc2018 cpsc2018 --sfreq=128 --clip_seconds=10
}

timed install use_environment
short_trainings "$workdir/compiled"
mkdir -p "$source"
version=$(python -c "from sleepfm_jax.simulation.body.pathology import VERSION; print(VERSION)")
timed "simulate PSG" simulate simulated_psg 72 --hours=0.5 --pathology --coupling="$COUPLING"
timed "simulate archives" archives
timed "build PSG" build simulated_psg simulated_psg --clip_seconds=30
timed "build archives" records
variants=(twin)
more=()
if [ -n "$PE" ]; then
  variants+=(twin_pe)
  conditions+=,pe_from_pretraining
  more+=(--checkpoint_pe="$(runs twin_pe)")
fi
if [ -n "$MISPAIRED" ]; then
  variants+=(twin_mispaired)
  conditions+=,mispaired
  more+=(--mispaired="$(runs twin_mispaired)")
fi
for variant in "${variants[@]}"; do
  for ((seed = 0; seed < SEEDS; seed++)); do
    timed "pretrain $variant $seed" pretrain "$variant" "$seed"
  done
done
prediction="coupling $COUPLING"
case $COUPLING in 0|1) ;; *) prediction=none ;; esac # between the two, no sign was predicted
transfer() {
  python -m launch.transfer \
    --tasks=tuev:twin,tuab:twin,tusl:twin,braincapture:twin,chb_mit:twin,ptbxl:twin,g12ec:twin,cpsc:twin \
    --conditions=$conditions --mode=finetune --folds="$FOLDS" --seeds="$SEEDS" \
    --checkpoint="$(runs twin)" ${more[@]+"${more[@]}"} \
    --prediction="$prediction" --data_dir="$data" --workdir="$workdir"
}
timed transfer two_workers "$workdir/second_worker.log" transfer
all=$(IFS=,; echo "${seconds[*]}")
python -m launch.report --workdir="$workdir" --paper --seconds="$all,all=$SECONDS"
