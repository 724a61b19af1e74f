#!/usr/bin/env bash
# Transfer to real wake EEG and ECG, at a size for two CPU cores:
#   bash launch/transfer_real.sh SHARED_DATA RUN
# pretrains on the simulated cohort and two real recordings (DREAMS, Nox), and transfers to EEGMAT and
# to PTB-XL's superclasses and rhythm, by their own people: fine-tuned, linearly probed, from scratch,
# baselines, shares of the labels. SHARED_DATA holds psg_dreams/, psg_nox_2min/, wake_eeg_eegmat/ and
# ecg_ptbxl/, whose exams at 100 Hz are read. Half an hour of real sleep teaches little:
# whether pretraining helps here is the question.
set -euo pipefail
if [ "$#" -ne 2 ]; then sed -n '2,3s/^# \{0,1\}//p' "$0" >&2; exit 2; fi
[ -d "$1/psg_dreams" ] || { echo "$1: no psg_dreams in it" >&2; exit 1; }
mkdir -p "$2"
shared=$(cd "$1" && pwd) workdir=$(cd "$2" && pwd)
cd "$(dirname "$0")/.."
SEEDS=${SEEDS:-3}
. launch/environment.sh
use_environment
short_trainings "$workdir/compiled"
data=$workdir/data
mkdir -p "$workdir/recordings/psg"
ln -sf "$shared/psg_dreams/excerpt3.edf" "$shared/psg_dreams/Hypnogram_excerpt3.txt" \
  "$shared/psg_nox_2min/subject1.edf" "$workdir/recordings/psg/"

build() { python -m launch.build --data_dir="$data" "$@" | tail -n 3; }
build --dataset=edf_folder --source="$workdir/recordings/psg" --clip_seconds=30
python -m launch.simulate --dataset=simulated_psg --subjects=72 --hours=0.5 --pathology --coupling=1 --workers=2 --out="$workdir/recordings/simulated_psg"
build --dataset=simulated_psg --source="$workdir/recordings/simulated_psg" --clip_seconds=30
build --dataset=eegmat --source="$shared/wake_eeg_eegmat" --clip_seconds=20
build --dataset=ptbxl --source="$shared/ecg_ptbxl" --sfreq=128 --clip_seconds=10
build --dataset=ptbxl_rhythm --source="$shared/ecg_ptbxl" --sfreq_source=100 --sfreq=128 --clip_seconds=10
runs=""
for ((seed = 0; seed < SEEDS; seed++)); do
  run=$workdir/pretrained_$seed runs+="${runs:+,}$workdir/pretrained_$seed"
  python -m launch.pretrain --config=configs/transfer/pretraining.py:twin --config.seed="$seed" \
    --config.data.datasets='("edf_folder", "simulated_psg")' --data_dir="$data" --workdir="$run"
done
common=(--seeds="$SEEDS" --checkpoint="$runs" --data_dir="$data" --workdir="$workdir")
# Rates and lengths for so few people; sizes of the encoder are the checkpoint's.
transfer() {
  two_workers "$workdir/second_worker.log" \
    python -m launch.transfer "$@" --set=optimiser.warmup_steps=20 "${common[@]}"
}
transfer --tasks=eegmat --conditions=scratch,pretrained --mode=finetune --baselines \
  --set=steps=60 --set=evaluators.validation.every=20 --set=data.slots.bas=8 \
  --set=optimiser.learning_rate=5e-4
for task in ptbxl:superclasses ptbxl:rhythm; do
  transfer --tasks=$task --conditions=scratch,pretrained --mode=finetune --baselines \
    --label_fraction=.1,1 --set=steps=320 --set=batch_size=16 --set=evaluators.validation.every=32 \
    --set=optimiser.learning_rate=1e-3 --set='optimiser.groups=(("^encoder/", 0.3),)'
done
python -m launch.report --workdir="$workdir" --paper
