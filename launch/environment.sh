# Sourced by quickstart.sh and test.sh: makes and enters a virtual environment with the project in it.
#   use_environment EXTRA…   e.g. use_environment test torch
# The place is $SLEEPFM_VENV, or .venv in the checkout. It is made again when what it was made from
# (Python, pyproject.toml, requirements.lock, the extras) has changed.
use_environment() {
  local venv=${SLEEPFM_VENV:-.venv} extras stamp made
  extras=$(IFS=,; echo "$*")
  made=$(python3 -c 'import sys; print(sys.version)' | cat - pyproject.toml requirements.lock <(echo "$extras") | cksum)
  stamp=$venv/made-from
  if [ ! -x "$venv/bin/python" ] || [ "$(cat "$stamp" 2>/dev/null)" != "$made" ]; then
    echo "Installing into $venv …"
    python3 -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
      -c requirements.lock -e ".${extras:+[$extras]}"
    echo "$made" >"$stamp"
  fi
  # shellcheck disable=SC1091
  . "$venv/bin/activate"
}

# For trainings of minutes on a CPU: what was compiled is kept in a folder, and the processes' freed
# memory is given to the next array. Else the kernel clears every page anew, at every step: sixty of
# configs/transfer/pretraining.py:twin made 7.0 million page faults without this, .16 with it.
#   short_trainings FOLDER
short_trainings() {
  export JAX_PLATFORMS=${JAX_PLATFORMS:-cpu} JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-$1}
  export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0.5  # all but the smallest programs
  export MALLOC_ARENA_MAX=${MALLOC_ARENA_MAX:-1} GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}
  export MALLOC_MMAP_THRESHOLD_=${MALLOC_MMAP_THRESHOLD_:-268435456}
}

# One training of a cell alone leaves half a core idle: two workers share a plan. The one that ends
# last writes the tables; what the second says is shown only if it fails.
#   two_workers LOG COMMAND…
two_workers() {
  local log=$1; shift
  "$@" >"$log" 2>&1 &
  local second=$!
  "$@" || { kill $second; return 1; }
  wait $second || { cat "$log"; return 1; }
}

# Runs a step and adds NAME=SECONDS to the list `seconds`, which launch.report --seconds takes.
#   timed NAME COMMAND…
seconds=()
timed() {
  local name=$1 begun=$SECONDS; shift
  "$@"
  seconds+=("$name=$((SECONDS - begun))")
}
