# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with a directory for artifacts and with those who share it, from what _directory_probe.py saw. Pure.

Options of NFS: nfs(5).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils._artifacts import directory_id
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import find, report

_VOLATILE = ("tmpfs", "ramfs")
# An option of a mount, and what it means for artifacts; only those of network file systems are ever set by themselves.
_OPTIONS = {
    "soft": "DIRECTORY_MOUNT_SOFT",
    "softerr": "DIRECTORY_MOUNT_SOFT",
    "nocto": "DIRECTORY_MOUNT_STALE",
    "noac": "DIRECTORY_MOUNT_SLOW",
}


@dataclass(frozen=True)
class Asked:
    """What was asked for, as findings say it."""

    host: str
    path: str
    server: str = ""
    servers: Mapping[str, str] = field(default_factory=dict)


def silent(reason: str, asked: Asked) -> dict[str, str]:
    """Return the finding of a probe that told nothing."""
    return report("ARTIFACT_NO_ANSWER", host=asked.host, summary=f"{asked.path}: {reason}")


def judge(answer: Mapping[str, Any], asked: Asked) -> list[dict[str, str]]:
    """Return what is wrong, the directory itself first."""
    return [
        report(finding_id, host=asked.host, summary=f"{asked.path}: {said}", evidence=evidence)
        for look in (_failures, _mount, _rights, _sharing)
        for finding_id, said, evidence in look(answer, asked)
    ]


def _failures(answer: Mapping[str, Any], _asked: Asked) -> Iterator[tuple[str, str, str]]:
    for failure in answer["failures"]:
        finding_id = directory_id(failure["code"], writing=failure["step"] == "put")
        title = find(finding_id).title
        doing = "leaving a note" if failure["step"] == "put" else "looking for it"
        said = f"{title[0].lower()}{title[1:]} (user {answer['user']}); {doing} failed."
        yield finding_id, said, f"{failure['type']}: {failure['text']}"


def _mount(answer: Mapping[str, Any], _asked: Asked) -> Iterator[tuple[str, str, str]]:
    mount = answer["mount"]
    if not mount or not mount["type"]:
        return
    evidence = "{source} on {point} type {type} ({options})".format(**mount)
    options = mount["options"].split(",")
    if "ro" in options:
        yield "ARTIFACT_DIRECTORY_READ_ONLY", f"{mount['point']} is mounted read-only.", evidence
    if mount["type"] in _VOLATILE:
        yield (
            "DIRECTORY_VOLATILE",
            f"{mount['point']} is a {mount['type']}: a restart of the host empties it.",
            evidence,
        )
    for option, finding_id in _OPTIONS.items():
        if option in options:
            title = find(finding_id).title
            yield finding_id, f"{title[0].lower()}{title[1:]} (option {option}).", evidence


def _rights(answer: Mapping[str, Any], asked: Asked) -> Iterator[tuple[str, str, str]]:
    directory = answer["directory"]
    if not directory:
        return
    seen = f"{directory['mode']} {directory['uid']}:{directory['gid']}"
    if directory["uid"] != answer["uid"]:
        whose = f"it belongs to {directory['owner']} ({directory['uid']})"
        me = f"{answer['user']} ({answer['uid']}) on this host"
        # Of root it is before the first server took it. Of anybody else in a shared directory it is another server's.
        if asked.servers and directory["uid"] != 0:
            yield "DIRECTORY_UID", f"{whose}, and MLflow runs as {me}.", seen
        else:
            yield "DIRECTORY_OWNER", f"{whose}, not to {me}.", seen
    if int(directory["mode"], 8) & 0o007:
        yield "DIRECTORY_OPEN", f"its mode {directory['mode']} lets every user of the host in.", seen


def _sharing(answer: Mapping[str, Any], asked: Asked) -> Iterator[tuple[str, str, str]]:
    notes = answer["notes"]
    own = notes.get(asked.server, {"uid": answer["uid"], "gid": answer["gid"]})
    written = asked.server in notes and not answer["failures"]
    for server, token in asked.servers.items():
        note = notes.get(server, {})
        if token and written and note.get("token") != token:
            said = f"{server} has just left a note there, and this host finds {'an older one' if note else 'none'}."
            yield "DIRECTORY_NOT_SHARED", said, "{source} on {point} type {type}".format(**answer["mount"])
        elif note and (note["uid"], note["gid"]) != (own["uid"], own["gid"]):
            said = (
                f"what {server} writes belongs to {note['uid']}:{note['gid']}, and what this host writes to"
                f" {own['uid']}:{own['gid']}."
            )
            yield "DIRECTORY_UID", said, ""
