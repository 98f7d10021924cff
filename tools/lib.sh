# Shared by the scripts in this folder: where things live, how progress looks. Sourced, never run.
# shellcheck shell=bash

set -euo pipefail

repository=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
# Everything that is built, downloaded or remembered stays outside the checkout.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/mlops-mlflow
state=${XDG_STATE_HOME:-$HOME/.local/state}/mlops-mlflow
export repository cache state

# What the tools read must be this checkout, the same on every machine.
export ANSIBLE_CONFIG=$repository/ansible.cfg
# Not ~/.ansible: what a user has installed there could shadow this tree, and nothing of ours may stay there.
export ANSIBLE_HOME=$cache/ansible
export UV_NO_CONFIG=1 UV_PYTHON_DOWNLOADS=never UV_CACHE_DIR=$cache/uv
# uv trusts only the authorities it was built with unless it is told of the machine's.
if [ -z "${SSL_CERT_FILE:-}" ] && [ -r /etc/ssl/certs/ca-certificates.crt ]; then
  export SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
fi
# Names such as mlops.mlflow.site and characters in task names need UTF-8; C.UTF-8 is in every Debian.
export LC_ALL=C.UTF-8 LANG=C.UTF-8

say() { printf '%s\n' "$*" >&2; }

die() {
  printf 'Error: %s\n' "$*" >&2
  exit 1
}

need_root() {
  [ "$(id -u)" -eq 0 ] || die "$1 needs root (it boots hosts, makes a bridge and installs packages). Run it as root, for example with sudo."
}

# one_at_a_time NAME: a second call waits until the first has ended. The lock ends with the shell, also after a kill.
one_at_a_time() {
  mkdir -p "$cache"
  exec 9>"$cache/$1.lock"
  if ! flock --nonblock 9; then
    say "Waiting for another run that holds $cache/$1.lock"
    flock 9
  fi
}
