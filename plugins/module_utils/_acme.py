# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates by ACME: which choices cannot work, when certbot has to be asked, and what it complained about.

Private to the collection. Pure: texts go in, sentences come out. Certbot issues and renews.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.mlops.mlflow.plugins.module_utils._findings import render
from ansible_collections.mlops.mlflow.plugins.module_utils._topology import is_ip
from ansible_collections.mlops.mlflow.plugins.module_utils._transfer import is_loopback

_CHOICE = "CERT_ACME_CHOICE"
_EMAIL = re.compile(r"[^@\s,]+@[^@\s,]+\.[^@\s,]+")
# Names that no public authority issues for (RFC 2606, 6761, 6762, 8375, and .internal).
_NOT_PUBLIC = (
    "example",
    "home.arpa",
    "internal",
    "invalid",
    "lan",
    "local",
    "localhost",
    "onion",
    "test",
)
_PUBLIC_SERVERS = ("letsencrypt.org", "zerossl.com", "pki.goog", "buypass.com", "ssl.com")
_MOST = 300


def _below(name: str, domain: str) -> bool:
    return name == domain or name.endswith(f".{domain}")


def _name_problem(name: str, server: str) -> str:
    if is_ip(name):
        return f"{name} is an address"
    if "*" in name:
        return f"{name} has an asterisk, which takes a challenge by DNS"
    if "." not in name:
        return f"{name} has no domain"
    if any(_below(server, domain) for domain in _PUBLIC_SERVERS) and any(_below(name, end) for end in _NOT_PUBLIC):
        return f"{name} is no name of the public DNS, and {server} issues for those only"
    return ""


def problems(choices: Mapping[str, Any], host: str) -> list[str]:
    """Return a sentence for each choice about ACME that cannot work.

    Args:
        choices: directory, email, accept_terms, names, redirect_http, listen (addresses of the edge; empty is all), edges (addresses of all).
        host: the host as the inventory names it.
    """
    found: list[str] = []

    def refuse(variable: str, value: Any, limit: str, fix: str) -> None:
        name = variable if variable.startswith("mlflow_") else f"mlflow_certificates_{variable}"
        found.append(render(_CHOICE, host=host, variable=name, value=value, limit=limit, fix=fix))

    directory = urlsplit(str(choices["directory"]))
    server = directory.hostname or ""
    if directory.scheme != "https" or not server:
        limit = "It is no address that begins with https://"
        refuse("acme_directory", choices["directory"], limit, "Set it to the directory of your ACME server")
    if not choices["accept_terms"]:
        limit = "An ACME server issues nothing to somebody who has not agreed to its terms"
        fix = f"Read the terms that {choices['directory']} names, and set it to true"
        refuse("acme_accept_terms", str(bool(choices["accept_terms"])).lower(), limit, fix)
    if not _EMAIL.fullmatch(str(choices["email"])):
        limit = "It is no address" if choices["email"] else "It is not set"
        fix = "Set it to an address that people read: by it the ACME server knows whose certificates these are"
        refuse("acme_email", choices["email"], limit, fix)
    for problem in filter(None, (_name_problem(str(name), server) for name in choices["names"])):
        fix = "Change mlflow_domain or mlflow_certificates_extra_names, or choose another mlflow_certificates_provider"
        refuse("provider", "acme", f"There is no certificate for every name: {problem}", fix)
    if not choices["redirect_http"]:
        limit = "The ACME server asks on port 80 for a proof, and the edge would not listen there"
        refuse("mlflow_edge_redirect_http", "false", limit, "Set it to true, or bring a certificate")
    listen = [str(address) for address in choices["listen"]]
    if listen and all(is_loopback(address) for address in listen):
        limit = "The ACME server asks on port 80 for a proof, and would not reach the edge"
        refuse("mlflow_edge_listen_addresses", ", ".join(listen), limit, "Let the edge listen where others reach it")
    if len(set(choices["edges"])) > 1:
        limit = "Several edges share one name, and the ACME server's question may reach one that did not ask for it"
        refuse("provider", "acme", limit, "Bring one certificate to all edges (mlflow_certificates_provider=files)")
    return found


def _renewal(text: str) -> tuple[dict[str, str], set[str]]:
    """What certbot noted of a certificate: its parameters, and the names it is for."""
    parameters: dict[str, str] = {}
    names: set[str] = set()
    section = ""
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("["):
            section = stripped.strip("[]")
        elif "=" in stripped and not stripped.startswith("#"):
            key, _equals, value = (part.strip() for part in stripped.partition("="))
            if section == "webroot_map":
                names.add(key)
            elif section == "renewalparams":
                parameters[key] = value
    return parameters, names


def reasons(renewal: str, wanted: Mapping[str, Any]) -> list[str]:
    """Say why certbot has to be asked for a certificate; nothing if it has what is wanted. Renewing is its own business.

    Args:
        renewal: What certbot noted of the certificate (a file below renewal/); empty if it has none.
        wanted: directory, key_type, webroot, hook, names.
    """
    if not renewal.strip():
        return ["there is none"]
    parameters, names = _renewal(renewal)
    said: list[str] = []
    if parameters.get("server") != wanted["directory"]:
        said.append("another ACME server")
    # What certbot takes it for where an old one noted nothing.
    if parameters.get("key_type", "rsa") != wanted["key_type"]:
        said.append("another kind of key")
    if names != set(wanted["names"]):
        said.append("other names")
    webroot = parameters.get("webroot_path", "").rstrip(", ")
    if parameters.get("authenticator") != "webroot" or webroot != wanted["webroot"]:
        said.append("another way to prove the name")
    if parameters.get("renew_hook") != wanted["hook"]:
        said.append("another program to call after a renewal")
    return said


_TRUST = re.compile(r"certificate verify failed: ?(?P<why>[^(\\']*)")
_CONNECT = re.compile(r"(?:\[Errno -?\d+\] ?)(?P<why>[A-Za-z ]+)|(?P<refused>Connection refused)")
_NOISE = re.compile(
    r"Saving debug log|Ask for help|Requesting a|Renewing an|Account registered|An unexpected error|Some challenges|- - -"
)


def complaint(said: str) -> str:
    """What certbot said against it, in one line: what the ACME server reported, or the error itself."""
    details = re.findall(r"^\s*Detail: *(.+)$", said, re.MULTILINE)
    if details:
        words = "; ".join(dict.fromkeys(details))
    elif trust := _TRUST.search(said):
        words = f"the certificate of the ACME server is not trusted here ({trust['why'].strip()})"
    elif "All authorizations were not finalized" in said:
        words = "the ACME server got no proof that the name is this host's"
    elif "AttributeError" in said:  # certbot 2.1 (Debian 12) stumbles over the server's words
        words = "the ACME server refused, and why stands in certbot's log only"
    elif connect := _CONNECT.search(said):
        words = f"the ACME server does not answer ({(connect['why'] or connect['refused']).strip()})"
    else:
        lines = [line.strip() for line in said.splitlines() if line.strip() and not _NOISE.match(line.strip())]
        words = lines[-1] if lines else "no reason given"
    return words.replace('"', "'").rstrip(".")[:_MOST]
