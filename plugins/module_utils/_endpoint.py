# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with a URL, from what _endpoint_probe.py saw. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.mlops.mlflow.plugins.module_utils._findings import find, report

# By step and reason of a RestError; a step alone stands for its other reasons.
_FAILURES = {
    ("pattern", ""): "ENDPOINT_PATTERN",
    ("url", ""): "ENDPOINT_URL",
    ("file", ""): "ENDPOINT_FILE",
    ("dns", ""): "ENDPOINT_DNS",
    ("tcp", ""): "ENDPOINT_TCP",
    ("tls", "untrusted"): "ENDPOINT_TLS_UNTRUSTED",
    ("tls", "name"): "ENDPOINT_TLS_NAME",
    ("tls", "expired"): "ENDPOINT_TLS_EXPIRED",
    ("tls", "early"): "ENDPOINT_TLS_EXPIRED",
    ("tls", "protocol"): "ENDPOINT_TLS_PROTOCOL",
    ("tls", "plain"): "ENDPOINT_SPEAKS_HTTP",
    ("tls", "certificate"): "ENDPOINT_CLIENT_CERTIFICATE",
    ("tls", ""): "ENDPOINT_TLS_BROKEN",
    ("http", "certificate"): "ENDPOINT_CLIENT_CERTIFICATE",
    ("http", "tls"): "ENDPOINT_SPEAKS_HTTPS",
    ("http", "timeout"): "ENDPOINT_TIMEOUT",
    ("http", ""): "ENDPOINT_NOT_HTTP",
}
_VERSIONS = ("TLSv1.2", "TLSv1.3")
_DAY = 86400.0


@dataclass(frozen=True)
class Expected:
    """What an answer has to be."""

    status: Sequence[int] = (200,)
    redirect: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)  # pattern by name; an empty one takes any value
    forbidden_headers: Sequence[str] = ()
    body: str = ""
    max_seconds: float = 0.0  # to the first byte; 0 for no limit
    min_tls: str = "TLSv1.2"
    min_days: int = 0  # that the certificate has to hold


def plain(url: str) -> str:
    """Return a URL without what may be secret in it: login, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "the URL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def failed(failure: Mapping[str, Any], url: str, host: str, route: Mapping[str, Any]) -> dict[str, str]:
    """Return the finding of a request that got no answer, from a RestError's `step`, `reason` and `text`."""
    step, reason = failure["step"], failure["reason"]
    finding_id = _FAILURES.get((step, reason)) or _FAILURES[(step, "")]
    title = find(finding_id).title
    way = f" ({route['address']})" if route.get("address") else ""
    summary = f"{plain(url)}{way}: {title[0].lower()}{title[1:]}; the step {step} failed."
    return report(finding_id, host=host, summary=summary, evidence=f"{reason}: {failure['text']}")


def silent(reason: str, url: str, host: str) -> dict[str, str]:
    """Return the finding of a probe that told nothing."""
    return report("ENDPOINT_CHECK", host=host, summary=f"{plain(url)}: the check gave no answer.", evidence=reason)


def days_left(tls: Mapping[str, Any], now: float) -> float:
    """Return how many days the certificate holds, with one decimal."""
    return round((float(tls["expires"]) - now) / _DAY, 1)


def described(answer: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Return what the module tells of an answer."""
    tls = answer["tls"]
    route = {**answer["route"], "failed_at": answer["failure"].get("step", "")}
    certificate = {"version": tls["version"], "names": tls["names"], "days": days_left(tls, now)} if tls else {}
    return {
        "route": route,
        "tls": certificate,
        "status": answer.get("status", 0),
        "headers": answer["headers"],
        "seconds": answer.get("seconds", 0.0),
        "size": answer.get("size", 0),
    }


def judge(answer: Mapping[str, Any], expected: Expected, url: str, host: str, now: float) -> list[dict[str, str]]:
    """Return what is wrong.

    Args:
        answer: of the probe.
        expected: what the answer has to be.
        url: what was asked.
        host: who asked.
        now: seconds since 1970, to count the days of the certificate.
    """
    if answer["failure"]:
        return [failed(answer["failure"], url, host, answer["route"])]
    return [
        report(finding_id, host=host, summary=f"{plain(url)} ({answer['route']['address']}): {said}", evidence=evidence)
        for finding_id, said, evidence in (*_tls(answer, expected, now), *_http(answer, expected))
    ]


def _tls(answer: Mapping[str, Any], expected: Expected, now: float) -> Iterator[tuple[str, str, str]]:
    tls = answer["tls"]
    if not tls:
        return
    if tls["version"] in _VERSIONS[: _VERSIONS.index(expected.min_tls)]:
        yield "ENDPOINT_TLS_PROTOCOL", f"it speaks {tls['version']}, and {expected.min_tls} is asked for.", ""
    left = days_left(tls, now)
    if left < expected.min_days:
        said = f"the certificate holds {left} more days, and {expected.min_days} are asked for."
        yield "ENDPOINT_CERTIFICATE_DAYS", said, f"for {', '.join(tls['names'])}"


def _http(answer: Mapping[str, Any], expected: Expected) -> Iterator[tuple[str, str, str]]:
    matches, headers, status = answer["matches"], answer["headers"], answer["status"]
    location = plain(headers["location"]) if "location" in headers else ""
    if status not in expected.status:
        if status == 400 and answer["hint"]:
            yield "ENDPOINT_CLIENT_CERTIFICATE", "the server wants a certificate of the client.", answer["hint"]
            return
        wanted = " or ".join(str(one) for one in expected.status)
        yield (
            "ENDPOINT_STATUS",
            f"the status is {status}, and {wanted} is expected.",
            f"Location: {location}" if location else "",
        )
    if expected.redirect and not (300 <= status < 400 and matches["redirect"]):
        said = f"it redirects to {location}" if location else "it is no redirect"
        yield "ENDPOINT_REDIRECT", f"{said}, and {expected.redirect} is expected.", f"HTTP {status}"
    for name, pattern in expected.headers.items():
        if name.lower() not in headers:
            yield "ENDPOINT_HEADER_MISSING", f"the header {name} is missing.", ""
        elif not matches[f"header {name}"]:
            said = f"the header {name} is not {pattern}."
            yield "ENDPOINT_HEADER_MISSING", said, f"{name}: {headers[name.lower()][:200]}"
    for name in expected.forbidden_headers:
        if name.lower() in headers:
            yield "ENDPOINT_HEADER_FORBIDDEN", f"the header {name} is there.", f"{name}: {headers[name.lower()][:200]}"
    if expected.body and not matches["body"]:
        size = f"{answer['size']} bytes of {headers.get('content-type') or 'no type'}"
        yield "ENDPOINT_BODY", f"the body does not hold {expected.body}.", size + (", cut" if answer["cut"] else "")
    if expected.max_seconds and answer["seconds"] > expected.max_seconds:
        said = f"the first byte came after {answer['seconds']} s, and {expected.max_seconds} s are allowed."
        yield "ENDPOINT_SLOW", said, ""
