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
