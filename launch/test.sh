#!/usr/bin/env bash
# Makes the environment if it is absent and runs the checks and the whole suite: fast tests first,
# then the slow ones. Arguments go to pytest (both stages), for example: bash launch/test.sh -k losses
set -euo pipefail
cd "$(dirname "$0")/.."
. launch/environment.sh
use_environment test torch # PyTorch is the independent second implementation
export JAX_PLATFORMS=cpu
# Programs compiled by one test are reused by the next.
cache=$(mktemp -d); trap 'rm -rf "$cache"' EXIT
export JAX_COMPILATION_CACHE_DIR=$cache
ruff check . && ruff format --check .
# Exit code 5 (no test selected) is fine in one stage when arguments select tests of the other.
# One process a core; a file's tests stay together, so that what they share is made once.
stage() { python -m pytest -n auto --dist loadfile "$@" || { code=$?; [ $code -eq 5 ] && [ "$selecting" = yes ] || exit $code; }; }
selecting=no; [ "$#" -gt 0 ] && selecting=yes
stage -m "not slow" "$@"
stage -m slow "$@"
