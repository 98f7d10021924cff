#!/usr/bin/python
# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Prove that MLflow can use a place for artifacts; the documentation is in the .yml file of the same name."""

from __future__ import annotations

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlops.mlflow.plugins.module_utils import (
    _artifact_clouds,
    _artifact_probe,
    _artifacts,
    _check,
    _endpoint,
    _endpoint_probe,
    _probe,
    _rest,
    _s3_access,
)
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_uri import ArtifactUri, ArtifactUriError, parse

# What the probe is told as it is.
_TOLD = (
    "environment",
    *_s3_access.OPTIONS,
    "azure_connection_string",
    "azure_access_key",
    "gcs_credentials",
    "role",
    "presign",
)


def _others(module: AnsibleModule, place: ArtifactUri) -> list[dict[str, Any]]:
    """Return the places that must not be readable; only one of the same kind can be asked."""
    others = []
    for uri in module.params["other_places"]:
        try:
            other = parse(uri)
        except ArtifactUriError as error:
            module.fail_json(msg=f"other_places: {error}", findings=[])
        if other.kind != place.kind:
            module.fail_json(msg=f"other_places: {uri} is not asked in the same way as {place.uri}.", findings=[])
        others.append(other.to_dict())
    return others


def _ask(module: AnsibleModule, place: ArtifactUri, seconds: float) -> _probe.Outcome:
    """Ask as the options say."""
    given = module.params
    request: dict[str, Any] = {**place.to_dict(), **{name: given[name] for name in _TOLD}}
    request["gcs_credentials"] = given["gcs_credentials"] or ""
    request.update(others=_others(module, place), upload_extra_args=given["upload_extra_args"] or "")
    # A part of a second less, so that the probe's own bounds come first and tell more.
    request.update(write=not module.check_mode, seconds=max(seconds - 1, 1))
    # A store that is new today is not yet open in the sandbox of a server that was configured yesterday.
    opened = [f"ReadWritePaths=-{place.path}"] if place.kind == "directory" else []
    return _probe.run(
        _artifact_probe,
        request,
        seconds=seconds,
        sandbox=given["sandbox"],
        user=given["user"],
        properties=opened,
        libraries=[_artifact_clouds],
    )


def _fetch(module: AnsibleModule, place: ArtifactUri, host: str, seconds: float) -> list[dict[str, str]]:
    """Fetch what another host's check signed, as a client of MLflow would, and judge that."""
    url, expected = (
        module.params["presigned_url"],
        _endpoint.Expected(body=_artifacts.body(module.params["environment"])),
    )
    client = {"url": url, "ca_file": module.params["ca_file"], "seconds": seconds - min(1.0, seconds / 4)}
    request = {"client": client, "method": "GET", "body": expected.body, "redirect": "", "headers": {}}
    outcome = _probe.run(_endpoint_probe, request, seconds=seconds, user=module.params["user"], libraries=[_rest])
    if reason := _check.no_answer(outcome, seconds):
        found = [_endpoint.silent(reason, url, host)]
    else:
        found = _endpoint.judge(outcome.answer, expected, url, host, time.time())
    return _artifacts.signed(found, place.uri, host)


def main() -> None:
    """Parse, ask, judge, report."""
    module = AnsibleModule(
        argument_spec={
            **_check.OPTIONS,
            **_check.SANDBOX,
            **_s3_access.OPTIONS,
            "uri": {"type": "str", "required": True},
            "environment": {"type": "str", "required": True},
            "azure_connection_string": {"type": "str", "default": "", "no_log": True},
            "azure_access_key": {"type": "str", "default": "", "no_log": True},
            "gcs_credentials": {"type": "json", "no_log": True},
            "user": {"type": "str", "default": ""},
            "role": {
                "type": "str",
                "choices": [_artifacts.RUNTIME, _artifacts.MAINTENANCE],
                "default": _artifacts.RUNTIME,
            },
            "other_places": {"type": "list", "elements": "str", "default": []},
            # It may hold a key of encryption.
            "upload_extra_args": {"type": "json", "no_log": True},
            "presign": {"type": "bool", "default": False},
            "presigned_url": {"type": "str", "default": "", "no_log": True},
        },
        supports_check_mode=True,
    )
    host, seconds = _check.begin(module)
    given = module.params
    try:
        place = parse(given["uri"])
    except ArtifactUriError as error:
        _check.finish(
            module, [_artifacts.refuse(error, host)], place={}, suggestion=error.suggestion, presigned_url="", steps=[]
        )
    told = {"place": place.to_dict(), "suggestion": "", "presigned_url": ""}
    if given["presigned_url"]:
        _check.finish(module, _fetch(module, place, host, seconds), steps=[], **told)
    asked = _artifacts.Asked(
        host,
        place,
        given["environment"],
        given["endpoint_url"],
        given["region"],
        given["ca_file"],
        given["role"],
        bool(given["session_token"]),
    )
    outcome = _ask(module, place, seconds)
    reason = _check.no_answer(outcome, seconds)
    findings = [_artifacts.silent(reason, asked)] if reason else _artifacts.judge(outcome.answer, asked)
    told["presigned_url"] = outcome.answer.get("presigned_url", "")
    _check.finish(module, findings, steps=outcome.answer.get("steps", []), **told)


if __name__ == "__main__":
    main()
