"""How modules are told which S3 store to ask: one set of options, their documentation, and what boto3 makes of them."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
import yaml

from ansible_collections.mlops.mlflow.plugins.doc_fragments.s3 import ModuleDocFragment
from ansible_collections.mlops.mlflow.plugins.module_utils import _artifact_objects, _s3_access
from ansible_collections.mlops.mlflow.tests.unit.support.playbook import ROOT

GIVEN = {
    "access_key_id": "AKIDEXAMPLE",
    "secret_access_key": "secret",
    "session_token": "token",
    "endpoint_url": "https://s3.example.com",
    "region": "eu-central-1",
    "ca_file": "/etc/ssl/store.pem",
}


def documented(text: str) -> dict[str, Any]:
    """The options of a text, as an argument_spec has them but for what is secret."""
    options: dict[str, Any] = yaml.safe_load(text)["options"]
    for option in options.values():
        assert option.pop("description")
    return options


def public(options: Any) -> dict[str, Any]:
    return {name: {key: value for key, value in option.items() if key != "no_log"} for name, option in options.items()}


def test_the_fragment_documents_the_options() -> None:
    assert documented(ModuleDocFragment.DOCUMENTATION) == public(_s3_access.OPTIONS)


@pytest.mark.parametrize(
    ("module", "places"), [("mlflow_artifact_audit", ["store"]), ("mlflow_artifact_move", ["source", "target"])]
)
def test_modules_that_take_places_document_the_same_options(module: str, places: list[str]) -> None:
    """A fragment cannot document what is inside of an option."""
    text = (ROOT / f"plugins/modules/{module}.yml").read_text(encoding="utf-8")
    options = yaml.safe_load(text)["DOCUMENTATION"]["options"]
    for place in places:
        inside = options[place]["suboptions"]
        assert documented(yaml.safe_dump({"options": inside})) == public(_artifact_objects.OPTIONS)


def test_secrets_are_not_logged() -> None:
    secret = {name for name, option in _s3_access.OPTIONS.items() if option.get("no_log")}
    assert secret == {"secret_access_key", "session_token"}


def test_boto3_is_told_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-machine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-machine")
    client = boto3.client("s3", **_s3_access.client_arguments({**GIVEN, "ca_file": "", "bucket": "other"}))
    assert (client.meta.endpoint_url, client.meta.region_name) == (GIVEN["endpoint_url"], GIVEN["region"])
    keys = client._request_signer._credentials
    assert (keys.access_key, keys.secret_key, keys.token) == ("AKIDEXAMPLE", "secret", "token")
    assert _s3_access.client_arguments(GIVEN)["verify"] == "/etc/ssl/store.pem"


def test_what_is_empty_is_left_to_the_machine() -> None:
    assert set(_s3_access.client_arguments(dict.fromkeys(GIVEN, "")).values()) == {None}
