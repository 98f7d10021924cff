# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one registry of what can be wrong, and the one shape in which it is said.

Every id that a role, playbook or plugin puts into a message is registered here; a test compares.

A finding's id is stable: messages, playbooks, tests and docs/reference/findings.md (generated from here by
tools/generate_reference.py) use it. Values of secrets never get into a finding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils._findings import (
    _access,
    _adoption,
    _artifacts,
    _audit,
    _backup,
    _certificates,
    _choices,
    _clouds,
    _credentials,
    _database,
    _directory,
    _edge,
    _endpoint,
    _gate,
    _host,
    _inventory,
    _maintenance,
    _secrets,
    _server,
    _store,
    _transfer,
    _verify,
)
from ansible_collections.mlops.mlflow.plugins.module_utils._findings._shape import (
    CRITICAL,
    INFO,
    SEVERITIES,
    WARNING,
    Finding,
)

__all__ = [
    "CRITICAL",
    "FINDINGS",
    "INFO",
    "PROMISE",
    "SEVERITIES",
    "WARNING",
    "Finding",
    "UnknownFinding",
    "find",
    "render",
    "report",
]

PROMISE = "Nothing was changed."

# In the order in which one meets them.
_REGISTRIES = (
    _choices.REGISTERED,
    _inventory.REGISTERED,
    _host.REGISTERED,
    _secrets.REGISTERED,
    _verify.REGISTERED,
    _certificates.REGISTERED,
    _database.REGISTERED,
    _adoption.REGISTERED,
    _server.REGISTERED,
    _artifacts.REGISTERED,
    _store.REGISTERED,
    _directory.REGISTERED,
    _credentials.REGISTERED,
    _audit.REGISTERED,
    _transfer.REGISTERED,
    _clouds.REGISTERED,
    _edge.REGISTERED,
    _gate.REGISTERED,
    _endpoint.REGISTERED,
    _access.REGISTERED,
    _maintenance.REGISTERED,
    _backup.REGISTERED,
)
REGISTERED = tuple(finding for registry in _REGISTRIES for finding in registry)

FINDINGS: Mapping[str, Finding] = {finding.id: finding for finding in REGISTERED}


class UnknownFinding(KeyError):
    """An id that the registry does not hold: a fault of the collection, not of its user."""


def find(finding_id: str) -> Finding:
    """Return the registered finding."""
    try:
        return FINDINGS[finding_id]
    except KeyError:
        raise UnknownFinding(finding_id) from None


def _sentence(text: str) -> str:
    text = text.strip()
    return text if not text or text.endswith((".", "!", "?")) else text + "."


def render(
    finding_id: str,
    *,
    host: str,
    variable: str = "",
    value: Any = None,
    limit: str = "",
    fix: str = "",
    promise: bool | None = None,
) -> str:
    """Say what is wrong: id, host, variable and value, limit, fix (the registry's remedy if none is given), promise.

    The promise is made for everything that stops a run; a warning does not stop one.
    """
    finding = find(finding_id)
    said = variable
    if value is not None:
        said = f"{variable}={value}" if variable else str(value)
    parts = [
        _sentence(said or finding.title),
        _sentence(limit),
        _sentence(fix or finding.remedy),
        PROMISE if (finding.severity == CRITICAL if promise is None else promise) else "",
    ]
    return f"[{finding.id}] {host}: " + " ".join(part for part in parts if part)


def report(finding_id: str, *, host: str, summary: str, evidence: str = "", fix: str = "") -> dict[str, str]:
    """Return a finding as checks do: a dictionary of id, severity, summary, evidence, cause, remedy and host."""
    finding = find(finding_id)
    return {
        "id": finding.id,
        "severity": finding.severity,
        "summary": summary,
        "evidence": evidence,
        "cause": finding.cause,
        "remedy": fix or finding.remedy,
        "host": host,
    }
