# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask one URL and say what happened; judged by _endpoint.py. Runs apart from the module (see _probe.py)."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils._rest import Client, Response, RestError

# What nginx says in a status 400 to a client without a certificate, or with one it does not trust.
_WANTS_CERTIFICATE = re.compile(r"No required SSL certificate was sent|The SSL certificate error")
# Whoever reads a finding need not have the session of whoever asked.
_HIDDEN = ("set-cookie", "authorization", "proxy-authorization")


def probe(request: dict[str, Any]) -> dict[str, Any]:
    """Ask once.

    Args:
        request: `client` (arguments of _rest.Client), `method`, and the patterns to look for: `body`, `redirect` and `headers` by
            name; all empty for none.

    Returns:
        `route`; `failure` with `step`, `reason` and `text`, or `status`, `headers` by lower-case name, `seconds` to the first byte,
        `tls`, `size` of the body, `cut`, `hint` (the words of a server that wants a certificate) and `matches`: for each pattern
        (`body`, `redirect`, `header NAME`) whether it was found.
    """
    patterns = {"body": request["body"], "redirect": request["redirect"]}
    patterns |= {f"header {name}": pattern for name, pattern in request["headers"].items()}
    answer: dict[str, Any] = {"route": {}, "failure": {}, "matches": {}, "tls": {}, "headers": {}, "hint": ""}
    # Here, because the time that a pattern takes has no bound of its own.
    for name, pattern in patterns.items():
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            answer["failure"] = {"step": "pattern", "reason": "unusable", "text": f"{name}: {error}"}
            return answer
    try:
        client = Client(**request["client"])
    except RestError as error:
        answer["failure"] = {"step": error.step, "reason": error.reason, "text": str(error)}
        return answer
    try:
        response = client.request(request["method"])
        told(answer, response, patterns)
    except RestError as error:
        answer["failure"] = {"step": error.step, "reason": error.reason, "text": str(error)}
    answer["route"] = asdict(client.route)
    return answer


def told(answer: dict[str, Any], response: Response, patterns: dict[str, str]) -> None:
    """Add what the peer told, and whether it is what was looked for."""
    headers = {name.lower(): response.header(name) for name, _value in response.headers}
    text = response.body.decode(errors="replace")
    looked = {"body": text, "redirect": headers.get("location", "")}
    looked |= {name: headers.get(name.removeprefix("header ").lower(), "") for name in patterns if name not in looked}
    answer.update(
        status=response.status,
        seconds=round(response.seconds, 3),
        tls=dict(response.tls),
        size=len(response.body),
        cut=response.cut,
        hint=found[0] if (found := _WANTS_CERTIFICATE.search(text)) else "",
        headers={name: "(hidden)" if name in _HIDDEN else value for name, value in headers.items()},
        matches={name: bool(re.search(pattern, looked[name])) for name, pattern in patterns.items()},
    )
