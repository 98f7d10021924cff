# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one registry of what can be wrong, and the one shape in which it is said.

A finding's id is stable: messages, playbooks, tests and docs/reference/findings.md (generated from here by
tools/generate_findings.py) use it. Values of secrets never get into a finding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CRITICAL = "critical"
WARNING = "warning"
INFO = "info"
SEVERITIES = (CRITICAL, WARNING, INFO)

PROMISE = "Nothing was changed."


@dataclass(frozen=True)
class Finding:
    """What is known about one kind of fault, whoever meets it."""

    id: str
    severity: str
    title: str
    cause: str
    remedy: str


_REGISTRY = (
    # -- what was chosen
    Finding(
        "VARIABLE_UNKNOWN",
        CRITICAL,
        "A variable begins with mlflow_ and no role knows it",
        "A misspelt name, or one that an earlier or later release of the collection knows. Ansible would ignore it silently.",
        "Correct the name, remove it, or begin the names of your own variables with mlflow_site_.",
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
        "TCP ports go from 1 to 65535; 5001, 5002 and 5432 belong to the servers and the database.",
        "Set mlflow_https_port to another port.",
    ),
    Finding(
        "CHOICE_PATH",
        CRITICAL,
        "A directory is not absolute, or is one of the system's own",
        "Relative paths mean another place for each program; the system's own directories would be emptied or exposed.",
        "Give an absolute path of its own, for example /opt/mlflow.",
    ),
    Finding(
        "CHOICE_ARTIFACT_URI",
        CRITICAL,
        "The place for artifacts is neither a directory nor a bucket",
        "MLflow accepts such a value silently and writes into its working directory.",
        "Set mlflow_artifact_uri to an absolute directory or to a bucket such as s3://bucket/prefix.",
    ),
    Finding(
        "AUTH_NONE_PUBLIC",
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
    # -- the inventory
    Finding(
        "INVENTORY_MISSING",
        CRITICAL,
        "No inventory, or one without the group that holds the environment",
        "ansible-playbook was started without -i, with a path that does not exist, or with a list of hosts without groups.",
        "Give an inventory that has the group, for example -i inventories/dev.",
    ),
    Finding(
        "INVENTORY_GROUP_UNKNOWN",
        CRITICAL,
        "A group begins with mlflow and no playbook knows it",
        "A misspelt name. Its hosts would be left out silently.",
        "Correct the name, or begin the names of your own groups with mlflow_site_.",
    ),
    Finding(
        "INVENTORY_GROUP_EMPTY",
        CRITICAL,
        "A group that must hold a host is empty",
        "The inventory names no host for a part that the installation cannot do without.",
        "Add a host to the group.",
    ),
    Finding(
        "INVENTORY_HOST_IDLE",
        CRITICAL,
        "A host is in the environment but has no part in it",
        "It is in the group that holds every host, but in none of the groups that say what a host does.",
        "Put it into a group that says what it does, or remove it.",
    ),
    # -- the host
    Finding(
        "HOST_OS",
        CRITICAL,
        "The operating system is not supported",
        "Packages, service manager and Python of Debian 12 and 13 are what the collection is tested with.",
        "Use a host with Debian 12 (bookworm) or Debian 13 (trixie).",
    ),
    Finding(
        "HOST_ARCHITECTURE",
        CRITICAL,
        "The processor is not supported",
        "The lock holds binary packages for x86_64 only; nothing is compiled on the host.",
        "Use a host with an x86_64 processor.",
    ),
    Finding(
        "HOST_PYTHON",
        CRITICAL,
        "The host's Python is not the one its Debian brings",
        "The lock is made for Python 3.11 (Debian 12) and 3.13 (Debian 13).",
        "Install Debian's python3, or let ansible_python_interpreter point to /usr/bin/python3.",
    ),
    Finding(
        "HOST_CHECK_MODE",
        CRITICAL,
        "Check mode cannot ask this host about its packages",
        "python3-apt is missing; a normal run installs it, check mode must not.",
        "Install python3-apt on the host, or run without --check.",
    ),
    Finding(
        "HOST_MEMORY",
        CRITICAL,
        "The host has too little memory",
        "One MLflow process takes 400 to 700 MB before it has answered anything; with less the kernel kills it.",
        "Give the host more memory.",
    ),
    Finding(
        "HOST_DISK",
        CRITICAL,
        "The disk has too little room",
        "A release takes 0.9 GB, and three are kept so that a rollback needs no download.",
        "Free or add room, or let mlflow_install_dir point to a larger disk.",
    ),
    Finding(
        "ARTIFACTS_NOT_SHARED",
        CRITICAL,
        "Several servers would each keep artifacts of their own",
        "Artifacts are in a local directory; what one server stored the others would not find.",
        "Mount the same network directory there on every server, or set mlflow_artifact_uri to a bucket.",
    ),
    Finding(
        "HOST_PORT_IN_USE",
        CRITICAL,
        "Another program listens on a port of the installation",
        "The host already serves something. It is never stopped or replaced.",
        "Use another host or port, or remove the program yourself.",
    ),
    Finding(
        "HOST_CLOCK",
        CRITICAL,
        "The host's clock is off",
        "Certificates, login sessions and signed object-store requests are judged by time.",
        "Synchronise the clocks of host and controller (for example with chrony or systemd-timesyncd).",
    ),
    Finding(
        "HOST_ENVIRONMENT",
        CRITICAL,
        "The host belongs to another environment",
        "/etc/mlflow/environment names it; the inventory or the address is mixed up.",
        "Correct the inventory. To move a host on purpose, remove its installation and that file first.",
    ),
    Finding(
        "DOMAIN_UNRESOLVED",
        WARNING,
        "The domain does not resolve on the host",
        "The DNS record is not made yet, or the host uses another resolver.",
        "Make the record point to the edge. The installation goes on; the verification needs the name.",
    ),
    # -- the secrets of an environment
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

FINDINGS: Mapping[str, Finding] = {finding.id: finding for finding in _REGISTRY}


class UnknownFinding(KeyError):
    """An id that the registry does not hold: a fault of the collection, not of its user."""


def find(finding_id: str) -> Finding:
    """Return the registered finding."""
    try:
        return FINDINGS[finding_id]
    except KeyError:
        raise UnknownFinding(finding_id) from None


def _sentence(text: str) -> str:
    text = text.strip()
    return text if not text or text.endswith((".", "!", "?")) else text + "."


def render(
    finding_id: str,
    *,
    host: str,
    variable: str = "",
    value: Any = None,
    limit: str = "",
    fix: str = "",
    promise: bool | None = None,
) -> str:
    """Say what is wrong: id, host, variable and value, limit, fix (the registry's remedy if none is given), promise.

    The promise is made for everything that stops a run; a warning does not stop one.
    """
    finding = find(finding_id)
    said = variable
    if value is not None:
        said = f"{variable}={value}" if variable else str(value)
    parts = [
        _sentence(said or finding.title),
        _sentence(limit),
        _sentence(fix or finding.remedy),
        PROMISE if (finding.severity == CRITICAL if promise is None else promise) else "",
    ]
    return f"[{finding.id}] {host}: " + " ".join(part for part in parts if part)


def report(finding_id: str, *, host: str, summary: str, evidence: str = "", fix: str = "") -> dict[str, str]:
    """Return a finding as checks do: a dictionary of id, severity, summary, evidence, cause, remedy and host."""
    finding = find(finding_id)
    return {
        "id": finding.id,
        "severity": finding.severity,
        "summary": summary,
        "evidence": evidence,
        "cause": finding.cause,
        "remedy": fix or finding.remedy,
        "host": host,
    }
