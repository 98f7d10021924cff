# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What killed processes of MLflow left behind: uploads that were never whole, temporary folders, shared memory.

Only what nobody has touched for hours and no process on the host holds open, and only what belongs to the user of the service where others
have theirs as well. A folder goes as a whole or stays as a whole.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_audit import printable, size
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_objects import words
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import report
from ansible_collections.mlops.mlflow.plugins.module_utils._maintenance_job import JobError, Result, Say

_SHOWN = 20
YOUNG, OPEN, FOREIGN, ODD = "young", "open", "of others", "no plain files"


@dataclass(frozen=True)
class Left:
    """An entry of a folder, with all that is in it."""

    folder: str
    name: str
    bytes: int
    newest: float  # when anything in it was last changed
    inodes: frozenset[tuple[int, int]]
    device: int
    odd: bool  # sockets, devices, other file systems
    owners: frozenset[int]


def _whole(path: str) -> Iterator[os.stat_result]:
    """A thing and everything in it, never through a link."""
    found = os.lstat(path)
    yield found
    if stat.S_ISDIR(found.st_mode):
        with os.scandir(path) as entries:
            for entry in entries:
                yield from _whole(entry.path)


def look(folder: str) -> list[Left]:
    """What is in a folder; nothing if it is not there."""
    found = []
    try:
        names = sorted(path.name for path in Path(folder).iterdir())
    except OSError:
        return []
    for name in names:
        try:
            whole = list(_whole(f"{folder}/{name}"))
        except OSError:
            continue  # somebody works with it, or keeps it from everybody
        plain = all(
            stat.S_ISREG(one.st_mode) or stat.S_ISDIR(one.st_mode) or stat.S_ISLNK(one.st_mode) for one in whole
        )
        found.append(
            Left(
                folder,
                name,
                sum(one.st_size for one in whole if stat.S_ISREG(one.st_mode)),
                # A file that was moved in keeps the time of its content.
                max(max(one.st_mtime, one.st_ctime) for one in whole),
                frozenset((one.st_dev, one.st_ino) for one in whole),
                whole[0].st_dev,
                not plain or len({one.st_dev for one in whole}) > 1,
                frozenset(one.st_uid for one in whole),
            )
        )
    return found


def held_open(owners: frozenset[int], proc: Path = Path("/proc")) -> tuple[set[tuple[int, int]], set[int]]:
    """What the processes of this host hold: files and folders by device and inode, and mapped files by inode.

    Args:
        owners: whose things it is about.
        proc: where processes are.

    Raises:
        JobError: a process of one of them does not let itself be looked at, so that nothing is known.
    """
    held: set[tuple[int, int]] = set()
    mapped: set[int] = set()
    for process in proc.glob("[0-9]*"):
        try:
            links = [*(process / "fd").iterdir(), process / "cwd", process / "root", process / "exe"]
            for link in links:
                with contextlib.suppress(FileNotFoundError):
                    found = link.stat()
                    held.add((found.st_dev, found.st_ino))
            for line in (process / "maps").read_text(encoding="utf-8", errors="replace").splitlines():
                mapped.add(int(line.split(maxsplit=5)[4]))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        except PermissionError as error:
            # The first one starts the others, and has nothing of theirs.
            if process.name != "1" and _user_of(process) in owners:
                said = f"Process {process.name} cannot be looked at, so nothing was deleted"
                raise JobError(f"{said}: {words(error)}.") from None
    return held, mapped - {0}


def _user_of(process: Path) -> int | None:
    """As whom it acts; nothing if it ended."""
    try:
        lines = (process / "status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[2]) for line in lines if line.startswith("Uid:")), None)


def reason_to_stay(
    left: Left, users: frozenset[int] | None, before: float, held: set[tuple[int, int]], mapped: set[int]
) -> str:
    """Why it stays; empty if it goes.

    Args:
        left: what it is about.
        users: whose it may be; nothing where all of the folder is the service's.
        before: when it has to have been changed last.
        held: what processes hold open (`held_open`).
        mapped: inodes that they have mapped.
    """
    if users is not None and not left.owners <= users:
        return FOREIGN
    if left.odd:
        return ODD
    if left.newest > before:
        return YOUNG
    if left.inodes & held or {inode for _device, inode in left.inodes} & mapped:
        return OPEN
    return ""


def remove(left: Left) -> None:
    """Remove exactly what was looked at, whatever somebody puts in its place meanwhile."""
    folder = os.open(left.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        found = os.stat(left.name, dir_fd=folder, follow_symlinks=False)
        if (found.st_dev, found.st_ino) not in left.inodes:
            return
        if stat.S_ISDIR(found.st_mode):
            shutil.rmtree(left.name, dir_fd=folder)
        else:
            os.unlink(left.name, dir_fd=folder)
    except FileNotFoundError:
        pass
    finally:
        os.close(folder)


def _ids(names: Iterable[str]) -> frozenset[int]:
    found = set()
    for name in names:
        with contextlib.suppress(KeyError):
            found.add(pwd.getpwnam(name).pw_uid)
    return frozenset(found)


def work(request: Mapping[str, Any], say: Say, *, now: float) -> Result:
    """Do the job.

    Args:
        request: `host`, `dry_run`, `hours`; `folders` that are all the service's; `shared`, folders in which only what belongs to one of
            `users` is looked at.
        say: how it tells what it does.
        now: the time.
    """
    host, dry, before = str(request["host"]), bool(request["dry_run"]), now - int(request["hours"]) * 3600
    users = _ids(request["users"])
    say("Looking for what was left behind")
    everything: list[tuple[Left, frozenset[int] | None]] = [
        (left, whose)
        for folders, whose in ((request["folders"], None), (request["shared"], users))
        for folder in folders
        for left in look(folder)
    ]
    say("Looking for what is open")
    held, mapped = held_open(frozenset().union(users, *(left.owners for left, _whose in everything)))
    stays: dict[str, int] = {}
    goes = []
    for left, whose in everything:
        why = reason_to_stay(left, whose, before, held, mapped)
        if why:
            stays[why] = stays.get(why, 0) + 1
        else:
            goes.append(left)
    refused: dict[str, str] = {}
    for number, left in enumerate(goes if not dry else [], 1):
        try:
            remove(left)
        except OSError as error:
            refused[f"{left.folder}/{left.name}"] = words(error)
        say("Deleted", number, len(goes))
    total = sum(left.bytes for left in goes if f"{left.folder}/{left.name}" not in refused)
    details = {
        "things": [printable(f"{left.folder}/{left.name}") for left in goes][:_SHOWN],
        "count": len(goes) - len(refused),
        "bytes": total,
        "stays": stays,
    }
    findings = []
    if refused:
        findings.append(
            report(
                "MAINTENANCE_LEFTOVERS",
                host=host,
                summary=f"{len(refused)} things that nobody uses any more could not be deleted.",
                evidence="; ".join(f"{printable(path)}: {why}" for path, why in list(refused.items())[:3]),
            )
        )
    what = "would be deleted" if dry else "were deleted"
    return Result(
        f"{len(goes) - len(refused)} things that nobody uses any more ({size(total)}) {what}.", details, findings
    )
