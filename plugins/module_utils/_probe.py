# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run a probe apart from the module that asked for it, so that an answer comes within a bound whatever the peer does.

A probe is one file of this directory that needs nothing but Python's standard library, the driver it speaks with (psycopg2, boto3) and
the files of this directory that are sent along, and that has a function `probe(request) -> answer`, both dictionaries of JSON. Its
source and the request travel on standard input, so no secret stands in a command line, and it may run as another user in the sandbox of
the server (`systemd-run`, a unit whose name begins with `mlflow-probe-`: roles/mlflow_server gives such units the server's sandbox).
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import pwd
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

# What a probe printed is found between the things that a library may print as well.
_MARK = "mlops-mlflow-answer:"
_TAIL = """
if __name__ == "__main__":
    import contextlib as _contextlib, json as _json, resource as _resource, sys as _sys
    # A peer that sends without end must not fill the memory of the host. A lower limit, or a sandbox that forbids it, is fine as well.
    with _contextlib.suppress(OSError, ValueError):
        _resource.setrlimit(_resource.RLIMIT_AS, ({memory}, {memory}))
    _answer = _json.dumps(probe(_json.loads({request!r})))
    _sys.stdout.write("\\n{mark}" + _answer + "\\n")
"""
# Makes a module of each file that is sent along, before the probe imports it.
_HEAD = """import sys as _sys, types as _types
for _name, _source in {sources!r}.items():
    _module = _sys.modules[_name] = _types.ModuleType(_name)
    exec(compile(_source, _name, "exec"), _module.__dict__)
exec(compile({probe!r}, "probe", "exec"))
"""
# What systemd needs to start and to end a unit, beyond the probe's own time.
_SYSTEMD_SECONDS = 15.0
_MEMORY_BYTES = 2 * 1024**3
# As little as a program needs that only talks. Where the server's own sandbox for probes exists, it applies as well.
_LEAST = (
    "NoNewPrivileges=yes",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
)


@dataclass(frozen=True)
class Outcome:
    """What became of a probe: an answer, or why there is none."""

    answer: dict[str, Any] = field(default_factory=dict)
    timed_out: bool = False
    failure: str = ""  # the last words of a probe that did not answer


def _command(python: str, sandbox: bool, seconds: float, properties: Sequence[str]) -> list[str]:
    if not sandbox:
        return [python, "-"]
    return [
        "systemd-run",
        "--quiet",
        "--pipe",
        "--wait",
        "--collect",
        f"--unit=mlflow-probe-{uuid.uuid4().hex[:12]}",
        f"--property=RuntimeMaxSec={seconds:.0f}",
        *(f"--property={one}" for one in (*_LEAST, *properties)),
        python,
        "-",
    ]


def last_words(stderr: str, limit: int = 400) -> str:
    """Return the last line that says something: of a traceback that is the error."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return lines[-1][:limit] if lines else ""


def _as_user(name: str) -> dict[str, Any]:
    """Return what makes subprocess ask as that user, with its groups."""
    if not name:
        return {}
    user = pwd.getpwnam(name)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": os.getgrouplist(name, user.pw_gid)}


async def _talk(
    command: Sequence[str], source: bytes, seconds: float, identity: Mapping[str, Any]
) -> tuple[int | None, bytes, bytes]:
    """Give the source to the command and return its exit code and what it said; end it when its time is over.

    AnsibleModule.run_command knows no limit of time.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd="/",  # Python takes modules from the folder in which it is started
        **identity,
    )
    try:
        said, complained = await asyncio.wait_for(process.communicate(source), seconds)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return process.returncode, said, complained


def run(
    probe: ModuleType,
    request: Mapping[str, Any],
    *,
    seconds: float,
    python: str = "",
    sandbox: bool = False,
    user: str = "",
    properties: Sequence[str] = (),
    libraries: Sequence[ModuleType] = (),
) -> Outcome:
    """Run `probe.probe(request)` in a process of its own for at most `seconds` (and what systemd takes).

    Args:
        probe: the module that holds the probe; its source is what runs.
        request: what it is given; anything JSON can say.
        seconds: its time.
        python: the interpreter; the module's own by default.
        sandbox: run it as a unit in the sandbox of the server. Needs root and systemd.
        user: run it as this user; by default as the module's own, or the server's in the sandbox. Needs root.
        properties: settings of the unit beyond the sandbox, for example `ReadWritePaths=/data`.
        libraries: files of this directory that the probe imports by their full names; they import none themselves.

    Returns:
        The answer; or that there was none in time; or the probe's last words.
    """
    source = inspect.getsource(probe) + _TAIL.format(request=json.dumps(request), mark=_MARK, memory=_MEMORY_BYTES)
    if libraries:
        sources = {library.__name__: inspect.getsource(library) for library in libraries}
        source = _HEAD.format(sources=sources, probe=source)
    wanted = [f"User={user}", *properties] if user else properties
    command = _command(python or sys.executable, sandbox, seconds, wanted)
    try:
        status, said, complained = asyncio.run(
            _talk(
                command,
                source.encode(),
                seconds + (_SYSTEMD_SECONDS if sandbox else 0),
                {} if sandbox else _as_user(user),
            )
        )
    except TimeoutError:
        return Outcome(timed_out=True)
    except KeyError:
        return Outcome(failure=f"there is no user {user} on this host")
    except OSError as error:
        return Outcome(failure=f"{command[0]} could not be started: {error.strerror}")
    for line in reversed(said.decode(errors="replace").splitlines()):
        if line.startswith(_MARK):
            try:
                answer = json.loads(line.removeprefix(_MARK))
            except ValueError:
                break
            if isinstance(answer, dict):
                return Outcome(answer=answer)
    # systemd ends a unit that used up its time with a signal and says so only by the result.
    if sandbox and status != 0 and not complained.strip():
        return Outcome(timed_out=True)
    return Outcome(failure=last_words(complained.decode(errors="replace")) or f"it ended with {status}")
