# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with the secrets of an environment."""

from __future__ import annotations

from ansible_collections.mlops.mlflow.plugins.module_utils._findings._shape import CRITICAL, Finding

REGISTERED = (
    Finding(
        "SECRETS_VAULT_ID",
        CRITICAL,
        "The environment's vault password was not given",
        "The secrets are encrypted under a vault id that bears the environment's name.",
        "Start the playbook with --vault-id <environment>@prompt, or with a file or program in place of prompt.",
    ),
    Finding(
        "SECRETS_VAULT_PASSWORD",
        CRITICAL,
        "The vault password does not open the file of secrets",
        "A mistyped password, one of another environment, or the file was rekeyed.",
        "Give the password the file was encrypted with.",
    ),
    Finding(
        "SECRETS_FILE",
        CRITICAL,
        "The file of secrets cannot be used",
        "It is not encrypted, belongs to another environment, is not a mapping of names to values, or cannot be written.",
        "Encrypt it with ansible-vault encrypt --vault-id <environment>@prompt, or let mlflow_secrets_file name another file.",
    ),
)
