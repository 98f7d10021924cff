# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an MLflow server is like and what is wrong with it, from what _server_info_probe.py was told. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils._endpoint import failed, plain
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import report

_REFUSED = (401, 403)


@dataclass(frozen=True)
class Asked:
    """What was asked, and what is expected."""

    url: str
    host: str
    username: str = ""
    expected_version: str = ""
    anonymous: bool = False  # whether somebody without a login may be let in


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def describe(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the dictionary that the module documents; what the server does not tell is empty, or null for numbers and truths."""
    told = answer["told"]
    server, user = _mapping(told.get("server")), _mapping(_mapping(told.get("user")).get("user"))
    features = _mapping(server.get("features_enabled"))
    location = _mapping(_mapping(told.get("root")).get("experiment")).get("artifact_location")
    root = location if isinstance(location, str) else ""
    telemetry = _mapping(told.get("telemetry")).get("disable_ui_telemetry")
    return {
        "reachable": not answer["failure"],
        "route": answer["route"],
        "version": str(_mapping(told.get("version")).get("version") or ""),
        "authentication": _authentication(told),
        "user": str(user.get("username") or ""),
        "admin": _truth(user.get("is_admin")),
        "experiments": _count(told.get("experiments")),
        "runs": _count(told.get("runs")),
        "registered_models": _count(told.get("models")),
        "artifact_root": root,
        "artifact_mode": "" if not root else "proxied" if root.startswith("mlflow-artifacts:") else "direct",
        "store": str(server.get("store_type") or ""),
        "workspaces": _truth(server.get("workspaces_enabled")),
        "gateway": _truth(features.get("gateway")),
        "multipart_uploads": _truth(server.get("multipart_uploads_enabled")),
        "ui_telemetry": None if not isinstance(telemetry, bool) else not telemetry,
    }


def _truth(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _count(page: Any) -> dict[str, Any]:
    """Return how many there are at least, and whether there are more."""
    return {"count": page["count"], "more": page["more"]} if page else {"count": None, "more": None}


def _authentication(told: Mapping[str, Any]) -> bool | None:
    """Tell whether a login is asked for, from what somebody without one was answered."""
    status = _mapping(told.get("anonymous")).get("status")
    return True if status in _REFUSED else False if status == 200 else None


def judge(answer: Mapping[str, Any], asked: Asked) -> list[dict[str, str]]:
    """Return what is wrong with the server, the way there included."""
    if answer["failure"]:
        return [failed(answer["failure"], asked.url, asked.host, answer["route"])]
    findings: list[dict[str, str]] = []

    def add(finding_id: str, said: str, evidence: str = "") -> None:
        findings.append(report(finding_id, host=asked.host, summary=f"{plain(asked.url)}: {said}", evidence=evidence))

    told, refused = answer["told"], answer["refused"]
    health, version = told["health"], _mapping(told.get("version")).get("version", "")
    refusal = refused.get("version") or refused.get("experiments") or {}
    if refusal.get("status") in _REFUSED:
        who = f"the login {asked.username} is" if asked.username else "no login was given, and one is"
        what = "refused" if asked.username else "asked for"
        add("ENDPOINT_LOGIN", f"{who} {what}.", f"{refusal['text']} (HTTP {refusal['status']})")
    elif not health["ok"] and not _looks_like_a_version(version):
        add("ENDPOINT_NOT_MLFLOW", "what answers is not MLflow.", f"/health: HTTP {health['status']}")
        return findings
    else:
        for name in ("version", "experiments", "runs", "models"):
            if failure := refused.get(name):
                code = f"{failure['code']}: " if failure["code"] else ""
                add("ENDPOINT_MLFLOW_ERROR", f"MLflow does not answer for {name}.", code + failure["text"])
                break
    if told.get("anonymous", {}).get("status") == 200 and not asked.anonymous:
        add(
            "ENDPOINT_ANONYMOUS",
            "somebody without a login is let in.",
            "GET /api/2.0/mlflow/experiments/search: HTTP 200",
        )
    if asked.expected_version and version and version != asked.expected_version:
        add("ENDPOINT_MLFLOW_VERSION", f"MLflow {version[:40]} answers, and {asked.expected_version} is expected.")
    return findings


def _looks_like_a_version(text: str) -> bool:
    return text[:1].isdigit() and "." in text
