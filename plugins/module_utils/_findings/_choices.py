# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with the choices of an environment."""

from __future__ import annotations

from ansible_collections.mlops.mlflow.plugins.module_utils._findings._shape import CRITICAL, WARNING, Finding

REGISTERED = (
    Finding(
        "VARIABLE_UNKNOWN",
        CRITICAL,
        "A variable begins with mlflow_ and no role knows it",
        "A misspelt name, or one that an earlier or later release of the collection knows. Ansible would ignore it silently.",
        "Correct the name, remove it, or begin the names of your own variables with mlflow_site_.",
    ),
    Finding(
        "VARIABLE_VALUE",
        CRITICAL,
        "The value of a variable has the wrong form",
        "A text where a number belongs, or a word that is none of the choices.",
        "Correct it where it is set: group_vars, host_vars, or -e.",
    ),
    Finding(
        "CHOICE_MISSING",
        CRITICAL,
        "A choice nobody can guess is not made",
        "mlflow_environment and mlflow_domain have no default.",
        "Set it in group_vars/mlflow/main.yml beside the inventory.",
    ),
    Finding(
        "CHOICE_ENVIRONMENT",
        CRITICAL,
        "The environment's name has the wrong form",
        "The name becomes a vault id, a database comment and a marker on each host.",
        "Use lower-case letters, digits and dashes, beginning with a letter, for example prod.",
    ),
    Finding(
        "CHOICE_DOMAIN",
        CRITICAL,
        "The domain is not a host name",
        "A scheme, a port, a path or an address was given, or a character that host names do not have.",
        "Set mlflow_domain to the bare name, for example mlflow.example.com; the port is mlflow_https_port.",
    ),
    Finding(
        "CHOICE_PORT",
        CRITICAL,
        "A port is out of range or taken by another part of the installation",
        "TCP ports go from 1 to 65535; 80 leads to HTTPS, and those of the servers' slots and of PostgreSQL are taken.",
        "Set it to another port.",
    ),
    Finding(
        "CHOICE_USER",
        CRITICAL,
        "The name or number of a user or group cannot be used",
        "Basic authentication ends a user name at its first colon; Debian has rules for names of its users; and a server is never root.",
        "Choose another one.",
    ),
    Finding(
        "CHOICE_PATH",
        CRITICAL,
        "A directory is not absolute, or is one of the system's own",
        "Relative paths mean another place for each program; the system's own directories would be emptied or exposed.",
        "Give an absolute path of its own, for example /opt/mlflow.",
    ),
    Finding(
        "ARTIFACT_URI",
        CRITICAL,
        "The place for artifacts is neither a directory nor a bucket",
        "MLflow accepts such a value silently and writes into its working directory.",
        "Set mlflow_artifact_uri to an absolute directory or to a bucket and prefix such as s3://bucket/prefix.",
    ),
    Finding(
        "AUTH_NONE",
        CRITICAL,
        "Everybody would be let in on a public address",
        "mlflow_auth=none switches the login off; MLflow then reads and writes for whoever reaches the port.",
        "Set mlflow_auth to basic, or let the edge listen on loopback only.",
    ),
    Finding(
        "SECRET_MISSING",
        CRITICAL,
        "Secrets of the environment are not set",
        "The playbook that makes them did not run for this inventory, or its file is not loaded.",
        "Run the playbook mlops.mlflow.secrets with the same inventory and --vault-id <environment>@prompt.",
    ),
    Finding(
        "SECRET_WEAK",
        CRITICAL,
        "A secret is too short or can be guessed",
        "It was set by hand. Passwords made by the playbook mlops.mlflow.secrets are long and random.",
        "Remove it from the vault file and run the playbook mlops.mlflow.secrets, or set a longer one.",
    ),
    Finding(
        "SECRET_CHARACTERS",
        CRITICAL,
        "A secret holds a character that nobody can type",
        "Most often the line break at the end of a YAML block or of a file that a lookup read.",
        "Remove the line break: write the value in one line, in quotes.",
    ),
    Finding(
        "DEBUG_SECRETS",
        WARNING,
        "Secrets are shown",
        "mlflow_debug_secrets is on, for finding a fault.",
        "Set it back to false, remove what was logged, and change the secrets if somebody else could read it.",
    ),
)
