"""What is refused about a login at an identity provider."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils._identity import (
    identity_problems,
    issuer_problem,
    provider_problems,
    provider_warnings,
)

CHOICES: dict[str, Any] = {
    "auth": "oidc",
    "gate_kind": "mod_auth_openidc",
    "oidc_issuer": "https://login.example.com/realms/acme",
    "oidc_client_id": "mlflow",
    "oidc_audiences": ["api://default"],
    "oidc_scopes": ["openid", "profile"],
    "oidc_username_claim": "preferred_username",
    "oidc_groups_claim": "https://mlflow.example.com/groups",
    "oidc_required_claims": {"hd": "example.com"},
    "oidc_user_groups": ["Team A, B", "größe"],
    "oidc_admin_groups": [],
    "oidc_group_roles": {"Team A, B": ["readers"]},
    "oidc_password_accounts": ["admin"],
}


def problems(**changes: Any) -> list[str]:
    return identity_problems({**CHOICES, **changes}, "app1")


def test_what_can_work_passes() -> None:
    assert problems() == []
    assert problems(oidc_user_groups=["*"]) == []
    assert problems(gate_kind="external", oidc_issuer="", oidc_client_id="", oidc_scopes=[]) == []


@pytest.mark.parametrize("auth", ["basic", "none"])
def test_without_such_a_login_nothing_is_asked(auth: str) -> None:
    assert identity_problems({"auth": auth, "oidc_issuer": "nonsense"}, "app1") == []


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        (
            {"oidc_issuer": "", "oidc_client_id": ""},
            "[OIDC_CLIENT] app1: mlflow_oidc_issuer and mlflow_oidc_client_id not set.",
        ),
        ({"oidc_client_id": ""}, "[OIDC_CLIENT] app1: mlflow_oidc_client_id not set."),
        ({"oidc_client_id": "mlflow "}, "[OIDC_NAME] app1: mlflow_oidc_client_id='mlflow '."),
        ({"oidc_user_groups": []}, "[OIDC_EVERYBODY] app1: neither mlflow_oidc_user_groups nor"),
        (
            {"oidc_admin_groups": ["*"]},
            "[OIDC_EVERYBODY] app1: mlflow_oidc_admin_groups=['*']. Everybody would be an administrator.",
        ),
        ({"oidc_user_groups": ["a\tb"]}, "[OIDC_NAME] app1: mlflow_oidc_user_groups='a\\tb'."),
        ({"oidc_user_groups": ["a\nb"]}, "[OIDC_NAME]"),
        ({"oidc_user_groups": [""]}, "[OIDC_NAME]"),
        ({"oidc_admin_groups": [" a"]}, "[OIDC_NAME]"),
        ({"oidc_audiences": ["x" * 256]}, "[OIDC_NAME]"),
        ({"oidc_group_roles": {"a": ["\u200b"]}}, "[OIDC_NAME] app1: mlflow_oidc_group_roles="),
        ({"oidc_required_claims": {"hd": ""}}, "[OIDC_NAME] app1: mlflow_oidc_required_claims="),
        ({"oidc_required_claims": {"h d": "x"}}, "[OIDC_NAME] app1: mlflow_oidc_required_claims=h d."),
        ({"oidc_username_claim": ""}, "[OIDC_NAME] app1: mlflow_oidc_username_claim=."),
        ({"oidc_groups_claim": 'g"'}, "[OIDC_NAME] app1: mlflow_oidc_groups_claim="),
        ({"oidc_scopes": ["profile"]}, "[OIDC_NAME] app1: mlflow_oidc_scopes=['profile']. Without openid"),
        ({"oidc_scopes": ["openid", "a b"]}, "[OIDC_NAME] app1: mlflow_oidc_scopes=a b."),
        ({"oidc_password_accounts": ["a:b"]}, "[OIDC_NAME] app1: mlflow_oidc_password_accounts=a:b. A login ends"),
    ],
)
def test_what_cannot_work_is_refused_in_one_sentence(changes: dict[str, Any], wanted: str) -> None:
    (said,) = problems(**changes)
    assert said.startswith(wanted)
    assert said.endswith("Nothing was changed.")
    assert "\n" not in said


@pytest.mark.parametrize(
    "issuer",
    [
        "login.example.com",
        "http://login.example.com",
        "https://",
        "https://login.example.com/?tenant=x",
        "https://login.example.com/#x",
        "https://me@login.example.com",
        "https://login.example.com:port",
        "https://login.example.com/a b",
        'https://login.example.com/"',
        "https://login.example.com/.well-known/openid-configuration",
        "https://[::1",
    ],
)
def test_what_is_no_issuer(issuer: str) -> None:
    assert issuer_problem(issuer)
    assert problems(oidc_issuer=issuer)[0].startswith(f"[OIDC_ISSUER] app1: mlflow_oidc_issuer={issuer}.")


@pytest.mark.parametrize(
    "issuer",
    ["https://login.example.com", "https://tenant.eu.auth0.com/", "https://[::1]:8443/realms/a", "https://h:9443/a/b"],
)
def test_what_is_one(issuer: str) -> None:
    assert issuer_problem(issuer) == ""


ASKED = {
    "issuer": "https://login.example.test",
    "client": "mlflow",
    "callback": "https://mlflow.example.test/oidc/callback",
    "scopes": ["openid", "groups"],
}
RIGHT = {
    "date": "Sun, 29 Nov 2026 01:00:00 GMT",
    "now": "1795914000",
    "token": {"status": 400, "json": {"error": "invalid_grant"}},
    "begun": {"status": 302, "location": "https://login.example.test/login?next=x"},
}


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"date": "yesterday"},
        {"date": "Sun, 29 Nov 2026 00:58:00 GMT"},
        {"date": "Sun, 29 Nov 2026 01:02:00 GMT"},
        {"now": None},
        {"token": {"skipped": True}},
        {"token": {"status": 401, "json": "no"}},
        {"token": {"status": 400, "json": {"error": "unauthorized_client"}}},
        {"token": {"status": -1, "msg": "timed out"}},
        {"begun": {"status": 200}},
        {"begun": {"status": 403}},
        {"begun": {"status": 500}},
        {"begun": {"status": 302, "location": "https://elsewhere.example.test/?error=x"}},
        {"begun": {"status": 302, "location": "https://mlflow.example.test/oidc/callback?code=x"}},
    ],
)
def test_a_provider_that_says_nothing_against_the_client_is_right(said: dict[str, Any]) -> None:
    assert provider_problems({**RIGHT, **said}, ASKED, "edge1") == []


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"date": "Sun, 29 Nov 2026 00:57:59 GMT"}, "[OIDC_CLOCK] edge1: this host's clock is 121 seconds ahead of"),
        ({"date": "Sun, 29 Nov 2026 02:00:00 GMT"}, "[OIDC_CLOCK] edge1: this host's clock is 3600 seconds behind"),
        ({"token": {"status": 401, "json": {"error": "invalid_client"}}}, "[OIDC_SECRET] edge1: "),
        ({"token": {"status": 400, "json": {"error": "invalid_client"}}}, "[OIDC_SECRET] edge1: "),
        ({"token": {"status": 401, "json": {"error": "unauthorized_client"}}}, "[OIDC_SECRET] edge1: "),
        ({"begun": {"status": 400}}, "[OIDC_LOGIN] edge1: https://login.example.test answers 400 to a login"),
        (
            {"begun": {"status": 303, "location": f"{ASKED['callback']}?state=x&error=invalid_scope"}},
            "[OIDC_LOGIN] edge1: https://login.example.test refuses with invalid_scope a login",
        ),
    ],
)
def test_what_a_provider_refuses_is_one_sentence(said: dict[str, Any], sentence: str) -> None:
    (problem,) = provider_problems({**RIGHT, **said}, ASKED, "edge1")
    assert problem.startswith(sentence)
    assert problem.endswith(" Nothing was changed.")


def test_a_client_that_is_not_known_is_said_once() -> None:
    said = {**RIGHT, "token": {"status": 401, "json": {"error": "invalid_client"}}, "begun": {"status": 400}}
    assert [problem.partition("]")[0] for problem in provider_problems(said, ASKED, "edge1")] == ["[OIDC_SECRET"]


def test_groups_that_a_provider_would_name_to_who_asks_are_remarked_upon() -> None:
    choices = {"issuer": "https://login.example.test", "scopes": ["openid", "email"], "groups_claim": "groups"}
    offers = {"scopes_supported": ["openid", "email", "groups"]}
    (said,) = provider_warnings(offers, choices, "edge1")
    assert said == (
        "[OIDC_GROUPS] edge1: mlflow_oidc_scopes=openid email. https://login.example.test has a scope groups, which is not among them. Add it to"
        " mlflow_oidc_scopes, unless the provider names the groups without being asked."
    )
    for metadata in ({}, {"scopes_supported": ["openid"]}, {"scopes_supported": "groups"}, None):
        assert provider_warnings(metadata, choices, "edge1") == []
    assert provider_warnings(offers, {**choices, "scopes": ["openid", "groups"]}, "edge1") == []
    assert provider_warnings(offers, {**choices, "groups_claim": "https://example.com/groups"}, "edge1") == []
