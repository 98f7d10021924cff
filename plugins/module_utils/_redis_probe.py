# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask a Redis or Valkey what the gate will ask of it; judged by _redis.py. Runs apart from the module (see _probe.py)."""

from __future__ import annotations

import os
import socket
from io import BufferedRWPair
from typing import Any

# No line of an answer that is looked at here is longer.
_LINE = 4096


def probe(request: dict[str, Any]) -> dict[str, Any]:
    """Log in, write a value that is over after a few seconds, read it back, remove it.

    Args:
        request: `host`, `port`, `password` (empty: no login) and `seconds` for the connection.

    Returns:
        `step` at which it ended (`connect`, `login`, `write`, `read`; empty when all was well), `said` by the peer or the system, and
        `open`: whether it writes for who has no password.
    """
    answer = {"step": "connect", "said": "", "open": not request["password"]}
    try:
        with (
            socket.create_connection((request["host"], request["port"]), float(request["seconds"])) as connection,
            connection.makefile("rwb") as peer,
        ):
            answer["step"] = "login"
            if request["password"] and (refusal := _refused(_ask(peer, "AUTH", request["password"]))):
                return {**answer, "said": refusal}
            name, value = f"mlflow-probe:{os.urandom(8).hex()}", os.urandom(16).hex()
            answer["step"] = "write"
            if refusal := _refused(_ask(peer, "SET", name, value, "EX", "30")):
                return {**answer, "said": refusal}
            answer["step"] = "read"
            found = _ask(peer, "GET", name)
            _ask(peer, "DEL", name)
            return {**answer, "said": f"it answered {found}"} if found != value else {**answer, "step": ""}
    except OSError as error:
        return {**answer, "said": error.strerror or str(error)}
    except ValueError as error:
        return {**answer, "said": str(error)}


def _refused(said: str) -> str:
    return said.removeprefix("-") if said.startswith("-") else ""


def _ask(peer: BufferedRWPair[Any, Any], *words: str) -> str:
    """Send one command and return the answer: a status as it is, an error behind its dash, the value of a bulk string.

    Redis serialization protocol (RESP), "Arrays" and "Bulk strings", https://redis.io/docs/latest/develop/reference/protocol-spec/
    """
    parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
    peer.write(f"*{len(words)}\r\n{''.join(parts)}".encode())
    peer.flush()
    line = peer.readline(_LINE).decode(errors="replace")
    if not line:
        raise ValueError("it hung up")
    if not line.endswith("\r\n") or line[0] not in "+-:$":
        raise ValueError("what answers is no Redis")
    kind, rest = line[0], line[1:-2]
    if kind != "$":
        return f"-{rest}" if kind == "-" else rest
    if not rest.lstrip("-").isdigit() or int(rest) > _LINE:
        raise ValueError("what answers is no Redis")
    if int(rest) < 0:
        return "nothing"
    return peer.read(int(rest) + 2).decode(errors="replace").removesuffix("\r\n")
