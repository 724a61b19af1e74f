#!/usr/bin/env bash
# Several hosts on one machine: N processes of M virtual CPU devices each, joined by jax.distributed.
#   bash launch/local_hosts.sh N M --config=… --data_dir=… --workdir=…      (flags of launch.pretrain)
#   bash launch/local_hosts.sh N M python -m launch.pretrain …              (or a whole command)
# Every process runs the command with its --coordinator, --num_processes and --process_id; the first
# one's output is shown, the others' goes to host_I.log in $LOCAL_HOSTS_LOGS (default: a new folder).
# Exit code: 0 only when all processes ended with 0; when one fails, the others are stopped.
set -euo pipefail
if [ "$#" -lt 3 ]; then sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; fi
hosts=$1 devices=$2; shift 2
case "$1" in --*) set -- python -m launch.pretrain "$@";; esac
case "$hosts$devices" in *[!0-9]*) echo "N and M are numbers: $hosts $devices" >&2; exit 2;; esac
logs=${LOCAL_HOSTS_LOGS:-$(mktemp -d)}
mkdir -p "$logs"
export JAX_PLATFORMS=cpu
export XLA_FLAGS="${XLA_FLAGS:-} --xla_force_host_platform_device_count=$devices"
port=$(python -c 'import socket; s = socket.socket(); s.bind(("localhost", 0)); print(s.getsockname()[1])')
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true' EXIT
trap 'kill -TERM "${pids[@]}" 2>/dev/null || true' TERM INT
for ((i = 0; i < hosts; i++)); do
  joined=()
  [ "$hosts" -gt 1 ] && joined=(--coordinator="localhost:$port" --num_processes="$hosts" --process_id="$i")
  if [ "$i" -eq 0 ]; then "$@" "${joined[@]}" &
  else "$@" "${joined[@]}" >"$logs/host_$i.log" 2>&1 & fi
  pids+=($!)
done
status=0
for ((i = 0; i < hosts; i++)); do
  wait -n "${pids[@]}" || { status=$?; echo "a host failed ($status); logs of hosts 1… in $logs" >&2; break; }
done
exit "$status"
