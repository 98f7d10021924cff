"""Turns what testssl.sh and drheader say of an edge into docs/reference/tls.md: tools/grade runs it."""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import ssl
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Why something that a tool would have otherwise stays as it is.
HEADER_REASONS: Mapping[str, str] = {
    "Cache-Control": "MLflow's own choice; what may not be kept, such as pages of the login, says so.",
    "Content-Security-Policy": "MLflow's pages send none and need scripts and styles inline; one of ours would break a later version of theirs.",
    "Cross-Origin-Resource-Policy": "Notebooks show traces of MLflow in a frame of another origin.",
    "Permissions-Policy": "Nothing is embedded in MLflow's pages that could ask for a camera or a place.",
    "Referrer-Policy": "`same-origin` tells other sites nothing at all; the tool knows only other values.",
    "Server": "Says nginx and no version (`server_tokens off`).",
    "Strict-Transport-Security": "`includeSubDomains` would speak for names that are not this installation's. Add it with mlflow_edge_extra_config.",
    "X-Frame-Options": "Set for all that MLflow does not send itself; a page of MLflow's without it is meant for frames.",
    "X-Permitted-Cross-Domain-Policies": "For Flash and Acrobat; there is no such file.",
    "X-XSS-Protection": "Browsers have taken the feature out.",
    "Pragma": "For HTTP/1.0.",
}
TLS_REASONS: Mapping[str, str] = {
    "engine_problem": "About the openssl with which testssl.sh asks, not about the edge: it cannot try the ciphers of GOST.",
    "BREACH": "It takes a page that repeats a stranger's words beside a secret; MLflow's pages are static files that hold neither.",
}
# What an authority of one's own does not have, and what says nothing about the edge.
OF_THE_AUTHORITY = (
    "cert_caIssuers",
    "cert_certificatePolicies_EV",
    "cert_crlDistributionPoints",
    "cert_extlifeSpan",
    "cert_notAfter",
    "cert_ocspURL",
    "cert_revocation",
    "certificate_transparency",
    "DNS_CAArecord",
    "OCSP_stapling",
)
SCORES = {
    "protocol_support_score": "protocols (30 %)",
    "key_exchange_score": "key exchange (30 %)",
    "cipher_strength_score": "ciphers (40 %)",
    "final_score": "together",
}


@dataclass(frozen=True)
class Tls:
    """What testssl.sh said."""

    grade: str
    reasons: Sequence[str]
    scores: Mapping[str, str]
    open: Sequence[tuple[str, str, str]]  # id, severity and finding of what is not good and has no reason here
    explained: Sequence[tuple[str, str, str]]  # id, finding, reason


def read(entries: Iterable[Mapping[str, str]]) -> Tls:
    """Sort testssl's findings."""
    grade = ""
    reasons: list[str] = []
    scores: dict[str, str] = {}
    unexplained: list[tuple[str, str, str]] = []
    explained: list[tuple[str, str, str]] = []
    for entry in entries:
        name, severity, finding = entry["id"], entry["severity"], entry["finding"]
        if name == "overall_grade":
            grade = finding
        elif name.startswith(("grade_cap_reason", "grade_warning")):
            reasons.append(finding)
        elif name in SCORES:
            scores[name] = finding
        elif severity in ("LOW", "MEDIUM", "HIGH", "CRITICAL", "WARN", "FATAL"):
            plain = name.split(" ")[0]
            if plain in OF_THE_AUTHORITY:
                explained.append((plain, finding, "Up to the authority that issues the certificate, or to DNS."))
            elif plain in TLS_REASONS:
                explained.append((plain, finding, TLS_REASONS[plain]))
            else:
                unexplained.append((name, severity, finding))
    return Tls(grade, reasons, scores, unexplained, explained)


def _cell(text: object) -> str:
    return " ".join(str(text).replace("|", "\\|").split())


def render(tls: Tls, version: str, headers: Mapping[str, Sequence[Mapping[str, Any]]], place: str, day: str) -> str:
    """The page."""
    lines = [
        "# TLS, headers and cookies of the edge, as outside tools see them",
        "",
        "Written by `make grade`; do not edit.",
        "",
        f"Looked at on {day}: {place}.",
        "",
        f"## TLS: {tls.grade}",
        "",
        f"testssl.sh {version}, with the authority of the installation trusted, by SSL Labs' rating guide.",
        "",
    ]
    if tls.reasons:
        lines += ["Not A+, because:", "", *(f"- {reason}" for reason in tls.reasons), ""]
    lines += ["| score | |", "| --- | ---: |"]
    lines += [f"| {words} | {tls.scores[name]} |" for name, words in SCORES.items() if name in tls.scores]
    if tls.explained or tls.open:
        lines += ["", "| it also says | about | why it stays |", "| --- | --- | --- |"]
        lines += [f"| {_cell(finding)} | {name} | {_cell(reason)} |" for name, finding, reason in tls.explained]
        lines += [f"| {_cell(finding)} | {name} ({severity}) | **open** |" for name, severity, finding in tls.open]
    lines += ["", "## Headers and cookies", "", "drheader, with its own rules."]
    for page, findings in headers.items():
        lines += ["", f"{page}:", "", "| rule | it says | why it stays |", "| --- | --- | --- |"]
        for found in findings:
            value = f" ({found['value']})" if found.get("value") else ""
            reason = HEADER_REASONS.get(found["rule"].split(" ")[0], "**open**")
            lines.append(f"| {found['rule']} | {_cell(found['message'] + value)} | {_cell(reason)} |")
    return "\n".join(lines) + "\n"


def problems(tls: Tls, headers: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """What the page cannot explain."""
    found = [] if tls.grade == "A+" else [f"the grade is {tls.grade or 'missing'}"]
    found += [f"testssl.sh: {name}: {finding}" for name, _severity, finding in tls.open]
    rules = {entry["rule"] for entries in headers.values() for entry in entries}
    found += [f"drheader: {rule}" for rule in sorted(rules) if rule.split(" ")[0] not in HEADER_REASONS]
    return found


def ask(url: str, ca: Path, login: str = "") -> dict[str, Any]:
    """The headers of a page, also of one that is refused; cookies as a list, as drheader takes them."""
    request = urllib.request.Request(url, headers={"Accept": "text/html"})
    if login:
        request.add_header("Authorization", f"Basic {b64encode(login.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=60, context=ssl.create_default_context(cafile=ca)) as answer:
            headers = answer.headers
    except urllib.error.HTTPError as refused:
        headers = refused.headers
    cookies = headers.get_all("Set-Cookie")
    return {**dict(headers.items()), **({"Set-Cookie": cookies} if cookies else {})}


def look(headers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What drheader says of them; it is there only in the environment `grade`."""
    library: Any = importlib.import_module("drheader")
    said = library.Drheader(headers=dict(headers)).analyze()
    return [{"rule": one.rule, "message": one.message, "value": one.value} for one in said]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    for name in ("ca", "testssl", "page"):
        parser.add_argument(f"--{name}", required=True, type=Path)
    parser.add_argument("--place", required=True)
    given = parser.parse_args()
    entries = json.loads(given.testssl.read_text(encoding="utf-8"))
    version = next((entry["finding"] for entry in entries if entry["id"] == "engine"), "3.2")
    tls = read(entries)
    headers = {"Without a login": look(ask(given.url, given.ca))}
    if user := os.environ.get("MLFLOW_TRACKING_USERNAME"):
        login = f"{user}:{os.environ['MLFLOW_TRACKING_PASSWORD']}"
        headers["Logged in"] = look(ask(given.url, given.ca, login))
        headers["Logged in, a form"] = look(ask(f"{given.url}/signup", given.ca, login))
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    given.page.write_text(render(tls, version, headers, given.place, day), encoding="utf-8")
    unexplained = problems(tls, headers)
    for problem in unexplained:
        print(f"Without a reason: {problem}", file=sys.stderr)
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
