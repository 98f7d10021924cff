# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host says about itself. Reads only; whatever cannot be read is empty, because a look must not fail."""

from __future__ import annotations

import grp
import os
import platform
import pwd
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

_LISTEN = "0A"


def parse_listeners(table: str) -> list[tuple[int, int, int]]:
    """Return port, user id and inode of each listening socket of a /proc/net/tcp table."""
    found = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == _LISTEN:
            found.append((int(fields[1].rsplit(":", 1)[1], 16), int(fields[7]), int(fields[9])))
    return found


def parse_os_release(text: str) -> dict[str, str]:
    """Return the keys of /etc/os-release."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip().strip("\"'") for key, _equals, value in pairs}


def mount_at(path: str, mounts: str) -> dict[str, str]:
    """Return `point`, `type`, `source` and `options` of the file system that holds the path, from the text of /proc/mounts."""
    best: dict[str, str] = {"point": "", "type": "", "source": "", "options": ""}
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 4:
            continue
        point = fields[1].encode().decode("unicode_escape")
        if (path == point or path.startswith(point.rstrip("/") + "/")) and len(point) >= len(best["point"]):
            best = {"point": point, "type": fields[2], "source": fields[0], "options": fields[3]}
    return best


def mount_of(path: str, mounts: str) -> str:
    """Return the type of the file system that holds the path, from the text of /proc/mounts."""
    return mount_at(path, mounts)["type"]


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _owners(inodes: set[int]) -> dict[int, int]:
    """Return which process holds each of the sockets: the one with the lowest id, which is a service's parent."""
    owners: dict[int, int] = {}
    for pid in sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        try:
            descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
        except OSError:
            continue
        for descriptor in descriptors:
            try:
                target = str(descriptor.readlink())
            except OSError:
                continue
            if target.startswith("socket:[") and int(target[8:-1]) in inodes:
                owners.setdefault(int(target[8:-1]), pid)
    return owners


def _sockets() -> list[tuple[int, int, int]]:
    """Return port, user id and inode of every socket that listens."""
    return [entry for table in ("/proc/net/tcp", "/proc/net/tcp6") for entry in parse_listeners(_read(table))]


def listening() -> dict[int, set[int]]:
    """Return the TCP ports that each process listens on; one port counts for the parent of those that share it."""
    sockets = _sockets()
    owners = _owners({inode for _port, _uid, inode in sockets})
    found: dict[int, set[int]] = {}
    for port, _uid, inode in sockets:
        if inode in owners:
            found.setdefault(owners[inode], set()).add(port)
    return found


def listeners(ports: Iterable[int]) -> list[dict[str, Any]]:
    """Return who listens on the given TCP ports."""
    wanted = set(ports)
    sockets = [entry for entry in _sockets() if entry[0] in wanted]
    owners = _owners({inode for _port, _uid, inode in sockets}) if sockets else {}
    found = []
    for port, uid, inode in sockets:
        pid = owners.get(inode, 0)
        found.append(
            {"port": port, "pid": pid, "process": _read(f"/proc/{pid}/comm").strip() if pid else "", "user": _user(uid)}
        )
    return found


def existing(path: str) -> Path:
    """Return the nearest directory above the path that exists."""
    candidate = Path(path)
    while not candidate.exists() and candidate != candidate.parent:
        candidate = candidate.parent
    return candidate


def free_mb(path: str) -> int:
    """Return what an unprivileged program may still write where the path is or will be, in MB."""
    try:
        status = os.statvfs(existing(path))
    except OSError:
        return 0
    return status.f_bavail * status.f_frsize // 1_000_000


def memory_mb() -> int:
    """Return the host's memory in MB."""
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024 // 1_000_000
    return 0


def addresses(name: str) -> list[str]:
    """Return the addresses a name resolves to on this host, within a few seconds."""
    # The C library reads this when it first resolves; without it an unreachable resolver takes half a minute.
    os.environ["RES_OPTIONS"] = "timeout:2 attempts:1"
    try:
        return sorted({str(entry[4][0]) for entry in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)})
    except (OSError, UnicodeError):
        return []


def _entry(database: Callable[[Any], Any], key: str | int | None) -> Any:
    """Return the line of a database of accounts; None if there is none, or nothing was asked."""
    try:
        return None if key is None else database(key)
    # Of a number that no account can have.
    except (KeyError, OverflowError):
        return None


def accounts(*, user: str, group: str, uid: int | None, gid: int | None) -> dict[str, dict[str, Any]]:
    """Return the number that the user and the group have, if they exist, and who has the one that they are to have.

    The same look-ups as those of useradd and groupadd, so accounts of a directory service count.
    """
    named, numbered = _entry(pwd.getpwnam, user), _entry(pwd.getpwuid, uid)
    group_named, group_numbered = _entry(grp.getgrnam, group), _entry(grp.getgrgid, gid)
    return {
        "user": {"number": named.pw_uid if named else None, "holder": numbered.pw_name if numbered else ""},
        "group": {
            "number": group_named.gr_gid if group_named else None,
            "holder": group_numbered.gr_name if group_numbered else "",
        },
    }


def look(
    *,
    install_dir: str,
    config_dir: str,
    domain: str,
    ports: Iterable[int],
    paths: Iterable[str],
    controller_time: float,
    user: str = "",
    group: str = "",
    uid: int | None = None,
    gid: int | None = None,
) -> dict[str, Any]:
    """Return all that a preflight asks of a host, in one look."""
    offset = time.time() - controller_time
    release = parse_os_release(_read("/etc/os-release"))
    python = Path("/usr/bin/python3").resolve().name
    mounts = _read("/proc/mounts")
    releases = Path(install_dir) / "releases"
    return {
        "accounts": accounts(user=user, group=group, uid=uid, gid=gid),
        "addresses": addresses(domain) if domain else [],
        "architecture": platform.machine(),
        "clock_offset": offset,
        "environment": _read(Path(config_dir) / "environment").strip(),
        "free_mb": {path: free_mb(path) for path in paths},
        "file_system": {path: mount_of(str(existing(path).resolve()), mounts) for path in paths},
        "listeners": listeners(ports),
        "memory_mb": memory_mb(),
        "os": release.get("ID", platform.system().lower()),
        "os_version": release.get("VERSION_ID", ""),
        "python": python.removeprefix("python") if python.startswith("python3.") else "",
        "python_apt": Path("/usr/lib/python3/dist-packages/apt").is_dir(),
        "releases": sorted(entry.name for entry in releases.iterdir()) if releases.is_dir() else [],
    }
