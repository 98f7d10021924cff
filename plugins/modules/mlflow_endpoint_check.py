#!/usr/bin/python
# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check what a URL answers and how it is reached; the documentation is in the .yml file of the same name."""

from __future__ import annotations

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlops.mlflow.plugins.module_utils import _check, _endpoint, _endpoint_probe, _probe, _rest


def main() -> None:
    """Ask, judge, report."""
    module = AnsibleModule(
        argument_spec={
            **_check.OPTIONS,
            **_check.SANDBOX,
            **_rest.OPTIONS,
            "method": {"type": "str", "choices": ["GET", "HEAD"], "default": "GET"},
            "status": {"type": "list", "elements": "int", "default": [200]},
            "redirect": {"type": "str", "default": ""},
            "headers": {"type": "dict", "default": {}},
            "forbidden_headers": {"type": "list", "elements": "str", "default": []},
            "body": {"type": "str", "default": ""},
            "max_seconds": {"type": "float", "default": 0.0},
            "min_tls": {"type": "str", "choices": ["TLSv1.2", "TLSv1.3"], "default": "TLSv1.2"},
            "min_days": {"type": "int", "default": 14},
        },
        supports_check_mode=True,
    )
    host, seconds = _check.begin(module)
    given: dict[str, Any] = module.params
    headers = {str(name): "" if pattern is None else str(pattern) for name, pattern in given["headers"].items()}
    expected = _endpoint.Expected(
        status=given["status"],
        redirect=given["redirect"],
        headers=headers,
        forbidden_headers=given["forbidden_headers"],
        body=given["body"],
        max_seconds=given["max_seconds"],
        min_tls=given["min_tls"],
        min_days=given["min_days"],
    )
    client = {name: given[name] for name in _rest.OPTIONS}
    request = {
        # A little less than the whole, so that what is known by then is told.
        "client": {**client, "seconds": seconds - min(1.0, seconds / 4)},
        "method": given["method"],
        "body": expected.body,
        "redirect": expected.redirect,
        "headers": headers,
    }
    outcome = _probe.run(_endpoint_probe, request, seconds=seconds, sandbox=given["sandbox"], libraries=[_rest])
    if reason := _check.no_answer(outcome, seconds):
        _check.finish(module, [_endpoint.silent(reason, given["url"], host)], endpoint={})
    findings = _endpoint.judge(outcome.answer, expected, given["url"], host, time.time())
    _check.finish(module, findings, endpoint=_endpoint.described(outcome.answer, time.time()))


if __name__ == "__main__":
    main()
