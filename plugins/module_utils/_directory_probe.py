# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Look at a directory of artifacts, and leave and read notes of the servers that share it; judged by _directory.py.

Runs apart from the module (see _probe.py) with Python's standard library and _host.py, as the user who runs MLflow. A note is a small file
with the name of its server: whoever shares the directory finds what the others have just written, and sees to whom it belongs.
"""

from __future__ import annotations

import errno
import json
import os
import pwd
import stat
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ansible_collections.mlops.mlflow.plugins.module_utils._host import mount_at

NOTES = ".mlops-mlflow/servers"
_MOUNTS = Path("/proc/self/mounts")
_NOTE_BYTES = 400
# A network file system may show what another host wrote a moment later.
_PATIENCE_SECONDS = 5.0


def probe(request: dict[str, Any]) -> dict[str, Any]:
    """Look once.

    Args:
        request: `path`; `server`, the name of this one, empty to leave notes alone; `servers`, for each other one the text that its note
            should hold by now, empty if that is not known; `token`, the text of this one's; `write` (false: leave no note); `seconds`.

    Returns:
        `user`, `uid` and `gid` of who looks; `failures`, each with `step`, `type`, `code` and `text`; `directory` (`uid`, `gid`, `owner`,
        `mode`); `mount` (see _host.mount_at); `notes`, for each server `token`, `uid` and `gid` of its file, of those that were found.
    """
    uid = os.geteuid()
    answer: dict[str, Any] = {
        "user": _user(uid),
        "uid": uid,
        "gid": os.getegid(),
        "failures": [],
        "directory": {},
        "mount": {},
        "notes": {},
    }
    place = Path(request["path"])
    step = "find"
    try:
        seen = place.stat()
        if not stat.S_ISDIR(seen.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", str(place))
        answer["directory"] = {
            "uid": seen.st_uid,
            "gid": seen.st_gid,
            "owner": _user(seen.st_uid),
            "mode": f"{stat.S_IMODE(seen.st_mode):04o}",
        }
        answer["mount"] = mount_at(str(place.resolve()), _MOUNTS.read_text(encoding="utf-8", errors="replace"))
        if request["server"] and request["write"]:
            step = "put"
            _leave(place, request["server"], request["token"])
    except OSError as error:
        answer["failures"].append(
            {
                "step": step,
                "type": type(error).__name__,
                "code": error.errno or "",
                "text": " ".join(str(error).split()),
            }
        )
    if request["server"] and answer["directory"]:
        answer["notes"] = _notes(place, request)
    return answer


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _leave(place: Path, server: str, token: str) -> None:
    note = place / NOTES / quote(server, safe="")
    fresh = note.with_name(f"{note.name}.new")
    note.parent.mkdir(parents=True, exist_ok=True)
    try:
        with fresh.open("w", encoding="utf-8") as file:
            json.dump({"token": token}, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(note)
    finally:
        fresh.unlink(missing_ok=True)


def _notes(place: Path, request: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Read the notes of all servers, again until each holds what it should or the time is over."""
    until = time.monotonic() + min(_PATIENCE_SECONDS, request["seconds"] / 2)
    while True:
        notes = {}
        for server in (request["server"], *request["servers"]):
            if note := _note(place / NOTES / quote(server, safe="")):
                notes[server] = note
        late = [
            server
            for server, token in request["servers"].items()
            if token and notes.get(server, {}).get("token") != token
        ]
        if not late or not request["write"] or time.monotonic() > until:
            return notes
        time.sleep(0.2)


def _note(path: Path) -> dict[str, Any]:
    """Return a note, and whose file it is; empty if there is none that can be read."""
    try:
        with path.open("rb") as file:
            seen = os.fstat(file.fileno())
            said = json.loads(file.read(_NOTE_BYTES))
        return {"token": str(said["token"]), "uid": seen.st_uid, "gid": seen.st_gid}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
