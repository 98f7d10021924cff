"""Runs on the host: prints, as a JSON list, every place where one of the given words stands that should not hold it.

The words come on standard input and are never printed; a place is told as `NAME: KIND WHERE`.
"""

from __future__ import annotations

import json
import os
import pwd
import stat
import subprocess
import sys
from pathlib import Path

ROOTS = ("/etc", "/opt", "/var", "/usr/local", "/srv", "/run", "/tmp", "/root", "/home", "/usr/lib/systemd")
# What the service reads as root on its behalf, and what only the database's own user can open, is meant to hold secrets.
# A log is looked at whoever may read it, and so is what a playbook leaves behind.
ALWAYS = ("/var/log/", "/tmp/", "/var/tmp/", "/root/", "/home/")
SKIPPED = ("/var/log/journal/", "/run/log/journal/", "/var/cache/apt/", "/var/lib/apt/", "/var/lib/dpkg/info/")
LARGEST = 64 * 1024 * 1024

request = json.loads(sys.stdin.read())
needles = {name: [word.encode() for word in words] for name, words in request["needles"].items()}
found: set[str] = set()


def look(content: bytes, kind: str, where: str) -> None:
    """Note each secret that is in the content."""
    for name, words in needles.items():
        if any(word in content for word in words):
            found.add(f"{name}: {kind} {where}")


def processes() -> None:
    """Command lines of all, environments of all but the service, which gets its secrets that way."""
    for folder in Path("/proc").glob("[0-9]*"):
        if int(folder.name) == os.getpid():
            continue
        try:
            command = (folder / "cmdline").read_bytes()
            owner = folder.stat().st_uid
            look(command, "command", command.split(b"\0")[0].decode(errors="replace"))
            if pwd.getpwuid(owner).pw_name != request["service_user"]:
                look((folder / "environ").read_bytes(), "environment", command.split(b"\0")[0].decode(errors="replace"))
        except (OSError, KeyError):
            continue


def output(kind: str, *command: str) -> None:
    """What a command prints."""
    done = subprocess.run(command, capture_output=True, check=False)
    look(done.stdout + done.stderr, kind, " ".join(command[:2]))


def readable(path: Path, mode: int) -> bool:
    """Whether others can read the file, or it lies where nothing secret belongs."""
    if str(path).startswith(ALWAYS):
        return True
    return bool(mode & stat.S_IROTH) and all(parent.stat().st_mode & stat.S_IXOTH for parent in path.parents)


def files() -> None:
    """Every readable file below the roots."""
    for root in ROOTS:
        for folder, folders, names in os.walk(root):
            folders[:] = [one for one in folders if not (Path(folder) / one).is_symlink()]
            if (folder + "/").startswith(SKIPPED):
                folders.clear()
                continue
            for name in names:
                path = Path(folder) / name
                try:
                    status = path.lstat()
                    if stat.S_ISREG(status.st_mode) and status.st_size <= LARGEST and readable(path, status.st_mode):
                        look(path.read_bytes(), "file", str(path))
                except OSError:
                    continue


processes()
output("journal", "journalctl", "--no-pager", "--all", "-o", "export")
output("unit", "systemctl", "cat", "--no-pager", "*")
output("unit", "systemctl", "show", "--no-pager", "--all", "*")
files()
print(json.dumps(sorted(found)))
