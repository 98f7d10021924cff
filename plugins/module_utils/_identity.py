# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is refused about a login at an identity provider. Pure decisions: no network, no files."""

from __future__ import annotations

import email.utils
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ansible_collections.mlops.mlflow.plugins.module_utils._findings import render

# As JSON Web Tokens have them; those of Auth0 are addresses.
_CLAIM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]*")
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
EVERYBODY = "*"
# What tokens tolerate of a wrong clock differs; with this much less than a short-lived one is left nobody notices.
CLOCK_SECONDS = 120


def issuer_problem(issuer: str) -> str:
    """Say why an issuer cannot be one, or return an empty string."""
    try:
        parts = urlsplit(issuer)
        host = parts.hostname
        _port = parts.port
    except ValueError:
        return "It is not an address"
    if parts.scheme != "https" or not host:
        return "It begins with https:// and names a host"
    if (
        parts.query
        or parts.fragment
        or parts.username
        or not issuer.isascii()
        or any(part in issuer for part in " \"'\\<>")
    ):
        return "It has no query, no user, no blanks and no quotes"
    if issuer.endswith("/.well-known/openid-configuration"):
        return "The part from /.well-known on does not belong to it"
    return ""


def _named(choices: Mapping[str, Any]) -> list[tuple[str, str]]:
    """List whatever becomes a group's, an account's or an audience's name, by variable."""
    found = [
        (name, str(value))
        for name in ("oidc_user_groups", "oidc_admin_groups", "oidc_audiences", "oidc_password_accounts")
        for value in choices.get(name) or []
    ]
    for group, roles in (choices.get("oidc_group_roles") or {}).items():
        found.append(("oidc_group_roles", str(group)))
        found += [("oidc_group_roles", str(role)) for role in roles]
    found += [("oidc_required_claims", str(value)) for value in (choices.get("oidc_required_claims") or {}).values()]
    return found


def identity_problems(choices: Mapping[str, Any], host: str) -> list[str]:
    """Return a sentence for each choice about the login at an identity provider that cannot work; none where there is no such login."""
    if choices.get("auth") != "oidc":
        return []
    problems = []

    def refuse(finding_id: str, name: str, value: Any, limit: str, fix: str = "") -> None:
        problems.append(render(finding_id, host=host, variable=f"mlflow_{name}", value=value, limit=limit, fix=fix))

    if choices.get("gate_kind") == "mod_auth_openidc":
        missing = [f"mlflow_{name}" for name in ("oidc_issuer", "oidc_client_id") if not str(choices.get(name) or "")]
        if missing:
            problems.append(render("OIDC_CLIENT", host=host, variable=f"{' and '.join(missing)} not set"))
        issuer = str(choices.get("oidc_issuer") or "")
        if issuer and (wrong := issuer_problem(issuer)):
            refuse("OIDC_ISSUER", "oidc_issuer", issuer, wrong)
        if "openid" not in (choices.get("oidc_scopes") or []):
            refuse(
                "OIDC_NAME",
                "oidc_scopes",
                choices.get("oidc_scopes"),
                "Without openid among them nobody is named",
                "Add openid",
            )
    if not (choices.get("oidc_user_groups") or choices.get("oidc_admin_groups")):
        problems.append(
            render(
                "OIDC_EVERYBODY",
                host=host,
                variable="neither mlflow_oidc_user_groups nor mlflow_oidc_admin_groups is set",
            )
        )
    if EVERYBODY in (choices.get("oidc_admin_groups") or []):
        refuse(
            "OIDC_EVERYBODY",
            "oidc_admin_groups",
            choices.get("oidc_admin_groups"),
            "Everybody would be an administrator",
            "Name the groups of administrators",
        )
    for name, value in _named(choices):
        if not value.strip() or value != value.strip() or not value.isprintable() or len(value) > 255:
            refuse(
                "OIDC_NAME",
                name,
                repr(value),
                "Names are not empty, begin and end without a blank, and hold nothing invisible",
            )
    for group, roles in (choices.get("oidc_group_roles") or {}).items():
        if not roles:
            refuse("OIDC_ROLES", "oidc_group_roles", group, "It has an empty list of roles")
    for value in [str(one) for one in choices.get("oidc_password_accounts") or []]:
        if ":" in value:
            refuse(
                "OIDC_NAME",
                "oidc_password_accounts",
                value,
                "A login ends at its first colon",
                "Use an account without a colon",
            )
    claims = [(name, str(choices.get(name) or "")) for name in ("oidc_username_claim", "oidc_groups_claim")]
    claims += [("oidc_required_claims", str(name)) for name in choices.get("oidc_required_claims") or {}]
    problems_of_form = [(name, value) for name, value in claims if not _CLAIM.fullmatch(value)]
    problems_of_form += [
        ("oidc_scopes", str(value)) for value in choices.get("oidc_scopes") or [] if not _SCOPE.fullmatch(str(value))
    ]
    for name, value in problems_of_form:
        refuse("OIDC_NAME", name, value, "It has letters, digits, dots, dashes, colons and slashes")
    client = str(choices.get("oidc_client_id") or "")
    if not client.isprintable() or client != client.strip():
        refuse("OIDC_NAME", "oidc_client_id", repr(client), "It has no blank at its ends and nothing invisible")
    return problems


def provider_problems(said: Mapping[str, Any], choices: Mapping[str, Any], host: str) -> list[str]:
    """Return a sentence for what a provider's answers say against this client; none for an answer that says nothing of the kind.

    `said` holds `date` (the header) and `now` (seconds, of the host that asked), `token` (the answer to a code that nobody has) and `begun`
    (the answer to the beginning of a login), each with status, json or location as far as there are any. `choices` holds issuer, client,
    callback and scopes.
    """
    issuer = choices.get("issuer")
    problems = []
    apart = _apart(str(said.get("date") or ""), said.get("now"))
    if abs(apart) > CLOCK_SECONDS:
        problems.append(
            render(
                "OIDC_CLOCK",
                host=host,
                variable=f"this host's clock is {abs(apart)} seconds {'ahead of' if apart > 0 else 'behind'} that of {issuer}",
                limit=f"They may be {CLOCK_SECONDS} seconds apart",
            )
        )
    token = said.get("token") or {}
    error = str(_dictionary(token.get("json")).get("error") or "")
    # A client that is known is refused for the code. Some call one with a wrong secret unauthorized, which with another status it may be
    # for the kind of login alone.
    unknown = error == "invalid_client" or (error == "unauthorized_client" and token.get("status") == 401)
    if unknown:
        problems.append(
            render(
                "OIDC_SECRET",
                host=host,
                variable=f"{issuer} refuses mlflow_oidc_client_id={choices.get('client')} with mlflow_oidc_client_secret ({error})",
            )
        )
    begun = said.get("begun") or {}
    location = str(begun.get("location") or "")
    callback = str(choices.get("callback") or "")
    refused = ""
    if begun.get("status") == 400:
        refused = "answers 400 to a login that would come back to"
    elif location.startswith(f"{callback}?") and (wrong := parse_qs(urlsplit(location).query).get("error")):
        refused = f"refuses with {wrong[0][:100]} a login that would come back to"
    if refused and not unknown:
        problems.append(
            render(
                "OIDC_LOGIN",
                host=host,
                variable=f"{issuer} {refused} {callback}, with mlflow_oidc_client_id={choices.get('client')} and "
                f"mlflow_oidc_scopes={' '.join(choices.get('scopes') or [])}",
            )
        )
    return problems


def provider_warnings(metadata: Any, choices: Mapping[str, Any], host: str) -> list[str]:
    """Return a sentence if the provider, by what it says about itself, would name groups to who asks for a scope that is not asked for.

    `choices` holds issuer, scopes, and the name of the claim (groups_claim).
    """
    claim, scopes = choices.get("groups_claim"), choices.get("scopes") or []
    offered = _dictionary(metadata).get("scopes_supported")
    if not isinstance(offered, list) or claim not in offered or claim in scopes:
        return []
    return [
        render(
            "OIDC_GROUPS",
            host=host,
            variable="mlflow_oidc_scopes",
            value=" ".join(map(str, scopes)),
            limit=f"{choices.get('issuer')} has a scope {claim}, which is not among them",
        )
    ]


def _dictionary(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _apart(date: str, now: Any) -> int:
    """Return by how many seconds `now` is later than the date of an answer; none if there is no date."""
    try:
        return round(float(now) - email.utils.parsedate_to_datetime(date).timestamp())
    except (TypeError, ValueError):
        return 0
