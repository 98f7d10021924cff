"""What is refused about a login at an identity provider."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils._identity import identity_problems, issuer_problem

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
