#!/usr/bin/env bash
# Staging from whatever signals a night has, on simulated cohorts, on a bare machine:
#   bash launch/staging_simulated.sh [workdir]      (default workdir: runs/staging_simulated)
# environment → three simulated cohorts that do not share their signals, and an unseen one → records
# → one model of all, models of single signals, a second scorer of every night
# → workdir/subsets.csv and workdir/report/index.html
# → launch.stage on a folder of recordings, one of them broken → workdir/staged/index.html.
# The same command goes on where an interrupted one stopped.
#   SEEDS=3 bash launch/staging_simulated.sh RUN
# trains each model three times; NO_MASKING=1 adds the model of all to which every signal is always
# shown, BASELINE=1 SleepPPG-Net of the pulse wave alone; TOKENS=1 pretrains a SleepFM encoder on
# all_signals and adds heads on its frozen tokens. PEOPLE in each cohort and HOURS of each recording
# can be given too, and FLAGS of every training, such as FLAGS=--config.steps=20.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p "${1:-runs/staging_simulated}"
workdir=$(cd "${1:-runs/staging_simulated}" && pwd)
source=$workdir/recordings data=$workdir/data again=$workdir/second_scorer
SEEDS=${SEEDS:-1} PEOPLE=${PEOPLE:-48} HOURS=${HOURS:-1} FLAGS=${FLAGS:-}
joint=(joint ${NO_MASKING:+no_masking}) alone=(ecg ppg ecg_thx ${BASELINE:+sleepppg_net})
heads=(${TOKENS:+token_linear token_lstm token_mixer})
. launch/environment.sh

cohort() { # name, people, signals, seed, flags …; its people are nobody of another cohort
  local log=$workdir/build_$1.log
  python -m launch.simulate --dataset=simulated_psg --subjects="$2" --hours="$HOURS" --signals="$3" \
    --seed="$4" --out="$source/$1" --workers=2 --second_scorer="$again/$1" "${@:5}"
  python -m launch.build --dataset=simulated_psg --cohort="$1" --source="$source/$1" \
    --data_dir="$data/$1" >"$log" || { cat "$log"; return 1; }
  tail -n 3 "$log"
}
cohorts() {
  cohort ecg_thx "$PEOPLE" ECG,THX 1
  cohort ppg "$PEOPLE" PPG 2
  cohort all_signals "$PEOPLE" ABD,ECG,PPG,THX 3
  cohort unseen "$PEOPLE" ABD,ECG,PPG,THX 4 --pathology
}
train() { # variant, seed
  local tokens=()
  [[ $1 != token_* ]] || tokens=(--config.data.encoder="$workdir/sleepfm"
    --config.data.token_folder="$workdir/tokens")
  # shellcheck disable=SC2086
  python -m launch.pretrain --config="configs/staging/simulated_cohorts.py:$1" --config.seed="$2" \
    --data_dir="$data" --workdir="$workdir/$1_$2" "${tokens[@]}" $FLAGS
}
encoder() { # as many hours as configs/pretrain_simulated.py sees, in clips of 300 s
  # shellcheck disable=SC2086
  python -m launch.pretrain --config=configs/pretrain_simulated.py --data_dir="$data" \
    --config.data.datasets='("all_signals",)' --config.batch_size=16 --config.steps=60 \
    --config.optimiser.warmup_steps=10 --workdir="$workdir/sleepfm" $FLAGS
}
all_of() { # variants …
  local variant seed
  for variant in "$@"; do
    for ((seed = 0; seed < SEEDS; seed++)); do train "$variant" "$seed" || return 1; done
  done
}
trainings() { # one training alone leaves half a core idle; joint takes as long as the others together
  all_of "${joint[@]}" >"$workdir/second_worker.log" 2>&1 &
  local second=$!
  all_of "${alone[@]}" || { kill $second; return 1; }
  wait $second || { cat "$workdir/second_worker.log"; return 1; }
}
runs() { # variant → its workdirs, with commas between them
  local found="" seed
  for ((seed = 0; seed < SEEDS; seed++)); do found+="${found:+,}$workdir/$1_$seed"; done
  echo "$found"
}
folder() { # recordings as somebody might hand them in, the last of them cut off on its way
  local nights=$workdir/nights number name last
  rm -rf "$nights" && mkdir -p "$nights"
  for number in {0..19}; do
    printf -v name 'sim%05d' "$number"
    [ -e "$source/unseen/$name.edf" ] || break
    cp -p "$source/unseen/$name.edf" "$source/unseen/$name-Hypnogram.edf" "$nights"
    last=$name
  done
  head -c 1000 "$source/unseen/$last.edf" >"$nights/$last.edf"
}
stage() {
  folder
  python -m launch.stage --input="$workdir/nights" --checkpoint="$workdir/joint_0" \
    --output="$workdir/staged"
}

timed install use_environment
short_trainings "$workdir/compiled"
timed cohorts cohorts
timed trainings trainings
if [ -n "${TOKENS:-}" ]; then
  timed encoder encoder
  timed heads all_of "${heads[@]}"
fi
models=""
for variant in "${joint[@]}" "${alone[@]}" "${heads[@]}"; do
  models+="${models:+;}$variant=$(runs "$variant")"
done
scorings=""
for name in ecg_thx ppg all_signals unseen; do
  scorings+="${scorings:+;}$name=$again/$name"
done
timed table python -m launch.subsets --models="$models" --second_scorer="$scorings" \
  --workdir="$workdir"
timed stage stage
all=$(IFS=,; echo "${seconds[*]}")
python -m launch.report --workdir="$workdir" --seconds="$all,all=$SECONDS"
