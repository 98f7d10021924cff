"""Bad input and broken hosts that take a live peer: a converged host, and on it the fault.

Cases of one run share what is broken and what is typed; each has a name of its own for the same host, with its own variables, or
shares a name with others where a host says all that is wrong with it at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.mlops.mlflow.tests.refusals.table import Case


@dataclass(frozen=True)
class Run:
    """What is typed once, and what is broken while it runs."""

    name: str
    cases: tuple[Case, ...]
    playbook: str = "site.yml"
    arguments: tuple[str, ...] = ()
    # Functions of molecule/default/tests/faults.py. What they return ({pid}, ...) may stand in sentences.
    faults: tuple[str, ...] = ()
    # One name for the host in all cases, and more servers at the same address.
    host: str = ""
    servers: int = 1
    variables: Mapping[str, Any] = field(default_factory=dict)


UNREACHABLE = "Make `ssh` work from the controller; correct ansible_host, ansible_port, ansible_user or the key. Nothing was changed."
NOT_ROOT = (
    "Set ansible_become=true (with --ask-become-pass where sudo asks), or ansible_user=root. Nothing was changed."
)
PYTHON = "Install Debian's python3, or let ansible_python_interpreter point to /usr/bin/python3. Nothing was changed."

REACH = Run(
    "reach",
    faults=("guest", "other_python"),
    arguments=("--tags", "always"),
    cases=(
        Case(
            "no-host-there",
            "[HOST_UNREACHABLE] {name}: ansible_host=10.213.77.254. It cannot be reached: Failed to connect to the host via ssh:"
            f" ssh: connect to host 10.213.77.254 port 22: No route to host. {UNREACHABLE}",
            {"ansible_host": "10.213.77.254"},
        ),
        Case(
            "key-of-nobody",
            "[HOST_UNREACHABLE] {name}: ansible_host={address}. It cannot be reached: Failed to connect to the host via ssh:"
            f" mallory@{{address}}: Permission denied (publickey,password). {UNREACHABLE}",
            {"ansible_user": "mallory"},
        ),
        Case(
            "not-root",
            f"[HOST_NOT_ROOT] {{name}}: ansible_become=false. Ansible is the user 4242 there. {NOT_ROOT}",
            {"ansible_user": "mlops-guest"},
        ),
        Case(
            "sudo-that-asks",
            "[HOST_NOT_ROOT] {name}: ansible_become=true. Ansible did not become root there: Missing sudo password."
            f" {NOT_ROOT}",
            {"ansible_user": "mlops-guest", "ansible_become": True},
        ),
        Case(
            "python-that-is-not-there",
            "[HOST_PYTHON] {name}: ansible_python_interpreter=/usr/bin/python2. It does not run: bash: line 1: /usr/bin/python2: No such file or directory."
            f" {PYTHON}",
            {"ansible_python_interpreter": "/usr/bin/python2"},
        ),
        Case(
            "python-of-another-make",
            "[HOST_PYTHON] {name}: ansible_python_interpreter=/usr/local/bin/mlops-fault-python. It is another Python than Debian's own,"
            f" for which Debian's packages of Python are. {PYTHON}",
            {"ansible_python_interpreter": "/usr/local/bin/mlops-fault-python"},
        ),
    ),
)

HOST = Run(
    "host",
    host="crowded",
    servers=2,
    faults=("foreign_system", "little_memory", "listener", "small_disk", "late_clock", "no_apt"),
    arguments=("--check", "--tags", "always"),
    cases=(
        Case(
            "unsupported-system",
            "[OS_UNSUPPORTED] {name}: operating system=ubuntu 24.04. Debian 12 and Debian 13 are supported."
            " Use a host with Debian 12 (bookworm) or Debian 13 (trixie). Nothing was changed.",
        ),
        Case(
            "unsupported-processor",
            "[HOST_ARCHITECTURE] {name}: architecture=i686. The binary packages of the lock are for x86_64."
            " Use a host with an x86_64 processor. Nothing was changed.",
            {"ansible_python_interpreter": "/usr/local/bin/mlops-fault-late"},
        ),
        Case(
            "check-mode-without-apt",
            "[HOST_CHECK_MODE] {name}: python3-apt is missing, which check mode needs. Install python3-apt on the host, or run without"
            " --check. Nothing was changed.",
        ),
        Case(
            "little-memory",
            "[HOST_MEMORY] {name}: memory=1024 MB. At least 1800 MB are needed. Give the host more memory. Nothing was changed.",
        ),
        Case(
            "disk-too-small-for-a-release",
            "[HOST_DISK] {name}: free disk below mlflow_install_dir=/mnt/mlops-small/mlflow=67 MB. At least 3500 MB are needed for releases"
            " of 900 MB. Free or add room, or let mlflow_install_dir point to a larger disk. Nothing was changed.",
            {"mlflow_install_dir": "/mnt/mlops-small/mlflow"},
        ),
        Case(
            "disk-full",
            "[HOST_DISK] {name}: free disk below /mnt/mlops-full/artifacts=0 MB. At least 500 MB are needed. Free or add room there."
            " Nothing was changed.",
            {"mlflow_artifact_uri": "/mnt/mlops-full/artifacts"},
        ),
        Case(
            "artifacts-of-two-servers",
            "[ARTIFACTS_NOT_SHARED] {name}: mlflow_artifact_uri=/mnt/mlops-full/artifacts. There are 2 servers, and on this host that"
            " directory is on a local disk (tmpfs). Mount the same network directory there on every server, or set mlflow_artifact_uri"
            " to a bucket. Nothing was changed.",
        ),
        Case(
            "port-in-use",
            "[HOST_PORT_IN_USE] {name}: port 8443 is taken by python3 (process {pid}, user root). The installation needs it."
            " Set mlflow_https_port to another port, use another host, or remove the program yourself. Nothing was changed.",
            {"mlflow_https_port": 8443},
        ),
        Case(
            "number-of-somebody-else",
            "[HOST_ACCOUNT] {name}: mlflow_uid=1. That number belongs to the user daemon of this host. Choose a number that no user has on"
            " any server, or leave mlflow_uid out. Nothing was changed.",
            {"mlflow_uid": 1},
        ),
        Case(
            "clock-behind",
            "[HOST_CLOCK] {name}: the clock is 3 h behind the controller's. mlflow_preflight_clock_tolerance=30 s. Synchronise the clocks"
            " of host and controller (for example with chrony or systemd-timesyncd). Nothing was changed.",
        ),
        Case(
            "another-environment",
            "[HOST_ENVIRONMENT] {name}: mlflow_environment=other. /etc/mlflow/environment on the host says {environment}."
            " Correct the inventory, or remove that installation and that file first. Nothing was changed.",
            {"mlflow_environment": "other"},
        ),
        Case(
            "secret-missing",
            "[SECRET_MISSING] {name}: mlflow_flask_secret_key is not set. Run the playbook mlops.mlflow.secrets with this inventory and"
            " --vault-id other@prompt; it makes what is missing. Nothing was changed.",
            {"mlflow_flask_secret_key": ""},
        ),
        Case(
            "secret-weak",
            "[SECRET_WEAK] {name}: mlflow_admin_password has 8 characters; at least 12 are needed. Remove it from the vault file and run"
            " the playbook mlops.mlflow.secrets, or set a longer one. Nothing was changed.",
            {"mlflow_admin_password": "Tr0üb4d&"},
        ),
        Case(
            "secret-beyond-ascii",
            "[SECRET_CHARACTERS] {name}: mlflow_admin_password holds a character beyond ASCII. MLflow reads passwords as ASCII where artifacts"
            " are uploaded, and answers 401. Use letters, digits and signs of ASCII only. Nothing was changed.",
            {"mlflow_admin_password": "Tr0üb4d&"},  # the same host as above: one value, two sentences
        ),
        Case(
            "secret-with-line-break",
            "[SECRET_CHARACTERS] {name}: mlflow_crypto_kek_passphrase holds a line break or another control character. Nobody can type it,"
            " and files of settings end a value there. Remove the line break: write the value in one line, in quotes."
            " Nothing was changed.",
            {"mlflow_crypto_kek_passphrase": "correct horse battery staple\n"},
        ),
    ),
)

EDGE = Run(
    "edge",
    playbook="mlflow_edge",
    faults=("foreign_site",),
    cases=(
        Case(
            "site-of-somebody-else",
            "[EDGE_SITE_CONFLICT] {name}: /etc/nginx/conf.d/mlops-fault.conf: the server 'taken.test' on *:443 claims taken.test."
            " That configuration is not ours and stays as it is: remove or change it yourself, or choose another mlflow_domain,"
            " mlflow_https_port, mlflow_edge_listen_addresses (or mlflow_edge_redirect_http=false). Nothing was changed.",
            {"mlflow_domain": "taken.test"},
        ),
        Case(
            "no-server-behind",
            "[EDGE_NO_SERVER] {name}: mlflow_edge_upstreams=[] names no server to pass requests to. Give the inventory a server, or set"
            " mlflow_edge_upstreams. Nothing was changed.",
            {"mlflow_edge_upstreams": []},
        ),
        Case(
            "certificate-elsewhere",
            "[EDGE_CERTIFICATE_MISSING] {name}: /etc/ssl/nobody.pem does not exist. The role mlflow_certificates writes it; if yours is"
            " elsewhere, set mlflow_edge_certificate and mlflow_edge_private_key. Nothing was changed.",
            {"mlflow_edge_certificate": "/etc/ssl/nobody.pem"},
        ),
        Case(
            "static-files-elsewhere",
            "[EDGE_STATIC_MISSING] {name}: mlflow_edge_static_dir=/srv/nowhere has no index.html. Name the directory mlflow/server/js/build"
            " of a release, auto, or leave it empty to pass requests to the servers. The site was not changed.",
            {"mlflow_edge_static_dir": "/srv/nowhere"},
        ),
        Case(
            "line-that-nginx-does-not-know",
            '[EDGE_CONFIGURATION] {name}: nginx does not accept the site: unknown directive "proxy_bufering". Correct'
            " mlflow_edge_extra_config or mlflow_edge_listen_addresses; nginx goes on with the configuration it had."
            " Nothing was changed.",
            {"mlflow_edge_extra_config": "proxy_bufering off;"},
        ),
    ),
)

NGINX = Run(
    "nginx",
    playbook="mlflow_edge/refuse",
    faults=("broken_site",),
    cases=(
        Case(
            "foreign-nginx-broken",
            '[EDGE_NGINX_BROKEN] {name}: nginx does not accept its present configuration: unknown directive "rot" in'
            " /etc/nginx/conf.d/mlops-fault.conf:1. A reload would fail for every site. Repair it (nginx -t shows the line)."
            " Nothing was changed.",
        ),
    ),
)

DEAF = Run(
    "deaf",
    playbook="mlflow_edge",
    faults=("firewall",),
    host="deaf",
    cases=(
        Case(
            "firewall-on-the-host",
            "[EDGE_NOT_LISTENING] {name}: mlflow_edge_https_port=443. Nothing answers there, 15 s after nginx got its configuration."
            " Read journalctl -u nginx and /var/log/nginx/error.log, and look for a firewall on the host. The site stays as it is.",
        ),
    ),
)

DATABASE = Run(
    "database",
    playbook="mlflow_database",
    faults=("foreign_databases", "cluster_without_checksums"),
    cases=(
        Case(
            "database-of-somebody-else",
            "[DATABASE_FOREIGN] {name}: a database theirs that this collection did not make exists. Choose another mlflow_database_name and"
            " mlflow_database_auth_name, or set mlflow_database_adopt=true to use it. Nothing was changed.",
            {"mlflow_database_name": "theirs"},
        ),
        Case(
            "database-of-another-environment",
            '[DATABASE_ENVIRONMENT] {name}: the database prods says "mlflow environment: prod", but mlflow_environment={environment}.'
            " Use the inventory of its environment, or another database host. Nothing was changed.",
            {"mlflow_database_name": "prods"},
        ),
        Case(
            "cluster-without-checksums",
            "[DATABASE_CHECKSUMS] {name}: the cluster /etc/postgresql/17/plain has no data checksums, so damage of its disk goes unnoticed."
            " Stop it and run pg_checksums --enable on it (minutes for some 100 GB, it is not done silently), or set"
            " mlflow_database_accept_missing_checksums=true. Nothing was changed.",
            {"mlflow_database_cluster": "plain", "mlflow_database_port": 5999},
        ),
        Case(
            "other-hosts-without-certificate",
            "[DATABASE_CERTIFICATE] {name}: mlflow_database_clients=10.213.77.9 need TLS, and /etc/mlflow/tls/postgresql.pem and"
            " /etc/mlflow/tls/postgresql.key must exist for it. Apply the role mlflow_certificates first, or set"
            " mlflow_database_tls_certificate and mlflow_database_tls_private_key. The configuration of PostgreSQL was not changed.",
            {"mlflow_database_clients": ["10.213.77.9"]},
        ),
        Case(
            "setting-misspelt",
            '[DATABASE_CONFIGURATION] {name}: PostgreSQL refuses the settings: unrecognized configuration parameter "shared_bufers".'
            " Correct mlflow_database_extra_settings. The configuration was not changed.",
            {"mlflow_database_extra_settings": {"shared_bufers": "1GB"}},
        ),
    ),
)

SERVER = Run(
    "server",
    playbook="mlflow_server/plan",
    cases=(
        Case(
            "version-in-passing",
            "[VERSION_CHANGE] {name}: mlflow_version=3.16.1, but this host runs MLflow 3.17.2. A change of version needs a backup and a"
            " migration of the schema: use the playbook mlops.mlflow.upgrade, or set mlflow_version back. Nothing was changed.",
            {"mlflow_version": "3.16.1"},
        ),
        Case(
            "artifacts-left-behind",
            "[SERVER_ARTIFACTS] {name}: mlflow_artifact_uri=/srv/mlflow/elsewhere, but this host keeps artifacts at /srv/mlflow/artifacts, and"
            " no run would find what it logged there. Copy everything to the new place, then set"
            " mlflow_server_artifact_uri_before=/srv/mlflow/artifacts; or set mlflow_artifact_uri back. Nothing was changed.",
            {"mlflow_artifact_uri": "/srv/mlflow/elsewhere"},
        ),
        Case(
            "version-without-lock",
            "[SERVER_LOCK] {name}: mlflow_version=3.14.0 is not locked for Debian 13 (looked for {locks}/mlflow-3.14.0-py3.13.txt)."
            " Lock it with the collection's roles/mlflow_server/files/locks/lock.sh and set mlflow_server_lock_file."
            " Nothing was changed.",
            {"mlflow_version": "3.14.0"},
        ),
    ),
)

SCHEMA = Run(
    "schema",
    playbook="mlflow_server",
    arguments=("--tags", "mlflow_server_migrate"),
    faults=("newer_schema",),
    cases=(
        Case(
            "schema-newer-than-the-release",
            "[DATABASE_SCHEMA_NEWER] {name}: mlflow_database_name: The tracking schema in mlflow is newer than the release: it is at"
            " revision feedfacecafe, and MLflow 3.17.2 works with dc11669786a5. Set mlflow_version to the version that made it, or go back"
            " with the playbook mlops.mlflow.rollback. No slot was switched: what served goes on serving.",
        ),
    ),
)

SOCKET = "the socket of port 5432 in /run/postgresql"
REFUSED = "connection to server on socket '/run/postgresql/.s.PGSQL.5432' failed: FATAL: password authentication failed for user"

LOGIN = Run(
    "login",
    playbook="mlflow_server",
    arguments=("--tags", "mlflow_server_migrate"),
    cases=(
        Case(
            "password-of-the-server",
            # Of both databases, runs and users.
            "\n".join(
                f"[DATABASE_LOGIN] {{name}}: {variable}: {SOCKET} refuses the user mlflow_server_a. ({REFUSED} 'mlflow_server_a')"
                " Correct user and password of the URI (reserved characters percent-encoded), or set the password in PostgreSQL:"
                " ALTER ROLE ... PASSWORD. No slot was switched: what served goes on serving."
                for variable in ("mlflow_database_name", "mlflow_database_auth_name")
            ),
            {"mlflow_database_server_a_password": "Xk3vQ9zLr2Tn8WpBXk3v"},
        ),
        Case(
            "password-of-the-migrator",
            "[SERVER_MIGRATION] {name}: The database mlflow at /run/postgresql as mlflow_migrator cannot be used: connection to server on"
            ' socket "/run/postgresql/.s.PGSQL.5432" failed: FATAL: password authentication failed for user "mlflow_migrator".'
            " No slot was switched: what served goes on serving.",
            {"mlflow_database_migrator_password": "Xk3vQ9zLr2Tn8WpBXk3v"},
        ),
        Case(
            "nobody-listens",
            "\n".join(
                f"[DATABASE_REFUSED] {{name}}: {variable}: Nothing listens at the socket of port 5998 in /run/postgresql."
                " (/run/postgresql port 5998: No such file or directory) Start PostgreSQL, or correct host and port of the URI."
                " No slot was switched: what served goes on serving."
                for variable in ("mlflow_database_name", "mlflow_database_auth_name")
            ),
            {"mlflow_database_port": 5998},
        ),
    ),
)

RUNS = (REACH, HOST, EDGE, NGINX, DEAF, DATABASE, SERVER, SCHEMA, LOGIN)
