#!/usr/bin/env bash
# Lock one MLflow version for one Python: wheels only, with the hash of every file.
#
#   lock.sh 3.17.2 3.13 > mlflow-3.17.2-py3.13.txt
#
# Needs `uv` in PATH (pip install uv). Set mlflow_server_lock_file to the path of what it prints to install from it.
# A third argument names another platform, for example aarch64-manylinux_2_28.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 64; }
version=$1 python=$2 platform=${3:-x86_64-manylinux_2_28}
printf '# MLflow %s for Python %s on %s, written by lock.sh from requirements.in\n' "$version" "$python" "$platform"
{ cat "$(dirname "$0")/requirements.in"; printf 'mlflow[auth]==%s\n' "$version"; } |
  UV_NO_CONFIG=1 uv pip compile --quiet --no-header --no-annotate --generate-hashes --only-binary :all: \
    --python-version "$python" --python-platform "$platform" -
