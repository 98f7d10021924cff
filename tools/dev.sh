# The installation that `make up` makes: its names, and a playbook run on it. Sourced, never run.
# shellcheck shell=bash

. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

export dev_host=mlflow-dev
export dev_address=10.213.77.10
export dev_image=trixie
export dev_domain=mlflow.dev.test
export dev_inventory=${repository:?}/inventories/dev
export dev_vault=$dev_inventory/group_vars/mlflow/vault.yml
export dev_password=${state:?}/dev.vault-password
# Connections that SSH keeps open for two minutes: in one place, so that `make down` can close them.
export ANSIBLE_SSH_CONTROL_PATH_DIR=$state/ssh

# play PLAYBOOK [options]
play() {
  (cd "$repository" && ansible-playbook --inventory "$dev_inventory" --vault-id "dev@$dev_password" "$@")
}

dev_is_there() {
  [ -s "$dev_password" ] && [ -s "$dev_vault" ]
}
