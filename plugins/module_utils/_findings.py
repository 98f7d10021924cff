# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one registry of what can be wrong, and the one shape in which it is said.

Every id that a role, playbook or plugin puts into a message is registered here; a test compares.

A finding's id is stable: messages, playbooks, tests and docs/reference/findings.md (generated from here by
tools/generate_reference.py) use it. Values of secrets never get into a finding.
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
        "DEBUG_SECRETS",
        WARNING,
        "Secrets are shown",
        "mlflow_debug_secrets is on, for finding a fault.",
        "Set it back to false, remove what was logged, and change the secrets if somebody else could read it.",
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
        "INVENTORY_LIMIT",
        CRITICAL,
        "A run that was limited leaves out hosts it depends on",
        "PostgreSQL's connections are the sum of what all servers need; with some of them left out it would be made too small.",
        "Name the servers in --limit too, or leave --limit out.",
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
        "OS_UNSUPPORTED",
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
    # -- the verification (roles/mlflow_verify/files/verify.py carries the same table to the host)
    Finding(
        "DOMAIN_UNRESOLVED",
        CRITICAL,
        "The domain does not resolve",
        "No DNS record leads from the public name to an edge.",
        "Create the DNS record. To verify before that, set mlflow_verify_address to an edge's address.",
    ),
    Finding(
        "VERIFY_UNREACHABLE",
        CRITICAL,
        "The public address does not take a connection",
        "Nothing listens on the public port, or a firewall is in between.",
        "Look at `systemctl status nginx` on the edge and at the firewall between this host and the edge.",
    ),
    Finding(
        "VERIFY_TLS",
        CRITICAL,
        "The public certificate is not one a client trusts",
        "The certificate is expired, made for another name, or signed by an authority this host does not trust.",
        "Run the playbook mlops.mlflow.site; with certificates of your own, compare mlflow_certificates_files with mlflow_domain.",
    ),
    Finding(
        "VERIFY_CERTIFICATE_DAYS",
        WARNING,
        "The public certificate ends soon",
        "The certificate was not renewed in time.",
        "Run the playbook mlops.mlflow.site, which renews certificates of the private authority; renew your own by hand.",
    ),
    Finding(
        "VERIFY_NOT_READY",
        CRITICAL,
        "The edge answers and the server does not",
        "The edge answers, the server behind it does not (stopped, starting, or refusing the edge).",
        "On the server host: `systemctl status 'mlflow-server@*'` and `journalctl -u 'mlflow-server@*' -n 50`.",
    ),
    Finding(
        "VERIFY_DATABASE",
        CRITICAL,
        "MLflow does not reach its database",
        "MLflow runs but does not reach its database.",
        "On the database host: `systemctl status postgresql`; then the server's journal for the reason of the refusal.",
    ),
    Finding(
        "VERIFY_ANONYMOUS",
        CRITICAL,
        "Somebody without a login is let in",
        "A route answers without a login: mlflow_auth is none, or the edge or MLflow lets it through.",
        "Set mlflow_auth to basic and run the playbook mlops.mlflow.site. Until then, close the public port.",
    ),
    Finding(
        "VERIFY_WRONG_PASSWORD",
        CRITICAL,
        "A wrong password is let in",
        "A password that is certainly wrong was accepted.",
        "Close the public port and look at mlflow_auth and at what stands in front of the edge.",
    ),
    Finding(
        "VERIFY_LOGIN",
        CRITICAL,
        "The administrator's password is refused",
        "The password that MLflow holds is another than the one in the vault.",
        "Run the playbook mlops.mlflow.site, which sets the administrator's password from the vault.",
    ),
    Finding(
        "VERIFY_ARTIFACT",
        CRITICAL,
        "Artifacts cannot be stored or read",
        "Metadata works, files do not: the artifact store, a size or time limit at the edge, or a full disk.",
        "Read `journalctl -u 'mlflow-server@*' -n 50` for the store's own words and `df -h`; the edge's are in /var/log/nginx.",
    ),
    Finding(
        "VERIFY_CHECKSUM",
        CRITICAL,
        "An artifact came back other than it was stored",
        "Something between client and artifact store changed or cut the bytes.",
        "Look for a proxy in front of the edge; compare the file in the artifact store with what the client wrote.",
    ),
    Finding(
        "VERIFY_STEP",
        CRITICAL,
        "A client cannot do what it needs",
        "MLflow refused a call that a user's program makes, or returned something else than was written.",
        "Read the evidence, then `journalctl -u 'mlflow-server@*' -n 50` on the server host.",
    ),
    Finding(
        "VERIFY_LEFTOVERS",
        CRITICAL,
        "The verification left something behind",
        "Rows or files of this verification could not be removed.",
        "Run the playbook mlops.mlflow.verify again: it removes what is older than an hour.",
    ),
    Finding(
        "VERIFY_KEPT",
        WARNING,
        "The verification may not remove its objects",
        "The server's identity may not delete objects in the artifact store, or its rows could not be reached from this host.",
        "Nothing if that identity is meant to have no right to delete: a lifecycle rule or maintenance removes the objects.",
    ),
    Finding(
        "VERIFY_TIMEOUT",
        CRITICAL,
        "The verification took too long",
        "The installation is slow or hangs, or the artifact is large for the time allowed.",
        "See which step took the time; raise mlflow_verify_timeout or lower mlflow_verify_artifact_mb if it is healthy.",
    ),
    Finding(
        "VERIFY_INTERRUPTED",
        WARNING,
        "The verification was stopped",
        "Somebody or something stopped the verification.",
        "Run the playbook mlops.mlflow.verify again.",
    ),
    # -- certificates
    Finding(
        "CERT_REQUEST",
        CRITICAL,
        "Wanted certificates contradict each other",
        "A certificate lacks a name, a purpose or an address, two have one name, or files are named for a provider that takes none.",
        "Correct mlflow_certificates_wanted, mlflow_certificates_provider or mlflow_certificates_files.",
    ),
    Finding(
        "CERT_CA_MISSING",
        CRITICAL,
        "There is no authority to issue a certificate",
        "The secrets of the environment hold no certificate authority.",
        "Run the playbook mlops.mlflow.secrets, or bring certificates with mlflow_certificates_provider=files.",
    ),
    Finding(
        "CERT_CA_INVALID",
        CRITICAL,
        "The authority cannot sign",
        "Its certificate and key do not belong together, it ended, or it is no authority.",
        "Take the pair from a backup of the vault file, or remove both and run the playbook mlops.mlflow.secrets.",
    ),
    Finding(
        "CERT_OWNER_MISSING",
        CRITICAL,
        "The user who is to read a private key does not exist",
        "The program that brings the user is not installed.",
        "Install it first, or name another owner in mlflow_certificates_wanted.",
    ),
    Finding(
        "CERT_FILE_UNREADABLE",
        CRITICAL,
        "A certificate or key that was brought cannot be read",
        "The file is not there, is not PEM, or its key has a passphrase.",
        "Correct mlflow_certificates_files.",
    ),
    Finding(
        "CERT_KEY_MISMATCH",
        CRITICAL,
        "A certificate and key that were brought do not belong together",
        "Files of two certificates were mixed.",
        "Correct mlflow_certificates_files.",
    ),
    Finding(
        "CERT_EXPIRED",
        CRITICAL,
        "A certificate that was brought has ended",
        "It was not renewed.",
        "Renew it and run the playbook mlops.mlflow.site.",
    ),
    Finding(
        "CERT_NAME_NOT_COVERED",
        CRITICAL,
        "A certificate that was brought does not have the name clients ask for",
        "It was made for another name.",
        "Bring one that has the names, or change mlflow_domain.",
    ),
    Finding(
        "CERT_CHAIN_INCOMPLETE",
        CRITICAL,
        "A certificate that was brought leads to no known authority",
        "Intermediate certificates are missing from the file.",
        "Append them; name an authority of your own in mlflow_certificates_ca_files.",
    ),
    # -- the database
    Finding(
        "DATABASE_FOREIGN",
        CRITICAL,
        "A PostgreSQL or a database that is not ours is there",
        "The host or the name is in use. It is never trampled.",
        "Use another host or name, or set mlflow_database_adopt=true to use what is there.",
    ),
    Finding(
        "DATABASE_ENVIRONMENT",
        CRITICAL,
        "The database belongs to another environment",
        "Its comment names it; the inventory or the address is mixed up.",
        "Use the inventory of its environment, or another database host.",
    ),
    Finding(
        "DATABASE_NAME",
        CRITICAL,
        "A name or address may not stand in SQL or in pg_hba.conf",
        "Other characters than lower-case letters, digits and underscores, or a name used twice.",
        "Correct the name.",
    ),
    Finding(
        "DATABASE_CERTIFICATE",
        CRITICAL,
        "PostgreSQL has no certificate and is to serve other hosts",
        "The role mlflow_certificates did not run before.",
        "Apply the role mlflow_certificates first, or name files of your own.",
    ),
    Finding(
        "DATABASE_CONFIGURATION",
        CRITICAL,
        "PostgreSQL would not accept its access rules",
        "A line of mlflow_database_extra_hba or a setting is wrong.",
        "Correct it; PostgreSQL runs on with the rules it had.",
    ),
    Finding(
        "DATABASE_CHECKSUMS",
        CRITICAL,
        "The cluster has no data checksums",
        "It was made without them, and damage of its disk would go unnoticed.",
        "Stop it and run pg_checksums --enable, or set mlflow_database_accept_missing_checksums=true.",
    ),
    Finding(
        "DATABASE_LOGIN",
        CRITICAL,
        "The database that somebody else runs refuses the login",
        "Wrong URI, password, address or access rule.",
        "Correct the URI (reserved characters percent-encoded), or let the host in.",
    ),
    # -- the server
    Finding(
        "SERVER_LOCK",
        CRITICAL,
        "This MLflow is not locked for this host's Python",
        "The collection holds locks for some releases only.",
        "Set mlflow_version to a locked release, or lock another one and set mlflow_server_lock_file.",
    ),
    Finding(
        "SERVER_PLAIN",
        CRITICAL,
        "Passwords would cross the network in clear",
        "The server listens on a public address without TLS.",
        "Set mlflow_server_tls=true.",
    ),
    Finding(
        "SERVER_AUTH_DATABASE",
        CRITICAL,
        "The users have no database",
        "An external database was given for runs, none for users and permissions.",
        "Set mlflow_database_auth_uri.",
    ),
    Finding(
        "VERSION_CHANGE",
        CRITICAL,
        "The version of a running installation would change in passing",
        "New code may migrate the schema, and that needs a backup first.",
        "Use the playbook mlops.mlflow.upgrade, or set mlflow_version back.",
    ),
    Finding(
        "SERVER_MIGRATION",
        CRITICAL,
        "The schema could not be brought to the release",
        "The database holds a newer schema, or a lock or right is missing.",
        "Read the message; the server was not switched.",
    ),
    Finding(
        "SERVER_NOT_READY",
        CRITICAL,
        "The server does not become ready",
        "Its configuration, its databases or its artifact store; the message holds its own last words.",
        "Correct what the message names and run the playbook again. What served before goes on serving.",
    ),
    # -- artifacts
    Finding(
        "ARTIFACT_S3",
        CRITICAL,
        "The bucket does not do what MLflow needs",
        "Wrong keys, region, endpoint or policy.",
        "Correct what the message names; the identity needs to list the bucket and to put, get and delete below the prefix.",
    ),
    # -- the edge
    Finding(
        "EDGE_NO_SERVER",
        CRITICAL,
        "The edge has no server to pass requests to",
        "No host is in the group of servers, or mlflow_edge_upstreams is empty.",
        "Put a host into the group mlflow_servers, or set mlflow_edge_upstreams.",
    ),
    Finding(
        "EDGE_NGINX_BROKEN",
        CRITICAL,
        "The nginx on the host does not accept its own configuration",
        "Somebody left a mistake in it; a reload would fail for every site.",
        "Repair it; nginx -t shows the line.",
    ),
    Finding(
        "EDGE_SITE_CONFLICT",
        CRITICAL,
        "Another site on the same nginx claims our name or port",
        "The host serves other sites. They are never changed.",
        "Change that site yourself, or choose another mlflow_domain, mlflow_https_port or mlflow_edge_listen_addresses.",
    ),
    Finding(
        "EDGE_CERTIFICATE_MISSING",
        CRITICAL,
        "The edge has no certificate",
        "The role mlflow_certificates did not run before.",
        "Apply the role mlflow_certificates first, or set mlflow_edge_certificate and mlflow_edge_private_key.",
    ),
    Finding(
        "EDGE_STATIC_MISSING",
        CRITICAL,
        "The directory of static files holds no user interface",
        "Another directory was named.",
        "Set mlflow_edge_static_dir to auto, to mlflow/server/js/build of a release, or leave it empty.",
    ),
    Finding(
        "EDGE_NOT_LISTENING",
        CRITICAL,
        "The edge does not listen after its start",
        "nginx could not take the port or stopped.",
        "Read journalctl -u nginx and /var/log/nginx/error.log.",
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
