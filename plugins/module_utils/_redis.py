# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with a Redis or Valkey that keeps sessions, from what _redis_probe.py saw. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.mlops.mlflow.plugins.module_utils._findings import report

# Of Redis, and of mod_auth_openidc where the address says no port (its auth_openidc.conf, OIDCRedisCacheServer).
PORT = 6379
_STEPS = {
    "connect": "it cannot be reached",
    "login": "it does not take the password",
    "write": "it keeps nothing",
    "read": "it does not give back what it was given",
}


def place(server: str) -> tuple[str, int]:
    """Return host and port of `HOST`, `HOST:PORT`, or `[IPV6]:PORT`.

    Raises:
        ValueError: it is none of them.
    """
    parts = urlsplit(f"//{server}")
    if not parts.hostname or parts.netloc != server or "@" in server:
        raise ValueError(f"{server} is no host with a port")
    return parts.hostname, parts.port or PORT


def _near(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def judge(answer: Mapping[str, Any], server: str, host: str) -> list[dict[str, str]]:
    """Return what is wrong.

    Args:
        answer: of the probe.
        server: host and port that were asked.
        host: who asked.
    """
    if answer["step"]:
        summary = f"{server}: {_STEPS[answer['step']]} ({answer['said']})."
        return [report("GATE_REDIS", host=host, summary=summary, evidence=f"{answer['step']}: {answer['said']}")]
    if answer["open"] and not _near(place(server)[0]):
        return [report("GATE_REDIS_OPEN", host=host, summary=f"{server} takes commands without a password.")]
    return []


def silent(reason: str, server: str, host: str) -> dict[str, str]:
    """Return the finding of a probe that told nothing."""
    return report("GATE_REDIS", host=host, summary=f"{server}: {reason}", evidence=reason)
