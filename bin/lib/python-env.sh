# Sourced by bin/model-export and bin/test. Makes the Python environment of model-export/requirements.lock when it is not
# there yet and exports PYTHON_ENV, its folder. One environment for each lock file; a changed lock makes a new one.
# PYTHON names another interpreter than python3. Ends the calling script with status 1 and the remedy when something is missing.

python_env_fail() {
  printf 'python-env: %s\n' "$1" >&2
  exit 1
}

python_env() {
  local lock="$1/model-export/requirements.lock" python="${PYTHON:-python3}" key uv
  command -v "$python" >/dev/null ||
    python_env_fail "$python is missing: sudo apt-get install python3 python3-venv"
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    python_env_fail "Python 3.11 or newer is needed, $python is $("$python" -V 2>&1): set PYTHON to a newer one, or sudo apt-get install python3 python3-venv on Debian 12 or newer"
  key=$("$python" -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest()[:12])' "$lock") ||
    python_env_fail "$lock cannot be read"
  PYTHON_ENV="${XDG_CACHE_HOME:-$HOME/.cache}/dragoman/python-$key"
  export PYTHON_ENV
  [ -e "$PYTHON_ENV/complete" ] && return

  mkdir -p "${PYTHON_ENV%/*}"
  # A second caller waits for the first. Environments do not survive a move, so a marker says that this one is whole.
  if command -v flock >/dev/null; then
    exec 9>"$PYTHON_ENV.lock"
    flock 9
    [ -e "$PYTHON_ENV/complete" ] && { exec 9>&-; return; }
  fi
  printf 'Installing the Python packages of model-export in %s (once; about 5 GB, most of it PyTorch).\n' "$PYTHON_ENV" >&2
  rm -rf "$PYTHON_ENV"
  "$python" -m venv "$PYTHON_ENV" ||
    python_env_fail "$python cannot make a virtual environment: sudo apt-get install python3-venv"
  uv="$PYTHON_ENV/uv.requirements"
  awk '/^uv==/ { on = 1; print; next } on && /^ +--hash/ { print; next } { on = 0 }' "$lock" >"$uv"
  "$PYTHON_ENV/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$uv" ||
    python_env_fail "pip could not install uv: is a package index in reach?"
  "$PYTHON_ENV/bin/uv" pip sync --quiet --compile-bytecode --require-hashes --python "$PYTHON_ENV/bin/python" "$lock" ||
    python_env_fail "uv could not install $lock: is a package index in reach, is the disk full?"
  touch "$PYTHON_ENV/complete"
  if command -v flock >/dev/null; then exec 9>&-; fi
}

python_env "$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
