# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with a host before anything is installed."""

from __future__ import annotations

from ansible_collections.mlops.mlflow.plugins.module_utils._findings._shape import CRITICAL, Finding

REGISTERED = (
    Finding(
        "HOST_UNREACHABLE",
        CRITICAL,
        "The host cannot be reached",
        "A wrong address, user or key, a host that is not started, or a firewall in between.",
        "Make `ssh` work from the controller; correct ansible_host, ansible_port, ansible_user or the key.",
    ),
    Finding(
        "HOST_LOST",
        CRITICAL,
        "A host was lost on the way",
        "It answered when the playbook began and does not any more: it was switched off, or the network is away.",
        "Make it answer and run the playbook again; it begins anew with what had not come to its end.",
    ),
    Finding(
        "HOST_NOT_ROOT",
        CRITICAL,
        "Ansible is not root on the host",
        "The user has no right to become root, or was not told to.",
        "Set ansible_become=true (with --ask-become-pass where sudo asks), or ansible_user=root.",
    ),
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
        "HOST_SIZE",
        CRITICAL,
        "A number that sizes are computed from cannot work",
        "Workers, threads, memory, CPUs or connections are too small, too large, or contradict each other.",
        "Correct it, or leave it out: the defaults fit the host.",
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
        "HOST_ACCOUNT",
        CRITICAL,
        "MLflow's user or group cannot get its number",
        "mlflow_uid or mlflow_gid is not the number that the user or group has on the host already, or it is somebody else's there.",
        "Set it to the number that is there, choose one that is free, or change it as docs/how-to/share-a-directory.md shows.",
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
)
