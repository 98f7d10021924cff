# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is refused before anything is changed. Pure decisions: no network, no files, no clock."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_uri import ArtifactUriError, parse
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import render
from ansible_collections.mlops.mlflow.plugins.module_utils._identity import identity_problems
from ansible_collections.mlops.mlflow.plugins.module_utils._transfer import is_loopback, transfer_problems
from ansible_collections.mlops.mlflow.plugins.module_utils._variables import USER_PREFIX, nearest, unknown_parts

_ENVIRONMENT = re.compile(r"[a-z][a-z0-9-]*")
_SYSTEM_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
# Users and groups have numbers below this one, which means "leave it as it is" to the kernel.
_NUMBERS = 2**32 - 1
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
# Directories that belong to the system: a role that owns one of them would change its owner and mode.
_SYSTEM_DIRECTORIES = frozenset(
    ["/", "/var/lib"]
    + [
        f"/{name}"
        for name in ("bin", "boot", "dev", "etc", "home", "lib", "lib64", "media", "mnt", "opt", "proc", "root")
    ]
    + [f"/{name}" for name in ("run", "sbin", "srv", "sys", "tmp", "usr", "var")]
)


def is_host_name(text: str) -> bool:
    """Tell whether the text is a DNS name (and not an address, URL or path)."""
    if not 0 < len(text) <= 253 or not all(_LABEL.fullmatch(label) for label in text.split(".")):
        return False
    return not text.rsplit(".", 1)[-1].isdigit()


def _unknown(unknown: Iterable[Mapping[str, str]], host: str) -> list[str]:
    problems = []
    for entry in unknown:
        variable, limit, fix = unknown_parts(entry)
        problems.append(render("VARIABLE_UNKNOWN", host=host, variable=variable, limit=limit, fix=fix))
    return problems


def choice_problems(choices: Mapping[str, Any], unknown: Iterable[Mapping[str, str]], host: str) -> list[str]:
    """Return a sentence for each shared choice that cannot work, misspelt names first.

    `choices` holds the values by name without the prefix `mlflow_`; one that is not set is None or empty.
    """
    problems = _unknown(unknown, host)

    def refuse(finding_id: str, name: str, limit: str, fix: str = "") -> None:
        problems.append(
            render(finding_id, host=host, variable=f"mlflow_{name}", value=choices.get(name), limit=limit, fix=fix)
        )

    for name, example in (("environment", "prod"), ("domain", "mlflow.example.com")):
        if not str(choices.get(name) or ""):
            problems.append(
                render(
                    "CHOICE_MISSING",
                    host=host,
                    variable=f"mlflow_{name} is not set",
                    fix=f"Set it, for example mlflow_{name}: {example}",
                )
            )
    environment, domain = str(choices.get("environment") or ""), str(choices.get("domain") or "")
    if environment and not _ENVIRONMENT.fullmatch(environment):
        refuse(
            "CHOICE_ENVIRONMENT",
            "environment",
            "It is lower-case letters, digits and dashes, beginning with a letter",
            "Use a name such as prod",
        )
    if domain and not is_host_name(domain):
        refuse(
            "CHOICE_DOMAIN",
            "domain",
            "It is a host name without scheme, port or path",
            "Use a name such as mlflow.example.com",
        )

    port = int(choices.get("https_port") or 0)
    if not 1 <= port <= 65535:
        refuse("CHOICE_PORT", "https_port", "Ports go from 1 to 65535")
    elif port in (taken := [int(one) for one in choices.get("service_ports", ())]):
        named = f"{', '.join(map(str, taken[:-1]))} and {taken[-1]}"
        refuse("CHOICE_PORT", "https_port", f"{named} belong to the servers and the database")
    elif port == 80:
        refuse("CHOICE_PORT", "https_port", "80 is for those who forget the s of https, and leads them to this one")

    username = str(choices.get("admin_username") or "")
    if not username.strip() or username != username.strip() or ":" in username or not username.isprintable():
        refuse(
            "CHOICE_USER",
            "admin_username",
            "It is not empty, has no colon (a login ends there), no blank at its ends and nothing invisible",
            "Use a name such as admin",
        )
    for name in ("user", "group"):
        if not _SYSTEM_USER.fullmatch(str(choices.get(name))) or choices.get(name) == "root":
            refuse(
                "CHOICE_USER",
                name,
                "It is lower-case letters, digits, dashes and underscores, at most 32, beginning with a letter, and never root",
                "Use a name such as mlflow",
            )
    for name, of in (("uid", "user"), ("gid", "group")):
        number = choices.get(name)
        if number is not None and not 1 <= int(number) < _NUMBERS:
            refuse(
                "CHOICE_USER",
                name,
                f"It is a number from 1 to {_NUMBERS - 1}",
                f"Use a number that no {of} has, such as 20001, or leave it out",
            )

    for name in ("install_dir", "config_dir"):
        path = str(choices.get(name) or "")
        if not path.startswith("/") or ".." in path.split("/"):
            refuse("CHOICE_PATH", name, "It must be an absolute path")
        elif (path.rstrip("/") or "/") in _SYSTEM_DIRECTORIES:
            refuse("CHOICE_PATH", name, "That directory belongs to the system")

    try:
        parse(str(choices.get("artifact_uri") or ""))
    except ArtifactUriError as error:
        refuse("ARTIFACT_URI", "artifact_uri", str(error))
    problems += transfer_problems(choices, host)
    problems += identity_problems(choices, host)

    listen = [str(address) for address in choices.get("edge_listen") or []]
    if choices.get("auth") == "none" and not (listen and all(is_loopback(address.strip("[]")) for address in listen)):
        refuse(
            "AUTH_NONE",
            "auth",
            f"Without a login the edge may listen on loopback only, and it listens on {', '.join(listen) or 'every address'}",
        )
    return problems


def weak(name: str, value: str, *, minimum: int, username: str = "") -> str:
    """Return why a secret is weak, without the secret, or an empty string."""
    if len(value) < minimum:
        return f"{name} has {len(value)} characters; at least {minimum} are needed"
    if len(set(value)) < 5:
        return f"{name} is made of fewer than 5 different characters"
    lowered = value.lower()
    if username and username.lower() in lowered and len(lowered.replace(username.lower(), "")) < minimum // 2:
        return f"{name} is little more than the user name"
    if lowered in _COMMON or any(lowered.startswith(word) and len(lowered) - len(word) < 6 for word in _COMMON):
        return f"{name} is a well-known password"
    return ""


_COMMON = frozenset(
    {"password", "password123", "password1234", "changeme", "changemenow", "adminadmin", "123456789012", "qwertyuiop"}
)


def secret_problems(secrets: Mapping[str, Mapping[str, Any]], environment: str, username: str, host: str) -> list[str]:
    """Return sentences about secrets that are missing (one for all of them) or weak (one each); never a value.

    `secrets` holds by name `value` (empty if not set) and `minimum`, the least length.
    """
    problems: list[str] = []
    missing = [name for name, secret in secrets.items() if not secret.get("value")]
    if missing:
        problems.append(
            render(
                "SECRET_MISSING",
                host=host,
                variable=f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set",
                fix=f"Run the playbook mlops.mlflow.secrets with this inventory and --vault-id {environment}@prompt; it makes what is missing",
            )
        )
    for name, secret in secrets.items():
        value = str(secret.get("value") or "")
        if "-----BEGIN" not in value and any(unicodedata.category(character) == "Cc" for character in value):
            problems.append(
                render(
                    "SECRET_CHARACTERS",
                    host=host,
                    variable=f"{name} holds a line break or another control character",
                    limit="Nobody can type it, and files of settings end a value there",
                )
            )
        if name.endswith("admin_password") and not value.isascii():
            problems.append(
                render(
                    "SECRET_CHARACTERS",
                    host=host,
                    variable=f"{name} holds a character beyond ASCII",
                    limit="MLflow reads passwords as ASCII where artifacts are uploaded, and answers 401",
                    fix="Use letters, digits and signs of ASCII only",
                )
            )
        reason = weak(
            name, value, minimum=int(secret["minimum"]), username=username if name.endswith("admin_password") else ""
        )
        if value and reason:
            problems.append(render("SECRET_WEAK", host=host, variable=reason))
    return problems


# -- the way to the host

LEAST_PYTHON = (3, 9)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")) if re.fullmatch(r"\d+\.\d+", text) else ()


def reach_problems(answer: Mapping[str, Any], way: Mapping[str, Any], host: str) -> list[str]:
    """Return a sentence for what keeps Ansible from working on a host: no connection, no root, no Python.

    `answer` is what a raw task that prints `mlops-user=<uid>` and twice `mlops-python=<version>` (the chosen one, Debian's)
    registered; `way` holds address, user, become and python.
    """
    said = " ".join(str(answer.get("msg") or answer.get("stderr") or "").split()).rstrip(".")
    said = said.removeprefix("Task failed: ")
    lines = [line.strip().partition("=") for line in str(answer.get("stdout") or "").splitlines()]
    uid = next((value for name, _equals, value in lines if name == "mlops-user"), "")
    if answer.get("unreachable"):
        return [
            render(
                "HOST_UNREACHABLE",
                host=host,
                variable="ansible_host",
                value=way["address"],
                limit=f"It cannot be reached: {said}",
            )
        ]
    if uid != "0":
        why = f"Ansible is the user {uid} there" if uid else f"Ansible did not become root there: {said or 'no answer'}"
        become = str(way["become"]).lower()
        return [render("HOST_NOT_ROOT", host=host, variable="ansible_become", value=become, limit=why)]
    pythons = [value for name, _equals, value in lines if name == "mlops-python"]
    chosen, debians = (_version(python) for python in (*pythons, "", "")[:2])
    if chosen < LEAST_PYTHON:
        what = (
            f"It is Python {'.'.join(map(str, chosen))}"
            if chosen
            else f"It does not run: {pythons[0] if pythons else said}"
        )
    elif chosen != debians:
        what = "It is another Python than Debian's own, for which Debian's packages of Python are"
    else:
        return []
    return [render("HOST_PYTHON", host=host, variable="ansible_python_interpreter", value=way["python"], limit=what)]


# -- the host, as the module mlflow_host_info saw it

SUPPORTED = {"debian": {"12": "3.11", "13": "3.13"}}
RELEASE_MB = 900
# Who may listen on the ports of a concern: it is then judged by the role that owns the service. A server is no program of a name of
# its own: it is told by its user.
_OURS: dict[str, tuple[str, ...]] = {"database": ("postgres",), "edge": ("nginx",), "server": ()}


_SHARED = ("nfs", "nfs4", "cifs", "smb3", "ceph", "lustre", "gfs2", "ocfs2", "9p", "afs", "glusterfs", "virtiofs")


def _is_shared(file_system: str) -> bool:
    return file_system in _SHARED or file_system.startswith("fuse.")


def _span(seconds: float) -> str:
    """Return a time as people say it: asking took a second or two as well."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _ports(concerns: Iterable[str], ports: Mapping[str, Sequence[int | str]]) -> dict[int, tuple[str, ...]]:
    return {int(port): _OURS[concern] for concern in concerns for port in ports[concern]}


def account_problems(accounts: Mapping[str, Any], wanted: Mapping[str, Any], host: str) -> list[str]:
    """Return a sentence for each number that MLflow's user or group cannot get on this host.

    One that exists is not renumbered: usermod refuses while it has processes, and its files would keep the number of before.

    Args:
        accounts: By `user` and `group` a dictionary of `number` and `holder`, as `_host.accounts` returns it.
        wanted: `user` and `group`, and `uid` and `gid`, None where the host may choose.
        host: The host's name.
    """
    problems = []
    for kind, name in (("user", "uid"), ("group", "gid")):
        number, holder = accounts[kind]["number"], accounts[kind]["holder"]
        if wanted[name] is None or int(wanted[name]) == number or (number is None and not holder):
            continue
        variable = f"mlflow_{name}"
        if holder:
            limit = f"That number belongs to the {kind} {holder} of this host"
            fix = f"Choose a number that no {kind} has on any server, or leave {variable} out"
        else:
            limit = (
                f"The {kind} {wanted[kind]} exists on this host with the number {number}, and its files know it by that"
            )
            fix = f"Set {variable}={number}, or change the number while MLflow is stopped, as docs/how-to/share-a-directory.md shows"
        problems.append(render("HOST_ACCOUNT", host=host, variable=variable, value=wanted[name], limit=limit, fix=fix))
    return problems


def host_problems(info: Mapping[str, Any], wanted: Mapping[str, Any], host: str) -> list[str]:
    """Return a sentence for each reason why this host cannot carry what is wanted of it."""
    problems: list[str] = []

    def refuse(finding_id: str, variable: str, value: Any, limit: str, fix: str = "") -> None:
        problems.append(render(finding_id, host=host, variable=variable, value=value, limit=limit, fix=fix))

    concerns = list(wanted["concerns"])
    os, version = str(info["os"]), str(info["os_version"])
    if version not in SUPPORTED.get(os, {}):
        refuse("OS_UNSUPPORTED", "operating system", f"{os} {version}".strip(), "Debian 12 and Debian 13 are supported")
    elif "server" in concerns and info["python"] != SUPPORTED[os][version]:
        refuse(
            "HOST_PYTHON",
            "Python",
            info["python"],
            f"Debian {version} brings Python {SUPPORTED[os][version]}, and the lock is made for it",
        )
    if "server" in concerns and info["architecture"] != "x86_64":
        refuse(
            "HOST_ARCHITECTURE", "architecture", info["architecture"], "The binary packages of the lock are for x86_64"
        )
    if wanted["check_mode"] and not info["python_apt"]:
        refuse("HOST_CHECK_MODE", "python3-apt is missing, which check mode needs", None, "")

    memory = int(wanted["memory_minimum_mb"]) // (1 if "server" in concerns else 2)
    if int(info["memory_mb"]) < memory:
        refuse("HOST_MEMORY", "memory", f"{info['memory_mb']} MB", f"At least {memory} MB are needed")

    if "server" in concerns:
        room = (
            int(wanted["disk_minimum_mb"])
            if not info["releases"]
            else min(int(wanted["disk_minimum_mb"]), 2 * RELEASE_MB)
        )
        free = int(info["free_mb"][wanted["install_dir"]])
        if free < room:
            refuse(
                "HOST_DISK",
                f"free disk below mlflow_install_dir={wanted['install_dir']}",
                f"{free} MB",
                f"At least {room} MB are needed for releases of {RELEASE_MB} MB",
            )
    for path, free in info["free_mb"].items():
        if path != wanted["install_dir"] and int(free) < 500:
            refuse(
                "HOST_DISK",
                f"free disk below {path}",
                f"{free} MB",
                "At least 500 MB are needed",
                "Free or add room there",
            )

    artifacts = str(wanted["artifact_uri"])
    kind = str(info["file_system"].get(artifacts, ""))
    if "server" in concerns and int(wanted["server_count"]) > 1 and artifacts.startswith("/") and not _is_shared(kind):
        refuse(
            "ARTIFACTS_NOT_SHARED",
            "mlflow_artifact_uri",
            wanted["artifact_uri"],
            f"There are {wanted['server_count']} servers, and on this host that directory is on a local disk ({kind or 'unknown'})",
        )

    # Nobody but the role mlflow_server makes the user and the group.
    if "server" in concerns:
        problems += account_problems(info["accounts"], wanted, host)

    ports = _ports(concerns, wanted["ports"])
    said: set[tuple[int, str]] = set()
    for listener in info["listeners"]:
        port, process, user = (
            int(listener["port"]),
            str(listener["process"] or "an unknown process"),
            str(listener["user"]),
        )
        if port not in ports or process in ports[port] or (port, process) in said:
            continue
        if not ports[port] and user == wanted["user"]:
            continue
        said.add((port, process))
        refuse(
            "HOST_PORT_IN_USE",
            f"port {port} is taken by {process}"
            + (f" (process {listener['pid']}, user {user})" if listener.get("pid") else ""),
            None,
            "The installation needs it",
            ""
            if port != int(wanted["https_port"])
            else "Set mlflow_https_port to another port, use another host, or remove the program yourself",
        )

    offset, tolerance = float(info["clock_offset"]), float(wanted["clock_tolerance"])
    if abs(offset) > tolerance:
        refuse(
            "HOST_CLOCK",
            f"the clock is {_span(abs(offset))} {'ahead of' if offset > 0 else 'behind'} the controller's",
            None,
            f"mlflow_preflight_clock_tolerance={wanted['clock_tolerance']} s",
        )

    marker = str(info["environment"]).strip()
    if marker and marker != wanted["environment"]:
        refuse(
            "HOST_ENVIRONMENT",
            "mlflow_environment",
            wanted["environment"],
            f"{wanted['config_dir']}/environment on the host says {marker}",
            "Correct the inventory, or remove that installation and that file first",
        )
    return problems


def host_warnings(info: Mapping[str, Any], wanted: Mapping[str, Any], host: str) -> list[str]:
    """Return a sentence for each thing that will have to be done later and need not stop a run."""
    warnings = []
    if wanted["debug_secrets"]:
        warnings.append(
            render(
                "DEBUG_SECRETS",
                host=host,
                variable="mlflow_debug_secrets=true, and the output of this run holds passwords",
            )
        )
    if info["addresses"]:
        return warnings
    return [
        *warnings,
        render(
            "DOMAIN_UNRESOLVED",
            host=host,
            variable="mlflow_domain",
            value=wanted["domain"],
            limit="The name does not resolve on this host yet",
            fix="Make its DNS record point to the edge; the run goes on, and the verification at its end needs the name",
            promise=False,
        ),
    ]


def inventory_problems(
    groups: Mapping[str, Iterable[str]],
    *,
    group: str,
    known: Iterable[str],
    needed: Iterable[str],
    sources: Iterable[str],
) -> list[str]:
    """Return a sentence for each reason why an inventory does not describe an environment."""
    members = {name: set(hosts) for name, hosts in groups.items()}
    known, source = list(known), ", ".join(sources) or "no inventory"
    unknown = sorted(
        name
        for name in members
        if name.startswith("mlflow") and name not in {group, *known} and not name.startswith(USER_PREFIX)
    )
    problems = []
    for name in unknown:
        similar = nearest(name, known)
        problems.append(
            render(
                "INVENTORY_GROUP_UNKNOWN",
                host=source,
                variable=f"the group {name} is not one of {', '.join(known)}",
                fix=(f"Did you mean {similar}? Correct it" if similar else "Correct it")
                + f", or begin its name with {USER_PREFIX} if it is your own",
            )
        )
    if group not in members:
        if unknown:
            return problems
        return [
            render(
                "INVENTORY_MISSING",
                host=source,
                variable=f"there is no group {group}",
                fix="Give an inventory that has it, for example -i inventories/dev",
            )
        ]
    problems += [
        render("INVENTORY_GROUP_EMPTY", host=source, variable=f"the group {name} has no host", fix="Add one to it")
        for name in needed
        if not members.get(name)
    ]
    busy = set().union(*(members.get(name, set()) for name in known))
    idle = sorted(members[group] - busy)
    # What is said above explains it already.
    if idle and not problems:
        problems.append(
            render(
                "INVENTORY_HOST_IDLE",
                host=source,
                variable=f"{', '.join(idle)} {'is' if len(idle) == 1 else 'are'} in {group} but in none of {', '.join(known)}",
            )
        )
    return problems
