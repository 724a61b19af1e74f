#!/usr/bin/env bash
# Several hosts on one machine: N processes of M virtual CPU devices each, joined by jax.distributed.
#   bash launch/local_hosts.sh N M --config=… --data_dir=… --workdir=…      (flags of launch.pretrain)
#   bash launch/local_hosts.sh N M python -m launch.pretrain …              (or a whole command)
# Every process runs the command with its --coordinator, --num_processes and --process_id; the first
# one's output is shown, the others' goes to host_I.log in $LOCAL_HOSTS_LOGS (default: a new folder).
# Exit code: 0 only when all processes ended with 0; when one fails, the others are stopped.
# SIGTERM and Ctrl-C go to all processes, and their last save is waited for. A process that has not
# ended $LOCAL_HOSTS_GRACE seconds (120) later is killed.
set -uo pipefail
if [ "$#" -lt 3 ]; then sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; fi
hosts=$1 devices=$2; shift 2
case "$1" in --*) set -- python -m launch.pretrain "$@";; esac
case "$hosts$devices" in *[!0-9]*) echo "N and M are numbers: $hosts $devices" >&2; exit 2;; esac
grace=${LOCAL_HOSTS_GRACE:-120}
logs=${LOCAL_HOSTS_LOGS:-$(mktemp -d)}
mkdir -p "$logs" || exit
export JAX_PLATFORMS=cpu
export XLA_FLAGS="${XLA_FLAGS:-} --xla_force_host_platform_device_count=$devices"
port=$(python -c 'import socket; s = socket.socket(); s.bind(("localhost", 0)); print(s.getsockname()[1])') || exit

pids=() status=0 stopping=0
running() { local pid; for pid in "${pids[@]}"; do kill -0 "$pid" 2>/dev/null && return; done; return 1; }
wait_for_all() { # at most so many seconds
  local end=$((SECONDS + $1))
  while running; do [ "$SECONDS" -lt "$end" ] || return 1; sleep .2; done
}
ask_all() { stopping=1; kill -TERM "${pids[@]}" 2>/dev/null; }
kill_all() { kill -KILL "${pids[@]}" 2>/dev/null; }
trap ask_all TERM INT
trap kill_all EXIT

for ((i = 0; i < hosts; i++)); do
  joined=()
  [ "$hosts" -gt 1 ] && joined=(--coordinator="localhost:$port" --num_processes="$hosts" --process_id="$i")
  if [ "$i" -eq 0 ]; then "$@" "${joined[@]}" &
  else "$@" "${joined[@]}" >"$logs/host_$i.log" 2>&1 & fi
  pids+=($!)
done

waiting=("${pids[@]}")
while [ "${#waiting[@]}" -gt 0 ] && [ "$status" -eq 0 ] && [ "$stopping" -eq 0 ]; do
  sleep .2
  left=()
  for pid in "${waiting[@]}"; do
    if kill -0 "$pid" 2>/dev/null; then left+=("$pid"); else wait "$pid" || status=$?; fi
  done
  waiting=("${left[@]}")
done
if [ "$status" -ne 0 ]; then
  echo "a host failed ($status); logs of hosts 1… in $logs" >&2
  # The others hear of it, and say why they end.
  [ "$stopping" -eq 1 ] || wait_for_all 10 || ask_all
fi
if ! wait_for_all "$grace"; then
  echo "not ended after $grace s, and killed: logs of hosts 1… in $logs" >&2
  kill_all
fi
for pid in "${waiting[@]}"; do
  wait "$pid" || { code=$?; [ "$status" -ne 0 ] || status=$code; }
done
exit "$status"
